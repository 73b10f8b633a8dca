"""Fifty training steps in the zoo and in Keras, without dropout, from the same weights.

In float64: rounding errors of float32 soon send some value to the other side of a ReLU, and from
there on the losses of two correct programs differ by more than a wrong constant would make them.

    KERAS_BACKEND=jax PYTHONPATH=.:tests python -m parity.training [--images=KIND] [NET ...]

prints a table, and writes Keras's side to golden_training.npz. The images are of three kinds:

- noise: ten patterns with noise, and weights without a zero among them. No patch is blank.
- strokes: ten drawings on a blank ground, and a fresh net's weights: all biases are zero.
- mnist: the same weights, and the first training images of MNIST, from ZOO_MNIST_DIR.

Only the last two have what an algorithm that takes differences can get wrong: blank patches under
a zero bias, whose output must be exactly zero, for a ReLU cuts there.
"""

import argparse
import importlib
import os
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from conftest import GOLDEN
from parity import nets

import zoo.models
import zoo.training.optim
from zoo.data.idx import FILES, read_idx
from zoo.models.layers import BatchNorm, Dropout
from zoo.models.net import ConvNet
from zoo.training.step import create_train_state, make_train_step

KINDS = ("noise", "strokes", "mnist")  # of images
NUM_STEPS = 50
TOLERANCE = 1e-8  # relative
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


def batches(name: str, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Images [N, batch, 28, 28, 1] in [0, 1] and labels [N, batch] for N steps."""
    shape = (NUM_STEPS, batch_size(name))
    count = shape[0] * shape[1]
    if kind == "mnist":
        files = [Path(os.environ["ZOO_MNIST_DIR"], file) for file in FILES["train"]]
        images, labels = (read_idx(path, n)[:count] for path, n in zip(files, (3, 1), strict=True))
        return images.reshape(*shape, 28, 28, 1) / 255, labels.reshape(shape)
    rng = np.random.RandomState(1)
    if kind == "strokes":
        labels = rng.randint(10, size=count)
        return strokes(labels, rng).reshape(*shape, 28, 28, 1), labels.reshape(shape)
    patterns = rng.uniform(0, 1, (10, 7, 7)).repeat(4, axis=1).repeat(4, axis=2)
    labels = rng.randint(10, size=shape)
    images = 0.7 * patterns[labels] + 0.3 * rng.uniform(0, 1, (*labels.shape, 28, 28))
    return images[..., None], labels


def strokes(labels: np.ndarray, rng: np.random.RandomState) -> np.ndarray:
    """A pen's line for each label, on a ground of zeros: [N, 28, 28] in [0, 1], in steps of 1/255.

    The line of a label leads through its own five points, each moved a little in each image. As in
    MNIST the border of four pixels is blank in every image, and most of the rest in each.
    """
    corners = np.random.RandomState(2).uniform(7, 21, (10, 5, 2))
    points = corners[labels] + rng.normal(0, 0.7, (len(labels), 5, 2))  # [N, 5, (row, column)]
    pixels = np.stack(np.meshgrid(np.arange(28), np.arange(28), indexing="ij"), axis=-1)
    start, end = points[:, :-1, None, None], points[:, 1:, None, None]  # [N, 4, 1, 1, 2]
    along = end - start
    share = np.sum((pixels - start) * along, -1) / np.sum(along**2, -1)  # [N, 4, 28, 28]
    nearest = start + np.clip(share, 0, 1)[..., None] * along
    distance = np.linalg.norm(pixels - nearest, axis=-1).min(axis=1)  # [N, 28, 28] pixels
    return np.round(255 * np.clip(2 - distance, 0, 1)) / 255


def weights(name: str, kind: str) -> list[np.ndarray]:
    """What the net begins with, in Keras's order."""
    drawn = nets.random_weights(name)
    if kind == "noise":
        return drawn
    fixed = {"bias": 0, "offset": 0, "mean": 0, "scale": 1, "variance": 1}
    roles = [role for role, _ in nets.weight_shapes(name)]
    return [
        array if role == "kernel" else np.full_like(array, fixed[role])
        for role, array in zip(roles, drawn, strict=True)
    ]


class Trained(NamedTuple):
    """What 50 steps came to."""

    losses: np.ndarray  # [50] float64, nats per image
    statistics: np.ndarray  # all moving means and variances, in Keras's order; may be empty


def golden(name: str, kind: str) -> Trained:
    """What Keras came to, as kept in the file."""
    with np.load(GOLDEN_FILE) as arrays:
        return Trained(arrays[f"{kind}/{name}/losses"], arrays[f"{kind}/{name}/statistics"])


def deviations(found: Trained, expected: Trained) -> tuple[float, float]:
    """Of the losses, relative to the loss of the step; of the statistics, to the largest one."""
    losses = np.max(np.abs(found.losses - expected.losses) / expected.losses)
    if not len(expected.statistics):
        return float(losses), 0.0
    return float(losses), nets.deviation(found.statistics, expected.statistics)


def train_in_zoo(name: str, kind: str, *, last_bit: bool = False) -> Trained:
    """By the optimizer of the net's configuration; `last_bit` changes that of each pixel."""
    net = zoo.models.MODELS[name]
    net = tuple(layer for layer in net if not isinstance(layer, Dropout))
    config = importlib.import_module(f"zoo.configs.{name}").get_config().optimizer
    tx = zoo.training.optim.make_optimizer(config, zoo.training.optim.make_schedule(config, 1, 1))
    with jax.enable_x64(True):
        model = ConvNet(net, dtype=jnp.float64)
        variables = zoo.models.from_keras_weights(model, weights(name, kind))
        variables = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), variables)
        state = create_train_state(model, tx, 0, nets.IMAGE_SHAPE)
        state = state.replace(**variables, opt_state=tx.init(variables["params"]))
        step = jax.jit(make_train_step(model, tx), donate_argnums=0)
        mask = jnp.ones(batch_size(name), bool)
        losses = []
        images, labels = batches(name, kind)
        if last_bit:
            towards = np.random.RandomState(3).choice([0.0, 2.0], images.shape)
            images = np.where(images == 0, 0, np.nextafter(images, towards))
        for image, label in zip(images, labels, strict=True):
            state, metrics = step(state, {"image": image, "label": label, "mask": mask})
            losses.append(metrics.means()["loss"])
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        trained = zoo.models.to_keras_weights(model, variables)
    return Trained(np.array(losses), _statistics(name, trained))


