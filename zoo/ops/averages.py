"""Average-pooling: linear in the images, so that JAX differentiates it in any mode."""

import jax
import jax.numpy as jnp

from zoo.ops.windows import NO_PADS, Padding, Pads, same_or_valid


def avg_pool(x: jax.Array, window: int, stride: int, padding: Padding) -> jax.Array:
    """The mean over square windows: [B, H', W', C].

    Args:
        x: images [B, H, W, C], floating point.
        window: side of the window, pixels.
        stride: pixels between neighbouring windows, along either axis.
        padding: VALID, or SAME as in TensorFlow: the mean of those pixels that are in the image.

    Raises:
        ValueError: unknown padding, or images that are smaller than the window without padding.
    """
    pads = same_or_valid(x, (window, window), stride, padding)
    if min(size + sum(pad) for size, pad in zip(x.shape[1:3], pads, strict=True)) < window:
        height, width = x.shape[1:3]
        raise ValueError(f"a {height}x{width} image is smaller than the {window}x{window} window")
    sums = _sums(x, window, stride, pads)
    if pads == NO_PADS:
        return sums / (window * window)
    ones = jnp.ones((1, *x.shape[1:3], 1), x.dtype)
    return sums / _sums(ones, window, stride, pads)


def _sums(x: jax.Array, window: int, stride: int, pads: Pads) -> jax.Array:
    windows, strides = (1, window, window, 1), (1, stride, stride, 1)
    return jax.lax.reduce_window(x, 0.0, jax.lax.add, windows, strides, ((0, 0), *pads, (0, 0)))
