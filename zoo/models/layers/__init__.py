"""The layer types, of which a net is a list.

A net is a tuple of the frozen dataclasses below, in the order of its notebook's `model.add` lines.
All facts about a net (output shapes, smallest image, parameter names) are derived from that tuple,
in `zoo.models.net`.
Defaults are those of Keras 2.2: Glorot-uniform kernels, zero biases, `valid` padding, ReLU after
every convolution and dense layer except the head.
"""

from zoo.models.layers.convolution import Conv, DepthwiseConv
from zoo.models.layers.dense import Activation, Dense, Dropout, Head
from zoo.models.layers.layer import (
    ACTIVATIONS,
    INITIALIZERS,
    ActivationName,
    Context,
    Initializer,
    Layer,
    Shape,
    activated,
    initializer,
)
from zoo.models.layers.normalization import BatchNorm, GroupNorm, LayerNorm
from zoo.models.layers.pooling import AvgPool, Crop, Flatten, GlobalAvgPool, MaxPool
from zoo.models.layers.residual import (
    Net,
    Residual,
    apply_layers,
    every_layer,
    is_of_the_zoo,
    named_layers,
)

__all__ = [
    "ACTIVATIONS",
    "INITIALIZERS",
    "Activation",
    "ActivationName",
    "AvgPool",
    "BatchNorm",
    "Context",
    "Conv",
    "Crop",
    "Dense",
    "DepthwiseConv",
    "Dropout",
    "Flatten",
    "GlobalAvgPool",
    "GroupNorm",
    "Head",
    "Initializer",
    "Layer",
    "LayerNorm",
    "MaxPool",
    "Net",
    "Residual",
    "Shape",
    "activated",
    "apply_layers",
    "every_layer",
    "initializer",
    "is_of_the_zoo",
    "named_layers",
]
