"""Converts between the variables of a net and the weight arrays of a Keras model.

Keras and Flax use the same layout of kernels ([h, w, in, out], flattened images with the channels
fastest), so only the order and the names differ.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from zoo.models.layers import BatchNorm, Conv, Dense, Head
from zoo.models.net import ConvNet, named_layers

Variables = dict[str, Any]


def from_keras_weights(
    model: ConvNet, weights: Sequence[Any], image_shape: Sequence[int] = (28, 28, 1)
) -> Variables:
    """The variables that make `model` compute what a Keras model computes.

    Args:
        model: from `create_model`.
        weights: `keras_model.get_weights()`: the kernel and the bias of each convolution and dense
            layer; scale, offset, moving mean and moving variance of each batch normalization.
        image_shape: (height, width, channels) of the images; the first dense layer depends on it.

    Returns:
        {"params": ..., "batch_stats": ...}, float32, as `model.init` gives them.

    Raises:
        ValueError: the number of arrays or a shape does not match the net.
        ImageTooSmallError: images with that shape are too small for the net.
    """
    images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    expected = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), images)
    paths = list(_paths(model))
    if len(weights) != len(paths):
        raise ValueError(f"this net has {len(paths)} weight arrays, not {len(weights)}")
    variables: Variables = jax.tree.map(lambda leaf: None, expected)
    for number, ((collection, layer, leaf), array) in enumerate(
        zip(paths, weights, strict=True), start=1
    ):
        shape, given = expected[collection][layer][leaf].shape, np.shape(array)
        if given != shape:
            raise ValueError(
                f"{layer}/{leaf} of this net for images of {tuple(image_shape)} has shape "
                f"{shape}, but weight array {number} has {given}"
            )
        variables[collection][layer][leaf] = jnp.asarray(array, jnp.float32)
    return variables


def to_keras_weights(model: ConvNet, variables: Variables) -> list[np.ndarray]:
    """The arrays for `keras_model.set_weights(...)`.

    Args:
        model: from `create_model`.
        variables: {"params": ..., "batch_stats": ...}; the latter only with batch normalization.
    """
    return [
        np.asarray(variables[collection][layer][leaf]) for collection, layer, leaf in _paths(model)
    ]


def _paths(model: ConvNet) -> Iterator[tuple[str, str, str]]:
    """(collection, layer, leaf) of every array, in the order of Keras."""
    for name, layer in named_layers(model.net):
        match layer:
            case Conv() | Dense():
                yield from (("params", name, "kernel"), ("params", name, "bias"))
            case BatchNorm():
                yield from (("params", name, "scale"), ("params", name, "bias"))
                yield from (("batch_stats", name, "mean"), ("batch_stats", name, "var"))
    if model.num_classes and isinstance(model.net[-1], Head):
        yield from (("params", "head", "kernel"), ("params", "head", "bias"))
