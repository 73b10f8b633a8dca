"""Convolution with fewer multiplications: Winograd's algorithm along an image's height.

A convolution along an axis is a product of polynomials. `m` outputs of a kernel of `k` taps follow
from its values at n = m + k - 1 points, so from n multiplications instead of m * k (Toom, Cook;
Winograd 1980; Lavin and Gray, arXiv 1509.09308). It takes three matrices::

    outputs = output_matrix @ ((kernel_matrix @ kernel) * (image_matrix @ pixels))

Here a pixel is a whole row of an image and `*` a convolution along the row, so the sums before and
after it run over long stretches of memory. The usual form along both axes at once would save more
products but lose more time in the sums.
"""

import functools
from collections.abc import Sequence
from fractions import Fraction

import jax
import jax.numpy as jnp

from zoo.ops import direct
from zoo.ops.windows import Pads, Shape, largest_divisor, pad_images

# The points besides infinity. Few and small, because rounding errors grow with their powers.
_POINTS = [Fraction(p) for p in ("0", "1", "-1", "2", "-2", "1/2", "-1/2")]
_MAX_OUTPUTS = 4  # rows at a time; more would save little and lose precision
_ROWS_PER_PRODUCT = 800  # pixels per sum in the kernel's gradient, so that it stays in cache

Matrix = tuple[tuple[Fraction, ...], ...]


@functools.cache
def matrices(outputs: int, taps: int) -> tuple[Matrix, Matrix, Matrix]:
    """(output_matrix [m, n], kernel_matrix [n, k], image_matrix [n, n]), exact.

    Row i of the kernel matrix evaluates the kernel at point i, scaled so that row i of the image
    matrix, a product of differences, is integral if the points are.
    """
    points = _POINTS[: outputs + taps - 2]
    others = [[q for q in points if q != p] for p in points]
    output_matrix = tuple(
        (*(p**row for p in points), Fraction(row == outputs - 1)) for row in range(outputs)
    )
    kernel_rows = []
    for point, rest in zip(points, others, strict=True):
        scale = functools.reduce(lambda product, q: product * (point - q), rest, Fraction(1))
        kernel_rows.append(tuple(point**tap / scale for tap in range(taps)))
    at_infinity = tuple(Fraction(tap == taps - 1) for tap in range(taps))
    image_matrix = (*((*_with_roots(rest), Fraction(0)) for rest in others), _with_roots(points))
    return output_matrix, (*kernel_rows, at_infinity), image_matrix


def _with_roots(roots: Sequence[Fraction]) -> tuple[Fraction, ...]:
    """Coefficients of the product of all (x - root), from the constant up."""
    coefficients = [Fraction(1)]
    for root in roots:
        shifted, scaled = [Fraction(0), *coefficients], [*coefficients, Fraction(0)]
        coefficients = [up - root * down for up, down in zip(shifted, scaled, strict=True)]
    return tuple(coefficients)


