"""Whole nets trained with the zoo's operations and, beside them, with stock Flax's."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from data import IMAGE_SHAPE
from nets_jax import StockNet

import zoo.models
from zoo.models.layers import Dropout
from zoo.models.net import ConvNet
from zoo.training.programs import take_batch
from zoo.training.step import TrainState, create_train_state, make_train_step

NUM_STEPS = 200


def flat(tree: Any) -> np.ndarray:
    """All its numbers, one after another."""
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)] or [np.zeros(0)])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("kernels_cnn5", marks=pytest.mark.full),
        pytest.param("vgg5", marks=pytest.mark.full),
        pytest.param("pairs_cnn14", marks=pytest.mark.full),
    ],
)
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
    losses, differences = [], []
    for indices in order:
        stock, stock_loss, stock_update = step(StockNet(net, 10), state, indices)
        state, loss, update = step(ConvNet(net, 10), state, indices)
        losses.append(float(loss))
        assert loss == pytest.approx(float(stock_loss), rel=5e-5, abs=1e-6)
        np.testing.assert_allclose(flat(state.batch_stats), flat(stock.batch_stats), 1e-4, 1e-5)
        distance = np.linalg.norm(flat(update) - flat(stock_update))
        differences.append(distance / np.linalg.norm(flat(stock_update)))
    assert np.median(differences) < 1e-4
    assert max(differences) < 0.05  # where a ReLU or a maximum went the other way
    assert np.mean(losses[-20:]) < np.mean(losses[:20])  # it did learn
