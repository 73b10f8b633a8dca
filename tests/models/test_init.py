"""`model.init` draws what Flax's own draws, without computing a layer."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from zoo.models import ConvNet, create_model, list_models
from zoo.models.layers import BatchNorm, Conv, Flatten, Head

QUICK = ("pooling_cnn3", "kernels_cnn3", "ablation_cnn3_dropout")  # normal, uniform, no batch norm
SLOW = ("lenet3", "vgg5", "pairs_cnn14")  # the others consist of the same layers
KEY = jax.random.key(3)
IMAGES = jax.ShapeDtypeStruct((10**9, 28, 28, 1), jnp.float32)  # 3 TB, had a layer to be computed


def assert_same_bits(actual: Any, expected: Any) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def flax_init(model: ConvNet, key: Any = KEY, side: int = 28) -> Any:
    """What Flax's own `init` gives, which computes the layers."""
    images = jnp.zeros((1, side, side, 1))
    return jax.jit(functools.partial(nn.Module.init, model, train=False))(key, images)


@pytest.mark.parametrize(
    "name",
    [
        name
        if name in QUICK
        else pytest.param(name, marks=pytest.mark.slow if name in SLOW else pytest.mark.full)
        for name in list_models()
        if name != "custom7"  # 227 MB
    ],
)
def test_init_gives_the_bits_of_flax(name: str) -> None:
    model = create_model(name)
    assert_same_bits(model.init(KEY, IMAGES, train=False), flax_init(model))


SMALL = ConvNet((Conv(4, 3), BatchNorm(), Flatten(), Head()))


@pytest.fixture(scope="module")
def expected() -> Any:
    return flax_init(SMALL, side=5)


IMAGES_OF_5 = jnp.zeros((2, 5, 5, 1))
CALLS = {
    "uint8": lambda: SMALL.init(KEY, np.zeros((2, 5, 5, 1), np.uint8), train=False),
    "a key by name": lambda: SMALL.init({"params": KEY}, IMAGES_OF_5, train=False),
    "in training": lambda: SMALL.init(
        {"params": KEY, "dropout": jax.random.key(1)}, IMAGES_OF_5, train=True
    ),
    "a key of the old kind": lambda: SMALL.init(jax.random.PRNGKey(3), IMAGES_OF_5, train=False),
    "images by name": lambda: SMALL.init(KEY, images=IMAGES_OF_5, train=False),
    "with a mask": lambda: SMALL.init(KEY, IMAGES_OF_5, train=True, mask=jnp.array([True, False])),
    "mutable": lambda: SMALL.init(KEY, IMAGES_OF_5, train=False, mutable=["params", "batch_stats"]),
    "lazily": lambda: SMALL.lazy_init(
        KEY, jax.ShapeDtypeStruct((1, 5, 5, 1), jnp.float32), train=False
    ),
    "compiled": lambda: jax.jit(lambda key: SMALL.init(key, IMAGES_OF_5, train=False))(KEY),
    "compiled, of constants": lambda: jax.jit(lambda: SMALL.init(KEY, IMAGES_OF_5, train=False))(),
    "mapped": lambda: jax.tree.map(
        lambda leaf: leaf[0],
        jax.vmap(lambda key: SMALL.init(key, IMAGES_OF_5, train=False))(KEY[None]),
    ),
}


@pytest.mark.parametrize("call", CALLS)
def test_init_however_it_is_called(call: str, expected: Any) -> None:
    assert_same_bits(CALLS[call](), expected)


def test_init_in_another_module(expected: Any) -> None:
    class Outer(nn.Module):
        @nn.compact
        def __call__(self, images: jax.Array) -> jax.Array:
            return nn.Dense(2)(SMALL.clone(parent=self, name="inner")(images, train=False))

    params = Outer().init(KEY, IMAGES_OF_5)["params"]
    assert jax.tree.map(jnp.shape, params["inner"]) == jax.tree.map(jnp.shape, expected["params"])


def test_init_of_a_net_that_cannot_be_hashed() -> None:
    class Initializer:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, key: Any, shape: Any, dtype: Any = jnp.float32) -> jax.Array:
            return jnp.full(shape, 2, dtype)

    model = ConvNet((Flatten(), Head(kernel_init=Initializer())))
    kernel = model.init(KEY, IMAGES_OF_5, train=False)["params"]["head"]["kernel"]
    np.testing.assert_array_equal(kernel, np.full((25, 10), 2))


def test_a_call_without_images_or_mode_is_an_error() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'images'"):
        SMALL.init(KEY, train=False)
    with pytest.raises(TypeError, match="missing 1 required keyword-only argument: 'train'"):
        SMALL.init(KEY, IMAGES_OF_5)
