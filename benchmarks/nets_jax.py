"""The zoo's programs, and training of the same nets with the operations of stock Flax."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

import zoo.models
import zoo.training.optim
from zoo.models import layers
from zoo.models.net import named_layers
from zoo.training import programs, step


class StockNet(nn.Module):
    """A net of the zoo built from Flax's `nn.Conv`, `nn.max_pool` and `nn.Dropout`."""

    net: layers.Net
    num_classes: int

    @nn.compact
    def __call__(self, images: Any, *, train: bool, mask: Any = None) -> Any:
        """Like `zoo.models.ConvNet`."""
        x = images.astype(jnp.float32) / 255
        for name, layer in named_layers(self.net):
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
    """run(num_steps) -> mean loss: trains `num_steps` steps on random batches of the images.

    The zoo runs many steps in one call, as in training. Stock Flax runs one step per call, as its
    examples do; its convolutions are far slower inside a loop.
    """
    model: Any = StockNet(net, num_classes) if stock else zoo.models.ConvNet(net, num_classes)
    schedule = zoo.training.optim.make_schedule(config.optimizer, 1, 1)
    tx = zoo.training.optim.make_optimizer(config.optimizer, schedule)
    state = step.create_train_state(model, tx, 0, images.shape[1:])
    train_step = step.make_train_step(model, tx)
    split = (jnp.asarray(images), jnp.asarray(labels))
    rng = np.random.default_rng(0)

    def random_order(num_steps: int) -> jax.Array:
        shape = (num_steps, config.batch_size)
        return jnp.asarray(rng.integers(len(images), size=shape, dtype=np.int32))

    program = programs.make_train_program(train_step)

    def run_zoo(num_steps: int) -> float:
        nonlocal state
        order = random_order(num_steps)
        state, metrics = program(state, step.Metrics.zeros(), split, order, 0, num_steps)
        return metrics.means()["loss"]

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def one_step(state: Any, metrics: Any, split: Any, indices: jax.Array) -> Any:
        state, new = train_step(state, programs.take_batch(split, indices))
        return state, metrics + new

    def run_stock(num_steps: int) -> float:
        nonlocal state
        metrics = step.Metrics.zeros()
        for indices in random_order(num_steps):
            state, metrics = one_step(state, metrics, split, indices)
        return metrics.means()["loss"]

    return run_stock if stock else run_zoo


def make_predictors(
    net: layers.Net, variables: Any, num_classes: int
) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """predict(images [B, H, W, C]) -> logits [B, num_classes], programs compiled per shape."""
    answer = functools.partial(zoo.models.ConvNet(net, num_classes).apply, train=False)
    on_device = jax.device_put(variables)
    program = jax.jit(answer)
    constant = jax.jit(functools.partial(answer, variables))
    return {
        "jax.jit": lambda images: np.asarray(program(on_device, images)),
        "jax.jit, constant weights": lambda images: np.asarray(constant(images)),
    }
