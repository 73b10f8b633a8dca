"""The layer types, of which a net is a list.

A net is a tuple of the frozen dataclasses below, in the order of its notebook's `model.add` lines.
All facts about a net (output shapes, smallest image, parameter names) are derived from that tuple,
in `zoo.models.net`.
Defaults are those of Keras 2.2: Glorot-uniform kernels, zero biases, `valid` padding, ReLU after
every convolution and dense layer except the head.
"""

import dataclasses
from typing import Any, ClassVar, Protocol

import flax.linen as nn
import jax

import zoo.ops
from zoo.ops.windows import Padding

Shape = tuple[int, ...]

Initializer = str | nn.initializers.Initializer  # a name from INITIALIZERS, or a function
INITIALIZERS: dict[str, nn.initializers.Initializer] = {
    "glorot_uniform": nn.initializers.glorot_uniform(),
    "glorot_normal": nn.initializers.glorot_normal(),
    "he_normal": nn.initializers.he_normal(),
}


@dataclasses.dataclass(frozen=True)
class Context:
    """What a layer needs besides its input."""

    name: str
    train: bool
    mask: jax.Array | None  # [B] bool: the examples used for batch statistics; None: all
    dtype: Any


class Layer(Protocol):
    """One line of a net."""

    kind: ClassVar[str]  # stem of the layer's name: the second "conv" is conv_2

    def output_shape(self, input_shape: Shape) -> Shape:
        """Shape of one example's output, without the batch axis; may contain sizes below 1."""

    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        """The layer's output for x: [B, *input_shape]; call it inside a compact Flax method."""


def initializer(chosen: Initializer) -> nn.initializers.Initializer:
    """The function of that name, or the function itself.

    Raises:
        ValueError: the name is not in `INITIALIZERS`.
    """
    if not isinstance(chosen, str):
        return chosen
    if chosen not in INITIALIZERS:
        raise ValueError(f"unknown initializer {chosen!r}: known are {', '.join(INITIALIZERS)}")
    return INITIALIZERS[chosen]


def _short(layer: Any) -> str:
    """A layer as in a net's list, such as Conv(32, 3): without what has its default."""
    shown = []
    for field in dataclasses.fields(layer):
        value = getattr(layer, field.name)
        if field.default is dataclasses.MISSING:
            shown.append(repr(value))
        elif value != field.default:
            shown.append(f"{field.name}={value!r}")
    return f"{type(layer).__name__}({', '.join(shown)})"


