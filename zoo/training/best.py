"""The parameters of the epoch that did best on held-out images, kept beside the train state."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from zoo.training.mesh import place_as
from zoo.training.step import TrainState


class Best(struct.PyTreeNode):
    """The best epoch so far; of many seeds, each array has an axis of seeds in front."""

    score: jax.Array  # [] float32, the larger the better
    epoch: jax.Array  # [] int32, from 1; 0: none yet
    params: Any
    batch_stats: Any


def none_yet(state: TrainState) -> Best:
    """What any epoch is better than; its arrays are its own, so a step may use up the state's."""
    none = Best(
        score=place_as(state.step.sharding, jnp.full(state.step.shape, -jnp.inf)),
        epoch=place_as(state.step.sharding, jnp.zeros(state.step.shape, jnp.int32)),
        params=state.params,
        batch_stats=state.batch_stats,
    )
    return jax.tree.map(jnp.copy, none)


def better_of(best: Best, state: TrainState, record: dict[str, Any], metric: str) -> Best:
    """The best after another epoch, which must be better to take its place; `best` is used up.

    Args:
        best: of the epochs before.
        state: after the epoch.
        record: the epoch's entry in the history.
        metric: which of it decides, "val_accuracy" (largest) or "val_loss" (smallest).
    """
    value = place_as(state.step.sharding, jnp.asarray(record[metric], jnp.float32))  # [] or [seeds]
    new = Best(
        score=value if metric == "val_accuracy" else -value,
        epoch=place_as(state.step.sharding, jnp.full(value.shape, record["epoch"], jnp.int32)),
        params=state.params,
        batch_stats=state.batch_stats,
    )
    return _better_of(best, new)


@functools.partial(jax.jit, donate_argnums=0)
def _better_of(old: Best, new: Best) -> Best:
    """The one with the larger score, the old one if they are equal; of many seeds, for each."""
    is_better = new.score > old.score  # [] or [seeds]

    def choose(old_leaf: jax.Array, new_leaf: jax.Array) -> jax.Array:
        ones = (1,) * (old_leaf.ndim - is_better.ndim)
        return jnp.where(is_better.reshape(is_better.shape + ones), new_leaf, old_leaf)

    return jax.tree.map(choose, old, new)
