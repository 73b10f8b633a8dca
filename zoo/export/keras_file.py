"""A net as a Keras 3 model with the same weights, for any of its backends."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zoo.export.source import Source, Step, unknown, window_and_stride
from zoo.models import layers

_LEAVES = ("kernel", "scale", "bias", "mean", "var")  # in the order of Keras


def write(path: Path, source: Source) -> None:
    """Writes what `keras.saving.load_model` reads."""
    make(source).save(path)


def make(source: Source) -> Any:
    """The net as a Keras model."""
    keras = import_keras()
    images = keras.Input(source.image_shape, dtype=source.input_type, name="images")
    x = images
    if source.input_type == "uint8":
        x = keras.layers.Rescaling(1 / 255, name="scaled")(x)
    for step in source.steps():
        x = _apply(keras, step, x)
    return keras.Model(images, x, name="net")


def _apply(keras: Any, step: Step, x: Any) -> Any:
    """The layer's output for x, by new Keras layers."""
    if isinstance(step.layer, layers.Residual):
        y = x
        for inner in step.inner:
            y = _apply(keras, inner, y)
        for inner in step.shortcut:
            x = _apply(keras, inner, x)
        x = keras.layers.Add(name=f"{_name(step)}_sum")([y, x])
    else:
        layer = _layer(keras, step)
        x = layer(x)
        if step.arrays:
            layer.set_weights(_weights(step))
    return _activated(keras, step, x)


def _layer(keras: Any, step: Step) -> Any:
    """The layer alone, without its activation."""
    name, kinds = _name(step), keras.layers
    match step.layer:
        case layers.Conv(features=features, groups=groups, use_bias=use_bias):
            return kinds.Conv2D(
                features, **_windows(step), groups=groups, use_bias=use_bias, name=name
            )
        case layers.DepthwiseConv(use_bias=use_bias):
            return kinds.DepthwiseConv2D(**_windows(step), use_bias=use_bias, name=name)
        case layers.MaxPool():
            return kinds.MaxPooling2D(**_windows(step), name=name)
        case layers.AvgPool():
            return kinds.AveragePooling2D(**_windows(step), name=name)
        case layers.GlobalAvgPool():
            return kinds.GlobalAveragePooling2D(name=name)
        case layers.Crop(border=border):
            return kinds.Cropping2D(border, name=name)
        case layers.Dropout(rate=rate):
            return kinds.Dropout(rate, name=name)
        case layers.BatchNorm(momentum=momentum, epsilon=epsilon):
            return kinds.BatchNormalization(momentum=momentum, epsilon=epsilon, name=name)
        case layers.GroupNorm(groups=groups, epsilon=epsilon):
            return kinds.GroupNormalization(groups, epsilon=epsilon, name=name)
        case layers.LayerNorm(epsilon=epsilon):
            return kinds.LayerNormalization(epsilon=epsilon, name=name)
        case layers.Flatten():
            return kinds.Flatten(name=name)
        case layers.Dense(features=features, use_bias=use_bias):
            return kinds.Dense(features, use_bias=use_bias, name=name)
        case layers.Activation():
            return kinds.Identity(name=name)
        case layers.Head():
            return kinds.Dense(step.output_shape[0], name=name)
    raise unknown(step, ".keras")


def _name(step: Step) -> str:
    return step.path.replace("/", "_")  # Keras allows no slash


def _windows(step: Step) -> dict[str, Any]:
    """How a window slides, in the words of the Keras layer."""
    layer: Any = step.layer
    window, stride = window_and_stride(step)
    size = "pool_size" if isinstance(layer, layers.MaxPool | layers.AvgPool) else "kernel_size"
    return {size: window, "strides": stride, "padding": layer.padding.lower()}


def _weights(step: Step) -> list[np.ndarray]:
    """The arrays as Keras has them."""
    found = [step.arrays[leaf] for leaf in _LEAVES if leaf in step.arrays]
    if isinstance(step.layer, layers.DepthwiseConv):
        found[0] = found[0].swapaxes(2, 3)  # [h, w, 1, C] becomes [h, w, C, 1]
    return found


def _activated(keras: Any, step: Step, x: Any) -> Any:
    activation = getattr(step.layer, "activation", None)
    if activation is None:
        return x
    name = f"{_name(step)}_{activation}"
    if activation == "leaky_relu":
        return keras.layers.LeakyReLU(0.01, name=name)(x)
    return keras.layers.Activation(activation, name=name)(x)


def load(path: Path, source: Source) -> Callable[[np.ndarray], np.ndarray]:
    """predict(images) -> output, on the backend that Keras has here."""
    keras = import_keras()
    model = keras.saving.load_model(path, compile=False)
    return lambda images: np.asarray(model.predict_on_batch(images))


def import_keras() -> Any:
    """Keras, on JAX unless it was imported before or KERAS_BACKEND says otherwise."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    return keras