def magnified_rounding(name: str, kind: str) -> float:
    """What 50 steps make of a change of each pixel in its last bit, blank ones left blank.

    That is what two correct programs may be apart: their sums, too, differ in the last bit.
    """
    first, second = (train_in_zoo(name, kind, last_bit=last_bit) for last_bit in (False, True))
    return max(deviations(second, first))


def train_in_keras(name: str, kind: str) -> Trained:
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
            model.set_weights(weights(name, kind))
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile(optimizer=optimizer, loss=loss)
            losses = []
            for image, label in zip(*batches(name, kind), strict=True):
                model.reset_metrics()  # else the loss is the mean of all steps so far
                losses.append(float(model.train_on_batch(image, label)))
            trained = model.get_weights()
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy(policy)
    return Trained(np.array(losses), _statistics(name, trained))


def _statistics(name: str, trained: list[np.ndarray]) -> np.ndarray:
    roles = [role for role, _ in nets.weight_shapes(name)]
    chosen = [
        weight.astype(np.float64)
        for role, weight in zip(roles, trained, strict=True)
        if role in ("mean", "variance")
    ]
    return np.concatenate([*chosen, np.empty(0)])


def main() -> None:
    """Prints how far zoo and Keras are apart, and keeps Keras's side in the file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("nets", nargs="*", metavar="NET", help="default: all")
    parser.add_argument("--images", choices=KINDS, default="mnist")
    parser.add_argument("--golden", action="store_true", help="Keras's side from the file")
    args = parser.parse_args()
    print("| net | losses of 50 steps | moving statistics after them |\n|---|---:|---:|")
    for name in args.nets or zoo.models.list_models():
        if args.golden:
            expected = golden(name, args.images)
        else:
            expected = train_in_keras(name, args.images)
            _keep(name, args.images, expected)
        losses, statistics = deviations(train_in_zoo(name, args.images), expected)
        print(f"| `{name}` | {losses:.1e} | {statistics:.1e} |", flush=True)
        jax.clear_caches()


def _keep(name: str, kind: str, trained: Trained) -> None:
    """Puts what Keras came to into the file."""
    arrays: dict[str, np.ndarray] = {}
    if GOLDEN_FILE.exists():
        with np.load(GOLDEN_FILE) as kept:
            arrays.update(kept)
    for part, array in trained._asdict().items():
        arrays[f"{kind}/{name}/{part}"] = array
    np.savez_compressed(GOLDEN_FILE, **dict(sorted(arrays.items())))


if __name__ == "__main__":
    main()
