"""Converts between the variables of a net and the weight arrays of a Keras model.

Keras and Flax use the same layout of kernels ([h, w, in, out]), so only the order and the names
differ, and the kernel of a depthwise convolution, which is [h, w, C, 1] in Keras and [h, w, 1, C]
here. A flattened image has its channels fastest here; in a channels-first Keras model it has them
slowest, if `Flatten` does not put them last: then the rows of the first dense kernel are in another
order.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from os import PathLike
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from zoo.models.layers import (
    Activation,
    BatchNorm,
    Conv,
    Dense,
    DepthwiseConv,
    Dropout,
    Flatten,
    Head,
    Layer,
    LayerNorm,
    Residual,
)
from zoo.models.net import ConvNet, named_layers, places, variable_shapes

Variables = dict[str, Any]
DataFormat = Literal["channels_last", "channels_first"]
_ANY_SHAPE = (1, 1, 1)  # the names of a layer's variables do not depend on its input
_LARGE = (2**16, 2**16)  # pixels of an image on which no layer has an empty output
_PROJECTIONS = {  # of a shortcut that a residual connection made for itself
    "conv_1": Conv(1, 1, use_bias=False),
    "dense_1": Dense(1, use_bias=False),
}


class _Place(NamedTuple):
    """Where an array is in the variables."""

    collection: str
    path: str  # of the layer, such as "residual_1/conv_1"
    leaf: str
    is_depthwise: bool  # the kernel of a depthwise convolution

    def __str__(self) -> str:
        return f"{self.path}/{self.leaf}"

    def among(self, variables: Variables) -> dict[str, Any]:
        """The layer's arrays of that collection."""
        return _scope(variables[self.collection], self.path)

    def turned(self, array: np.ndarray) -> np.ndarray:
        """From the layout here to that of Keras, or back."""
        return array.swapaxes(2, 3) if self.is_depthwise and array.ndim == 4 else array


def from_keras_weights(
    model: ConvNet,
    weights: Any,
    image_shape: Sequence[int] = (28, 28, 1),
    *,
    data_format: DataFormat | None = None,
) -> Variables:
    """The variables that make `model` compute what a Keras model computes.

    Args:
        model: from `create_model`.
        weights: a Keras model, or its `get_weights()`: the kernel and the bias of each convolution
            and dense layer; scale and offset of each normalization; moving mean and moving variance
            of each batch normalization. Of a residual connection those of its layers come before
            those of its shortcut.
        image_shape: (height, width, channels) of the images here, whose channels are always last;
            the first dense layer depends on it.
        data_format: the order of a flattened image in the Keras model, which weights alone do not
            tell: "channels_first" if its layers are channels-first and its `Flatten` is not, which
            is `Flatten`'s default; otherwise "channels_last", also with
            `Flatten(data_format="channels_first")`, which puts channels last. None: that of the
            Keras model, if it is given; for arrays "channels_last".

    Returns:
        {"params": ..., "batch_stats": ...}, float32, as `model.init` gives them.

    Raises:
        TypeError: the weights are neither a Keras model nor arrays.
        ValueError: the number of arrays or a shape does not match the net; no such data format, or
            it cannot be read from the Keras model.
        ImageTooSmallError: images with that shape are too small for the net.
    """
    if hasattr(weights, "get_weights"):
        data_format = data_format or _data_format_of(weights)
        weights = weights.get_weights()
    arrays = _arrays(weights)
    expected = variable_shapes(model.net, image_shape, model.num_classes)
    found = list(_places(model, expected))
    arrays = [place.turned(array) for place, array in zip(found, arrays, strict=False)] + arrays[
        len(found) :
    ]
    _check_shapes(arrays, found, expected, image_shape)
    if _is_channels_first(data_format):
        _reorder(model, found, arrays, image_shape, from_channels_first=True)
    variables: Variables = jax.tree.map(lambda leaf: None, expected)
    for place, array in zip(found, arrays, strict=True):
        place.among(variables)[place.leaf] = jnp.asarray(array)
    return variables


