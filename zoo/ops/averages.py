"""Average-pooling: sums over windows, and their transpose, which spreads values over windows.

Both are primitives of JAX, each the transpose of the other, so that pooling can be differentiated
in any mode. On a CPU the sums are of shifted images, 1.2 to 2.7 times as fast as XLA's
`reduce_window`, and overlapping windows spread 3 to 8 times as fast (benchmarks/layers.py
--others); a GPU or TPU gets the latter.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad

from zoo.ops.pooling import output_shape, window_pixels
from zoo.ops.primitives import batch_as_images, primitive
from zoo.ops.windows import NO_PADS, Padding, Pads, Shape, same_or_valid, spread


def avg_pool(x: jax.Array, window: int, stride: int, padding: Padding) -> jax.Array:
    """The mean over square windows: [B, H', W', C].

    Differentiable in any mode, any number of times.

    Args:
        x: images [B, H, W, C], floating point.
        window: side of the window, pixels.
        stride: pixels between neighbouring windows, along either axis.
        padding: VALID, or SAME as in TensorFlow: the mean of those pixels that are in the image.

    Raises:
        ValueError: unknown padding, or images that are smaller than the window without padding.
    """
    pads = same_or_valid(x, (window, window), stride, padding)
    height, width = x.shape[1:3]
    sum_of = functools.partial(
        _sums.bind, window=window, stride=stride, pads=pads, size=(height, width)
    )
    if pads == NO_PADS:
        return sum_of(x) / (window * window)
    return sum_of(x) / sum_of(jnp.ones((1, height, width, 1), x.dtype))


def _sums_by_xla(
    x: jax.Array, window: int, stride: int, pads: Pads, size: tuple[int, int]
) -> jax.Array:
    windows, strides = (1, window, window, 1), (1, stride, stride, 1)
    return jax.lax.reduce_window(x, 0.0, jax.lax.add, windows, strides, ((0, 0), *pads, (0, 0)))


def _spread_by_xla(dy: jax.Array, size: tuple[int, int], **params: Any) -> jax.Array:
    x = jax.ShapeDtypeStruct((dy.shape[0], *size, dy.shape[3]), dy.dtype)
    return jax.linear_transpose(lambda x: _sums_by_xla(x, size=size, **params), x)(dy)[0]


def _sums_on_cpu(
    x: jax.Array, window: int, stride: int, pads: Pads, size: tuple[int, int]
) -> jax.Array:
    return functools.reduce(jnp.add, window_pixels(x, window, stride, pads, 0))


def _spread_on_cpu(
    dy: jax.Array, window: int, stride: int, pads: Pads, size: tuple[int, int]
) -> jax.Array:
    return spread(dy, jnp.ones((window, window, 1), dy.dtype), stride, size, pads)


def _sums_shape(x: Shape, window: int, stride: int, pads: Pads, size: tuple[int, int]) -> Shape:
    return output_shape(x, window, stride, pads)


def _spread_shape(dy: Shape, size: tuple[int, int], **params: Any) -> Shape:
    return dy[0], *size, dy[3]


_sums = primitive("window_sums", _sums_shape, _sums_by_xla, _sums_on_cpu)
_spread = primitive("window_spread", _spread_shape, _spread_by_xla, _spread_on_cpu)


def _define(own: Primitive, transpose: Primitive) -> None:
    """Derivative and transpose of a linear map of images, and `jax.vmap`: more images."""
    ad.deflinear2(own, lambda cotangent, _, **params: [transpose.bind(cotangent, **params)])
    batch_as_images(own)


_define(_sums, transpose=_spread)
_define(_spread, transpose=_sums)
