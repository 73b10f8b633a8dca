"""Answers for many images on a CPU, a piece after another: the same as at once, in every use."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zoo.models import pieces
from zoo.models.layers import (
    BatchNorm,
    Context,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Head,
    Layer,
    MaxPool,
    Shape,
)
from zoo.models.net import ConvNet

NET = (Conv(8, 3), BatchNorm(), MaxPool(2), Dropout(0.5), Flatten(), Dense(16), Head())
MODEL = ConvNet(NET)
MANY = 300  # three pieces


@pytest.fixture(scope="module")
def variables() -> Any:
    found = MODEL.init(jax.random.key(0), jnp.zeros((1, 12, 12, 1)), train=False)
    return jax.tree.map(lambda leaf: leaf + 0.1, found)  # no bias is zero


@pytest.fixture(scope="module")
def images() -> jax.Array:
    """With a blank border, as those of digits."""
    middle = np.random.default_rng(0).integers(0, 256, (MANY, 8, 8, 1), np.uint8)
    return jnp.asarray(np.pad(middle, ((0, 0), (2, 2), (2, 2), (0, 0))))


def answer(variables: Any, images: jax.Array) -> Any:
    return MODEL.apply(variables, images, train=False)


def at_once(variables: Any, images: jax.Array) -> Any:
    return MODEL.apply(variables, images, False, None, method="_logits")


def num_loops(function: Callable[..., Any], *arguments: Any, platform: str = "cpu") -> int:
    lowered = jax.jit(function).trace(*arguments).lower(lowering_platforms=(platform,))
    return lowered.as_text().count("stablehlo.while")


@pytest.mark.parametrize("count", [pieces.LARGEST + 1, 250, MANY])
def test_answers_have_the_bits_of_those_at_once(
    variables: Any, images: jax.Array, count: int
) -> None:
    assert num_loops(answer, variables, images[:count]) == 1
    found = jax.jit(answer)(variables, images[:count])
    np.testing.assert_array_equal(found, jax.jit(at_once)(variables, images[:count]))


def test_a_wide_net_answers_fewer_images_at_once() -> None:
    """As many as need less memory than glibc keeps between two calls."""
    model = ConvNet((Conv(64, 3), Conv(64, 3), MaxPool(4), Flatten(), Head()))
    shape = jax.ShapeDtypeStruct((1, 28, 28, 1), jnp.float32)
    variables = model.init(jax.random.key(0), shape, train=False)
    most = 16_000_000 // (4 * 64 * (26 * 26 + 24 * 24))
    images = jnp.asarray(np.random.default_rng(1).random((most + 1, 28, 28, 1), np.float32))
    images = images.at[:, :6].set(0)  # blank, as the border of a digit

    def answer(images: jax.Array) -> Any:
        return model.apply(variables, images, train=False)

    assert num_loops(answer, images[:most]) == 0
    assert num_loops(answer, images) == 1
    expected = model.apply(variables, images, False, None, method="_logits")
    np.testing.assert_allclose(jax.jit(answer)(images), expected, rtol=1e-4, atol=1e-5)


def test_the_number_of_images_at_once_has_limits() -> None:
    assert pieces.images_at_once(1) == pieces.LARGEST
    assert pieces.images_at_once(200_000) == 80
    assert pieces.images_at_once(10**9) == pieces.SMALLEST


def test_a_piece_and_a_gpu_have_no_loop(
    variables: Any, images: jax.Array, caplog: pytest.LogCaptureFixture
) -> None:
    assert num_loops(answer, variables, images[: pieces.LARGEST]) == 0
    assert num_loops(answer, variables, images, platform="cuda") == 0
    with jax.log_compiles(), caplog.at_level("WARNING"):  # a loop would be compiled by each call
        answer(variables, images)
        jax.grad(lambda images: answer(variables, images).sum())(images / 255)
    assert "jit(while)" not in caplog.text
    assert "jit(scan)" not in caplog.text
    many = jax.ShapeDtypeStruct(jax.export.symbolic_shape("b, 12, 12, 1"), jnp.uint8)
    exported = jax.export.export(jax.jit(answer))(variables, many)
    np.testing.assert_allclose(
        exported.call(variables, images), at_once(variables, images), rtol=1e-5, atol=1e-5
    )


def test_derivatives_and_batches_of_answers(variables: Any, images: jax.Array) -> None:
    floats = images / 255

    def derivatives(function: Callable[..., Any]) -> Any:
        def loss(params: Any, images: jax.Array) -> jax.Array:
            logits = function({**variables, "params": params}, images)
            return jnp.mean(jax.nn.logsumexp(logits, axis=-1) - logits[:, 3])

        params = variables["params"]
        return {
            "gradients": jax.grad(loss, (0, 1))(params, floats),
            "tangents": jax.jvp(lambda params: loss(params, floats), (params,), (params,)),
            "vmap": jax.vmap(lambda factor: function(variables, floats * factor))(jnp.ones(2)),
        }

    with jax.enable_x64(True):
        found, expected = (
            jax.jit(lambda function=function: derivatives(function))()
            for function in (answer, at_once)
        )
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_outputs_of_layers_are_those_of_all_images(variables: Any, images: jax.Array) -> None:
    _, state = jax.jit(
        lambda images: MODEL.apply(variables, images, train=False, mutable=["intermediates"])
    )(images)
    assert state["intermediates"]["conv_1_output"][0].shape == (MANY, 10, 10, 8)


@dataclasses.dataclass(frozen=True)
class Centred(Layer):
    """A layer of one's own: drops at answers too, sows, and looks at all images."""

    kind: ClassVar[str] = "centred"

    def output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        return _Centred(name=context.name)(x)


class _Centred(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Dropout(0.5, deterministic=False)(x - x.mean(axis=0))
        self.sow("seen", "sum", x.sum())
        return x


def test_what_a_layer_of_ones_own_does_is_not_cut(images: jax.Array) -> None:
    """It is compiled as it is eager: with its random numbers, its sums, and all its images."""
    model = ConvNet((Conv(4, 3), Centred(), Flatten(), Head()))
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    variables = model.init(keys, images[:1], train=False)
    assert set(variables) == {"params", "seen"}
    del variables["seen"]

    def answer(images: jax.Array) -> Any:
        rngs = {"dropout": jax.random.key(1)}
        return model.apply(variables, images, train=False, rngs=rngs, mutable=["seen"])

    found, expected = jax.tree.leaves(jax.jit(answer)(images)), jax.tree.leaves(answer(images))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
