"""How this room's operations become primitives of JAX."""

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, mlir


def primitive(
    name: str,
    shape: Callable[..., tuple[int, ...]],
    by_xla: Callable[..., jax.Array],
    by_cpu: Callable[..., jax.Array],
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
    """
    new = Primitive(name)

    @functools.cache
    def compiled(**params: Any) -> Any:
        return jax.jit(functools.partial(new.bind, **params))

    def evaluate(*operands: jax.Array, **params: Any) -> jax.Array:
        with jax.disable_jit(False):  # else it would call itself
            return compiled(**params)(*operands)

    def abstract(*operands: Any, **params: Any) -> Any:
        shapes = (operand.shape for operand in operands)
        return operands[0].update(shape=shape(*shapes, **params), weak_type=False)

    new.def_impl(evaluate)
    new.def_abstract_eval(abstract)
    mlir.register_lowering(new, mlir.lower_fun(by_xla, multiple_results=False))
    mlir.register_lowering(new, mlir.lower_fun(by_cpu, multiple_results=False), "cpu")
    return new


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
