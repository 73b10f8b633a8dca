"""Convolution of stride 1.

On a GPU or TPU it is XLA's. On a CPU the three products of a layer (output, input gradient, kernel
gradient) are computed by `zoo.ops.winograd` where that saves time, else by `zoo.ops.direct`; the
rules here say which, and what is done beforehand. `benchmarks/layers.py` measures them.
"""

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp

from zoo.ops import direct, winograd
from zoo.ops.windows import NO_PADS, Padding, Pads, evaluated_once, pad_images, same_or_valid

_MAX_TAPS = 16  # of a one-channel kernel up to which sums over shifted images are fastest
_BAND_CHANNELS = 40  # narrower layers spend more time on gathering patches than on products
_MAX_BAND = 4  # columns
_MIN_CHANNELS = 21  # below, Winograd's sums take longer than the products that they save
_MIN_CHANNELS_OF_2_TAPS = 40  # likewise; two taps save less
_MIN_BANDED_WIDTH = 3  # pixels of kernel width from which a banded kernel's zeros pay


def conv(x: jax.Array, kernel: jax.Array, padding: Padding) -> jax.Array:
    """Convolution of stride 1 without bias: [B, H', W', F].

    Differentiable in reverse, any number of times, and forward over reverse; forward mode alone
    (`jax.jvp` of the function itself) raises JAX's TypeError on custom_vjp.

    Args:
        x: images [B, H, W, C], floating point.
        kernel: [h, w, C, F], of the same type.
        padding: VALID, or SAME as in TensorFlow (an odd pixel goes right and below).

    Raises:
        ValueError: another padding, or images smaller than a kernel without padding.
    """
    pads = same_or_valid(x, kernel.shape[:2], 1, padding)
    if min(_output_size(x, kernel, pads)) < 1:
        height, width = x.shape[1:3]
        raise ValueError(f"a {height}x{width} image is smaller than the {kernel.shape[:2]} kernel")
    return jax.lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(_conv_on_cpu, pads=pads),
        default=functools.partial(_conv_by_xla, pads=pads),
    )


def _output_size(x: jax.Array, kernel: jax.Array, pads: Pads) -> tuple[int, int]:
    height, width = (
        size + sum(pad) - side + 1
        for size, pad, side in zip(x.shape[1:3], pads, kernel.shape[:2], strict=True)
    )
    return height, width


def _conv_by_xla(x: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), pads, dimension_numbers=direct.DIMENSIONS
    )


