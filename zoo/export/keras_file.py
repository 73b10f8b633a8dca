"""A net as a Keras 3 model with the same weights, for any of its backends."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zoo.export.source import Source, Step, unknown
from zoo.models import layers

_LEAVES = ("kernel", "scale", "bias", "mean", "var")  # in the order of Keras


def write(path: Path, source: Source) -> None:
    """Writes what `keras.saving.load_model` reads."""
    make(source).save(path)


def make(source: Source) -> Any:
    """The net as a Keras model."""
    keras = import_keras()
    images = keras.Input(tuple(source.image_shape), dtype=source.input_type, name="images")
    x = images
    if source.input_type == "uint8":
        x = keras.layers.Rescaling(1 / 255, name="scaled")(x)
    for step in source.steps():
        layer = _layer(keras, step)
        x = layer(x)
        if step.arrays:
            layer.set_weights([step.arrays[leaf] for leaf in _LEAVES if leaf in step.arrays])
    return keras.Model(images, x, name="net")


def _layer(keras: Any, step: Step) -> Any:
    name = step.name
    match step.layer:
        case layers.Conv(features=features, kernel_size=size, padding=padding):
            return keras.layers.Conv2D(
                features, size, padding=padding.lower(), activation="relu", name=name
            )
        case layers.MaxPool(window=window, stride=stride, padding=padding):
            return keras.layers.MaxPooling2D(window, stride, padding=padding.lower(), name=name)
        case layers.Crop(border=border):
            return keras.layers.Cropping2D(border, name=name)
        case layers.Dropout(rate=rate):
            return keras.layers.Dropout(rate, name=name)
        case layers.BatchNorm(momentum=momentum, epsilon=epsilon):
            return keras.layers.BatchNormalization(momentum=momentum, epsilon=epsilon, name=name)
        case layers.Flatten():
            return keras.layers.Flatten(name=name)
        case layers.Dense(features=features):
            return keras.layers.Dense(features, activation="relu", name=name)
        case layers.Head():
            return keras.layers.Dense(step.output_shape[0], name=name)
    raise unknown(step, ".keras")


def load(path: Path, source: Source) -> Callable[[np.ndarray], np.ndarray]:
    """predict(images) -> output, on the backend that Keras has here."""
    keras = import_keras()
    model = keras.saving.load_model(path, compile=False)
    return lambda images: keras.ops.convert_to_numpy(model(images, training=False))


def import_keras() -> Any:
    """Keras, on JAX unless it was imported before or KERAS_BACKEND says otherwise."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    return keras
