"""Convolution of stride 1 in the form that is fast on a CPU, and its two gradients.

XLA has two implementations on a CPU. Since jax 0.10 it uses YNNPACK where possible, which gathers
all patches in memory (30 to 100 GFLOP/s on two cores where matrix products reach 200). Otherwise it
uses Eigen, which packs patches in cache, a block at a time (150 to 200 GFLOP/s). YNNPACK does not
support input dilation. Dilating input, kernel and stride by 2 does not change any product of a
convolution, so `conv` does that: the same numbers, three to five times as fast. Both gradients are
such convolutions too.
"""

import functools

import jax
import jax.numpy as jnp

from zoo.ops.windows import NO_PADS, Pads, pad_images, place

DIMENSIONS = ("NHWC", "HWIO", "NHWC")

_MIN_BORDER = (
    40  # features times border fraction of the map, above which border products are avoided
)


def conv(x: jax.Array, kernel: jax.Array, pads: Pads, stride: int = 1) -> jax.Array:
    """[B, H', W', F]"""
    if any(side > size for side, size in zip(kernel.shape[:2], x.shape[1:3], strict=True)):
        x, pads = (
            pad_images(x, pads),
            NO_PADS,
        )  # Eigen does not support a kernel larger than the image
    (top, bottom), (left, right) = pads
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(2 * stride, 2 * stride),
        padding=((2 * top, 2 * bottom), (2 * left, 2 * right)),
        lhs_dilation=(2, 2),
        rhs_dilation=(2, 2),
        dimension_numbers=DIMENSIONS,
    )


def input_gradient(
    dy: jax.Array, kernel: jax.Array, pads: Pads, size: tuple[int, ...]
) -> jax.Array:
    """The transpose of `conv` with respect to the image: `[B, *size, C]`."""
    rows, columns, features = dy.shape[1:]
    border = size[0] * size[1] / (rows * columns) - 1
    if features * border > _MIN_BORDER:
        return _scattered(dy, kernel, pads, size)
    top, left = (
        (side - 1 - before, side - 1 - after)
        for side, (before, after) in zip(kernel.shape[:2], pads, strict=True)
    )
    return conv(dy, jnp.swapaxes(kernel[::-1, ::-1], 2, 3), (top, left))


def _scattered(dy: jax.Array, kernel: jax.Array, pads: Pads, size: tuple[int, ...]) -> jax.Array:
    """The input's gradient as one matrix product, and a shifted sum for each tap.

    The convolution with the rotated kernel covers the whole input; this covers only the output.
    """
    height, width, channels, features = kernel.shape
    products = jnp.dot(dy, kernel.reshape(-1, features).T)  # [B, H', W', h * w * C]
    shifted = []
    for i in range(height):
        for j in range(width):
            start = (i * width + j) * channels
            product = products[..., start : start + channels]
            shifted.append(place(product, size, (i, j), 1, pads))
    return functools.reduce(jnp.add, shifted)


def kernel_gradient(x: jax.Array, dy: jax.Array, pads: Pads) -> jax.Array:
    """The transpose of `conv` with respect to the kernel: [h, w, C, F].

    The sum is over the batch, as it is over channels in a forward convolution. Inside a loop, XLA
    would fold the transpositions into the convolution, which Eigen does not support: it would use
    plain loops, 50 times slower. The barriers prevent that. Pixels are merged for the
    transpositions, because XLA of jax 0.12 would write the unmerged ones twice, first in the order
    in memory that they had.
    """
    batch, height, width, channels = x.shape
    rows, columns, features = dy.shape[1:]
    images = jnp.transpose(x.reshape(batch, height * width, channels), (2, 1, 0))
    images = images.reshape(channels, height, width, batch)
    gradients = jnp.transpose(dy.reshape(batch, rows * columns, features), (1, 0, 2))
    gradients = gradients.reshape(rows, columns, batch, features)
    images, gradients = jax.lax.optimization_barrier((images, gradients))
    product = jax.lax.optimization_barrier(conv(images, gradients, pads))  # [C, h, w, F]
    return jnp.transpose(product, (1, 2, 0, 3))
