"""The first gradient of every net against that of XLA's own operations, in float64.

On images with a blank ground and with fresh weights, whose biases are zero: there an output that
is not exactly zero passes the ReLU and gives the bias the gradient of the whole background.
"""

import functools
import math
from collections.abc import Callable
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import xla_ops
from conftest import REAL_MNIST_DIR
from parity import nets, training

import zoo.models
import zoo.ops
from zoo.models.layers import Dropout
from zoo.models.net import ConvNet

QUICK = ("lenet3", "pooling_cnn3", "ablation_cnn3")
LONG = ("custom7", "vgg5", "ablation_cnn5", "ablation_cnn7", "pairs_cnn10", "pairs_cnn14")
KIND = "mnist" if REAL_MNIST_DIR else "strokes"  # of images
NUM_IMAGES = 2
TOLERANCE = 1e-12  # of the largest gradient of a layer


def pool_with_the_last(x: jax.Array, window: int, stride: int, padding: str) -> jax.Array:
    """The same as `xla_ops.max_pool`, but the last of equal pixels gets the gradient."""
    edges = []
    for size in x.shape[1:3]:
        outputs = -(-size // stride) if padding == "SAME" else (size - window) // stride + 1
        missing = (outputs - 1) * stride + window - size  # below zero: pixels that are left over
        before = max(missing, 0) // 2
        edges.append((before, missing - before, 0))
    x = jax.lax.pad(x, -math.inf, ((0, 0, 0), *edges, (0, 0, 0)))
    return xla_ops.max_pool(x[:, ::-1, ::-1], window, stride, "VALID")[:, ::-1, ::-1]


def gradient_function(name: str) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """(gradient of the mean loss, its arguments in float64), without dropout.

    The images are an argument, for XLA takes minutes to fold a constant through a convolution.
    """
    net = tuple(layer for layer in zoo.models.MODELS[name] if not isinstance(layer, Dropout))
    model = ConvNet(net, dtype=jnp.float64)
    variables = zoo.models.from_keras_weights(model, training.weights(name, KIND))
    variables = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), variables)
    images, labels = training.batches(name, KIND)
    image = images.reshape(-1, *nets.IMAGE_SHAPE)[:NUM_IMAGES]
    label = labels.ravel()[:NUM_IMAGES].astype(int)

    def loss(params: Any, image: jax.Array) -> jax.Array:
        logits, _ = model.apply(
            variables | {"params": params}, image, train=True, mutable=["batch_stats"]
        )
        return optax.softmax_cross_entropy_with_integer_labels(logits, label).mean()

    return jax.grad(loss), (variables["params"], image)


def assert_equal_gradients(actual: Any, expected: Any) -> None:
    """Layer by layer, kernels and biases."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for path, exact in jax.tree.leaves_with_path(expected):
        found = functools.reduce(lambda tree, key: tree[key.key], path, actual)
        scale = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(expected[path[0].key]))
        difference = float(np.abs(found - exact).max())
        assert difference <= TOLERANCE * scale, jax.tree_util.keystr(path)


def marks(name: str) -> tuple[pytest.MarkDecorator, ...]:
    """custom7 takes minutes."""
    return () if name in QUICK else (pytest.mark.full if name in LONG else pytest.mark.slow,)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=marks(name)) for name in zoo.models.list_models()],
)
def test_first_gradient_is_that_of_xlas_operations(name: str) -> None:
    """Whichever of equal pixels XLA's pool gives the gradient to."""
    with jax.enable_x64(True):
        gradient, arguments = gradient_function(name)
        found = jax.jit(gradient)(*arguments)
        for pool in (xla_ops.max_pool, pool_with_the_last):
            with mock.patch.multiple(zoo.ops, conv=xla_ops.conv, max_pool=pool):
                exact = jax.jit(lambda *arrays: gradient(*arrays))(*arguments)
            assert_equal_gradients(found, exact)


def test_eager_and_compiled_gradients_of_lenet3_agree() -> None:
    """The biases of conv_2 differed in the second digit once."""
    with jax.enable_x64(True):
        gradient, arguments = gradient_function("lenet3")
        assert_equal_gradients(gradient(*arguments), jax.jit(gradient)(*arguments))
