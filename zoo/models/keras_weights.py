"""Converts between the variables of a net and the weight arrays of a Keras model.

Keras and Flax use the same layout of kernels ([h, w, in, out]), so only the order and the names
differ. A flattened image has its channels fastest here; in a channels-first Keras model it has them
slowest, if `Flatten` does not put them last: then the rows of the first dense kernel are in another
order.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from os import PathLike
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from zoo.models.layers import BatchNorm, Conv, Dense, Flatten, Head
from zoo.models.net import ConvNet, named_layers, variable_shapes

Variables = dict[str, Any]
DataFormat = Literal["channels_last", "channels_first"]
_Place = tuple[str, str, str]  # (collection, layer, leaf)


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
            and dense layer; scale, offset, moving mean and moving variance of each batch
            normalization.
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
    paths = list(_paths(model))
    shapes = [expected[collection][layer][leaf].shape for collection, layer, leaf in paths]
    _check_shapes(arrays, paths, shapes, image_shape)
    if _is_channels_first(data_format):
        _reorder(model, paths, arrays, from_channels_first=True)
    variables: Variables = jax.tree.map(lambda leaf: None, expected)
    for (collection, layer, leaf), array in zip(paths, arrays, strict=True):
        variables[collection][layer][leaf] = jnp.asarray(array)
    return variables


def to_keras_weights(
    model: ConvNet, variables: Variables, *, data_format: DataFormat = "channels_last"
) -> list[np.ndarray]:
    """The arrays for `keras_model.set_weights(...)`.

    Args:
        model: from `create_model`.
        variables: {"params": ..., "batch_stats": ...}; the latter only with batch normalization.
        data_format: as in `from_keras_weights`.

    Raises:
        ValueError: no such data format.
    """
    paths = list(_paths(model))
    arrays = [np.asarray(variables[collection][layer][leaf]) for collection, layer, leaf in paths]
    if _is_channels_first(data_format):
        _reorder(model, paths, arrays, from_channels_first=False)
    return arrays


def _reorder(
    model: ConvNet, paths: list[_Place], arrays: list[np.ndarray], *, from_channels_first: bool
) -> None:
    """Puts the rows of the kernel that gets the flattened image into the other order."""
    layer, channels = _after_flatten(model)
    if ("params", layer, "kernel") not in paths:
        return  # a net without a head gives the flattened image itself
    index = paths.index(("params", layer, "kernel"))
    rows, features = arrays[index].shape
    positions = rows // channels
    axes = (channels, positions) if from_channels_first else (positions, channels)
    kernel = arrays[index].reshape(*axes, features)
    arrays[index] = kernel.swapaxes(0, 1).reshape(rows, features)


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
    arrays: list[np.ndarray], paths: list[_Place], shapes: list[Any], image_shape: Sequence[int]
) -> None:
    if len(arrays) != len(paths):
        raise ValueError(f"this net has {len(paths)} weight arrays, not {len(arrays)}")
    for number, (array, (_, layer, leaf), shape) in enumerate(
        zip(arrays, paths, shapes, strict=True), start=1
    ):
        if array.shape != shape:
            raise ValueError(
                f"{layer}/{leaf} of this net for images of {tuple(image_shape)} has shape "
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


def _after_flatten(model: ConvNet) -> tuple[str, int]:
    """The first dense layer, and the number of channels of the image that it gets flattened."""
    channels, is_flat = 0, False
    for name, layer in named_layers(model.net):
        match layer:
            case Conv(features=features):
                channels = features
            case Flatten():
                is_flat = True
            case Dense() if is_flat:
                return name, channels
    return "head", channels


def _paths(model: ConvNet) -> Iterator[_Place]:
    """(collection, layer, leaf) of every array, in the order of Keras."""
    for name, layer in named_layers(model.net):
        match layer:
            case Conv() | Dense():
                yield from (("params", name, "kernel"), ("params", name, "bias"))
            case BatchNorm():
                yield from (("params", name, "scale"), ("params", name, "bias"))
                yield from (("batch_stats", name, "mean"), ("batch_stats", name, "var"))
    if model.num_classes and isinstance(model.net[-1], Head):
        yield from (("params", "head", "kernel"), ("params", "head", "bias"))
