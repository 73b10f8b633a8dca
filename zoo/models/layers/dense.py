"""Dense layers, and those that act on each value."""

import dataclasses
from typing import ClassVar

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
    with_activation,
    with_full_bias,
)


@dataclasses.dataclass(frozen=True, repr=False)
class Dense(Layer):
    """Dense layer with bias and ReLU."""

    kind: ClassVar[str] = "dense"
    rank: ClassVar[int | None] = 1
    features: int
    kernel_init: Initializer = "glorot_uniform"
    activation: ActivationName = "relu"
    use_bias: bool = True

    def output_shape(self, input_shape: Shape) -> Shape:
        return (self.features,)

    def variables(self, input_shape: Shape) -> Variables:
        return kernel_and_bias((input_shape[-1], self.features), self.use_bias)

    def macs(self, input_shape: Shape) -> int:
        return input_shape[-1] * self.features

    def settings(self) -> str:
        return with_activation(f"{self.features}", self.activation)

    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        x = nn.Dense(
            self.features,
            use_bias=self.use_bias,
            kernel_init=initializer(self.kernel_init),
            dtype=context.dtype,
            name=context.name,
            promote_dtype=with_full_bias,
        )(x)
        return activated(x.astype(context.dtype), self.activation)


@dataclasses.dataclass(frozen=True, repr=False)
class Activation(Layer):
    """An activation function alone, such as after a normalization."""

    kind: ClassVar[str] = "activation"
    activation: str  # a name from ACTIVATIONS

    def output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def settings(self) -> str:
        return self.activation

    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        return activated(x, self.activation)


class _RandomDropout(nn.Module):
    """Applies dropout with the `dropout` stream; a module, so that each layer gets its own key."""

    rate: float
    axis_name: str | None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        first = jax.lax.axis_index(self.axis_name) * len(x) if self.axis_name else None
        return zoo.ops.dropout(x, self.rate, self.make_rng("dropout"), first)


@dataclasses.dataclass(frozen=True, repr=False)
class Dropout(Layer):
    """Inverted dropout: in training, zero with probability `rate`, else divided by 1 - rate."""

    kind: ClassVar[str] = "dropout"
    rate: float

    def output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def settings(self) -> str:
        return f"rate {self.rate:g}"

    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        if not context.train:
            return x
        return _RandomDropout(self.rate, context.axis_name, name=context.name)(x)


@dataclasses.dataclass(frozen=True, repr=False)
class Head:
    """The last line of every net: a dense layer with `num_classes` logits.

    The notebooks' softmax is not part of it: it is part of the loss and of prediction.
    """

    __repr__ = Layer.__repr__
    kernel_init: Initializer = "glorot_uniform"
