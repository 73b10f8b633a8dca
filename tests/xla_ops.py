"""XLA's own convolution and pooling, as any JAX code would ask for them: the reference."""

import math

import jax


def conv(
    x: jax.Array, kernel: jax.Array, padding: str, stride: int = 1, groups: int = 1
) -> jax.Array:
    """As `zoo.ops.conv`."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
        precision="highest",
    )


def max_pool(x: jax.Array, window: int, stride: int, padding: str) -> jax.Array:
    """As `zoo.ops.max_pool`: the first of equal pixels gets the gradient."""
    windows, strides = (1, window, window, 1), (1, stride, stride, 1)
    return jax.lax.reduce_window(x, -math.inf, jax.lax.max, windows, strides, padding)


def avg_pool(x: jax.Array, window: int, stride: int, padding: str) -> jax.Array:
    """As `zoo.ops.avg_pool`: the mean of the pixels that are in the image."""
    windows, strides = (1, window, window, 1), (1, stride, stride, 1)
    sums, counts = (
        jax.lax.reduce_window(each, 0.0, jax.lax.add, windows, strides, padding)
        for each in (x, jax.numpy.ones_like(x))
    )
    return sums / counts
