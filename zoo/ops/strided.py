"""Convolution with a stride or with groups: a bilinear map, and its two transposes.

As in `zoo.ops.convolution`, each of the three is a primitive, and transposed in one operand another
of them, so all derivatives use the fast formulation. On a CPU it is that of `zoo.ops.depthwise`
where each channel has features of its own, else that of `zoo.ops.strided_on_cpu`; on a GPU or TPU
it is XLA's own.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import batching

from zoo.ops import depthwise, direct, strided_on_cpu
from zoo.ops.primitives import (
    OF_INPUT_GRADIENT,
    OF_KERNEL_GRADIENT,
    OF_OUTPUT,
    primitive,
    transpose_each_other,
)
from zoo.ops.windows import Pads, Shape


class Geometry(NamedTuple):
    """What is fixed of a convolution besides the number of images and features."""

    size: tuple[int, int]  # height and width of the images
    taps: tuple[int, int]  # height and width of the kernel
    stride: int
    groups: int
    pads: Pads


def conv(x: jax.Array, kernel: jax.Array, pads: Pads, stride: int, groups: int) -> jax.Array:
    """[B, H', W', F] of images [B, H, W, C] and a kernel [h, w, C / groups, F]."""
    height, width = x.shape[1:3]
    taps = kernel.shape[0], kernel.shape[1]
    return _output.bind(x, kernel, of=Geometry((height, width), taps, stride, groups, pads))


def _output_shape(x: Shape, kernel: Shape, of: Geometry) -> Shape:
    rows, columns = (
        (size + sum(pad) - taps) // of.stride + 1
        for size, taps, pad in zip(of.size, of.taps, of.pads, strict=True)
    )
    return x[0], rows, columns, kernel[3]


def _input_shape(dy: Shape, kernel: Shape, of: Geometry) -> Shape:
    return dy[0], *of.size, kernel[2] * of.groups


def _kernel_shape(x: Shape, dy: Shape, of: Geometry) -> Shape:
    return *of.taps, x[3] // of.groups, dy[3]


def _output_by_xla(x: jax.Array, kernel: jax.Array, of: Geometry) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (of.stride, of.stride),
        of.pads,
        dimension_numbers=direct.DIMENSIONS,
        feature_group_count=of.groups,
    )


def _input_gradient_by_xla(dy: jax.Array, kernel: jax.Array, of: Geometry) -> jax.Array:
    x = jax.ShapeDtypeStruct(_input_shape(dy.shape, kernel.shape, of), dy.dtype)
    return jax.linear_transpose(lambda x: _output_by_xla(x, kernel, of), x)(dy)[0]


def _kernel_gradient_by_xla(x: jax.Array, dy: jax.Array, of: Geometry) -> jax.Array:
    kernel = jax.ShapeDtypeStruct(_kernel_shape(x.shape, dy.shape, of), x.dtype)
    return jax.linear_transpose(lambda kernel: _output_by_xla(x, kernel, of), kernel)(dy)[0]


def _output_on_cpu(x: jax.Array, kernel: jax.Array, of: Geometry) -> jax.Array:
    if x.shape[3] == of.groups > 1:
        return depthwise.output(x, kernel, of.stride, of.pads)
    parts = zip(_split(x, of.groups), _split(kernel, of.groups), strict=True)
    return _joined([strided_on_cpu.output(*part, of.stride, of.pads) for part in parts])


def _input_gradient_on_cpu(dy: jax.Array, kernel: jax.Array, of: Geometry) -> jax.Array:
    if kernel.shape[2] == 1 < of.groups:
        return depthwise.input_gradient(dy, kernel, of.stride, of.pads, of.size, of.groups)
    parts = zip(_split(dy, of.groups), _split(kernel, of.groups), strict=True)
    return _joined(
        [strided_on_cpu.input_gradient(*part, of.stride, of.pads, of.size) for part in parts]
    )


def _kernel_gradient_on_cpu(x: jax.Array, dy: jax.Array, of: Geometry) -> jax.Array:
    if x.shape[3] == of.groups > 1:
        return depthwise.kernel_gradient(x, dy, of.stride, of.pads, of.taps)
    parts = zip(_split(x, of.groups), _split(dy, of.groups), strict=True)
    return _joined(
        [strided_on_cpu.kernel_gradient(*part, of.stride, of.pads, of.taps) for part in parts]
    )


def _split(array: jax.Array, groups: int) -> list[jax.Array]:
    """Of each group its channels, which are last."""
    return jnp.split(array, groups, axis=3) if groups > 1 else [array]


def _joined(parts: list[jax.Array]) -> jax.Array:
    return jnp.concatenate(parts, axis=3) if len(parts) > 1 else parts[0]


def _define_batching(product: Primitive, *, of_images: bool) -> None:
    """Defines `jax.vmap`: more images in one product, or else one product after another.

    Args:
        product: the primitive product(left, right, of=geometry).
        of_images: whether the left operand and the result have the images as their first axis.
    """

    def batch(operands: Any, dims: Any, *, of: Geometry) -> tuple[jax.Array, int]:
        (left, right), (left_dim, right_dim) = operands, dims
        if of_images and right_dim is None:
            left = jnp.moveaxis(left, left_dim, 0)
            y = product.bind(left.reshape(-1, *left.shape[2:]), right, of=of)
            return y.reshape(*left.shape[:2], *y.shape[1:]), 0
        size = left.shape[left_dim] if right_dim is None else right.shape[right_dim]
        pairs = [
            jnp.broadcast_to(operand, (size, *operand.shape))
            if dim is None
            else jnp.moveaxis(operand, dim, 0)
            for operand, dim in ((left, left_dim), (right, right_dim))
        ]
        return jax.lax.map(lambda pair: product.bind(*pair, of=of), tuple(pairs)), 0

    batching.primitive_batchers[product] = batch


_output = primitive("strided_conv_output", _output_shape, _output_by_xla, _output_on_cpu, OF_OUTPUT)
_input_gradient = primitive(
    "strided_conv_input_gradient",
    _input_shape,
    _input_gradient_by_xla,
    _input_gradient_on_cpu,
    OF_INPUT_GRADIENT,
)
_kernel_gradient = primitive(
    "strided_conv_kernel_gradient",
    _kernel_shape,
    _kernel_gradient_by_xla,
    _kernel_gradient_on_cpu,
    OF_KERNEL_GRADIENT,
)

transpose_each_other(_output, _input_gradient, _kernel_gradient)
_define_batching(_output, of_images=True)
_define_batching(_input_gradient, of_images=True)
_define_batching(_kernel_gradient, of_images=False)
