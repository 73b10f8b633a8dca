"""Depthwise convolution on a CPU: each channel has features of its own.

There is nothing to share between channels, so it is no matrix product but a sum of shifted and
weighted images, which XLA makes one loop of. XLA's own convolution with as many groups takes 12 to
34 times as long, its input gradient 1 to 2 times, its kernel gradient seconds
(benchmarks/layers.py --others).
"""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from zoo.ops.windows import Pads, pad_images, spread


def output(x: jax.Array, kernel: jax.Array, stride: int, pads: Pads) -> jax.Array:
    """[B, H', W', F] of images [B, H, W, C] and a kernel [h, w, 1, F], F a multiple of C."""
    x = _repeated(pad_images(x, pads), kernel.shape[3])
    taps = kernel.shape[0], kernel.shape[1]
    return functools.reduce(
        jnp.add,
        [pixels * kernel[i, j, 0] for (i, j), pixels in _taps(x, taps, stride)],
    )


def input_gradient(
    dy: jax.Array, kernel: jax.Array, stride: int, pads: Pads, size: tuple[int, int], channels: int
) -> jax.Array:
    """The gradient with respect to the images: `[B, *size, C]`."""
    dx = spread(dy, kernel[:, :, 0], stride, size, pads)  # [B, *size, F]
    if dy.shape[3] == channels:
        return dx
    return dx.reshape(*dx.shape[:3], channels, -1).sum(axis=4)  # as _repeated


def kernel_gradient(
    x: jax.Array, dy: jax.Array, stride: int, pads: Pads, taps: tuple[int, int]
) -> jax.Array:
    """The gradient with respect to the kernel: [h, w, 1, F].

    The products are added up image by image, and their pixels only at the end: a sum over all at
    once takes three to five times as long.
    """
    dtype = jnp.promote_types(x.dtype, jnp.float32)  # of a sum of many
    x = _repeated(pad_images(x, pads), dy.shape[3])

    def add(sums: list[jax.Array], image: Any) -> tuple[list[jax.Array], None]:
        one, its_dy = image
        products = [
            pixels[0] * its_dy.astype(dtype)
            for _, pixels in _taps(one[None].astype(dtype), taps, stride)
        ]
        return [total + product for total, product in zip(sums, products, strict=True)], None

    zeros = [jnp.zeros(dy.shape[1:], dtype)] * (taps[0] * taps[1])
    sums, _ = jax.lax.scan(add, zeros, (x, dy))
    summed = jnp.stack([total.sum(axis=(0, 1)) for total in sums])
    return summed.reshape(*taps, 1, -1).astype(x.dtype)


def _repeated(x: jax.Array, features: int) -> jax.Array:
    """Each channel as often as it has features."""
    return jnp.repeat(x, features // x.shape[3], axis=3) if features != x.shape[3] else x


def _taps(
    x: jax.Array, taps: tuple[int, int], stride: int
) -> Iterator[tuple[tuple[int, int], jax.Array]]:
    """For each tap of the kernel, the pixels that it is multiplied by: [B, H', W', C]."""
    batch, height, width, channels = x.shape
    bottom, right = (
        (size - side) // stride * stride + 1
        for size, side in zip((height, width), taps, strict=True)
    )
    for i in range(taps[0]):
        for j in range(taps[1]):
            limits = (batch, i + bottom, j + right, channels)
            yield (i, j), jax.lax.slice(x, (0, i, j, 0), limits, (1, stride, stride, 1))