def to_keras_weights(
    model: ConvNet,
    variables: Variables,
    image_shape: Sequence[int] | None = None,
    *,
    data_format: DataFormat = "channels_last",
) -> list[np.ndarray]:
    """The arrays for `keras_model.set_weights(...)`.

    Args:
        model: from `create_model`.
        variables: {"params": ..., "batch_stats": ...}; the latter only with batch normalization.
        image_shape: (height, width, channels) of the images. It counts for "channels_first" alone,
            where no convolution says how many channels are flattened.
        data_format: as in `from_keras_weights`.

    Raises:
        ValueError: no such data format; `image_shape` is needed.
    """
    found = list(_places(model, variables))
    arrays = [np.asarray(place.among(variables)[place.leaf]) for place in found]
    if _is_channels_first(data_format):
        _reorder(model, found, arrays, image_shape, from_channels_first=False)
    return [place.turned(array) for place, array in zip(found, arrays, strict=True)]


def _reorder(
    model: ConvNet,
    found: list[_Place],
    arrays: list[np.ndarray],
    image_shape: Sequence[int] | None,
    *,
    from_channels_first: bool,
) -> None:
    """Puts what belongs to the values of the flattened image into the other order.

    These are the arrays of normalizations, and the rows of the first dense kernel.
    """
    layers, channels = _of_flattened(model, image_shape[-1] if image_shape else 1)
    if image_shape is None and channels != _of_flattened(model, 2)[1]:
        raise ValueError("no layer says how many channels are flattened: give image_shape")
    for index, place in enumerate(found):
        if place.path not in layers or (layers[place.path] and place.leaf != "kernel"):
            continue
        rows, *others = arrays[index].shape
        positions = rows // channels
        axes = (channels, positions) if from_channels_first else (positions, channels)
        array = arrays[index].reshape(*axes, *others)
        arrays[index] = array.swapaxes(0, 1).reshape(rows, *others)


def _arrays(weights: Any) -> list[np.ndarray]:
    wanted = "weights must be a Keras model or the list that its get_weights() gives"
    if isinstance(weights, str | bytes | PathLike):
        raise TypeError(
            f"{wanted}, not the path {str(weights)!r}: load it with keras.saving.load_model(path)"
        )
    if isinstance(weights, Mapping | Set) or hasattr(weights, "shape"):
        raise TypeError(f"{wanted}, not one {type(weights).__name__}: put arrays into a list")
    if not isinstance(weights, Iterable):
        raise TypeError(f"{wanted}, not {weights!r}")
    return [_array(number, given) for number, given in enumerate(weights, start=1)]


def _array(number: int, given: Any) -> np.ndarray:
    try:
        return np.asarray(given).astype(np.float32, casting="same_kind")
    except (TypeError, ValueError):
        raise TypeError(
            f"weight array {number} is not an array of real numbers but {type(given).__name__}: "
            f"give a list of arrays, as get_weights() does"
        ) from None


def _check_shapes(
    arrays: list[np.ndarray], found: list[_Place], expected: Variables, image_shape: Sequence[int]
) -> None:
    if len(arrays) != len(found):
        raise ValueError(f"this net has {len(found)} weight arrays, not {len(arrays)}")
    for number, (array, place) in enumerate(zip(arrays, found, strict=True), start=1):
        shape = place.among(expected)[place.leaf].shape
        if array.shape != shape:
            raise ValueError(
                f"{place} of this net for images of {tuple(image_shape)} has shape "
                f"{shape}, but weight array {number} has {array.shape}"
            )


def _is_channels_first(data_format: str | None) -> bool:
    if data_format not in (None, *get_args(DataFormat)):
        allowed = " or ".join(map(repr, get_args(DataFormat)))
        raise ValueError(f"data_format must be {allowed}, not {data_format!r}")
    return data_format == "channels_first"


