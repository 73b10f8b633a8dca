"""A net with every layer, and its weights."""

from typing import Any

import jax
import numpy as np

from zoo.models.layers import (
    Activation,
    AvgPool,
    BatchNorm,
    Conv,
    Crop,
    Dense,
    DepthwiseConv,
    Dropout,
    Flatten,
    GlobalAvgPool,
    GroupNorm,
    Head,
    LayerNorm,
    MaxPool,
    Net,
    Residual,
)
from zoo.models.net import ConvNet, variable_shapes

IMAGE_SHAPE = (20, 18, 2)
EVERY_LAYER: Net = (
    Crop(1),
    Conv(8, 3, "SAME", stride=2, activation="gelu"),
    BatchNorm(),
    DepthwiseConv(3, "SAME", activation="silu", use_bias=False),
    GroupNorm(4),
    Conv(12, 2, groups=2, activation="leaky_relu"),
    AvgPool(3, 1, "SAME"),
    LayerNorm(),
    Activation("selu"),
    MaxPool(2, 1, "SAME"),
    Residual((Conv(16, 3, "SAME"), Conv(16, 3, "SAME", stride=2, activation=None), BatchNorm())),
    Residual((Conv(16, 1, activation=None), Residual((Conv(16, 1),))), activation=None),
    DepthwiseConv(2, stride=2, activation=None),
    Dropout(0.2),
    Flatten(),
    Dense(12, activation="selu", use_bias=False),
    LayerNorm(),
    GroupNorm(3),
    BatchNorm(),
    Residual((Dense(9, activation=None),)),
    Head(),
)
SMALL: Net = (Conv(4, 3, "SAME"), MaxPool(2), BatchNorm(), Flatten(), Dense(8), Head())
AVERAGED: Net = (Conv(4, 3), GlobalAvgPool(), Head())


def with_weights(net: Net, num_classes: int = 10) -> tuple[ConvNet, dict[str, Any]]:
    """The net for images of IMAGE_SHAPE; no array of its weights is the same all over."""
    model = ConvNet(net, num_classes)
    rng = np.random.default_rng(0)

    def draw(path: Any, leaf: Any) -> np.ndarray:
        name = path[-1].key
        if name in ("scale", "var"):
            return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        deviation = np.sqrt(2 / np.prod(leaf.shape[:-1])) if name == "kernel" else 0.1
        return (deviation * rng.standard_normal(leaf.shape)).astype(np.float32)

    shapes = variable_shapes(net, IMAGE_SHAPE, num_classes)
    return model, jax.tree_util.tree_map_with_path(draw, shapes)


def images(count: int) -> np.ndarray:
    """Random images [count, *IMAGE_SHAPE] uint8."""
    return np.random.default_rng(1).integers(0, 256, (count, *IMAGE_SHAPE), np.uint8)
