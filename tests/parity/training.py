"""Fifty training steps in the zoo and in Keras, without dropout, from the same weights.

In float64: rounding errors of float32 soon send some value to the other side of a ReLU, and from
there on the losses of two correct programs differ by more than a wrong constant would make them.

    KERAS_BACKEND=jax PYTHONPATH=.:tests python -m parity.training [NET ...]

prints a table, and writes Keras's side to golden_training.npz.
"""

import importlib
import sys
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from conftest import GOLDEN
from parity import nets

import zoo.models
import zoo.optim
from zoo.models.layers import BatchNorm, ConvNet, Dropout
from zoo.steps import create_train_state, make_train_step

NUM_STEPS = 50
TOLERANCE = 1e-4  # relative
GOLDEN_FILE = Path(__file__).with_name("golden_training.npz")


def batch_size(name: str) -> int:
    """Few in large nets, which XLA computes slowly in float64; more in nets that normalize.

    In a batch of 8 some feature hardly varies, its normalization magnifies rounding errors, and
    the two runs of pairs_cnn6 part by a factor of 2 a step: from 1e-15 to 1e-2 in 50.
    """
    net = zoo.models.MODELS[name]
    if any(isinstance(layer, BatchNorm) for layer in net):
        return 64 if name == "pairs_cnn10" else 32  # which parts, more slowly, at 32 too
    macs = sum(zoo.models.layer_macs(net, nets.IMAGE_SHAPE).values())
    return 1 if macs > 1e9 else 2 if macs > 1e8 else 8


def random_batches(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images [N, batch, 28, 28, 1] in [0, 1] and labels [N, batch]: ten patterns, with noise."""
    rng = np.random.RandomState(1)
    patterns = rng.uniform(0, 1, (10, 7, 7)).repeat(4, axis=1).repeat(4, axis=2)
    labels = rng.randint(10, size=(NUM_STEPS, batch_size(name)))
    images = 0.7 * patterns[labels] + 0.3 * rng.uniform(0, 1, (*labels.shape, 28, 28))
    return images[..., None], labels


class Trained(NamedTuple):
    """What 50 steps came to."""

    losses: np.ndarray  # [50] float64, nats per image
    statistics: np.ndarray  # all moving means and variances, in Keras's order; may be empty


def golden(name: str) -> Trained:
    """What Keras came to, as kept in the file."""
    with np.load(GOLDEN_FILE) as arrays:
        return Trained(arrays[f"{name}/losses"], arrays[f"{name}/statistics"])


def deviations(found: Trained, expected: Trained) -> tuple[float, float]:
    """Of the losses, relative to the loss of the step; of the statistics, to the largest one."""
    losses = np.max(np.abs(found.losses - expected.losses) / expected.losses)
    if not len(expected.statistics):
        return float(losses), 0.0
    return float(losses), nets.deviation(found.statistics, expected.statistics)


def train_in_zoo(name: str) -> Trained:
    """By the optimizer of the net's configuration."""
    net = zoo.models.MODELS[name]
    net = tuple(layer for layer in net if not isinstance(layer, Dropout))
    config = importlib.import_module(f"configs.{name}").get_config().optimizer
    tx = zoo.optim.make_optimizer(config, zoo.optim.make_schedule(config, 1, 1))
    with jax.enable_x64(True):
        model = ConvNet(net, dtype=jnp.float64)
        variables = zoo.models.from_keras_weights(model, nets.random_weights(name))
        variables = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), variables)
        state = create_train_state(model, tx, 0, nets.IMAGE_SHAPE)
        state = state.replace(**variables, opt_state=tx.init(variables["params"]))
        step = jax.jit(make_train_step(model, tx), donate_argnums=0)
        mask = jnp.ones(batch_size(name), bool)
        losses = []
        for image, label in zip(*random_batches(name), strict=True):
            state, metrics = step(state, {"image": image, "label": label, "mask": mask})
            losses.append(metrics.means()["loss"])
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        weights = zoo.models.to_keras_weights(model, variables)
    return Trained(np.array(losses), _statistics(name, weights))


def train_in_keras(name: str) -> Trained:
    """By the notebook's optimizer with the constants of Keras 2.2."""
    import keras
    from keras.src.backend.common.dtypes import BIT64_TO_BIT32_DTYPE

    facts = GOLDEN[name]
    rate, epsilon = facts["learning_rate"], facts["epsilon"]
    policy = keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        with (
            jax.enable_x64(True),
            # On JAX, Keras's batch normalization takes the common type of float64 and float32
            # to be float32.
            mock.patch.dict(BIT64_TO_BIT32_DTYPE, float64="float64"),
        ):
            if facts["optimizer"] == "adadelta":
                optimizer = keras.optimizers.Adadelta(rate, rho=0.95, epsilon=epsilon)
            else:
                optimizer = keras.optimizers.Adam(rate, beta_1=0.9, beta_2=0.999, epsilon=epsilon)
            model = nets.make_keras_net(name)
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile(optimizer=optimizer, loss=loss)
            losses = []
            for image, label in zip(*random_batches(name), strict=True):
                model.reset_metrics()  # else the loss is the mean of all steps so far
                losses.append(float(model.train_on_batch(image, label)))
            weights = model.get_weights()
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy(policy)
    return Trained(np.array(losses), _statistics(name, weights))


def _statistics(name: str, weights: list[np.ndarray]) -> np.ndarray:
    roles = [role for role, _ in nets.weight_shapes(name)]
    chosen = [
        weight.astype(np.float64)
        for role, weight in zip(roles, weights, strict=True)
        if role in ("mean", "variance")
    ]
    return np.concatenate([*chosen, np.empty(0)])


def main() -> None:
    """Prints how far zoo and Keras are apart, and keeps Keras's side in the file."""
    print("| net | losses of 50 steps | moving statistics after them |\n|---|---:|---:|")
    for name in sys.argv[1:] or zoo.models.list_models():
        expected, found = train_in_keras(name), train_in_zoo(name)
        losses, statistics = deviations(found, expected)
        print(f"| `{name}` | {losses:.1e} | {statistics:.1e} |", flush=True)
        arrays: dict[str, np.ndarray] = {}
        if GOLDEN_FILE.exists():
            with np.load(GOLDEN_FILE) as kept:
                arrays.update(kept)
        arrays |= {f"{name}/losses": expected.losses, f"{name}/statistics": expected.statistics}
        np.savez_compressed(GOLDEN_FILE, **arrays)
        jax.clear_caches()


if __name__ == "__main__":
    main()
