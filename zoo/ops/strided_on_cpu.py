"""Convolution with a stride on a CPU: its output and its two gradients.

The output is computed directly. For the gradients, blocks of stride x stride pixels are merged into
one pixel with as many times the channels, which makes it a convolution of stride 1 with a smaller
kernel, padded with zeros to whole blocks: more products, but XLA's own gradient of the kernel takes
6 to 150 times as long. `benchmarks/layers.py --others` measures it.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from zoo.ops import direct, on_cpu
from zoo.ops.windows import NO_PADS, Pads, Shape, pad_images

_FEW_CHANNELS = 4  # up to here XLA's own is fastest


def output(x: jax.Array, kernel: jax.Array, stride: int, pads: Pads) -> jax.Array:
    """[B, H', W', F] of images [B, H, W, C] and a kernel [h, w, C, F]."""
    if x.shape[3] <= _FEW_CHANNELS:
        return jax.lax.conv_general_dilated(
            x, kernel, (stride, stride), pads, dimension_numbers=direct.DIMENSIONS
        )
    return direct.conv(x, kernel, pads, stride)


def input_gradient(
    dy: jax.Array, kernel: jax.Array, stride: int, pads: Pads, size: tuple[int, int]
) -> jax.Array:
    """The gradient with respect to the images: `[B, *size, C]`."""
    x = jax.ShapeDtypeStruct((dy.shape[0], *size, kernel.shape[2]), dy.dtype)
    if kernel.shape[2] <= _FEW_CHANNELS:
        return jax.linear_transpose(lambda x: output(x, kernel, stride, pads), x)(dy)[0]
    images, blocks = _views(x.shape, kernel.shape, stride, pads)
    seen_kernel = blocks(kernel)
    if seen_kernel.shape[:2] == (1, 1):
        dx = jnp.dot(dy, seen_kernel[0, 0].T)
    else:
        dx = direct.input_gradient(dy, seen_kernel, NO_PADS, jax.eval_shape(images, x).shape[1:3])
    return jax.linear_transpose(images, x)(dx)[0]


def kernel_gradient(
    x: jax.Array, dy: jax.Array, stride: int, pads: Pads, taps: tuple[int, int]
) -> jax.Array:
    """The gradient with respect to the kernel: [h, w, C, F]."""
    shape = (*taps, x.shape[3], dy.shape[3])
    images, blocks = _views(x.shape, shape, stride, pads)
    kernel = jax.ShapeDtypeStruct(shape, x.dtype)
    dkernel = on_cpu.kernel_gradient(images(x), dy, NO_PADS)
    return jax.linear_transpose(blocks, kernel)(dkernel)[0]


def _views(
    x: Shape, kernel: Shape, stride: int, pads: Pads
) -> tuple[Callable[[jax.Array], jax.Array], Callable[[jax.Array], jax.Array]]:
    """Linear functions of images and kernel, whose results have the same convolution at stride 1.

    They are [B, H' + h' - 1, W' + w' - 1, s * s * C] and [h', w', s * s * C, F], in blocks of s x s
    pixels, with VALID padding. Of a kernel of one pixel, only the pixels that it sees are kept.
    """
    batch, *size, channels = x
    *taps, _, features = kernel
    out = [
        (length + sum(pad) - side) // stride + 1
        for length, side, pad in zip(size, taps, pads, strict=True)
    ]
    if tuple(taps) == (1, 1):
        rows, columns = ((length - 1) * stride + 1 for length in out)
        limits = (batch, rows, columns, channels)
        return lambda x: jax.lax.slice(x, (0, 0, 0, 0), limits, (1, stride, stride, 1)), lambda k: k
    height, width = (-(-side // stride) for side in taps)
    rows, columns = out[0] + height - 1, out[1] + width - 1
    (top, _), (left, _) = pads
    edges = (top, rows * stride - size[0] - top), (left, columns * stride - size[1] - left)
    missing = ((0, height * stride - taps[0]), (0, width * stride - taps[1]), (0, 0), (0, 0))

    def images(x: jax.Array) -> jax.Array:
        x = pad_images(x, edges).reshape(batch, rows, stride, columns, stride * channels)
        return x.swapaxes(2, 3).reshape(batch, rows, columns, stride * stride * channels)

    def blocks(kernel: jax.Array) -> jax.Array:
        kernel = jnp.pad(kernel, missing)
        kernel = kernel.reshape(height, stride, width, stride * channels, features)
        return kernel.swapaxes(1, 2).reshape(height, width, -1, features)

    return images, blocks