def _window_size(size: int, window: int, stride: int, padding: Padding) -> int:
    """Output size along one axis (TensorFlow's convention, as in Keras)."""
    if padding == "SAME":
        return -(-size // stride)  # ceil
    return (size - window) // stride + 1


def _conv_of_stride_1(
    x: jax.Array, kernel: jax.Array, strides: Any, padding: Padding, **defaults: Any
) -> jax.Array:
    """What `nn.Conv` calls instead of `lax.conv_general_dilated`."""
    return zoo.ops.conv(x, kernel, padding)


@dataclasses.dataclass(frozen=True, repr=False)
class Conv:
    """Convolution of stride 1 with a square kernel, bias and ReLU."""

    kind: ClassVar[str] = "conv"
    __repr__ = _short
    features: int
    kernel_size: int  # side of the kernel, pixels
    padding: Padding = "VALID"
    kernel_init: Initializer = "glorot_uniform"

    def output_shape(self, input_shape: Shape) -> Shape:
        height, width, _ = input_shape
        return (
            _window_size(height, self.kernel_size, 1, self.padding),
            _window_size(width, self.kernel_size, 1, self.padding),
            self.features,
        )

    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        x = nn.Conv(
            self.features,
            (self.kernel_size, self.kernel_size),
            padding=self.padding,
            kernel_init=initializer(self.kernel_init),
            dtype=context.dtype,
            name=context.name,
            conv_general_dilated=_conv_of_stride_1,
        )(x)
        return nn.relu(x)


@dataclasses.dataclass(frozen=True, repr=False)
class MaxPool:
    """Maximum over square windows; `SAME` pads with minus infinity."""

    kind: ClassVar[str] = "max_pool"
    __repr__ = _short
    window: int  # side of the window, pixels
    stride: int | None = None  # pixels; None: the window, as in Keras
    padding: Padding = "VALID"

    def output_shape(self, input_shape: Shape) -> Shape:
        height, width, channels = input_shape
        stride = self.stride or self.window
        return (
            _window_size(height, self.window, stride, self.padding),
            _window_size(width, self.window, stride, self.padding),
            channels,
        )

    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        stride = self.stride or self.window
        return zoo.ops.max_pool(x, self.window, stride, self.padding)


@dataclasses.dataclass(frozen=True, repr=False)
class Crop:
    """Removes a border of as many pixels on each side."""

    kind: ClassVar[str] = "crop"
    __repr__ = _short
    border: int  # pixels

    def output_shape(self, input_shape: Shape) -> Shape:
        height, width, channels = input_shape
        return (height - 2 * self.border, width - 2 * self.border, channels)

    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        height, width = x.shape[1:3]
        return x[:, self.border : height - self.border, self.border : width - self.border]


class _RandomDropout(nn.Module):
    """Applies dropout with the `dropout` stream; a module, so that each layer gets its own key."""

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return zoo.ops.dropout(x, self.rate, self.make_rng("dropout"))


@dataclasses.dataclass(frozen=True, repr=False)
class Dropout:
    """Inverted dropout: in training, zero with probability `rate`, else divided by 1 - rate."""

    kind: ClassVar[str] = "dropout"
    __repr__ = _short
    rate: float

    def output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        if not context.train:
            return x
        return _RandomDropout(self.rate, name=context.name)(x)


@dataclasses.dataclass(frozen=True, repr=False)
class BatchNorm:
    """Batch normalization over all axes except the last, with Keras's constants."""

    kind: ClassVar[str] = "batch_norm"
    __repr__ = _short
    momentum: float = 0.99
    epsilon: float = 1e-3

    def output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        mask = context.mask
        if mask is not None:
            mask = mask.reshape(mask.shape + (1,) * (x.ndim - 1))  # [B, 1, ...]
        return nn.BatchNorm(
            use_running_average=not context.train,
            momentum=self.momentum,
            epsilon=self.epsilon,
            use_fast_variance=False,  # E[(x - mean)²], as in TensorFlow: no cancellation
            dtype=context.dtype,
            name=context.name,
        )(x, mask=mask)


@dataclasses.dataclass(frozen=True, repr=False)
class Flatten:
    """[B, H, W, C] -> [B, H * W * C], channels fastest, as in Keras."""

    kind: ClassVar[str] = "flatten"
    __repr__ = _short

    def output_shape(self, input_shape: Shape) -> Shape:
        height, width, channels = input_shape
        return (height * width * channels,)

    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        return x.reshape(x.shape[0], -1)


@dataclasses.dataclass(frozen=True, repr=False)
class Dense:
    """Dense layer with bias and ReLU."""

    kind: ClassVar[str] = "dense"
    __repr__ = _short
    features: int
    kernel_init: Initializer = "glorot_uniform"

    def output_shape(self, input_shape: Shape) -> Shape:
        return (self.features,)

    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        x = nn.Dense(
            self.features,
            kernel_init=initializer(self.kernel_init),
            dtype=context.dtype,
            name=context.name,
        )(x)
        return nn.relu(x)


@dataclasses.dataclass(frozen=True, repr=False)
class Head:
    """The last line of every net: a dense layer with `num_classes` logits.

    The notebooks' softmax is not part of it: it is part of the loss and of prediction.
    """

    __repr__ = _short
    kernel_init: Initializer = "glorot_uniform"


Net = tuple[Layer | Head, ...]
