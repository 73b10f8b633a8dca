"""A batch over devices is the batch on one: gradients, statistics, runs; and what is moved."""

import dataclasses
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from devices import collectives
from jax.sharding import AxisType, Mesh
from jax.sharding import PartitionSpec as P
from ml_collections import ConfigDict
from parity import training

import zoo.config
import zoo.data
import zoo.models
import zoo.ops
import zoo.training.history
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
    Net,
    Residual,
)
from zoo.models.net import ConvNet
from zoo.system.errors import ZooError
from zoo.training import mesh as meshes
from zoo.training import nets, optim, train_and_evaluate
from zoo.training.history import History
from zoo.training.loop import Trainer
from zoo.training.programs import epoch_order, make_train_program
from zoo.training.step import (
    Metrics,
    TrainState,
    create_train_state,
    make_gradients,
    make_train_step,
)
from zoo.training.terminal import Terminal

EVERY_KIND: Net = (
    Conv(8, 3),
    BatchNorm(),
    MaxPool(2),
    Residual((Conv(8, 3, "SAME"), BatchNorm())),
    Dropout(0.25),
    Flatten(),
    Dense(16),
    Dropout(0.3),
    Head(),
)


def mesh_of(num_devices: int) -> Mesh:
    return jax.make_mesh(
        (1, num_devices),
        (meshes.SEED, meshes.DATA),
        (AxisType.Auto,) * 2,
        devices=jax.devices()[:num_devices],
    )


def digits_like(count: int) -> np.ndarray:
    """Images with a blank border, as those of digits: uint8 [count, 28, 28, 1]."""
    images = np.zeros((count, 28, 28, 1), np.uint8)
    images[:, 6:22, 6:22] = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 1))
    return images


@pytest.fixture
def in_float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("num_devices", [2, 8])
@pytest.mark.parametrize("num_images", [16, 5])  # 5: some devices have padding only
def test_gradients_and_statistics_are_those_of_the_whole_batch(
    in_float64: None, num_devices: int, num_images: int
) -> None:
    """In double precision, where a wrong sum cannot hide behind rounding."""
    model = ConvNet(EVERY_KIND, dtype=jnp.float64)
    images = jnp.asarray(digits_like(16))
    variables = model.init(jax.random.key(0), images, train=False)
    variables = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), variables)
    state = TrainState(
        jnp.int32(0), jnp.uint32(3), variables["params"], variables["batch_stats"], ()
    )
    mask = jnp.arange(16) < num_images
    batch = {"image": images, "label": jnp.arange(16) % 10, "mask": mask}
    spread = jax.shard_map(
        make_gradients(model, 0.1, axis_name=meshes.DATA),
        mesh=mesh_of(num_devices),
        in_specs=(P(), P(meshes.DATA)),
        out_specs=P(),
        check_vma=False,
    )
    whole = jax.jit(make_gradients(model, 0.1))(state, batch)
    found = jax.jit(spread)(state, batch)
    assert jax.tree.structure(found) == jax.tree.structure(whole)
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-9, atol=1e-12)


