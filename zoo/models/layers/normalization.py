"""Normalizations, with Keras's constants."""

import dataclasses
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from zoo.models.layers.layer import Context, Layer, Shape, Variables

STATISTICS = "statistics"  # of a batch over devices, by which a checkpoint policy knows them


@dataclasses.dataclass(frozen=True, repr=False)
class BatchNorm(Layer):
    """Batch normalization over all axes except the last, with Keras's constants."""

    kind: ClassVar[str] = "batch_norm"
    momentum: float = 0.99
    epsilon: float = 1e-3

    def output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def variables(self, input_shape: Shape) -> Variables:
        channels = input_shape[-1:]
        return {
            **_scale_and_bias(channels),
            "batch_stats": {"mean": channels, "var": channels},
        }

    def settings(self) -> str:
        return f"momentum {self.momentum:g}, epsilon {self.epsilon:g}"

    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        mask = context.mask
        if mask is not None:
            mask = mask.reshape(mask.shape + (1,) * (x.ndim - 1))  # [B, 1, ...]
        kind = _SpreadBatchNorm if context.axis_name and context.train else nn.BatchNorm
        return kind(
            use_running_average=not context.train,
            momentum=self.momentum,
            epsilon=self.epsilon,
            use_fast_variance=False,  # E[(x - mean)²], as in TensorFlow: no cancellation
            dtype=context.dtype,
            axis_name=context.axis_name,
            name=context.name,
        )(x, mask=mask)


class _SpreadBatchNorm(nn.BatchNorm):
    """Flax's in training, of a batch that is spread over `axis_name`, of which parts are masked.

    Flax takes the mean of the devices' means, which is that of the batch only if each device has
    as many examples. Here sums are added up, and divided once.
    """

    @nn.compact
    def __call__(
        self, x: Any, use_running_average: bool | None = None, *, mask: jax.Array | None = None
    ) -> jax.Array:
        channels, axes = x.shape[-1:], tuple(range(x.ndim - 1))
        means = self.variable("batch_stats", "mean", jnp.zeros, channels)
        variances = self.variable("batch_stats", "var", jnp.ones, channels)
        scale = self.param("scale", nn.initializers.ones, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        full = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        is_used = jnp.ones((), bool) if mask is None else mask
        count = self._over_devices(jnp.broadcast_to(is_used, (*x.shape[:-1], 1)))
        mean = self._over_devices(full, axes, is_used) / count
        variance = self._over_devices(jnp.square(full - mean), axes, is_used) / count
        if not self.is_initializing():
            means.value = self.momentum * means.value + (1 - self.momentum) * mean
            variances.value = self.momentum * variances.value + (1 - self.momentum) * variance
        normalized = (full - mean) * (jax.lax.rsqrt(variance + self.epsilon) * scale) + bias
        return normalized.astype(self.dtype)

    def _over_devices(self, x: jax.Array, axes: Any = None, where: Any = None) -> jax.Array:
        """A sum over all devices, by a name by which it is kept for the gradient."""
        total = jax.lax.psum(jnp.sum(x, axes, where=where), self.axis_name)
        return checkpoint_name(total, STATISTICS)


@dataclasses.dataclass(frozen=True, repr=False)
class GroupNorm(Layer):
    """Normalization of each example, over its pixels and the channels of a group."""

    kind: ClassVar[str] = "group_norm"
    groups: int  # the channels are split into as many
    epsilon: float = 1e-3

    def output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def variables(self, input_shape: Shape) -> Variables:
        return _scale_and_bias(input_shape[-1:])

    def check(self, input_shape: Shape) -> None:
        if input_shape[-1] % self.groups:
            raise ValueError(
                f"has {self.groups} groups, but {input_shape[-1]} channels: use a divisor"
            )

    def settings(self) -> str:
        return f"{self.groups} groups, epsilon {self.epsilon:g}"

    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        return nn.GroupNorm(
            num_groups=self.groups,
            epsilon=self.epsilon,
            use_fast_variance=False,
            dtype=context.dtype,
            name=context.name,
        )(x)


@dataclasses.dataclass(frozen=True, repr=False)
class LayerNorm(Layer):
    """Normalization of each pixel, or vector, over its channels, as in Keras."""

    kind: ClassVar[str] = "layer_norm"
    epsilon: float = 1e-3

    def output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def variables(self, input_shape: Shape) -> Variables:
        return _scale_and_bias(input_shape[-1:])

    def settings(self) -> str:
        return f"epsilon {self.epsilon:g}"

    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        return nn.LayerNorm(
            epsilon=self.epsilon,
            use_fast_variance=False,
            dtype=context.dtype,
            name=context.name,
        )(x)


def _scale_and_bias(channels: Shape) -> Variables:
    return {"params": {"scale": channels, "bias": channels}}
