"""What convolution and pooling share: how a window slides over an image."""

import functools
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

Padding = Literal["VALID", "SAME"]
Shape = tuple[int, ...]
Pads = tuple[tuple[int, int], tuple[int, int]]  # (top, bottom), (left, right) in pixels

NO_PADS: Pads = ((0, 0), (0, 0))


def same_or_valid(x: jax.Array, window: tuple[int, ...], stride: int, padding: Padding) -> Pads:
    """The pads of images [B, H, W, C], by TensorFlow's convention: an odd pixel goes last.

    Raises:
        ValueError: unknown padding, or images that are smaller than the window without padding.
    """
    if padding == "VALID":
        if any(size < side for size, side in zip(x.shape[1:3], window, strict=True)):
            image, wanted = ("x".join(map(str, sizes)) for sizes in (x.shape[1:3], window))
            raise ValueError(f"a {image} image is smaller than the {wanted} window")
        return NO_PADS
    if padding != "SAME":
        raise ValueError(f"padding must be VALID or SAME, not {padding!r}")
    total = [
        max(0, (-(-size // stride) - 1) * stride + side - size)
        for size, side in zip(x.shape[1:3], window, strict=True)
    ]
    top, left = (pad // 2 for pad in total)
    return (top, total[0] - top), (left, total[1] - left)


def output_shape(x: Shape, kernel: Shape, pads: Pads) -> Shape:
    """[B, H', W', F] of images [B, H, W, C] and a kernel [h, w, C, F]."""
    rows, columns = (
        size + sum(pad) - side + 1 for size, side, pad in zip(x[1:3], kernel[:2], pads, strict=True)
    )
    return x[0], rows, columns, kernel[3]


def input_shape(y: Shape, kernel: Shape, pads: Pads) -> Shape:
    """[B, H, W, C] of the images that give outputs [B, H', W', F] under a kernel [h, w, C, F]."""
    height, width = (
        out + side - 1 - sum(pad) for out, side, pad in zip(y[1:3], kernel[:2], pads, strict=True)
    )
    return y[0], height, width, kernel[2]


def kernel_shape(x: Shape, y: Shape, pads: Pads) -> Shape:
    """[h, w, C, F] of the kernel that makes outputs [B, H', W', F] of images [B, H, W, C]."""
    height, width = (
        size + sum(pad) - out + 1 for size, out, pad in zip(x[1:3], y[1:3], pads, strict=True)
    )
    return height, width, x[3], y[3]


def pad_images(x: jax.Array, pads: Pads, value: float = 0.0) -> jax.Array:
    """Images [B, H, W, C] with a border of `value`; negative pads crop."""
    if pads == NO_PADS:
        return x
    edges = ((0, 0, 0), (*pads[0], 0), (*pads[1], 0), (0, 0, 0))
    return jax.lax.pad(x, jnp.asarray(value, x.dtype), edges)


def seen_by_windows(x: jax.Array, size: tuple[int, ...], pads: Pads) -> jax.Array:
    """Images [B, *size, C] of those that windows tile: no pads, and the pixels that none covers."""
    (top, _), (left, _) = pads
    height, width = x.shape[1:3]
    edges = (-top, top + size[0] - height), (-left, left + size[1] - width)
    return pad_images(x, edges)


def place(
    values: jax.Array, size: tuple[int, ...], tap: tuple[int, int], stride: int, pads: Pads
) -> jax.Array:
    """Zero images [B, *size, C], but with each window's value [B, H', W', C] at its pixel `tap`."""
    edges = []
    for length, out, offset, (before, _) in zip(size, values.shape[1:3], tap, pads, strict=True):
        low = offset - before
        edges.append((low, length - low - (out - 1) * stride - 1, stride - 1))
    zero = jnp.zeros((), values.dtype)
    return jax.lax.pad(values, zero, ((0, 0, 0), *edges, (0, 0, 0)))


def spread(
    values: jax.Array, weights: jax.Array, stride: int, size: tuple[int, ...], pads: Pads
) -> jax.Array:
    """Images [B, *size, C]: for each window its value [B, H', W', C] times [h, w, C], added up.

    The transpose of a sum of shifted and weighted images. The images are computed in blocks of
    stride x stride pixels that the same windows cover, as one loop, whereas shifted images between
    zeros take 3 to 8 times as long (docs/results/2026-11-27-layers.md).
    """
    height, width = (-(-side // stride) for side in weights.shape[:2])  # of a window, in blocks
    missing = (height * stride - weights.shape[0], width * stride - weights.shape[1])
    is_tap = np.pad(np.ones(weights.shape[:2], bool), ((0, missing[0]), (0, missing[1])))
    is_tap = is_tap.reshape(height, stride, width, stride, 1)
    weights = jnp.pad(weights, ((0, missing[0]), (0, missing[1]), (0, 0)))
    weights = weights.reshape(height, stride, width, stride, -1)
    values = pad_images(values, ((height - 1, height - 1), (width - 1, width - 1)))
    batch, rows, columns, channels = values.shape
    rows, columns = rows - height + 1, columns - width + 1

    def block(i: int, j: int) -> jax.Array:  # [B, rows, stride, columns, stride, C]
        up, left = height - 1 - i, width - 1 - j
        seen = values[:, up : up + rows, None, left : left + columns, None]
        # A pixel that the window does not cover gets nothing of a value that is not finite.
        return jnp.where(is_tap[i, :, None, j], seen * weights[i, :, None, j], 0)

    tiled = functools.reduce(jnp.add, [block(i, j) for i in range(height) for j in range(width)])
    return seen_by_windows(
        tiled.reshape(batch, rows * stride, columns * stride, channels), size, pads
    )


def evaluated_once(x: jax.Array) -> jax.Array:
    """The same array, evaluated once. XLA evaluates a cheap formula again for each use, but not a
    division.

    A division by a constant would be turned into a product; this one cannot.
    """
    infinity = jnp.array(jnp.inf, x.dtype)
    return x / jnp.where(x > infinity, x, jnp.ones((), x.dtype))


def largest_divisor(number: int, most: int) -> int:
    """The largest divisor of the number that is at most `most`, or one."""
    if not isinstance(number, int):
        return 1  # a symbolic number of images
    return next((size for size in range(min(number, most), 1, -1) if number % size == 0), 1)


def in_blocks(function: Callable[..., jax.Array], *arrays: jax.Array) -> jax.Array:
    """The function of a batch, applied to up to eight blocks of it one after another.

    A block's temporary arrays stay in cache. The loop also needs its inputs as arrays: XLA cannot
    fuse the formulas behind them into the function, where they would be evaluated for every use.
    """
    batch = arrays[0].shape[0]
    blocks = largest_divisor(batch, 8)
    if blocks == 1:
        return function(*arrays)
    split = [array.reshape(blocks, batch // blocks, *array.shape[1:]) for array in arrays]
    y = jax.lax.map(lambda block: function(*block), split)
    return y.reshape(batch, *y.shape[2:])