@pytest.mark.full
@pytest.mark.parametrize(
    ("net", "size"), [("vgg5", 8), ("pairs_cnn6", 32), ("ablation_cnn3_dropout", 16)]
)
def test_fifty_steps_have_the_losses_of_one_device(in_float64: None, net: str, size: int) -> None:
    """With dropout, by the optimizer of the net's configuration, on drawings on a blank ground.

    Batches are small: in float64 XLA convolves slowly. Smaller ones would not do for a net that
    normalizes: it magnifies rounding where a feature hardly varies.
    """
    config = zoo.config.load(net)
    schedule = optim.make_schedule(config.optimizer, 50, 50)
    model, tx = (
        ConvNet(zoo.models.MODELS[net], dtype=jnp.float64),
        optim.make_optimizer(config.optimizer, schedule),
    )
    rng = np.random.RandomState(0)
    labels = rng.randint(10, size=50 * size)
    images = training.strokes(labels, rng).reshape(50, size, 28, 28, 1)
    first = create_train_state(model, tx, 0, (28, 28, 1))
    first = jax.tree.map(lambda x: x.astype(float) if x.dtype == np.float32 else x, first)

    def losses(num_devices: int) -> list[float]:
        if num_devices == 1:
            step = jax.jit(make_train_step(model, tx))
        else:
            step = jax.jit(
                jax.shard_map(
                    make_train_step(model, tx, axis_name=meshes.DATA),
                    mesh=mesh_of(num_devices),
                    in_specs=(P(), P(meshes.DATA)),
                    out_specs=P(),
                    check_vma=False,
                )
            )
        state, found = first, []
        for image, label in zip(images, labels.reshape(50, size), strict=True):
            batch = {"image": image, "label": label, "mask": np.ones(size, bool)}
            state, metrics = step(state, batch)
            # Waited for: of many steps under way, virtual devices may each wait in another.
            found.append(float(metrics.loss_sum / metrics.num_examples))
        return found

    alone = losses(1)
    assert alone[-1] < alone[0]
    for num_devices in (2, 4, 8):
        np.testing.assert_allclose(losses(num_devices), alone, rtol=1e-6)


@pytest.mark.parametrize(("shape", "rate"), [((16, 7, 5, 3), 0.25), ((16, 9), 0.3), ((8,), 0.5)])
def test_dropout_is_that_of_the_whole_batch(shape: tuple[int, ...], rate: float) -> None:
    key, x = jax.random.key(5), jnp.ones(shape)

    def part(x: jax.Array) -> jax.Array:
        return zoo.ops.dropout(x, rate, key, jax.lax.axis_index(meshes.DATA) * len(x))

    spread = jax.shard_map(part, mesh=mesh_of(8), in_specs=P(meshes.DATA), out_specs=P(meshes.DATA))
    np.testing.assert_array_equal(jax.jit(spread)(x), zoo.ops.dropout(x, rate, key))


@pytest.mark.parametrize(
    ("net", "num_channels"),
    [("ablation_cnn3_dropout", 0), pytest.param("pairs_cnn6", 384, marks=pytest.mark.full)],
)
def test_a_step_moves_gradients_metrics_and_sums_of_statistics_alone(
    net: str, num_channels: int
) -> None:
    """As the compiled program says; statistics: mean and variance, twice each, and counts."""
    model, tx = zoo.models.create_model(net), optax.sgd(0.01)
    state = create_train_state(model, tx, 0, (28, 28, 1))
    split = jnp.asarray(digits_like(200)), jnp.arange(200) % 10
    order = epoch_order(jnp.uint32(0), 1, 200, 64)
    step = make_train_step(model, tx, axis_name=meshes.DATA)
    program = make_train_program(step, mesh=mesh_of(8))
    compiled = program.lower(state, Metrics.zeros(), split, order, 0, 4, ()).compile()
    found = collectives(compiled.as_text())
    num_params = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    num_counts = 1 + bool(num_channels)  # images, pixels
    assert found.keys() == {"all-reduce"}
    statistics = 4 * 4 * num_channels
    expected = 4 * num_params + statistics + 4 + 4 * (2 + num_counts)  # loss; right answers, counts
    assert expected - 12 <= sum(found["all-reduce"]) <= expected
    assert len(found["all-reduce"]) == (11 if num_channels else 2)


def run(config: ConfigDict, workdir: Path, **changes: Any) -> History:
    config = config.copy_and_resolve_references()
    config.update_from_flattened_dict(changes)
    return train_and_evaluate(config, workdir, quiet=True)


def losses(history: History) -> np.ndarray:
    return np.array([[epoch["loss"], epoch["val_loss"]] for epoch in history.epochs])


