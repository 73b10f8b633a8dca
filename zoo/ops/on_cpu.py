"""The three products of a convolution on a CPU: its output and its two gradients.

Each is computed by `zoo.ops.winograd` where that saves time, else by `zoo.ops.direct`. The rules
here decide which, and whether a layer is first rewritten as another convolution.
`benchmarks/layers.py` measures them.
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

_MAX_TAPS = 16  # limit for a one-channel kernel: up to here sums of shifted images are fastest
_BAND_CHANNELS = 40  # narrower layers spend more time gathering patches than multiplying
_MAX_BAND = 4  # columns
_MIN_CHANNELS = 21  # below this, Winograd's sums cost more than the saved products
_MIN_CHANNELS_OF_2_TAPS = 40  # the same for two taps, which save less
_MIN_BANDED_WIDTH = 3  # pixels of kernel width; below this a banded kernel's zeros cost too much


def output(x: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    """[B, H', W', F]"""
    view = _view(x.shape, kernel.shape, pads)
    seen, seen_kernel = view.of_images(x), view.kernel(kernel)
    if view.is_pointwise:
        return jnp.dot(seen, seen_kernel[0, 0])
    if view.is_unrolled:
        products = [pixels * seen_kernel[i, j, 0] for (i, j), pixels in _taps(seen, view)]
        return functools.reduce(
            jnp.add, products
        )  # XLA fuses this and the next operations into one loop
    rows = _rows_at_a_time(view, x.dtype)
    if rows == 1:
        return view.outputs(direct.conv(seen, seen_kernel, view.pads))
    y = view.outputs(winograd.conv(seen, seen_kernel, view.pads, rows))
    return evaluated_once(blank.without_blank_patches(y, x, kernel.shape, pads))


def input_gradient(dy: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    """The gradient with respect to the images: [B, H, W, C]."""
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
    """The gradient with respect to the kernel: [h, w, C, F]."""
    view = _view(x.shape, kernel_shape(x.shape, dy.shape, pads), pads)
    seen, seen_dy = view.of_images(x), view.outputs.transposed(dy)
    if view.is_pointwise:
        return view.kernel.transposed(jnp.einsum("bhwc,bhwf->cf", seen, seen_dy)[None, None])
    if view.is_unrolled:
        # Stacked as rows of pixels: XLA would compute every index of a flat array by itself.
        taps = jnp.stack([pixels[..., 0] for _, pixels in _taps(seen, view)])
        products = jnp.dot(taps.reshape(len(taps), -1), seen_dy.reshape(-1, dy.shape[-1]))
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
        """The transpose, applied to an array with the shape of the function's result."""
        argument = jax.ShapeDtypeStruct(self.shape, array.dtype)
        return jax.linear_transpose(self.function, argument)(array)[0]


@dataclasses.dataclass(frozen=True)
class _View:
    """A convolution in terms of another: outputs(convolution(images(x), kernel(kernel), pads))."""

    images: _Linear
    kernel: _Linear
    outputs: _Linear
    seen_images: Shape  # of the result of `images`
    seen_kernel: Shape
    pads: Pads

    @property
    def is_pointwise(self) -> bool:
        """Whether every pixel is multiplied by one matrix."""
        return self.seen_kernel[:2] == (1, 1) and self.pads == NO_PADS

    @property
    def is_unrolled(self) -> bool:
        """Whether it is computed as a sum of a few shifted and weighted images."""
        height, width, channels, _ = self.seen_kernel
        return channels == 1 and height * width <= _MAX_TAPS

    def of_images(self, x: jax.Array) -> jax.Array:
        """The result of `images`; x is evaluated once before columns are merged."""
        is_banded = self.seen_images != self.images.shape
        return self.images(evaluated_once(x) if is_banded else x)


def _view(x: Shape, kernel: Shape, pads: Pads) -> _View:
    """How to compute the convolution of images of shape x [B, H, W, C] with a kernel [h, w, C, F].

    If it has few channels, `band` neighbouring columns are merged into one column with `band` times
    the channels. They are already adjacent in memory, so this is a reshape; the same holds for the
    output. The kernel of the new convolution contains the original one `band` times, each shifted
    by a column and padded with zeros: more products, but fewer patches to gather.
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
    reach = -(-(width + band - 1) // band)  # bands of the image that a band of outputs depends on
    left = pads[1][0]
    right = band * (bands - 1 + reach) - x[2] - left

    def images(x: jax.Array) -> jax.Array:
        x = pad_images(x, ((0, 0), (left, right)))
        return x.reshape(batch, x.shape[1], x.shape[2] // band, band * channels)

    def wide(kernel: jax.Array) -> jax.Array:
        return _widened(live(kernel), band, reach)

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


def _widened(kernel: jax.Array, band: int, reach: int) -> jax.Array:
    """The kernel [h, w, C, F] for bands of columns: [h, reach, band * C, band * F]."""
    height, width, channels, features = kernel.shape
    shifted = [
        jnp.pad(kernel, ((0, 0), (shift, band * reach - width - shift), (0, 0), (0, 0)))
        for shift in range(band)
    ]
    stacked = jnp.stack(shifted, axis=3)  # [h, band * reach, C, band, F]
    return stacked.reshape(height, reach, band * channels, band * features)


def _live_taps(
    x: Shape, kernel: Shape, pads: Pads
) -> tuple[tuple[int, int], tuple[int, int], Pads]:
    """The rows and columns (from, to) of the kernel that overlap the image, and their pads.

    On a map much smaller than the kernel (7x7 on 1x1) most taps overlap only padding.
    """
    live, new_pads = [], []
    for size, side, (before, _), out in zip(
        x[1:3], kernel[:2], pads, output_shape(x, kernel, pads)[1:3], strict=True
    ):
        first = max(0, before - (out - 1))  # overlaps pixel 0 at the last output
        last = min(side - 1, before + size - 1)  # overlaps the last pixel at output 0
        live.append((first, last + 1))
        new_pads.append((before - first, out - 1 + last - before - (size - 1)))
    return live[0], live[1], (new_pads[0], new_pads[1])


def _rows_at_a_time(view: _View, dtype: jnp.dtype) -> int:
    """How many rows of outputs Winograd's algorithm computes at a time; 1: do not use it."""
    height, _, channels, features = view.seen_kernel
    if dtype not in (jnp.float32, jnp.float64):
        return 1  # it costs about one decimal digit, too much for narrower types
    if min(channels, features) < (_MIN_CHANNELS_OF_2_TAPS if height == 2 else _MIN_CHANNELS):
        return 1
    return winograd.outputs_per_tile(view.outputs.shape[1], height)


def _taps(seen: jax.Array, view: _View) -> Iterator[tuple[tuple[int, int], jax.Array]]:
    """For each tap of the kernel, the pixels that it is multiplied by: [B, H', W', C]."""
    _, rows, columns, _ = view.outputs.shape
    seen = pad_images(seen, view.pads)
    for i in range(view.seen_kernel[0]):
        for j in range(view.seen_kernel[1]):
            yield (i, j), seen[:, i : i + rows, j : j + columns]
