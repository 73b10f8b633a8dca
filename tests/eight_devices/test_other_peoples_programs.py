"""Nets in programs of JAX that are not the zoo's: spread by `jax.shard_map`, or by their types."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import zoo.ops
from zoo.models import ConvNet
from zoo.models.layers import (
    AvgPool,
    BatchNorm,
    Conv,
    Dense,
    DepthwiseConv,
    Dropout,
    Flatten,
    Head,
    MaxPool,
    Residual,
)

# Every operation of zoo.ops: directly, by Winograd's algorithm, with a stride, and by channels.
MODEL = ConvNet(
    (
        Conv(4, 3, "SAME"),
        DepthwiseConv(3, "SAME"),
        BatchNorm(),
        Conv(24, 3),
        Dropout(0.25),
        Residual((Conv(30, 3, "SAME", stride=2),)),
        Conv(24, 3, "SAME"),
        MaxPool(2),
        AvgPool(2, padding="SAME"),
        Flatten(),
        Dense(8),
        Head(),
    )
)
SHAPE = (16, 16, 1)


@pytest.fixture(scope="module")
def variables() -> Any:
    return MODEL.init(jax.random.key(0), jnp.zeros((1, *SHAPE)), train=False)


@pytest.fixture(scope="module")
def images() -> jax.Array:
    """With a blank border, as those of digits."""
    images = np.random.default_rng(0).random((16, *SHAPE), np.float32)
    images[:, :4] = images[:, -3:] = 0
    return jnp.asarray(images)


def loss_of(variables: Any, train: bool = False) -> Callable[[Any, jax.Array], jax.Array]:
    def loss(params: Any, images: jax.Array) -> jax.Array:
        logits, _ = MODEL.apply(
            {**variables, "params": params},
            images,
            train=train,
            rngs={"dropout": jax.random.key(1)},
            mutable=["batch_stats"],
        )
        return jnp.sum(jnp.square(logits))

    return loss


def assert_close(found: Any, expected: Any) -> None:
    for one, other in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * np.abs(other).max())


def test_gradients_under_shard_map_are_added_up_over_devices(
    variables: Any, images: jax.Array
) -> None:
    """As it is by default, with `check_vma`: no psum is written, and none is missing."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    loss = loss_of(variables)
    spread = jax.shard_map(jax.grad(loss), mesh=mesh, in_specs=(P(), P("data")), out_specs=P())
    found = jax.jit(spread)(variables["params"], images)
    assert_close(found, jax.jit(jax.grad(loss))(variables["params"], images))


def test_a_kernel_of_each_device_gives_outputs_of_each_device(images: jax.Array) -> None:
    """Which JAX refuses to take for one output of all."""
    mesh = jax.make_mesh((8,), ("model",), axis_types=(AxisType.Auto,))
    kernels = jnp.asarray(np.random.default_rng(1).random((8, 3, 3, 1, 4), np.float32))

    def outputs(kernels: jax.Array, images: jax.Array) -> jax.Array:
        return zoo.ops.conv(images, kernels[0], "SAME")

    specs = {"mesh": mesh, "in_specs": (P("model"), P())}
    with pytest.raises(ValueError, match="require replication which can't be statically inferred"):
        jax.shard_map(outputs, out_specs=P(), **specs)(kernels, images)
    spread = jax.shard_map(outputs, out_specs=P(None, None, None, "model"), **specs)
    expected = [zoo.ops.conv(images, kernel, "SAME") for kernel in kernels]
    assert_close(spread(kernels, images), jnp.concatenate(expected, axis=3))


@pytest.mark.slow
@pytest.mark.parametrize("train", [False, True])
def test_gradients_of_images_whose_type_says_where_they_are(
    variables: Any, images: jax.Array, train: bool
) -> None:
    """On a mesh as `jax.make_mesh` makes it, of explicit axes."""
    mesh = jax.make_mesh((8,), ("data",))
    assert mesh.axis_types == (AxisType.Explicit,)
    gradients = jax.jit(jax.grad(loss_of(variables, train)))
    params = jax.device_put(variables["params"], NamedSharding(mesh, P()))
    spread = jax.device_put(images, NamedSharding(mesh, P("data")))
    found = gradients(params, spread)
    assert_close(found, gradients(variables["params"], images))
    with jax.set_mesh(mesh):
        assert_close(jax.grad(loss_of(variables, train))(params, spread), found)


@pytest.mark.parametrize(  # each formulation on a CPU
    "channels", [24, *(pytest.param(channels, marks=pytest.mark.slow) for channels in (1, 10))]
)
def test_gradients_of_images_that_the_compiler_spreads(channels: int) -> None:
    """By what it knows of where the arguments are, without types that say so."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(24, 8, 8, channels)).astype(np.float32)
    kernel = (rng.normal(size=(5, 5, channels, 6)) / 5).astype(np.float32)

    def loss(x: jax.Array, kernel: jax.Array) -> jax.Array:
        y = zoo.ops.conv(x, kernel, "SAME")
        return jnp.sum(jnp.sin(zoo.ops.max_pool(y, 3, 2, "SAME")))

    gradient = jax.jit(jax.grad(loss, (0, 1)))
    spread = jax.device_put(x, NamedSharding(mesh, P("data")))
    found = gradient(spread, jax.device_put(kernel, NamedSharding(mesh, P())))
    assert found[0].sharding.spec[0] == "data"
    assert len(spread.sharding.device_set) == 8
    for one, other in zip(found, gradient(x, kernel), strict=True):
        assert len(other.sharding.device_set) == 1
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max())


@pytest.mark.slow
def test_features_can_be_spread_by_their_type(images: jax.Array) -> None:
    mesh = jax.make_mesh((4, 2), ("data", "model"))
    kernel = jnp.asarray(np.random.default_rng(1).random((3, 3, 1, 24), np.float32))

    def loss(kernel: jax.Array, images: jax.Array) -> jax.Array:
        y = zoo.ops.max_pool(zoo.ops.conv(images, kernel, "SAME"), 2, 2, "VALID")
        of_images, of_kernel, found = (jax.typeof(x).sharding.spec for x in (images, kernel, y))
        assert tuple(found) == (of_images[0], None, None, of_kernel[3])
        return jnp.sum(jnp.sin(y))

    gradients = jax.jit(jax.grad(loss, (0, 1)))
    spread = gradients(
        jax.device_put(kernel, NamedSharding(mesh, P(None, None, None, "model"))),
        jax.device_put(images, NamedSharding(mesh, P("data"))),
    )
    assert_close(spread, gradients(kernel, images))
