"""What all layers have: a name, the shapes that follow from it, initializers, activations."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.dtypes import promote_dtype

from zoo.ops.windows import Padding

Shape = tuple[int, ...]
Variables = dict[str, dict[str, Shape]]  # {"params": {"kernel": shape, ...}, "batch_stats": ...}

Initializer = str | nn.initializers.Initializer  # a name from INITIALIZERS, or a function
INITIALIZERS: dict[str, nn.initializers.Initializer] = {
    "glorot_uniform": nn.initializers.glorot_uniform(),
    "glorot_normal": nn.initializers.glorot_normal(),
    "he_normal": nn.initializers.he_normal(),
}

ActivationName = str | None  # a name from ACTIVATIONS; None: none
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": nn.relu,
    "gelu": functools.partial(nn.gelu, approximate=False),  # with erf, as in Keras and PyTorch
    "silu": nn.silu,
    "leaky_relu": nn.leaky_relu,  # 0.01 below zero, as in PyTorch
    "selu": nn.selu,
}


@dataclasses.dataclass(frozen=True)
class Context:
    """What a layer needs besides its input."""

    name: str
    train: bool
    mask: jax.Array | None  # [B] bool: the examples used for batch statistics; None: all
    dtype: Any
    axis_name: str | None = None  # of `jax.shard_map`: x is one device's part of the batch


class Layer:
    """One line of a net: a subclass is a frozen dataclass of the layer's settings.

    A layer has one input, of images [B, H, W, C] or of vectors [B, F]. All facts about it follow
    from its settings and the shape of its input; a layer of one's own defines `kind`,
    `output_shape` and `__call__`, and with variables also `variables`.
    """

    kind: ClassVar[str]  # stem of the layer's name: the second "conv" is conv_2
    rank: ClassVar[int | None] = None  # axes of one example: 3 images, 1 vectors, None either

    def __post_init__(self) -> None:
        """Makes a number of NumPy's one of Python's, which a run and files can hold."""
        for field in dataclasses.fields(self):  # type: ignore[arg-type]  # a subclass is one
            value = getattr(self, field.name)
            if isinstance(value, np.generic):
                object.__setattr__(self, field.name, value.item())

    def output_shape(self, input_shape: Shape) -> Shape:
        """Shape of one example's output, without the batch axis; may contain sizes below 1."""
        raise NotImplementedError

    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        """The layer's output for x: [B, *input_shape]; call it inside a compact Flax method."""
        raise NotImplementedError

    def variables(self, input_shape: Shape) -> Variables:
        """The shapes of its own variables, in the order of Keras's weights.

        The names do not depend on the input's shape.
        """
        return {}

    def macs(self, input_shape: Shape) -> int:
        """Multiply-adds for one image, forward; every position of a kernel counts."""
        return 0

    def check(self, input_shape: Shape) -> None:
        """Raises ValueError if the layer cannot take such an input, whatever its height and width.

        The text goes on after the layer's name: "has 8 groups, but 12 channels".
        """

    def settings(self) -> str:
        """In a few words, such as "64 of 3x3, same"."""
        return ""

    def __repr__(self) -> str:
        """As in a net's list, such as Conv(32, 3): without what has its default."""
        shown = []
        for field in dataclasses.fields(self):  # type: ignore[arg-type]  # a subclass is one
            value = getattr(self, field.name)
            if field.default is dataclasses.MISSING:
                shown.append(repr(value))
            elif value != field.default:
                shown.append(f"{field.name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


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


def activated(x: jax.Array, name: ActivationName) -> jax.Array:
    """The activation function of that name, applied; None: x itself.

    Raises:
        ValueError: the name is not in `ACTIVATIONS`.
    """
    if name is None:
        return x
    if name not in ACTIVATIONS:
        raise ValueError(
            f"unknown activation {name!r}: known are {', '.join(ACTIVATIONS)}, and None for none"
        )
    return ACTIVATIONS[name](x)


def with_full_bias(*arrays: Any, dtype: Any = None, inexact: bool = True) -> list[Any]:
    """How Flax's convolutions and dense layers convert x, kernel, bias: the bias is not rounded.

    The sum with it is float32 at least, and so is its gradient, a sum over all pixels and images:
    bfloat16 counts to 256 only.
    """
    x, kernel, bias = arrays
    x, kernel = promote_dtype(x, kernel, dtype=dtype, inexact=inexact)
    if bias is not None:
        bias = bias.astype(jnp.promote_types(x.dtype, jnp.float32))
    return [x, kernel, bias]


def kernel_and_bias(kernel: Shape, use_bias: bool) -> Variables:
    """The variables of a convolution or a dense layer with a kernel of that shape."""
    return {"params": {"kernel": kernel} | ({"bias": kernel[-1:]} if use_bias else {})}


def window_size(size: int, window: int, stride: int, padding: Padding) -> int:
    """Output size along one axis (TensorFlow's convention, as in Keras)."""
    if padding == "SAME":
        return -(-size // stride)  # ceil
    return (size - window) // stride + 1


def windows_text(side: int, stride: int | None, padding: Padding, usual: int) -> str:
    """Such as "3x3, stride 2, same"; a stride that is usual is not told."""
    steps = "" if stride in (None, usual) else f" stride {stride},"
    return f"{side}x{side},{steps} {padding.lower()}"


def with_activation(text: str, name: ActivationName) -> str:
    """The text, followed by the activation where it is not the usual ReLU."""
    return text if name == "relu" else f"{text}, {name or 'linear'}"