def outputs_per_tile(rows: int, taps: int) -> int:
    """How many rows of outputs to compute at a time, for the fewest multiplications.

    1 means the plain convolution.
    """

    def multiplications(outputs: int) -> int:
        return -(-rows // outputs) * (outputs + taps - 1)

    most = min(_MAX_OUTPUTS, len(_POINTS) + 2 - taps)
    return min(range(1, max(1, most) + 1), key=multiplications)


def conv(x: jax.Array, kernel: jax.Array, pads: Pads, outputs: int) -> jax.Array:
    """Convolution of stride 1, `outputs` rows at a time: [B, H', W', F]."""
    taps = kernel.shape[0]
    rows = x.shape[1] + sum(pads[0]) - taps + 1
    output_matrix, kernel_matrix, image_matrix = matrices(outputs, taps)
    bands = _bands(x, pads[0][0], rows, outputs, taps)
    values = _multiply(image_matrix, bands)  # n of [B, tiles, W, C]
    kernels = _multiply(kernel_matrix, list(kernel))  # n of [w, C, F]
    products = [
        direct.conv(value, kernel[None], ((0, 0), pads[1]))
        for value, kernel in zip(values, kernels, strict=True)
    ]
    y = jnp.stack(_multiply(output_matrix, products), axis=2)
    return _joined(y)[:, :rows]


def input_gradient(
    dy: jax.Array, kernel: jax.Array, pads: Pads, size: tuple[int, ...], outputs: int
) -> jax.Array:
    """The transpose of `conv` with respect to the image: `[B, *size, C]`."""
    taps = kernel.shape[0]
    rows = dy.shape[1]
    output_matrix, kernel_matrix, image_matrix = matrices(outputs, taps)
    gradients = _multiply(_transposed(output_matrix), _bands(dy, 0, rows, outputs, 1))
    kernels = _multiply(kernel_matrix, list(kernel))
    products = [
        direct.input_gradient(
            gradient, kernel[None], ((0, 0), pads[1]), (gradient.shape[1], size[1])
        )
        for gradient, kernel in zip(gradients, kernels, strict=True)
    ]
    bands = _multiply(_transposed(image_matrix), products)
    # The last rows of a tile are the first of the next.
    further = -(-(taps - 1) // outputs)
    sums = []
    for row in range(outputs):
        parts = [
            jnp.pad(band, ((0, 0), (tile, further - tile), (0, 0), (0, 0)))
            for tile, band in enumerate(bands[row::outputs])
        ]
        sums.append(functools.reduce(jnp.add, parts))
    dx = _joined(jnp.stack(sums, axis=2))
    return pad_images(dx, ((-pads[0][0], size[0] + pads[0][0] - dx.shape[1]), (0, 0)))


def kernel_gradient(
    x: jax.Array, dy: jax.Array, shape: Shape, pads: Pads, outputs: int
) -> jax.Array:
    """The transpose of `conv` with respect to the kernel of that shape: [h, w, C, F].

    A few images at a time, so that patches and their products stay in cache.
    """
    taps, width, channels, features = shape
    batch, rows, columns, _ = dy.shape
    tiles = -(-rows // outputs)
    output_matrix, kernel_matrix, image_matrix = matrices(outputs, taps)

    def products(x: jax.Array, dy: jax.Array) -> jax.Array:
        """[n, F, w * C]"""
        bands = _bands(pad_images(x, ((0, 0), pads[1])), pads[0][0], rows, outputs, taps)
        values = _multiply(image_matrix, bands)
        gradients = _multiply(_transposed(output_matrix), _bands(dy, 0, rows, outputs, 1))
        sums = []
        for value, gradient in zip(values, gradients, strict=True):
            patches = [value[:, :, left : left + columns] for left in range(width)]
            sums.append(
                jax.lax.dot_general(
                    gradient.reshape(-1, features),
                    jnp.concatenate(patches, axis=-1).reshape(-1, width * channels),
                    (((0,), (0,)), ((), ())),  # over all pixels
                )
            )
        return jnp.stack(sums)

    images = largest_divisor(batch, _ROWS_PER_PRODUCT // (tiles * columns))
    blocks = tuple(a.reshape(batch // images, images, *a.shape[1:]) for a in (x, dy))
    nothing = jnp.zeros((len(image_matrix), features, width * channels), dy.dtype)
    total, _ = jax.lax.scan(lambda total, b: (total + products(*b), None), nothing, blocks)
    total = jnp.swapaxes(total, 1, 2).reshape(-1, width, channels, features)
    return jnp.stack(_multiply(_transposed(kernel_matrix), list(total)))


def _bands(x: jax.Array, top: int, rows: int, outputs: int, taps: int) -> list[jax.Array]:
    """For each row of a tile's input, that row of every tile: [B, tiles, W, C].

    A tile is the `outputs + taps - 1` rows of the image that `outputs` rows of output depend on.
    """
    tiles = -(-rows // outputs)
    last = (tiles - 1) * outputs + 1
    bottom = last + outputs + taps - 2 - x.shape[1] - top
    x = pad_images(x, ((top, bottom), (0, 0)))
    return [
        jax.lax.slice_in_dim(x, row, row + last, outputs, axis=1)
        for row in range(outputs + taps - 1)
    ]


def _joined(y: jax.Array) -> jax.Array:
    """[B, tiles, rows of a tile, W, C] as [B, H, W, C]."""
    batch, tiles, rows, *others = y.shape
    return y.reshape(batch, tiles * rows, *others)


def _transposed(matrix: Matrix) -> Matrix:
    return tuple(zip(*matrix, strict=True))


def _multiply(matrix: Matrix, arrays: Sequence[jax.Array]) -> list[jax.Array]:
    """The matrix times a column of arrays that have the same shape."""
    shape = arrays[0].shape
    arrays = [array.reshape(*shape[:-2], shape[-2] * shape[-1]) for array in arrays]  # long loops
    sums = []
    for row in matrix:
        terms = [
            array if factor == 1 else -array if factor == -1 else float(factor) * array
            for factor, array in zip(row, arrays, strict=True)
            if factor
        ]
        sums.append(functools.reduce(jnp.add, terms).reshape(shape))
    return sums
