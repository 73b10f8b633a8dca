"""What is exported, and what every exporter walks along: its layers with their arrays."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np

from zoo.models.layers import (
    AvgPool,
    Conv,
    DepthwiseConv,
    Head,
    Layer,
    MaxPool,
    Residual,
    Shape,
)
from zoo.models.net import ConvNet, layer_shapes, named_layers, variable_shapes
from zoo.ops.windows import Pads, same_or_valid
from zoo.system.errors import ZooError
from zoo.system.settings import check_devices, usual_settings

InputType = Literal["uint8", "float32"]  # pixels in 0..255, or in [0, 1]


@dataclasses.dataclass(frozen=True)
class Step:
    """One layer of a net with trained weights."""

    path: str  # such as conv_1, or residual_1/conv_1
    layer: Layer | Head
    arrays: dict[str, np.ndarray]  # float32: kernel, bias; scale, bias, mean, var; or none
    input_shape: Shape  # of one example
    output_shape: Shape
    inner: tuple["Step", ...] = ()  # of a residual connection: its layers
    shortcut: tuple["Step", ...] = ()  # its shortcut's

    @property
    def is_of_images(self) -> bool:
        """Whether its input is images, rather than vectors."""
        return len(self.input_shape) == 3


@dataclasses.dataclass(frozen=True)
class Source:
    """A net with trained weights, and the images that it is to take."""

    model: ConvNet  # computes in float32
    variables: Mapping[str, Any]
    image_shape: Shape  # height, width, channels
    input_type: InputType

    def steps(self) -> list[Step]:
        """The layers in order; the head is among them if the net has one.

        Raises:
            ImageTooSmallError, ValueError: the net cannot take images of that shape.
        """
        layer_shapes(self.model.net, self.image_shape)
        found = list(_steps(self.model.net, self.variables, self.image_shape))
        if self.model.num_classes and isinstance(head := self.model.net[-1], Head):
            shape = found[-1].output_shape if found else self.image_shape
            arrays = _arrays_of(_within(self.variables, "head"))
            found.append(Step("head", head, arrays, shape, (self.model.num_classes,)))
        return found

    @property
    def output_name(self) -> str:
        """What the net gives: logits, or without a head the features before it."""
        return "logits" if self.model.num_classes else "features"

    def shapes(self) -> dict[str, Any]:
        """Those of the variables, as `variable_shapes` gives them."""
        return variable_shapes(self.model.net, self.image_shape, self.model.num_classes)

    def with_variables(self, variables: Mapping[str, Any]) -> Self:
        """The same net with other weights."""
        return dataclasses.replace(self, variables=variables)

    def inputs(self, images: np.ndarray) -> np.ndarray:
        """Images, uint8, as the file is to take them."""
        return images if self.input_type == "uint8" else images.astype(np.float32) / 255

    @usual_settings()
    @jax.default_matmul_precision("highest")  # whole float32, as the files compute, on a GPU too
    def logits(self, images: np.ndarray) -> np.ndarray:
        """The zoo's own output for images [B, height, width, channels]."""
        check_devices()
        return np.asarray(_apply(self.model, self.variables, jnp.asarray(images)))


def _steps(
    net: Iterable[Layer | Head], variables: Mapping[str, Any], shape: Shape, prefix: str = ""
) -> Iterator[Step]:
    for name, layer in named_layers(net):
        own, path = _within(variables, name), prefix + name
        inner: tuple[Step, ...] = ()
        shortcut: tuple[Step, ...] = ()
        if isinstance(layer, Residual):
            inner = tuple(_steps(layer.layers, own, shape, f"{path}/"))
            layers, of_shortcut = layer.shortcut_for(shape), _within(own, "shortcut")
            shortcut = tuple(_steps(layers, of_shortcut, shape, f"{path}/shortcut/"))
        output_shape = layer.output_shape(shape)
        yield Step(path, layer, _arrays_of(own), shape, output_shape, inner, shortcut)
        shape = output_shape


def _within(variables: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What each collection, such as params, holds under that name."""
    return {collection: held.get(name, {}) for collection, held in variables.items()}


def _arrays_of(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {
        leaf: np.asarray(array, np.float32)
        for held in variables.values()
        for leaf, array in held.items()
        if not isinstance(array, Mapping)
    }


@functools.partial(jax.jit, static_argnums=0)
def _apply(model: ConvNet, variables: Any, images: jax.Array) -> jax.Array:
    return jnp.asarray(model.apply(variables, images, train=False))


def window_and_stride(step: Step) -> tuple[int, int]:
    """Side of the window of a convolution or a pool, and its stride, pixels."""
    match step.layer:
        case (
            Conv(kernel_size=window, stride=stride)
            | DepthwiseConv(kernel_size=window, stride=stride)
        ):
            return window, stride
        case (
            MaxPool(window=window, stride=pool_stride) | AvgPool(window=window, stride=pool_stride)
        ):
            return window, pool_stride or window
    raise TypeError(step.layer)


def pads_of(step: Step) -> Pads:
    """((top, bottom), (left, right)) of a convolution or a pool, by TensorFlow's convention."""
    layer: Any = step.layer
    window, stride = window_and_stride(step)
    images: Any = jax.ShapeDtypeStruct((1, *step.input_shape), jnp.float32)
    return same_or_valid(images, (window, window), stride, layer.padding)


def unknown(step: Step, ending: str) -> ZooError:
    """The error of a layer that an exporter does not know."""
    return ZooError(
        f"{step.path} is {step.layer!r}, which cannot be written to {ending}: "
        f"choose .stablehlo, which takes every net"
    )
