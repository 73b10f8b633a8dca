"""How this room's operations become primitives of JAX."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jax.sharding import PartitionSpec

Kept = tuple[tuple[int, int, int], ...]
IMAGES_AND_CHANNELS: Kept = ((0, 0, 0), (0, 3, 3))  # of an operation on each image and channel
# Of the three products of a convolution, the axis that each operand alone has.
OF_OUTPUT: Kept = ((0, 0, 0), (1, 3, 3))  # images, features
OF_INPUT_GRADIENT: Kept = ((0, 0, 0), (1, 2, 3))  # images, channels
OF_KERNEL_GRADIENT: Kept = ((0, 3, 2), (1, 3, 3))  # channels, features


def primitive(
    name: str,
    shape: Callable[..., tuple[int, ...]],
    by_xla: Callable[..., jax.Array],
    by_cpu: Callable[..., jax.Array],
    kept: Kept = IMAGES_AND_CHANNELS,
) -> Primitive:
    """A primitive of arrays and static parameters, without its derivatives.

    Which formulation a program gets is decided when it is lowered. Called outside a compiled
    program, the primitive is compiled as a program by itself.

    Args:
        name: its name in printed programs.
        shape: the result's shape, from the operands' shapes and the parameters; its type is that of
            the first operand.
        by_xla: the result, from the operands and the parameters, on any platform.
        by_cpu: the same on a CPU.
        kept: (number of an operand, its axis, the result's axis) for each axis that the result has
            from an operand, and over whose devices it is spread as that one is.
    """
    new = Primitive(name)

    @functools.cache
    def compiled(**params: Any) -> Any:
        return jax.jit(functools.partial(new.bind, **params))

    def evaluate(*operands: jax.Array, **params: Any) -> jax.Array:
        with jax.disable_jit(False):  # else it would call itself
            return compiled(**params)(*operands)

    def abstract(*operands: Any, **params: Any) -> Any:
        size = shape(*(operand.shape for operand in operands), **params)
        spec: list[Any] = [None] * len(size)
        for operand, axis, axis_of_result in kept:
            spec[axis_of_result] = operands[operand].sharding.spec[axis]
        meshes = [operand.sharding for operand in operands if not operand.sharding.mesh.empty]
        sharding = (meshes or [operands[0].sharding])[0].update(spec=PartitionSpec(*spec))
        return operands[0].update(shape=size, weak_type=False, sharding=sharding)

    new.def_impl(evaluate)
    new.def_abstract_eval(abstract)
    mlir.register_lowering(new, _lowering(by_xla))
    mlir.register_lowering(new, _lowering(by_cpu), "cpu")
    return new


def _lowering(function: Callable[..., jax.Array]) -> Any:
    """The rule to lower a primitive as this function.

    It sees shapes and types of arrays alone: over which devices they are spread, and in
    `jax.shard_map` whether each device has another one, the primitive's result tells already.
    """
    rule = mlir.lower_fun(function, multiple_results=False)

    def plain(types: Any) -> list[Any]:
        return [jax.core.ShapedArray(each.shape, each.dtype) for each in types]

    def lower(context: Any, *operands: Any, **params: Any) -> Any:
        context = context.replace(
            avals_in=plain(context.avals_in), avals_out=plain(context.avals_out)
        )
        return rule(context, *operands, **params)

    return lower


def alike(*operands: jax.Array) -> list[jax.Array]:
    """The operands of a primitive, where in `jax.shard_map` only some differ between devices.

    The others count as different too from here on, so that their gradients are added up over the
    devices, as those of JAX's own operations are.
    """
    names = [jax.typeof(operand).mat.varying for operand in operands]
    together = frozenset().union(*names)
    return [
        jax.lax.pcast(operand, tuple(together - own), to="varying") if together - own else operand
        for operand, own in zip(operands, names, strict=True)
    ]


def batch_as_images(own: Primitive) -> None:
    """Defines `jax.vmap`: more images, which are the first axis of each operand and the result."""

    def batch(operands: Any, dims: Any, **params: Any) -> tuple[jax.Array, int]:
        size = next(
            operand.shape[dim]
            for operand, dim in zip(operands, dims, strict=True)
            if dim is not None
        )
        merged = []
        for operand, dim in zip(operands, dims, strict=True):
            if dim is None:
                operand = jnp.broadcast_to(operand, (size, *operand.shape))
            else:
                operand = jnp.moveaxis(operand, dim, 0)
            merged.append(operand.reshape(-1, *operand.shape[2:]))
        y = own.bind(*merged, **params)
        return y.reshape(size, y.shape[0] // size, *y.shape[1:]), 0

    batching.primitive_batchers[own] = batch


def differentiate_as(own: Primitive, other: Primitive) -> None:
    """Where `own` is differentiated, `other` is computed in its place, with its rules."""
    ad.primitive_jvps[own] = ad.primitive_jvps[other]
    if other in ad.primitive_transposes:
        ad.primitive_transposes[own] = ad.primitive_transposes[other]


def transpose_each_other(
    output: Primitive, input_gradient: Primitive, kernel_gradient: Primitive
) -> None:
    """Gives the three products of a convolution, which are bilinear, their derivatives.

    Each, transposed in one operand, is another of them. All have the same static parameters.

    Args:
        output: y of (x, kernel).
        input_gradient: dx of (dy, kernel).
        kernel_gradient: dkernel of (x, dy).
    """
    # From the cotangent of the result, those of the left and the right operand.
    ad.defbilinear(
        output,
        lambda dy, _, kernel, **params: input_gradient.bind(dy, kernel, **params),
        lambda dy, x, _, **params: kernel_gradient.bind(x, dy, **params),
    )
    ad.defbilinear(
        input_gradient,
        lambda x, _, kernel, **params: output.bind(x, kernel, **params),
        lambda x, dy, _, **params: kernel_gradient.bind(x, dy, **params),
    )
    ad.defbilinear(
        kernel_gradient,
        lambda kernel, _, dy, **params: input_gradient.bind(dy, kernel, **params),
        lambda kernel, x, _, **params: output.bind(x, kernel, **params),
    )
