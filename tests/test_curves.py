"""Whole nets trained side by side: the zoo's operations against stock Flax's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from nets_jax import StockNet

import zoo.models
from zoo.models.layers import ConvNet, Dropout
from zoo.steps import create_train_state, make_train_step, take_batch

NUM_STEPS = 200


def losses_of(model, split, order):
    """The loss of each step, from the same start on the same batches."""
    tx = optax.sgd(0.02)
    state = create_train_state(model, tx, 0, split[0].shape[1:])
    train_step = make_train_step(model, tx)

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state, indices):
        return train_step(state, take_batch(split, indices))

    losses = []
    for indices in order:
        state, metrics = step(state, indices)
        losses.append(metrics.loss_sum / metrics.num_examples)
    return np.asarray(jax.device_get(losses))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kernels_cnn5", "vgg5", "pairs_cnn14"])
def test_200_steps_without_dropout_equal_those_of_stock_flax(name):
    """Batch norm, wide 3x3 kernels, and kernels larger than their maps; batches of 8."""
    net = tuple(layer for layer in zoo.models.MODELS[name] if not isinstance(layer, Dropout))
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 200, (10, 28, 28, 1))
    labels = rng.integers(0, 10, 64)
    images = patterns[labels] + rng.integers(0, 56, (64, 28, 28, 1))
    split = jnp.asarray(images, jnp.uint8), jnp.asarray(labels, jnp.int32)
    order = jnp.asarray(rng.integers(0, 64, (NUM_STEPS, 8)), jnp.int32)
    zoo_losses = losses_of(ConvNet(net, 10), split, order)
    stock_losses = losses_of(StockNet(net, 10), split, order)
    assert zoo_losses[0] == pytest.approx(stock_losses[0], rel=1e-5)
    np.testing.assert_allclose(zoo_losses, stock_losses, rtol=1e-3, atol=1e-4)
    assert zoo_losses[-20:].mean() < zoo_losses[:20].mean()  # it did learn
