"""Layers that make images smaller, or vectors of them."""

import dataclasses
import math
from typing import ClassVar

import jax
import jax.numpy as jnp

import zoo.ops
from zoo.models.layers.layer import Context, Layer, Shape, window_size, windows_text
from zoo.ops.windows import Padding


@dataclasses.dataclass(frozen=True, repr=False)
class _Pool(Layer):
    """What pools share: square windows."""

    rank: ClassVar[int | None] = 3
    window: int  # side of the window, pixels
    stride: int | None = None  # pixels; None: the window, as in Keras
    padding: Padding = "VALID"

    def output_shape(self, input_shape: Shape) -> Shape:
        height, width, channels = input_shape
        stride = self.stride or self.window
        return (
            window_size(height, self.window, stride, self.padding),
            window_size(width, self.window, stride, self.padding),
            channels,
        )

    def settings(self) -> str:
        return windows_text(self.window, self.stride, self.padding, usual=self.window)


@dataclasses.dataclass(frozen=True, repr=False)
class MaxPool(_Pool):
    """Maximum over square windows; `SAME` pads with minus infinity."""

    kind: ClassVar[str] = "max_pool"

    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        stride = self.stride or self.window
        return zoo.ops.max_pool(x, self.window, stride, self.padding)


@dataclasses.dataclass(frozen=True, repr=False)
class AvgPool(_Pool):
    """Mean over square windows; with `SAME` only of the pixels in the image, as in Keras."""

    kind: ClassVar[str] = "avg_pool"

    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        stride = self.stride or self.window
        return zoo.ops.avg_pool(x, self.window, stride, self.padding)


@dataclasses.dataclass(frozen=True, repr=False)
class GlobalAvgPool(Layer):
    """[B, H, W, C] -> [B, C], the mean over all pixels: vectors, as after Flatten."""

    kind: ClassVar[str] = "global_avg_pool"
    rank: ClassVar[int | None] = 3

    def output_shape(self, input_shape: Shape) -> Shape:
        return input_shape[-1:]

    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        return jnp.mean(x, axis=(1, 2))


@dataclasses.dataclass(frozen=True, repr=False)
class Crop(Layer):
    """Removes a border of as many pixels on each side."""

    kind: ClassVar[str] = "crop"
    rank: ClassVar[int | None] = 3
    border: int  # pixels

    def output_shape(self, input_shape: Shape) -> Shape:
        height, width, channels = input_shape
        return (height - 2 * self.border, width - 2 * self.border, channels)

    def settings(self) -> str:
        return f"{self.border} pixels on each side"

    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        height, width = x.shape[1:3]
        return x[:, self.border : height - self.border, self.border : width - self.border]


@dataclasses.dataclass(frozen=True, repr=False)
class Flatten(Layer):
    """[B, H, W, C] -> [B, H * W * C], channels fastest, as in Keras."""

    kind: ClassVar[str] = "flatten"
    rank: ClassVar[int | None] = 3

    def output_shape(self, input_shape: Shape) -> Shape:
        height, width, channels = input_shape
        return (height * width * channels,)

    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        return x.reshape(x.shape[0], math.prod(x.shape[1:]))
