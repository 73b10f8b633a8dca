"""Both sides of the comparison with Keras: every net's logits for the same weights and images.

Keras's side follows the notebooks' layers (tests/golden/nets.json), not those of zoo.models.

    KERAS_BACKEND=jax PYTHONPATH=.:tests python -m parity.nets   # writes golden_logits.npz
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from conftest import GOLDEN

import zoo.models

IMAGE_SHAPE = (28, 28, 1)
TOLERANCE = 1e-5  # of the largest logit
GOLDEN_FILE = Path(__file__).with_name("golden_logits.npz")


def batch_size(name: str) -> int:
    """Examples in a batch: few, for custom7 takes a second for each."""
    return 2 if name == "custom7" else 8


def random_weights(name: str) -> list[np.ndarray]:
    """Weights in Keras's order that let signals through the net (He et al. 2015, equation 10).

    NumPy's legacy generator gives the same numbers in every version.
    """
    rng = np.random.RandomState(0)
    arrays = []
    for role, shape in weight_shapes(name):
        normal = rng.standard_normal(shape)
        match role:
            case "kernel":
                array = normal * math.sqrt(2 / math.prod(shape[:-1]))
            case "scale":
                array = 1 + 0.1 * normal
            case "variance":
                array = np.exp(0.3 * normal)
            case _:
                array = 0.1 * normal
        arrays.append(array.astype(np.float32))
    return arrays


def weight_shapes(name: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(role, shape) of each weight, in Keras's order."""
    for layer in GOLDEN[name]["layers"]:
        features = (layer["output_shape"][-1],)
        if layer["type"] in ("conv", "dense"):
            yield "kernel", tuple(layer["kernel_shape"])
            yield "bias", features
        elif layer["type"] == "batchnorm":
            for role in ("scale", "offset", "mean", "variance"):
                yield role, features


def random_images(name: str) -> np.ndarray:
    """[B, 28, 28, 1] in [0, 1]"""
    rng = np.random.RandomState(1)
    return rng.uniform(0, 1, (batch_size(name), *IMAGE_SHAPE)).astype(np.float32)


def deviation(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, relative to the largest value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def zoo_logits(name: str) -> np.ndarray:
    """[B, 10]"""
    model = zoo.models.create_model(name)
    variables = zoo.models.from_keras_weights(model, random_weights(name))
    apply = jax.jit(model.apply, static_argnames="train")
    return np.asarray(apply(variables, random_images(name), train=False))


def keras_logits(name: str) -> np.ndarray:
    """[B, 10]"""
    return np.asarray(make_keras_net(name)(random_images(name), training=False))


def make_keras_net(name: str) -> Any:
    """The notebook's net as a Keras model without its dropout layers, with the random weights."""
    import keras
    from keras import layers

    *body, head = GOLDEN[name]["layers"]
    model = keras.Sequential([keras.Input(IMAGE_SHAPE)])
    for layer in body:
        features = layer["output_shape"][-1]
        match layer["type"]:
            case "conv":
                window, padding = layer["kernel_shape"][:2], layer["padding"]
                model.add(layers.Conv2D(features, window, padding=padding, activation="relu"))
            case "maxpool":
                model.add(layers.MaxPooling2D(layer["pool"], layer["strides"], layer["padding"]))
            case "batchnorm":
                momentum, epsilon = layer["momentum"], layer["epsilon"]
                model.add(layers.BatchNormalization(momentum=momentum, epsilon=epsilon))
            case "flatten":
                model.add(layers.Flatten())
            case "dense":
                model.add(layers.Dense(features, activation="relu"))
            case "dropout":
                pass
            case other:
                raise ValueError(f"no Keras layer for {other}")
    model.add(layers.Dense(head["output_shape"][-1]))
    model.set_weights(random_weights(name))
    return model


def main() -> None:
    """Writes golden_logits.npz."""
    np.savez_compressed(
        GOLDEN_FILE, **{name: keras_logits(name) for name in zoo.models.list_models()}
    )


if __name__ == "__main__":
    main()
