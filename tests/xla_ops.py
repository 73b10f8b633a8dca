"""XLA's own convolution and max-pooling, as any JAX code would ask for them: the reference."""

import math

import jax


def conv(x: jax.Array, kernel: jax.Array, padding: str) -> jax.Array:
    """Convolution of stride 1, as `zoo.ops.conv`."""
    dimensions = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), padding, dimension_numbers=dimensions, precision="highest"
    )


def max_pool(x: jax.Array, window: int, stride: int, padding: str) -> jax.Array:
    """As `zoo.ops.max_pool`: the first of equal pixels gets the gradient."""
    windows, strides = (1, window, window, 1), (1, stride, stride, 1)
    return jax.lax.reduce_window(x, -math.inf, jax.lax.max, windows, strides, padding)
