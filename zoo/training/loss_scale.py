"""Dynamic scaling of the loss, so that float16 can hold the gradients.

The smallest number of float16 is 6e-8, and smaller gradients become zero. So the loss is multiplied
by a power of two before it is differentiated, and the gradients, as float32, are divided by it.
A step whose gradients are not finite is left out and halves the factor; 2,000 good steps double it
(Micikevicius et al., arXiv 1710.03740, section 3.2).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

FIRST, SMALLEST, LARGEST = 2.0**15, 1.0, 2.0**24
GOOD_STEPS = 2000  # that double the factor


class ScaledState(NamedTuple):
    """The state of an optimizer, and of the factor of the loss."""

    factor: jax.Array  # [] float32, a power of two
    num_good: jax.Array  # [] int32, good steps since the factor changed
    num_skipped: jax.Array  # [] int32, steps left out since step 0
    inner: Any  # the optimizer's


def is_needed(model: Any) -> bool:
    """Whether a net, or any Flax module, computes in float16."""
    dtype = getattr(model, "dtype", None)
    return dtype is not None and jnp.dtype(dtype) == jnp.float16


def first_state(opt_state: Any) -> ScaledState:
    """The state at step 0, of that of the optimizer."""
    return ScaledState(jnp.float32(FIRST), jnp.int32(0), jnp.int32(0), opt_state)


def scaled(tx: optax.GradientTransformation) -> optax.GradientTransformation:
    """The optimizer, with the state of a good step's factor; its gradients are not scaled."""

    def update(grads: Any, state: ScaledState, params: Any = None) -> tuple[Any, ScaledState]:
        updates, inner = tx.update(grads, state.inner, params)
        num_good = state.num_good + 1
        is_enough = num_good == GOOD_STEPS
        doubled = jnp.minimum(2 * state.factor, LARGEST)
        factor = jnp.where(is_enough, doubled, state.factor)
        num_good = jnp.where(is_enough, 0, num_good)
        return updates, ScaledState(factor, num_good, state.num_skipped, inner)

    return optax.GradientTransformation(lambda params: first_state(tx.init(params)), update)


def lowered(state: ScaledState) -> ScaledState:
    """The state after a step that was left out."""
    factor = jnp.maximum(state.factor / 2, SMALLEST)
    return ScaledState(factor, jnp.int32(0), state.num_skipped + 1, state.inner)


def is_counted(
    is_good: jax.Array, loss: jax.Array, state: ScaledState, skip_non_finite: bool
) -> jax.Array:
    """Whether the metrics of a step count: [] bool.

    They do where the factor alone may be why the step is left out. A loss that is not finite counts
    as well, so that the run stops, unless such steps are skipped.
    """
    return jnp.where(jnp.isfinite(loss), is_good | may_be_too_large(state), not skip_non_finite)


def may_be_too_large(state: ScaledState) -> jax.Array:
    """Whether gradients that are not finite may be the factor's fault: [] bool."""
    return state.factor > SMALLEST