def _data_format_of(keras_model: Any) -> DataFormat:
    """The order of a flattened image in a Keras model.

    As Keras 3 has it: `Flatten` leaves the order as it is, unless it is channels-first itself; then
    it puts the second axis last.

    Raises:
        ValueError: its layers do not tell.
    """
    images: set[str] = set()  # formats of the layers that have images
    flattened: set[str] = set()
    layers = getattr(keras_model, "operations", None)
    for layer in keras_model.layers if layers is None else layers:
        if type(layer).__name__ == "Flatten":
            flattened.add(layer.data_format)
        elif hasattr(layer, "data_format"):
            images.add(layer.data_format)
        elif (
            images and not flattened and type(layer).__name__ in ("Permute", "Reshape", "Transpose")
        ):
            flattened.add(type(layer).__name__)
    match sorted(images), sorted(flattened):
        case (["channels_last"], ["channels_last"]) | (["channels_first"], ["channels_first"]):
            return "channels_last"
        case ["channels_first"], ["channels_last"]:
            return "channels_first"
    raise ValueError(
        f"the layers of this Keras model do not tell the order of a flattened image (layers with "
        f"images are {_listed(images)}, Flatten is {_listed(flattened)}): give data_format="
        f"'channels_last' or 'channels_first', whichever the first dense layer gets"
    )


def _listed(found: set[str]) -> str:
    return " and ".join(sorted(found)) or "missing"


def _of_flattened(model: ConvNet, channels_of_images: int) -> tuple[dict[str, bool], int]:
    """The layers whose arrays belong to the values of the flattened image; the image's channels.

    Args:
        model: its layers are in question.
        channels_of_images: they are flattened if no layer makes others of them.

    Returns:
        ({path: whether it is dense, so that only rows of its kernel do}, channels). The first dense
        layer, which may be the head, is the last of them.

    Raises:
        ValueError: there is one between them for which the order counts in another way.
    """
    found: dict[str, bool] = {}
    channels, is_flat = 1, False
    for place in places(model.net, (*_LARGE, channels_of_images)):
        match place.layer:
            case Flatten() if not is_flat:
                channels, is_flat = place.input_shape[-1], True
            case Dense() if is_flat and "/" not in place.path:
                return {**found, place.path: True}, channels
            case BatchNorm() | LayerNorm() if is_flat and "/" not in place.path:
                found[place.path] = False
            case Activation() | Dropout() | Flatten():
                pass
            case _ if is_flat:
                what = place.path.partition("/")[0]
                raise ValueError(
                    f"the weights of {what}, which gets a flattened image, cannot be reordered: "
                    f"put Flatten into the Keras model so that channels are last"
                )
    return ({**found, "head": True} if is_flat else {}), channels


def _places(model: ConvNet, variables: Variables) -> Iterator[_Place]:
    """Of every array, in the order of Keras; `variables` tell which shortcuts there are."""
    yield from _places_of(model.net, variables, "")
    if model.num_classes and isinstance(model.net[-1], Head):
        for leaf in ("kernel", "bias"):
            yield _Place("params", "head", leaf, is_depthwise=False)


def _places_of(
    layers: Iterable[Layer | Head], variables: Variables, prefix: str
) -> Iterator[_Place]:
    for name, layer in named_layers(layers):
        path = prefix + name
        for collection, shapes in layer.variables(_ANY_SHAPE).items():
            for leaf in shapes:
                yield _Place(collection, path, leaf, isinstance(layer, DepthwiseConv))
        if isinstance(layer, Residual):
            yield from _places_of(layer.layers, variables, f"{path}/")
            given = _scope(variables["params"], path).get("shortcut", {})
            yield from _places_of(
                layer.shortcut or [_PROJECTIONS[name] for name in given],
                variables,
                f"{path}/shortcut/",
            )


def _scope(tree: Any, path: str) -> Any:
    """What a tree holds under a path; {} if it has none."""
    for name in path.split("/"):
        tree = tree.get(name, {})
    return tree
