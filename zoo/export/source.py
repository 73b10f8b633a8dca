"""What is exported, and what every exporter walks along: its layers with their arrays."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np

from zoo.models.layers import Head, Layer, Shape
from zoo.models.net import ConvNet, layer_shapes, named_layers, variable_shapes
from zoo.ops.windows import NO_PADS, Pads
from zoo.system.errors import ZooError
from zoo.system.settings import check_devices, usual_settings

InputType = Literal["uint8", "float32"]  # pixels in 0..255, or in [0, 1]


@dataclasses.dataclass(frozen=True)
class Step:
    """One layer of a net with trained weights."""

    name: str  # such as conv_1
    layer: Layer | Head
    arrays: dict[str, np.ndarray]  # float32: kernel, bias; scale, bias, mean, var; or none
    input_shape: Shape  # of one example
    output_shape: Shape


@dataclasses.dataclass(frozen=True)
class Source:
    """A net with trained weights, and the images that it is to take."""

    model: ConvNet  # computes in float32
    variables: Mapping[str, Any]
    image_shape: Shape  # height, width, channels
    input_type: InputType

    def steps(self) -> list[Step]:
        """The layers in order; the head is among them if the net has one."""
        return list(self._steps())

    def _steps(self) -> Iterator[Step]:
        net, shape = self.model.net, self.image_shape
        shapes = layer_shapes(net, shape)
        for name, layer in named_layers(net):
            yield Step(name, layer, self._arrays(name), shape, shapes[name])
            shape = shapes[name]
        if self.model.num_classes and isinstance(head := net[-1], Head):
            yield Step("head", head, self._arrays("head"), shape, (self.model.num_classes,))

    def _arrays(self, name: str) -> dict[str, np.ndarray]:
        return {
            leaf: np.asarray(array, np.float32)
            for collection in ("params", "batch_stats")
            for leaf, array in self.variables.get(collection, {}).get(name, {}).items()
        }

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
    def logits(self, images: np.ndarray) -> np.ndarray:
        """The zoo's own output for images [B, height, width, channels]."""
        check_devices()
        return np.asarray(_apply(self.model, self.variables, jnp.asarray(images)))


@functools.partial(jax.jit, static_argnums=0)
def _apply(model: ConvNet, variables: Any, images: jax.Array) -> jax.Array:
    return jnp.asarray(model.apply(variables, images, train=False))


def pads_of(shape: Shape, window: int, stride: int, padding: str) -> Pads:
    """((top, bottom), (left, right)) of an image [H, W, C], by TensorFlow's convention."""
    if padding == "VALID":
        return NO_PADS
    total = [max(0, (-(-size // stride) - 1) * stride + window - size) for size in shape[:2]]
    top, left = (pad // 2 for pad in total)
    return (top, total[0] - top), (left, total[1] - left)


def unknown(step: Step, ending: str) -> ZooError:
    """The error of a layer that an exporter does not know."""
    return ZooError(
        f"{step.name} is a {type(step.layer).__name__}, which cannot be written to {ending}: "
        f"choose .stablehlo, which takes every net"
    )
