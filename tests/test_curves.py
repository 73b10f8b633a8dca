"""Whole nets trained with the zoo's operations and, beside them, with stock Flax's."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from nets_jax import StockNet

import zoo.models
from zoo.models.layers import ConvNet, Dropout
from zoo.steps import TrainState, create_train_state, make_train_step, take_batch

NUM_STEPS = 200
IMAGE_SHAPE = (28, 28, 1)


def largest_difference(a: Any, b: Any) -> float:
    """Over all arrays, relative to the largest element of each array of b."""

    def difference(x: jax.Array, y: jax.Array) -> float:
        return float(jnp.max(jnp.abs(x - y)) / jnp.maximum(jnp.max(jnp.abs(y)), 1e-30))

    return max(jax.tree.leaves(jax.tree.map(difference, a, b)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kernels_cnn5", "vgg5", "pairs_cnn14"])
def test_200_steps_without_dropout_equal_those_of_stock_flax(name: str) -> None:
    """Batch norm, wide 3x3 kernels, kernels larger than their maps; batches of 8.

    Each step starts, in both, where the zoo's last one ended: two runs on their own part after a
    few dozen steps, as any two runs do that round differently (a ReLU or a maximum goes the other
    way). So loss, batch statistics and update are compared step by step along one run.
    """
    net = tuple(layer for layer in zoo.models.MODELS[name] if not isinstance(layer, Dropout))
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 200, (10, *IMAGE_SHAPE))
    labels = rng.integers(0, 10, 64)
    images = patterns[labels] + rng.integers(0, 56, (64, *IMAGE_SHAPE))
    split = jnp.asarray(images, jnp.uint8), jnp.asarray(labels, jnp.int32)
    order = jnp.asarray(rng.integers(0, 64, (NUM_STEPS, 8)), jnp.int32)
    tx = optax.sgd(0.01)

    @functools.partial(jax.jit, static_argnums=0)
    def step(model: Any, state: TrainState, indices: jax.Array) -> Any:
        after, metrics = make_train_step(model, tx)(state, take_batch(split, indices))
        update = jax.tree.map(jnp.subtract, after.params, state.params)
        return after, metrics.loss_sum, update

    state = create_train_state(ConvNet(net, 10), tx, 0, IMAGE_SHAPE)
    losses = []
    for indices in order:
        stock, stock_loss, stock_update = step(StockNet(net, 10), state, indices)
        state, loss, update = step(ConvNet(net, 10), state, indices)
        losses.append(float(loss))
        assert loss == pytest.approx(float(stock_loss), rel=1e-4, abs=1e-4)
        assert largest_difference(state.batch_stats, stock.batch_stats) < 1e-4
        assert largest_difference(update, stock_update) < 1e-2
    assert np.mean(losses[-20:]) < np.mean(losses[:20]) / 2  # it did learn
