"""Fifty training steps in the zoo and in Keras, without dropout, from the same weights.

In float64: rounding errors of float32 soon send some value to the other side of a ReLU, and from
there on the losses of two correct programs differ by more than a wrong constant would make them.

Keras's batch normalization computes in float32 even then, so the nets that normalize are left out.

    KERAS_BACKEND=jax PYTHONPATH=.:tests python -m parity.training [NET ...]   # a table
"""

import importlib
import sys

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
TOLERANCE = 1e-6  # relative


def random_batches(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Images [N, batch, 28, 28, 1] in [0, 1] and labels [N, batch]: ten patterns, with noise."""
    rng = np.random.RandomState(1)
    patterns = rng.uniform(0, 1, (10, 7, 7)).repeat(4, axis=1).repeat(4, axis=2)
    labels = rng.randint(10, size=(NUM_STEPS, nets.batch_size(name)))
    images = 0.7 * patterns[labels] + 0.3 * rng.uniform(0, 1, (*labels.shape, 28, 28))
    return images[..., None], labels


def deviation(losses: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, relative to the loss of the step."""
    return float(np.max(np.abs(losses - expected) / expected))


def train_in_zoo(name: str) -> np.ndarray:
    """The loss of each step, by the optimizer of the net's configuration."""
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
        mask = jnp.ones(nets.batch_size(name), bool)
        losses = []
        for image, label in zip(*random_batches(name), strict=True):
            state, metrics = step(state, {"image": image, "label": label, "mask": mask})
            losses.append(metrics.means()["loss"])
    return np.array(losses)


def train_in_keras(name: str) -> np.ndarray:
    """The loss of each step, by the notebook's optimizer with the constants of Keras 2.2."""
    import keras

    facts = GOLDEN[name]
    rate, epsilon = facts["learning_rate"], facts["epsilon"]
    policy = keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        with jax.enable_x64(True):
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
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy(policy)
    return np.array(losses)


def comparable_nets() -> list[str]:
    """The nets without batch normalization; custom7 would take an hour in float64."""
    return [
        name
        for name in zoo.models.list_models()
        if name != "custom7"
        and not any(isinstance(layer, BatchNorm) for layer in zoo.models.MODELS[name])
    ]


def main() -> None:
    """Prints how far zoo and Keras are apart."""
    print("| net | losses of 50 steps |\n|---|---:|")
    for name in sys.argv[1:] or comparable_nets():
        found = deviation(train_in_zoo(name), train_in_keras(name))
        print(f"| `{name}` | {found:.1e} |", flush=True)


if __name__ == "__main__":
    main()
