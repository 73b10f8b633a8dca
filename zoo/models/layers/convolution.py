"""Convolutions."""

import dataclasses
from typing import Any, ClassVar

import flax.linen as nn
import jax

import zoo.ops
from zoo.models.layers.layer import (
    ActivationName,
    Context,
    Initializer,
    Layer,
    Shape,
    Variables,
    activated,
    initializer,
    kernel_and_bias,
    window_size,
    windows_text,
    with_activation,
    with_full_bias,
)
from zoo.ops.windows import Padding


def own_conv(
    x: jax.Array,
    kernel: jax.Array,
    strides: Any,
    padding: Padding,
    feature_group_count: int = 1,
    **defaults: Any,
) -> jax.Array:
    """What `nn.Conv` calls instead of `lax.conv_general_dilated`."""
    return zoo.ops.conv(x, kernel, padding, stride=strides[0], groups=feature_group_count)


@dataclasses.dataclass(frozen=True, repr=False)
class Conv(Layer):
    """Convolution with a square kernel [size, size, C / groups, features], bias and ReLU."""

    kind: ClassVar[str] = "conv"
    rank: ClassVar[int | None] = 3
    features: int
    kernel_size: int  # side of the kernel, pixels
    padding: Padding = "VALID"
    kernel_init: Initializer = "glorot_uniform"
    stride: int = 1  # pixels between neighbouring outputs, along either axis
    groups: int = 1  # the channels are split into as many groups, each with its own features
    activation: ActivationName = "relu"
    use_bias: bool = True

    def output_shape(self, input_shape: Shape) -> Shape:
        height, width, _ = input_shape
        return (
            window_size(height, self.kernel_size, self.stride, self.padding),
            window_size(width, self.kernel_size, self.stride, self.padding),
            self.features,
        )

    def variables(self, input_shape: Shape) -> Variables:
        side, channels = self.kernel_size, input_shape[-1] // self.groups
        return kernel_and_bias((side, side, channels, self.features), self.use_bias)

    def macs(self, input_shape: Shape) -> int:
        height, width, _ = self.output_shape(input_shape)
        channels = input_shape[-1] // self.groups
        return height * width * self.kernel_size**2 * channels * self.features

    def check(self, input_shape: Shape) -> None:
        for count, of in ((input_shape[-1], "input channels"), (self.features, "features")):
            if count % self.groups:
                raise ValueError(f"has {self.groups} groups, but {count} {of}: use a divisor")

    def settings(self) -> str:
        window = windows_text(self.kernel_size, self.stride, self.padding, usual=1)
        groups = f", {self.groups} groups" if self.groups > 1 else ""
        return with_activation(f"{self.features} of {window}{groups}", self.activation)

    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        x = nn.Conv(
            self.features,
            (self.kernel_size, self.kernel_size),
            strides=self.stride,
            padding=self.padding,
            feature_group_count=self.groups,
            use_bias=self.use_bias,
            kernel_init=initializer(self.kernel_init),
            dtype=context.dtype,
            name=context.name,
            conv_general_dilated=own_conv,
            promote_dtype=with_full_bias,
        )(x)
        return activated(x.astype(context.dtype), self.activation)


@dataclasses.dataclass(frozen=True, repr=False)
class DepthwiseConv(Layer):
    """Convolution of each channel with a kernel of its own [size, size, 1, C], bias and ReLU.

    Followed by Conv(features, 1) it is a separable convolution.
    """

    kind: ClassVar[str] = "depthwise_conv"
    rank: ClassVar[int | None] = 3
    kernel_size: int  # side of the kernel, pixels
    padding: Padding = "VALID"
    kernel_init: Initializer = "glorot_uniform"
    stride: int = 1  # pixels between neighbouring outputs, along either axis
    activation: ActivationName = "relu"
    use_bias: bool = True

    def output_shape(self, input_shape: Shape) -> Shape:
        return self._conv(input_shape[-1]).output_shape(input_shape)

    def variables(self, input_shape: Shape) -> Variables:
        return self._conv(input_shape[-1]).variables(input_shape)

    def macs(self, input_shape: Shape) -> int:
        return self._conv(input_shape[-1]).macs(input_shape)

    def settings(self) -> str:
        window = windows_text(self.kernel_size, self.stride, self.padding, usual=1)
        return with_activation(window, self.activation)

    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        return self._conv(x.shape[-1])(x, context)

    def _conv(self, channels: int) -> Conv:
        """The same, as a convolution with a group for each channel."""
        return Conv(channels, groups=channels, **vars(self))
