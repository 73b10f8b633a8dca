"""Max-pooling.

On a GPU or TPU this is XLA's `reduce_window`. On a CPU its gradient (`select_and_scatter`) is 50 to
100 times slower than its forward pass; here it is a sum of masked, shifted copies of the output's
gradient, as fast as the forward pass.
"""

import functools
import math

import jax
import jax.numpy as jnp

from zoo.ops.windows import (
    Padding,
    Pads,
    evaluated_once,
    in_blocks,
    pad_images,
    place,
    same_or_valid,
)


def max_pool(x: jax.Array, window: int, stride: int, padding: Padding) -> jax.Array:
    """The maximum over square windows: [B, H', W', C].

    If several pixels of a window are equal, the first of them in reading order gets the gradient,
    as in XLA. Differentiable in reverse mode, any number of times.

    Args:
        x: images [B, H, W, C], floating point.
        window: side of the window, pixels.
        stride: pixels between neighbouring windows, along either axis.
        padding: VALID, or SAME as in TensorFlow: padded with minus infinity.

    Raises:
        ValueError: unknown padding, or images that are smaller than the window without padding.
    """
    pads = same_or_valid(x, (window, window), stride, padding)
    if min(size + sum(pad) for size, pad in zip(x.shape[1:3], pads, strict=True)) < window:
        height, width = x.shape[1:3]
        raise ValueError(f"a {height}x{width} image is smaller than the {window}x{window} window")
    return jax.lax.platform_dependent(
        x,
        cpu=functools.partial(_pool, window=window, stride=stride, pads=pads),
        default=functools.partial(_pool_by_xla, window=window, stride=stride, pads=pads),
    )


def _pool_by_xla(x: jax.Array, window: int, stride: int, pads: Pads) -> jax.Array:
    windows, strides = (1, window, window, 1), (1, stride, stride, 1)
    padding = ((0, 0), *pads, (0, 0))
    return jax.lax.reduce_window(x, -math.inf, jax.lax.max, windows, strides, padding)


def _window_pixels(x: jax.Array, window: int, stride: int, pads: Pads) -> list[jax.Array]:
    """For each pixel of a window, in reading order, that pixel of every window: [B, H', W', C]."""
    x = pad_images(x, pads, -math.inf)
    batch, height, width, channels = x.shape
    bottom, right = ((size - window) // stride * stride + 1 for size in (height, width))
    return [
        jax.lax.slice(
            x, (0, i, j, 0), (batch, i + bottom, j + right, channels), (1, stride, stride, 1)
        )
        for i in range(window)
        for j in range(window)
    ]


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _pool(x: jax.Array, window: int, stride: int, pads: Pads) -> jax.Array:
    return functools.reduce(jnp.maximum, _window_pixels(x, window, stride, pads))


def _pool_forward(
    x: jax.Array, window: int, stride: int, pads: Pads
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    first, *others = _window_pixels(x, window, stride, pads)
    number_type = jnp.uint8 if window < 16 else jnp.uint16
    largest, position = first, jnp.zeros(first.shape, number_type)
    for number, pixel in enumerate(others, start=1):
        position = jnp.where(pixel > largest, number_type(number), position)
        largest = jnp.maximum(largest, pixel)
    # Only the shape of x is used; nothing reads its values, so XLA does not store it.
    return largest, (position, x)


def _pool_backward(
    window: int, stride: int, pads: Pads, residuals: tuple[jax.Array, jax.Array], dy: jax.Array
) -> tuple[jax.Array]:
    position, x = residuals
    if window == stride:
        return (_spread_apart(position, dy, x.shape[1:3], window, pads),)
    spread = functools.partial(_spread, size=x.shape[1:3], window=window, stride=stride, pads=pads)
    if window > stride:  # each gradient is read several times
        return (in_blocks(spread, position, dy),)
    return (spread(position, dy),)


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
    edges = [
        (
            -before,
            before + length - out * window,
            0,
        )  # remove the padding, add the pixels that no window covers
        for length, out, (before, _) in zip(size, (rows, columns), pads, strict=True)
    ]
    return jax.lax.pad(dx, zero, ((0, 0, 0), *edges, (0, 0, 0)))


_pool.defvjp(_pool_forward, _pool_backward)
