"""Max-pooling, and the two linear maps that are its derivative and its gradient.

Each window passes on what belongs to its largest pixel: forward a tangent, backward the output's
gradient. Each of the two maps, `_tangent` and `_gradient`, is linear in one operand, and the
transpose of the other; as primitives of JAX they differentiate pooling in any mode, in any order
and any number of times.

On a GPU or TPU this is XLA's `reduce_window`. On a CPU its gradient (`select_and_scatter`) is 50 to
100 times slower than its forward pass; here it is a sum of masked, shifted copies of the output's
gradient, as fast as the forward pass.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad

from zoo.ops.convolution import is_one_image
from zoo.ops.primitives import batch_as_images, differentiate_as, primitive
from zoo.ops.windows import (
    Padding,
    Pads,
    Shape,
    evaluated_once,
    in_blocks,
    pad_images,
    place,
    same_or_valid,
    seen_by_windows,
)


def max_pool(x: jax.Array, window: int, stride: int, padding: Padding) -> jax.Array:
    """The maximum over square windows: [B, H', W', C].

    If several pixels of a window are equal, the first of them in reading order gets the gradient,
    as in XLA. Differentiable in any mode, any number of times.

    Args:
        x: images [B, H, W, C], floating point.
        window: side of the window, pixels.
        stride: pixels between neighbouring windows, along either axis.
        padding: VALID, or SAME as in TensorFlow: padded with minus infinity.

    Raises:
        ValueError: unknown padding, or images that are smaller than the window without padding.
    """
    pads = same_or_valid(x, (window, window), stride, padding)
    return _answer.bind(x, window=window, stride=stride, pads=pads)


def _output_by_xla(x: jax.Array, window: int, stride: int, pads: Pads) -> jax.Array:
    windows, strides = (1, window, window, 1), (1, stride, stride, 1)
    padding = ((0, 0), *pads, (0, 0))
    return jax.lax.reduce_window(x, -math.inf, jax.lax.max, windows, strides, padding)


def _tangent_by_xla(x: jax.Array, dx: jax.Array, window: int, stride: int, pads: Pads) -> jax.Array:
    pool = functools.partial(_output_by_xla, window=window, stride=stride, pads=pads)
    return jax.jvp(pool, (x,), (dx,))[1]


def _gradient_by_xla(
    x: jax.Array, dy: jax.Array, window: int, stride: int, pads: Pads
) -> jax.Array:
    pool = functools.partial(_output_by_xla, window=window, stride=stride, pads=pads)
    return jax.vjp(pool, x)[1](dy)[0]


def window_pixels(
    x: jax.Array, window: int, stride: int, pads: Pads, padding: float = -math.inf
) -> list[jax.Array]:
    """For each pixel of a window, in reading order, that pixel of every window: [B, H', W', C]."""
    x = pad_images(x, pads, padding)
    batch, height, width, channels = x.shape
    bottom, right = ((size - window) // stride * stride + 1 for size in (height, width))
    return [
        jax.lax.slice(
            x, (0, i, j, 0), (batch, i + bottom, j + right, channels), (1, stride, stride, 1)
        )
        for i in range(window)
        for j in range(window)
    ]


def _output_on_cpu(x: jax.Array, window: int, stride: int, pads: Pads) -> jax.Array:
    return functools.reduce(jnp.maximum, window_pixels(x, window, stride, pads))


def _answer_on_cpu(x: jax.Array, window: int, stride: int, pads: Pads) -> jax.Array:
    """The same, not differentiated."""
    formulation = _output_by_xla if is_one_image(x) else _output_on_cpu
    return formulation(x, window, stride, pads)


def _tangent_on_cpu(x: jax.Array, dx: jax.Array, window: int, stride: int, pads: Pads) -> jax.Array:
    """The tangent of each window's maximum: [B, H', W', C]."""
    first, *others = window_pixels(x, window, stride, pads)
    tangent, *tangents = window_pixels(dx, window, stride, pads, 0)
    largest = first
    for pixel, its_tangent in zip(others, tangents, strict=True):
        tangent = jnp.where(pixel > largest, its_tangent, tangent)
        largest = jnp.maximum(largest, pixel)
    return tangent


