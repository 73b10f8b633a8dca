"""The three products of a convolution on a CPU: its output and its two gradients.

Each is computed by `zoo.ops.winograd` where that saves time, else by `zoo.ops.direct`; the rules
here say which, and as what other convolution a layer is seen first. `benchmarks/layers.py` measures
them.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp

from zoo.ops import blank, direct, winograd
from zoo.ops.windows import (
    NO_PADS,
    Pads,
    Shape,
    evaluated_once,
    input_shape,
    kernel_shape,
    output_shape,
    pad_images,
)

_MAX_TAPS = 16  # of a one-channel kernel up to which sums over shifted images are fastest
_BAND_CHANNELS = 40  # narrower layers spend more time on gathering patches than on products
_MAX_BAND = 4  # columns
_MIN_CHANNELS = 21  # below, Winograd's sums take longer than the products that they save
_MIN_CHANNELS_OF_2_TAPS = 40  # likewise; two taps save less
_MIN_BANDED_WIDTH = 3  # pixels of kernel width from which a banded kernel's zeros pay


def output(x: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    """[B, H', W', F]"""
    view = _view(x.shape, kernel.shape, pads)
    seen, seen_kernel = view.of_images(x), view.kernel(kernel)
    if view.is_pointwise:
        return jnp.dot(seen, seen_kernel[0, 0])
    if view.is_unrolled:
        products = [pixels * seen_kernel[i, j, 0] for (i, j), pixels in _taps(seen, view)]
        return functools.reduce(jnp.add, products)  # one loop over the output, with what follows
    rows = _rows_at_a_time(view, x.dtype)
    if rows == 1:
        return view.outputs(direct.conv(seen, seen_kernel, view.pads))
    y = view.outputs(winograd.conv(seen, seen_kernel, view.pads, rows))
    return evaluated_once(blank.without_blank_patches(y, x, kernel.shape, pads))


def input_gradient(dy: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    """Each output's gradient, through the kernel: [B, H, W, C]."""
    view = _view(input_shape(dy.shape, kernel.shape, pads), kernel.shape, pads)
    seen, seen_kernel = view.outputs.transposed(dy), view.kernel(kernel)
    if view.is_pointwise:
        return jnp.dot(seen, seen_kernel[0, 0].T)
    size = view.seen_images[1:3]
    rows = _rows_at_a_time(view, dy.dtype)
    if rows == 1:
        return view.images.transposed(direct.input_gradient(seen, seen_kernel, view.pads, size))
    dx = winograd.input_gradient(seen, seen_kernel, view.pads, size, rows)
    dx = view.images.transposed(dx)
    (top, bottom), (left, right) = pads
    height, width = kernel.shape[:2]
    turned = (height - 1 - top, height - 1 - bottom), (width - 1 - left, width - 1 - right)
    return evaluated_once(blank.without_blank_patches(dx, dy, kernel.shape, turned))


def kernel_gradient(x: jax.Array, dy: jax.Array, pads: Pads) -> jax.Array:
    """The images correlated with the output's gradient: [h, w, C, F]."""
    view = _view(x.shape, kernel_shape(x.shape, dy.shape, pads), pads)
    seen, seen_dy = view.of_images(x), view.outputs.transposed(dy)
    if view.is_pointwise:
        return view.kernel.transposed(jnp.einsum("bhwc,bhwf->cf", seen, seen_dy)[None, None])
    if view.is_unrolled:
        taps = jnp.stack([pixels.ravel() for _, pixels in _taps(seen, view)])
        products = jnp.dot(taps, seen_dy.reshape(-1, dy.shape[-1]))
        return view.kernel.transposed(products.reshape(view.seen_kernel))
    rows = _rows_at_a_time(view, x.dtype)
    if rows == 1:
        return view.kernel.transposed(direct.kernel_gradient(seen, seen_dy, view.pads))
    dkernel = winograd.kernel_gradient(seen, seen_dy, view.seen_kernel, view.pads, rows)
    return blank.without_blank_taps(view.kernel.transposed(dkernel), x, pads)


@dataclasses.dataclass(frozen=True)
class _Linear:
    """A linear function of arrays of one shape."""

    function: Callable[[jax.Array], jax.Array]
    shape: Shape  # of its argument

    def __call__(self, array: jax.Array) -> jax.Array:
        return self.function(array)

    def transposed(self, array: jax.Array) -> jax.Array:
        """The transpose, of an array of the shape that the function gives."""
        argument = jax.ShapeDtypeStruct(self.shape, array.dtype)
        return jax.linear_transpose(self.function, argument)(array)[0]