def _conv_on_cpu(x: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    kernel, pads = _without_dead_taps(x, kernel, pads)
    height, width, channels, features = kernel.shape
    if height == width == 1 and pads == NO_PADS:
        return jnp.dot(x, kernel[0, 0])
    band = min(_MAX_BAND, _BAND_CHANNELS // min(channels, features))
    if band > 1 and width >= _MIN_BANDED_WIDTH and not _is_unrolled(kernel):
        return _banded(x, kernel, pads, band)
    return _conv(x, kernel, pads)


def _without_dead_taps(x: jax.Array, kernel: jax.Array, pads: Pads) -> tuple[jax.Array, Pads]:
    """The part of the kernel that ever meets the image, and the pads that go with it.

    On a map much smaller than the kernel (7x7 on 1x1) most taps see nothing but padding.
    """
    live, new_pads = [], []
    for size, side, (before, _), out in zip(
        x.shape[1:3], kernel.shape[:2], pads, _output_size(x, kernel, pads), strict=True
    ):
        first = max(0, before - (out - 1))  # sees pixel 0 from the last output
        last = min(side - 1, before + size - 1)  # sees the last pixel from output 0
        live.append(slice(first, last + 1))
        new_pads.append((before - first, out - 1 + last - before - (size - 1)))
    return kernel[live[0], live[1]], (new_pads[0], new_pads[1])


def _banded(x: jax.Array, kernel: jax.Array, pads: Pads, band: int) -> jax.Array:
    """The same convolution on columns of `band` times the channels, and as many times fewer.

    Neighbouring columns of an image already lie together in memory, so they can be seen as one
    column of all their channels; likewise the output. The kernel of that convolution holds the
    narrow one `band` times, each shifted by a column, with zeros around: more products, but fewer
    patches to gather.
    """
    height, width, channels, features = kernel.shape
    batch = x.shape[0]
    rows, columns = _output_size(x, kernel, pads)
    bands = -(-columns // band)  # of outputs
    reach = -(-(width + band - 1) // band)  # bands of the image that a band of outputs sees
    right = band * (bands - 1 + reach) - x.shape[2] - pads[1][0]
    x = pad_images(evaluated_once(x), ((0, 0), (pads[1][0], right)))
    x = x.reshape(batch, x.shape[1], -1, band * channels)
    shifted = [
        jnp.pad(kernel, ((0, 0), (shift, band * reach - width - shift), (0, 0), (0, 0)))
        for shift in range(band)
    ]
    wide = jnp.stack(shifted, axis=3)  # [h, band * reach, C, band, F]
    wide = wide.reshape(height, reach, band * channels, band * features)
    y = _conv(x, wide, (pads[0], (0, 0)))
    return y.reshape(batch, rows, band * bands, features)[:, :, :columns]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv(x: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    return _output(x, kernel, pads)


def _conv_forward(
    x: jax.Array, kernel: jax.Array, pads: Pads
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _output(x, kernel, pads), (x, kernel)


def _conv_backward(
    pads: Pads, residuals: tuple[jax.Array, jax.Array], dy: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    dx = _input_gradient(dy, kernel, pads, x.shape[1:3])
    return dx, _kernel_gradient(x, dy, kernel, pads)


_conv.defvjp(_conv_forward, _conv_backward)


def _is_unrolled(kernel: jax.Array) -> bool:
    height, width, channels, _ = kernel.shape
    return channels == 1 and height * width <= _MAX_TAPS


def _rows_at_a_time(kernel: jax.Array, rows: int) -> int:
    """How many rows of outputs Winograd's algorithm is to compute at a time; 1: do without it."""
    height, _, channels, features = kernel.shape
    if kernel.dtype not in (jnp.float32, jnp.float64):
        return 1  # it costs about a decimal digit, which narrower types cannot spare
    if min(channels, features) < (_MIN_CHANNELS_OF_2_TAPS if height == 2 else _MIN_CHANNELS):
        return 1
    return winograd.outputs_per_tile(rows, height)


def _output(x: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    """[B, H', W', F]"""
    if _is_unrolled(kernel):
        products = [pixels * kernel[i, j, 0] for (i, j), pixels in _taps(x, kernel, pads)]
        return functools.reduce(jnp.add, products)  # one loop over the output, with what follows
    at_a_time = _rows_at_a_time(kernel, _output_size(x, kernel, pads)[0])
    if at_a_time > 1:
        return winograd.conv(x, kernel, pads, at_a_time)
    return direct.conv(x, kernel, pads)


def _input_gradient(
    dy: jax.Array, kernel: jax.Array, pads: Pads, size: tuple[int, ...]
) -> jax.Array:
    """Each output's gradient, through the kernel: [B, *size, C]."""
    at_a_time = _rows_at_a_time(kernel, dy.shape[1])
    if at_a_time > 1:
        return winograd.input_gradient(dy, kernel, pads, size, at_a_time)
    return direct.input_gradient(dy, kernel, pads, size)


def _kernel_gradient(x: jax.Array, dy: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    """The image correlated with the output's gradient: [h, w, C, F]."""
    if _is_unrolled(kernel):
        taps = jnp.stack([pixels.ravel() for _, pixels in _taps(x, kernel, pads)])
        return jnp.dot(taps, dy.reshape(-1, dy.shape[-1])).reshape(kernel.shape)
    at_a_time = _rows_at_a_time(kernel, dy.shape[1])
    if at_a_time > 1:
        return winograd.kernel_gradient(x, dy, kernel, pads, at_a_time)
    return direct.kernel_gradient(x, dy, pads)


def _taps(
    x: jax.Array, kernel: jax.Array, pads: Pads
) -> Iterator[tuple[tuple[int, int], jax.Array]]:
    """For each tap of the kernel, the pixels that it meets: [B, H', W', C]."""
    rows, columns = _output_size(x, kernel, pads)
    x = pad_images(x, pads)
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            yield (i, j), x[:, i : i + rows, j : j + columns]
