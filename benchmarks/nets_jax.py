"""The zoo's own training programs, and the same with the operations of stock Flax."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import zoo.models
import zoo.optim
from zoo import steps
from zoo.models import layers


class StockNet(nn.Module):
    """A net of the zoo from `nn.Conv`, `nn.max_pool` and `nn.Dropout` as Flax has them."""

    net: layers.Net
    num_classes: int

    @nn.compact
    def __call__(self, images: Any, *, train: bool, mask: Any = None) -> Any:
        """As `zoo.models.layers.ConvNet`."""
        x = images.astype(jnp.float32) / 255
        for name, layer in layers.named_layers(self.net):
            match layer:
                case layers.Conv(features=features, kernel_size=k, padding=padding):
                    x = nn.relu(nn.Conv(features, (k, k), padding=padding, name=name)(x))
                case layers.MaxPool(window=window, stride=stride, padding=padding):
                    strides = (stride or window,) * 2
                    x = nn.max_pool(x, (window, window), strides, padding)
                case layers.Dropout(rate=rate):
                    x = nn.Dropout(rate, deterministic=not train, name=name)(x)
                case _:
                    context = layers.Context(name=name, train=train, mask=mask, dtype=jnp.float32)
                    x = layer(x, context)
        return nn.Dense(self.num_classes, name="head")(x)


def make_runner(
    net: layers.Net,
    config: Any,
    images: np.ndarray,
    labels: np.ndarray,
    num_classes: int,
    *,
    stock: bool,
) -> Callable[[int], float]:
    """run(num_steps) -> mean loss: trains so many steps on random batches of the images.

    The zoo runs as it trains: `steps_per_piece` steps a program. Stock Flax runs a step a call,
    as its examples do: its convolutions are slower still inside a loop.
    """
    if stock:
        model: Any = StockNet(net, num_classes)
    else:
        model = layers.ConvNet(net, num_classes)
    schedule = zoo.optim.make_schedule(config.optimizer, 1, 1)
    tx = zoo.optim.make_optimizer(config.optimizer, schedule)
    state = steps.create_train_state(model, tx, 0, images.shape[1:])
    program = steps.make_train_program(steps.make_train_step(model, tx))
    split = (jnp.asarray(images), jnp.asarray(labels))
    rng = np.random.default_rng(0)

    def run(num_steps: int) -> float:
        nonlocal state
        metrics = steps.Metrics.zeros()
        piece = 1 if stock else num_steps
        for _ in range(num_steps // piece):
            order = rng.integers(len(images), size=(piece, config.batch_size), dtype=np.int32)
            state, metrics = program(state, metrics, split, jnp.asarray(order), 0, piece)
        return jax.block_until_ready(metrics).means()["loss"]

    return run