@dataclasses.dataclass(frozen=True)
class _View:
    """A convolution seen as another: outputs(convolution(images(x), kernel(kernel), pads))."""

    images: _Linear
    kernel: _Linear
    outputs: _Linear
    seen_images: Shape  # what `images` gives
    seen_kernel: Shape
    pads: Pads

    @property
    def is_pointwise(self) -> bool:
        """Whether every pixel is multiplied by one matrix."""
        return self.seen_kernel[:2] == (1, 1) and self.pads == NO_PADS

    @property
    def is_unrolled(self) -> bool:
        """Whether it is a sum of few images, each shifted and weighted."""
        height, width, channels, _ = self.seen_kernel
        return channels == 1 and height * width <= _MAX_TAPS

    def of_images(self, x: jax.Array) -> jax.Array:
        """What `images` gives; x is evaluated once before several columns are seen as one."""
        is_banded = self.seen_images != self.images.shape
        return self.images(evaluated_once(x) if is_banded else x)


def _view(x: Shape, kernel: Shape, pads: Pads) -> _View:
    """How to see the convolution of images of shape x [B, H, W, C] by a kernel [h, w, C, F].

    A narrow one is seen on columns of `band` times the channels, and as many times fewer.
    Neighbouring columns of an image already lie together in memory, so they can be seen as one
    column of all their channels; likewise the output. The kernel of that convolution holds the
    narrow one `band` times, each shifted by a column, with zeros around: more products, but fewer
    patches to gather.
    """
    (top, bottom), (first, last), pads = _live_taps(x, kernel, pads)

    def live(kernel: jax.Array) -> jax.Array:
        return kernel[top:bottom, first:last]

    whole = kernel
    height, width, channels, features = bottom - top, last - first, *kernel[2:]
    seen_kernel = (height, width, channels, features)
    y = output_shape(x, seen_kernel, pads)
    same = functools.partial(_Linear, lambda array: array)
    view = _View(same(x), _Linear(live, whole), same(y), x, seen_kernel, pads)
    band = min(_MAX_BAND, _BAND_CHANNELS // min(channels, features))
    if band < 2 or width < _MIN_BANDED_WIDTH or view.is_unrolled:
        return view
    batch, rows, columns, _ = y
    bands = -(-columns // band)  # of outputs
    reach = -(-(width + band - 1) // band)  # bands of the image that a band of outputs sees
    left = pads[1][0]
    right = band * (bands - 1 + reach) - x[2] - left

    def images(x: jax.Array) -> jax.Array:
        x = pad_images(x, ((0, 0), (left, right)))
        return x.reshape(batch, x.shape[1], -1, band * channels)

    def wide(kernel: jax.Array) -> jax.Array:
        kernel = live(kernel)
        shifted = [
            jnp.pad(kernel, ((0, 0), (shift, band * reach - width - shift), (0, 0), (0, 0)))
            for shift in range(band)
        ]
        stacked = jnp.stack(shifted, axis=3)  # [h, band * reach, C, band, F]
        return stacked.reshape(height, reach, band * channels, band * features)

    def outputs(y: jax.Array) -> jax.Array:
        return y.reshape(batch, rows, band * bands, features)[:, :, :columns]

    return _View(
        _Linear(images, x),
        _Linear(wide, whole),
        _Linear(outputs, (batch, rows, bands, band * features)),
        (batch, x[1], bands - 1 + reach, band * channels),
        (height, reach, band * channels, band * features),
        (pads[0], (0, 0)),
    )


def _live_taps(
    x: Shape, kernel: Shape, pads: Pads
) -> tuple[tuple[int, int], tuple[int, int], Pads]:
    """The rows and columns (from, to) of the kernel that ever meet the image, and their pads.

    On a map much smaller than the kernel (7x7 on 1x1) most taps see nothing but padding.
    """
    live, new_pads = [], []
    for size, side, (before, _), out in zip(
        x[1:3], kernel[:2], pads, output_shape(x, kernel, pads)[1:3], strict=True
    ):
        first = max(0, before - (out - 1))  # sees pixel 0 from the last output
        last = min(side - 1, before + size - 1)  # sees the last pixel from output 0
        live.append((first, last + 1))
        new_pads.append((before - first, out - 1 + last - before - (size - 1)))
    return live[0], live[1], (new_pads[0], new_pads[1])


def _rows_at_a_time(view: _View, dtype: jnp.dtype) -> int:
    """How many rows of outputs Winograd's algorithm is to compute at a time; 1: do without it."""
    height, _, channels, features = view.seen_kernel
    if dtype not in (jnp.float32, jnp.float64):
        return 1  # it costs about a decimal digit, which narrower types cannot spare
    if min(channels, features) < (_MIN_CHANNELS_OF_2_TAPS if height == 2 else _MIN_CHANNELS):
        return 1
    return winograd.outputs_per_tile(view.outputs.shape[1], height)


def _taps(seen: jax.Array, view: _View) -> Iterator[tuple[tuple[int, int], jax.Array]]:
    """For each tap of the kernel, the pixels that it meets: [B, H', W', C]."""
    _, rows, columns, _ = view.outputs.shape
    seen = pad_images(seen, view.pads)
    for i in range(view.seen_kernel[0]):
        for j in range(view.seen_kernel[1]):
            yield (i, j), seen[:, i : i + rows, j : j + columns]
