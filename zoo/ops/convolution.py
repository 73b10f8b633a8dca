"""Convolution: a bilinear map, and the two maps that are its transposes.

A layer's output is linear in the images and linear in the kernel. The images' gradient is linear in
the output's gradient and the kernel, the kernel's gradient in the images and the output's gradient.
Each of the three, transposed in one operand, is another of them. As JAX primitives with these rules
they can be differentiated in any mode, in any order and any number of times, and every derivative
uses the fast formulation. It is chosen when a program is lowered: on a CPU that of
`zoo.ops.on_cpu`, on a GPU or TPU XLA's own. With a stride or with groups it is that of
`zoo.ops.strided`. A convolution that is not differentiated, an answer, is a primitive of its own:
for one image and small kernels XLA's is the faster one on a CPU too.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import batching

from zoo.ops import direct, on_cpu, strided, windows
from zoo.ops.primitives import (
    OF_INPUT_GRADIENT,
    OF_KERNEL_GRADIENT,
    OF_OUTPUT,
    Kept,
    alike,
    differentiate_as,
    primitive,
    transpose_each_other,
)
from zoo.ops.windows import Padding, Pads, same_or_valid

_MOST_TAPS_FOR_XLA = 9  # of a kernel: above this Winograd's algorithm pays for one image, too


def conv(
    x: jax.Array, kernel: jax.Array, padding: Padding, *, stride: int = 1, groups: int = 1
) -> jax.Array:
    """Convolution without bias: [B, H', W', F].

    On a CPU the output for a patch of zeros is exactly zero. So is the gradient of a pixel if all
    outputs that depend on it have a zero gradient, and the gradient of a weight that is multiplied
    by zeros only; on a GPU or TPU that is for XLA's algorithm to say. Differentiable in any mode,
    any number of times.

    Args:
        x: images [B, H, W, C], floating point.
        kernel: [h, w, C / groups, F], of the same type.
        padding: VALID, or SAME as in TensorFlow (an odd pixel goes right and below).
        stride: pixels between neighbouring outputs, along either axis.
        groups: the channels are split into as many groups, each with its own features; as many as
            there are channels: a depthwise convolution.

    Raises:
        TypeError: images and kernel have different types, or are not floating point.
        ValueError: unknown padding, different numbers of channels, features that are not a multiple
            of the groups, or images that are smaller than the kernel without padding.
    """
    if x.dtype != kernel.dtype or not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(
            f"images of {x.dtype} and a kernel of {kernel.dtype}: use the same float type"
        )
    if x.shape[3] != kernel.shape[2] * groups:
        of_groups = f" in {groups} groups" if groups > 1 else ""
        raise ValueError(
            f"the images have {x.shape[3]} channels, the kernel {kernel.shape[2]}{of_groups}: use "
            f"as many"
        )
    if kernel.shape[3] % groups:
        raise ValueError(f"{kernel.shape[3]} features cannot be split into {groups} groups")
    pads = same_or_valid(x, kernel.shape[:2], stride, padding)
    x, kernel = alike(x, kernel)
    if stride > 1 or groups > 1:
        return strided.conv(x, kernel, pads, stride, groups)
    return _answer.bind(x, kernel, pads=pads)


def _output_by_xla(x: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), pads, dimension_numbers=direct.DIMENSIONS
    )


def is_one_image(x: jax.Array) -> bool:
    """Whether a batch surely has one image; one of any size may have more."""
    return isinstance(x.shape[0], int) and x.shape[0] == 1


def _answer_on_cpu(x: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    is_small = is_one_image(x) and kernel.shape[0] * kernel.shape[1] <= _MOST_TAPS_FOR_XLA
    by_xla = is_small and x.dtype in (jnp.float32, jnp.float64)
    return (_output_by_xla if by_xla else on_cpu.output)(x, kernel, pads)


def _input_gradient_by_xla(dy: jax.Array, kernel: jax.Array, pads: Pads) -> jax.Array:
    x = jax.ShapeDtypeStruct(windows.input_shape(dy.shape, kernel.shape, pads), dy.dtype)
    return jax.linear_transpose(lambda x: _output_by_xla(x, kernel, pads), x)(dy)[0]


def _kernel_gradient_by_xla(x: jax.Array, dy: jax.Array, pads: Pads) -> jax.Array:
    kernel = jax.ShapeDtypeStruct(windows.kernel_shape(x.shape, dy.shape, pads), x.dtype)
    return jax.linear_transpose(lambda kernel: _output_by_xla(x, kernel, pads), kernel)(dy)[0]


def _define_batching(product: Primitive, kept: Kept) -> None:
    """Defines `jax.vmap` over either operand or both.

    Each operand has one axis that the other does not have, and it is an axis of the result too. A
    batch of operands is merged into that axis, for one larger product. If both are batched, the
    pairs are multiplied one after another.

    Args:
        product: the primitive product(left, right, pads=pads).
        kept: of each operand that axis, as in `primitive`.
    """
    (_, *left_axes), (_, *right_axes) = kept

    def batch(operands: Any, dims: Any, *, pads: Pads) -> tuple[jax.Array, int]:
        left, right = operands
        left_dim, right_dim = dims
        if left_dim is not None and right_dim is not None:
            pairs = (jnp.moveaxis(left, left_dim, 0), jnp.moveaxis(right, right_dim, 0))
            return jax.lax.map(lambda pair: product.bind(*pair, pads=pads), pairs), 0
        if left_dim is not None:
            axis, axis_of_result = left_axes
            size, left = left.shape[left_dim], _merged(left, left_dim, axis)
        else:
            axis, axis_of_result = right_axes
            size, right = right.shape[right_dim], _merged(right, right_dim, axis)
        result = product.bind(left, right, pads=pads)
        before, after = result.shape[:axis_of_result], result.shape[axis_of_result + 1 :]
        return result.reshape(*before, size, -1, *after), axis_of_result

    batching.primitive_batchers[product] = batch


def _merged(array: jax.Array, dim: int, axis: int) -> jax.Array:
    """The array with its axis `dim` merged into `axis` of the remaining axes."""
    array = jnp.moveaxis(array, dim, axis)
    shape = array.shape
    return array.reshape(*shape[:axis], -1, *shape[axis + 2 :])


_output = primitive("conv_output", windows.output_shape, _output_by_xla, on_cpu.output, OF_OUTPUT)
_input_gradient = primitive(
    "conv_input_gradient",
    windows.input_shape,
    _input_gradient_by_xla,
    on_cpu.input_gradient,
    OF_INPUT_GRADIENT,
)
_kernel_gradient = primitive(
    "conv_kernel_gradient",
    windows.kernel_shape,
    _kernel_gradient_by_xla,
    on_cpu.kernel_gradient,
    OF_KERNEL_GRADIENT,
)
_answer = primitive("conv", windows.output_shape, _output_by_xla, _answer_on_cpu, OF_OUTPUT)

transpose_each_other(_output, _input_gradient, _kernel_gradient)
differentiate_as(_answer, _output)

for _product, _kept in (
    (_answer, OF_OUTPUT),
    (_output, OF_OUTPUT),
    (_input_gradient, OF_INPUT_GRADIENT),
    (_kernel_gradient, OF_KERNEL_GRADIENT),
):
    _define_batching(_product, _kept)
