"""Sets the results of a convolution to exactly zero where one of the operands is blank.

Most of an image of a digit is blank. A sum of products of zeros is zero, but an algorithm that
takes differences of sums instead leaves rounding errors there, of either sign; the ReLU after it
passes the positive half, and the bias receives the gradient of the whole background.
"""

import functools

import jax
import jax.numpy as jnp

from zoo.ops.windows import Pads, Shape, pad_images


def without_blank_patches(y: jax.Array, x: jax.Array, kernel: Shape, pads: Pads) -> jax.Array:
    """Outputs [B, H', W', F] of images [B, H, W, C], zero where the kernel sees only zeros.

    `kernel` is the shape of the kernel, height and width first.
    """
    largest = jnp.max(jnp.abs(x), axis=3, keepdims=True)  # [B, H, W, 1]
    live = pad_images(largest, pads) != 0
    for axis, side in zip((1, 2), kernel[:2], strict=True):
        live = _any_in_window(live, axis, side)
    return jnp.where(live, y, jnp.zeros((), y.dtype))


def without_blank_taps(dkernel: jax.Array, x: jax.Array, pads: Pads) -> jax.Array:
    """A kernel's gradient [h, w, C, F], zero where a weight is multiplied by zero pixels only."""
    live = jnp.any(pad_images(x, pads) != 0, axis=0, keepdims=True)  # [1, H, W, C]
    for axis, taps in zip((1, 2), dkernel.shape[:2], strict=True):
        live = _any_in_window(live, axis, live.shape[axis] - taps + 1)
    return jnp.where(live[0, ..., None], dkernel, jnp.zeros((), dkernel.dtype))


def _any_in_window(live: jax.Array, axis: int, side: int) -> jax.Array:
    """For each window of `side` pixels along the axis, whether any of them is true."""
    windows = live.shape[axis] - side + 1
    slices = [
        jax.lax.slice_in_dim(live, first, first + windows, axis=axis) for first in range(side)
    ]
    return functools.reduce(jnp.logical_or, slices)