def _gradient_on_cpu(
    x: jax.Array, dy: jax.Array, window: int, stride: int, pads: Pads
) -> jax.Array:
    """Each window's gradient, at the pixel where its maximum was: [B, H, W, C].

    In a program that also has the output, XLA computes both from the same comparisons, which are
    the same expressions.
    """
    first, *others = window_pixels(x, window, stride, pads)
    number_type = jnp.uint8 if window < 16 else jnp.uint16
    largest, position = first, jnp.zeros(first.shape, number_type)
    for number, pixel in enumerate(others, start=1):
        position = jnp.where(pixel > largest, number_type(number), position)
        largest = jnp.maximum(largest, pixel)
    if window == stride:
        return _spread_apart(position, dy, x.shape[1:3], window, pads)
    spread = functools.partial(_spread, size=x.shape[1:3], window=window, stride=stride, pads=pads)
    if window > stride:  # each gradient is read several times
        return in_blocks(spread, position, dy)
    return spread(position, dy)


def _spread(
    position: jax.Array,
    dy: jax.Array,
    size: tuple[int, ...],
    window: int,
    stride: int,
    pads: Pads,
) -> jax.Array:
    """Each window's gradient, at the pixel where its maximum was: [B, *size, C]."""
    zero = jnp.zeros((), dy.dtype)
    if stride == 1:  # pad once, then slice: these loops vectorize better than one pad each
        borders = [
            (window - 1 - before, length + before - out)
            for length, out, (before, _) in zip(size, dy.shape[1:3], pads, strict=True)
        ]
        around = ((0, 0, 0), *[(low, high, 0) for low, high in borders], (0, 0, 0))
        dy = jax.lax.pad(dy, zero, around)
        position = jax.lax.pad(position, position.dtype.type(window * window), around)
    shifted = []
    for number in range(window * window):
        row, column = divmod(number, window)
        if stride == 1:
            top, left = window - 1 - row, window - 1 - column
            here = (slice(None), slice(top, top + size[0]), slice(left, left + size[1]))
            shifted.append(jnp.where(position[here] == number, dy[here], zero))
        else:
            masked = jnp.where(position == number, dy, zero)
            shifted.append(place(masked, size, (row, column), stride, pads))
    return functools.reduce(jnp.add, shifted)


def _spread_apart(
    position: jax.Array, dy: jax.Array, size: tuple[int, ...], window: int, pads: Pads
) -> jax.Array:
    """The same for windows that do not overlap, so that each pixel belongs to one of them."""
    batch, rows, columns, channels = dy.shape
    # Otherwise the maximum would be searched again for each pixel of a window.
    position = evaluated_once(position.astype(jnp.float32)).astype(position.dtype)
    windows = (batch, rows, 1, columns, 1, channels)
    pixels = jnp.arange(window * window, dtype=position.dtype).reshape(window, 1, window, 1)
    zero = jnp.zeros((), dy.dtype)
    dx = jnp.where(position.reshape(windows) == pixels, dy.reshape(windows), zero)
    dx = dx.reshape(batch, rows * window, columns * window, channels)
    return seen_by_windows(dx, size, pads)


def output_shape(x: Shape, window: int, stride: int, pads: Pads) -> Shape:
    rows, columns = (
        (size + sum(pad) - window) // stride + 1 for size, pad in zip(x[1:3], pads, strict=True)
    )
    return x[0], rows, columns, x[3]


_answer = primitive("max_pool", output_shape, _output_by_xla, _answer_on_cpu)
_output = primitive("max_pool_output", output_shape, _output_by_xla, _output_on_cpu)
_tangent = primitive(  # of (x, dx), linear in dx
    "max_pool_tangent",
    lambda x, _, **params: output_shape(x, **params),
    _tangent_by_xla,
    _tangent_on_cpu,
)
_gradient = primitive(  # of (x, dy), linear in dy
    "max_pool_gradient", lambda x, _, **params: x, _gradient_by_xla, _gradient_on_cpu
)


def _define_linear(own: Primitive, transpose: Primitive) -> None:
    """Derivative and transpose of own(x, operand), linear in the operand; of x it has no slope."""

    def transposed(cotangent: Any, x: jax.Array, _: Any, **params: Any) -> tuple[None, Any]:
        if type(cotangent) is ad.Zero:
            return None, None
        return None, transpose.bind(x, cotangent, **params)

    ad.defjvp(own, None, lambda tangent, x, _, **params: own.bind(x, tangent, **params))
    ad.primitive_transposes[own] = transposed


ad.defjvp(_output, lambda dx, x, **params: _tangent.bind(x, dx, **params))
differentiate_as(_answer, _output)
_define_linear(_tangent, transpose=_gradient)
_define_linear(_gradient, transpose=_tangent)
for _each in (_answer, _output, _tangent, _gradient):
    batch_as_images(_each)