@pytest.mark.slow
def test_a_run_goes_on_on_other_devices(tiny_config: ConfigDict, tmp_path: Path) -> None:
    """On 8, then 2, then 1, as on one alone; and what it says of that."""
    tiny_config.update(validation="holdout", num_epochs=3)
    alone = run(tiny_config, tmp_path / "alone", **{"mesh.data": 1})
    for epochs, devices in ((1, -1), (2, 2), (3, 1)):
        history = run(tiny_config, tmp_path / "run", **{"mesh.data": devices, "num_epochs": epochs})
    np.testing.assert_allclose(losses(history), losses(alone), rtol=2e-4)
    assert [each["mesh"] for each in history.earlier_environments] == [
        {"seed": 1, "data": 8},
        {"seed": 1, "data": 2},
    ]
    assert "mesh" not in history.environment
    assert zoo.training.history.read(tmp_path / "run").epochs == history.epochs


@pytest.mark.slow
def test_the_same_devices_give_the_same_bits(tiny_config: ConfigDict, tmp_path: Path) -> None:
    one, other = (run(tiny_config, tmp_path / name, **{"mesh.data": 4}) for name in "ab")
    assert losses(one).tolist() == losses(other).tolist()
    assert one.test == other.test


@pytest.mark.slow
def test_seeds_on_devices_of_their_own_have_the_bits_of_one(
    tiny_config: ConfigDict, tmp_path: Path
) -> None:
    """Of four seeds on two devices; and with four devices for each batch, nearly."""
    tiny_config.update(validation="holdout", num_seeds=4)
    alone = run(tiny_config, tmp_path / "alone", **{"mesh.seed": 1, "mesh.data": 1})
    spread = run(tiny_config, tmp_path / "spread", **{"mesh.seed": 2, "mesh.data": 1})
    assert losses(spread).tolist() == losses(alone).tolist()
    assert spread.test == alone.test
    both = run(tiny_config, tmp_path / "both", **{"mesh.seed": 2})
    assert both.environment["mesh"] == {"seed": 2, "data": 4}
    np.testing.assert_allclose(losses(both), losses(alone), rtol=2e-4)
    pytest.importorskip("grain")
    streamed = run(tiny_config, tmp_path / "streamed", **{"mesh.seed": 2, "data.stream": True})
    assert losses(streamed).tolist() == losses(both).tolist()
    assert streamed.test == both.test


@pytest.mark.parametrize(
    ("changes", "batch_size", "can_spread", "shape"),
    [
        ({}, 16, True, (1, 8)),
        ({}, 12, True, (1, 6)),  # not all, as a batch of 12 cannot be spread over 8
        ({}, 7, True, (1, 7)),
        ({}, 16, False, None),
        ({"num_seeds": 4}, 16, True, (4, 2)),
        ({"num_seeds": 3}, 16, True, (1, 8)),
        ({"num_seeds": 4}, 16, False, (4, 1)),
        ({"num_seeds": 10}, 16, False, (5, 1)),  # nothing else can use the others
        ({"num_seeds": 10, "mesh.data": 1}, 16, True, (5, 1)),
        ({"num_seeds": 10}, 16, True, (2, 4)),
        ({"num_seeds": 4, "mesh.data": 8}, 16, True, (1, 8)),
        ({"num_seeds": 4, "mesh.data": 4}, 16, True, (2, 4)),
        ({"num_seeds": 4, "mesh.seed": 1}, 16, True, (1, 8)),
        ({"mesh.data": 1}, 16, True, None),
    ],
)
def test_the_mesh_that_is_made(
    tiny_config: ConfigDict,
    changes: dict[str, int],
    batch_size: int,
    can_spread: bool,
    shape: tuple[int, int] | None,
) -> None:
    tiny_config.update_from_flattened_dict(changes)
    mesh = meshes.make(tiny_config, batch_size, can_spread)
    assert (mesh and tuple(mesh.shape.values())) == shape


@pytest.mark.parametrize(
    ("changes", "can_spread", "said"),
    [
        (
            {"mesh.data": 3},
            True,
            "16 images cannot be spread evenly over 3 devices: use --config.b",
        ),
        ({"mesh.data": 16}, True, "asks for 16 devices, but JAX has 8 devices (cpu)"),
        ({"mesh.seed": 2}, True, "num_seeds (1) must be a multiple of config.mesh.seed (2)"),
        ({"mesh.data": 2}, False, "must be 1 for a module or layers of one's own"),
    ],
)
def test_what_cannot_be_had_is_one_sentence(
    tiny_config: ConfigDict, changes: dict[str, int], can_spread: bool, said: str
) -> None:
    tiny_config.update_from_flattened_dict(changes)
    with pytest.raises(ZooError, match=re.escape(said)):
        meshes.make(tiny_config, 16, can_spread)


