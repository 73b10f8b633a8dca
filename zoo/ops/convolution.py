"""Convolution of stride 1.

On a GPU or TPU it is XLA's. On a CPU, XLA has two implementations of its own: since jax 0.10 it
hands a convolution to YNNPACK where it can, which gathers all patches in memory (30 to 100
GFLOP/s on two cores whose matrix products reach 200); what YNNPACK does not take goes to Eigen,
which packs patches in cache, a block at a time (150 to 200 GFLOP/s). YNNPACK takes no input
dilation. Dilating input, kernel and stride by 2 leaves every product of a convolution as it was,
so `_eigen` asks for that: the same numbers, three to five times as fast.

The three products of a layer (output, input gradient, kernel gradient) are all such convolutions.
Around them stand four rules, each for a shape that Eigen is slow on; `benchmarks/layers.py`
measures them.
"""

import functools

import jax
import jax.numpy as jnp

from zoo.ops.windows import Padding, Pads, in_blocks, pad_images, place, same_or_valid

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")
_NO_PADS: Pads = ((0, 0), (0, 0))

_MAX_TAPS = 49  # taps of a one-channel kernel up to which a sum of shifted images is fastest
_NARROW = 20  # channels: below, Eigen spends more time on gathering patches than on products
_MIN_BORDER = 16  # features times the border's part of a map, from which its products are avoided
_MIN_BANDED_WIDTH = 4  # pixels of kernel width from which a banded kernel's zeros pay


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
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), pads, dimension_numbers=_DIMENSIONS)


def _conv_on_cpu(x: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    kernel, pads = _without_dead_taps(x, kernel, pads)
    height, width, channels, features = kernel.shape
    if height == width == 1 and pads == _NO_PADS:
        return jnp.dot(x, kernel[0, 0])
    narrow = min(channels, features) <= _NARROW
    if narrow and channels > 1 and width >= _MIN_BANDED_WIDTH:
        return _banded(x, kernel, pads)
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


def _banded(x: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    """The same convolution on half as many columns of twice the channels.

    Two neighbouring columns of an image already lie together in memory, so they can be seen as
    one column of 2C channels; likewise the output. The kernel of that convolution holds the
    narrow one twice, shifted by a column, with zeros around: more products, but half the patches
    to gather.
    """
    height, width, channels, features = kernel.shape
    batch = x.shape[0]
    rows, columns = _output_size(x, kernel, pads)
    blocks = -(-columns // 2)  # of output columns
    reach = -(-(width + 1) // 2)  # blocks of input columns that a block of outputs sees
    right = 2 * (blocks - 1 + reach) - x.shape[2] - pads[1][0]
    x = pad_images(x, ((0, 0), (pads[1][0], right)))
    x = x.reshape(batch, x.shape[1], -1, 2 * channels)
    shifted = [
        jnp.pad(kernel, ((0, 0), (shift, 2 * reach - width - shift), (0, 0), (0, 0)))
        for shift in (0, 1)
    ]
    wide = jnp.stack(shifted, axis=3)  # [h, 2 * reach, C, 2, F]
    wide = wide.reshape(height, reach, 2 * channels, 2 * features)
    y = _conv(x, wide, (pads[0], (0, 0)))
    return y.reshape(batch, rows, 2 * blocks, features)[:, :, :columns]


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


def _output(x: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    """[B, H', W', F]"""
    height, width, _, _ = kernel.shape
    if not _is_unrolled(kernel):
        return _eigen(x, kernel, pads)
    rows, columns = _output_size(x, kernel, pads)
    x = pad_images(x, pads)
    products = [
        x[:, i : i + rows, j : j + columns] * kernel[i, j, 0]
        for i in range(height)
        for j in range(width)
    ]
    return functools.reduce(jnp.add, products)  # one loop over the output, with what follows


def _input_gradient(
    dy: jax.Array, kernel: jax.Array, pads: Pads, size: tuple[int, ...]
) -> jax.Array:
    """Each output's gradient, through the kernel: [B, *size, C]."""
    rows, columns, features = dy.shape[1:]
    border = size[0] * size[1] / (rows * columns) - 1
    if features * border > _MIN_BORDER:
        return in_blocks(functools.partial(_scattered, kernel=kernel, pads=pads, size=size), dy)
    top, left = (
        (side - 1 - before, side - 1 - after)
        for side, (before, after) in zip(kernel.shape[:2], pads, strict=True)
    )
    return _eigen(dy, jnp.swapaxes(kernel[::-1, ::-1], 2, 3), (top, left))


def _scattered(dy: jax.Array, kernel: jax.Array, pads: Pads, size: tuple[int, ...]) -> jax.Array:
    """The input's gradient as one matrix product, and a shifted sum for each tap.

    The convolution with the turned kernel is as large as the input; this is as large as the output.
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


def _kernel_gradient(x: jax.Array, dy: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    """The image correlated with the output's gradient: [h, w, C, F]."""
    height, width, _, features = kernel.shape
    if _is_unrolled(kernel):
        rows, columns = dy.shape[1:3]
        x = pad_images(x, pads)
        taps = jnp.stack(  # [h * w, B * H' * W']
            [
                x[:, i : i + rows, j : j + columns].ravel()
                for i in range(height)
                for j in range(width)
            ]
        )
        return jnp.dot(taps, dy.reshape(-1, features)).reshape(kernel.shape)
    # The batch is summed over, as channels are in a forward convolution. Inside a loop, XLA would
    # fold the transpositions into the convolution, which Eigen then cannot take (and plain loops,
    # 50 times slower, do); the barriers keep them apart.
    images = jnp.transpose(x, (3, 1, 2, 0))  # [C, H, W, B]
    gradients = jnp.transpose(dy, (1, 2, 0, 3))  # [H', W', B, F]
    images, gradients = jax.lax.optimization_barrier((images, gradients))
    product = jax.lax.optimization_barrier(_eigen(images, gradients, pads))  # [C, h, w, F]
    return jnp.transpose(product, (1, 2, 0, 3))


def _eigen(x: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    """The convolution in the form that XLA gives to Eigen: all dilated by 2 (see above)."""
    if any(side > size for side, size in zip(kernel.shape[:2], x.shape[1:3], strict=True)):
        x, pads = pad_images(x, pads), _NO_PADS  # Eigen takes no kernel larger than the image
    (top, bottom), (left, right) = pads
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(2, 2),
        padding=((2 * top, 2 * bottom), (2 * left, 2 * right)),
        lhs_dilation=(2, 2),
        rhs_dilation=(2, 2),
        dimension_numbers=_DIMENSIONS,
    )