@dataclasses.dataclass(frozen=True)
class Identity(Layer):
    """A layer of one's own."""

    kind = "identity"

    def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        return input_shape

    def __call__(self, x: jax.Array, context: Context) -> jax.Array:
        return x


def test_layers_of_ones_own_are_not_spread(tiny_config: ConfigDict) -> None:
    """Here they could be; a batch normalization of one's own could not."""
    dataset = zoo.data.load("idx", manual_dir=tiny_config.manual_dir)
    for net, is_spread in ((EVERY_KIND, True), (ConvNet((Identity(), *EVERY_KIND)), False)):
        config, chosen = nets.choose(tiny_config, net)
        trainer = Trainer(config, dataset, Terminal(quiet=True), chosen)
        assert bool(trainer.mesh) == is_spread


WIDE: Net = (
    *(Conv(8, 3), BatchNorm(), MaxPool(3), Conv(128, 2), Conv(512, 2)),
    *(Flatten(), Dense(32), Dropout(0.3), Head()),
)


@pytest.mark.slow
def test_kernels_over_devices_give_the_numbers_of_one(
    tiny_config: ConfigDict, tmp_path: Path
) -> None:
    """Beside batches and seeds."""
    tiny_config.update(validation="holdout", num_epochs=1)
    run_wide = functools.partial(train_and_evaluate, model=WIDE, quiet=True)

    def go(name: str, **changes: Any) -> History:
        config = tiny_config.copy_and_resolve_references()
        config.update_from_flattened_dict(changes)
        return run_wide(config, tmp_path / name)

    alone = go("alone", **{"mesh.data": 1, "mesh.seed": 1, "num_seeds": 2})
    spread = go("spread", **{"mesh.data": 2, "mesh.model": 2, "num_seeds": 2})
    assert spread.environment["mesh"] == {"seed": 2, "data": 2, "model": 2}
    np.testing.assert_allclose(losses(spread), losses(alone), rtol=2e-4)


def test_each_device_holds_a_part_of_large_kernels(tiny_config: ConfigDict) -> None:
    tiny_config.update_from_flattened_dict({"mesh.data": 2, "mesh.model": 4})
    mesh = meshes.make(tiny_config, 16)
    layers = {
        "dense_1": {"kernel": np.zeros((1352, 256)), "bias": np.zeros(256)},
        "conv_1": {"kernel": np.zeros((3, 3, 64, 512), np.float32)},
        "dense_2": {"kernel": np.zeros((9, 8), np.float32)},
        "conv_2": {"kernel": np.zeros((3, 3, 64, 511), np.float32)},
    }
    placed = meshes.place(mesh, {"params": layers}, meshes.WHOLE)["params"]
    parts = {
        name: {shard.data.shape for shard in layer["kernel"].addressable_shards}
        for name, layer in placed.items()
    }
    assert parts == {
        "dense_1": {(1352, 64)},
        "conv_1": {(3, 3, 64, 128)},
        "dense_2": {(9, 8)},  # small
        "conv_2": {(3, 3, 64, 511)},  # does not divide
    }
    sizes = [1352 * 64, 256, 3 * 3 * 64 * 128, 9 * 8, 3 * 3 * 64 * 511]
    assert meshes.part_of_bytes(mesh, placed, meshes.WHOLE) == 4 * sum(sizes)
    without = mesh_of(8)  # no axis for kernels
    assert meshes.part_of_bytes(without, placed, meshes.WHOLE) == sum(
        layer.nbytes for layer in jax.tree.leaves(placed)
    )
    with pytest.raises(ZooError, match="tiny has no kernel of 262,144 parameters or more"):
        meshes.check_spreads(mesh, {"dense_1": {"kernel": np.zeros((9, 8))}}, "tiny")
