"""Over devices: accumulated gradients, the scale of the loss, activations computed again."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from devices import collectives
from jax.sharding import PartitionSpec as P
from test_spread_runs import mesh_of

from zoo.configs import default
from zoo.models import ConvNet
from zoo.models.layers import BatchNorm, Conv, Flatten, Head
from zoo.training import mesh as meshes
from zoo.training.optim import make_optimizer
from zoo.training.programs import make_train_program, padded_order
from zoo.training.step import Batch, Metrics, create_train_state, make_train_step

NET = (Conv(4, 3), BatchNorm(), Flatten(), Head())
SHAPE = (8, 8, 1)


@pytest.mark.slow
def test_accumulated_gradients_are_those_of_one_device() -> None:
    """Three updates of two batches each, of which the third and the sixth are half empty."""
    config = default.get_config().optimizer
    config.update(name="sgd", momentum=0.9, clip_norm=0.5, accumulate_steps=2)
    tx = make_optimizer(config, optax.constant_schedule(0.1))
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.integers(0, 256, (40, *SHAPE), np.uint8))
    split, order = (images, jnp.arange(40) % 10), jnp.tile(padded_order(jnp.arange(40), 16), (2, 1))
    found = []
    for mesh in (None, mesh_of(8)):
        model = ConvNet(NET)
        state = create_train_state(model, tx, 0, SHAPE)
        axis = meshes.DATA if mesh else None
        program = make_train_program(make_train_step(model, tx, axis_name=axis), mesh=mesh)
        found.append(program(state, Metrics.zeros(), split, order, 0, 6, ()))
    assert int(found[1][0].opt_state.gradient_step) == 3
    assert int(found[1][1].num_examples) == 80
    for one, other in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)


def batch_of_16() -> Batch:
    images = np.random.default_rng(0).random((16, *SHAPE), np.float32)
    return {"image": jnp.asarray(images), "label": jnp.arange(16) % 10, "mask": jnp.ones(16, bool)}


@pytest.mark.slow
def test_all_devices_leave_out_a_step_that_is_too_large_for_one() -> None:
    model, tx = ConvNet((Conv(4, 3), Flatten(), Head()), dtype=jnp.float16), optax.adam(1e-2)
    step = jax.jit(
        jax.shard_map(
            make_train_step(model, tx, axis_name=meshes.DATA),
            mesh=mesh_of(8),
            in_specs=(P(), P(meshes.DATA)),
            out_specs=P(),
            check_vma=False,
        )
    )
    before, batch = create_train_state(model, tx, 0, SHAPE), batch_of_16()
    batch["image"] = batch["image"].at[5].multiply(1_000)
    after, metrics = step(before, batch)
    assert np.isfinite(metrics.loss_sum)
    assert int(after.opt_state.num_skipped) == 1
    assert float(after.opt_state.factor) == before.opt_state.factor / 2
    for leaf, old in zip(*map(jax.tree.leaves, (after.params, before.params)), strict=True):
        assert len(leaf.addressable_shards) == 8
        for shard in leaf.addressable_shards:
            np.testing.assert_array_equal(shard.data, old)
    after, _ = step(before, batch_of_16())
    assert int(after.opt_state.num_good) == 1


@pytest.mark.slow
def test_what_is_computed_again_is_not_communicated_again() -> None:
    """As the compiled program says: the sums of a batch normalization are kept."""
    programs = []
    for remat in (False, True):
        model, tx = ConvNet(NET, remat=remat), optax.sgd(0.1)
        step = jax.shard_map(
            make_train_step(model, tx, axis_name=meshes.DATA),
            mesh=mesh_of(8),
            in_specs=(P(), P(meshes.DATA)),
            out_specs=P(),
            check_vma=False,
        )
        state = create_train_state(model, tx, 0, SHAPE)
        programs.append(jax.jit(step).lower(state, batch_of_16()))
    kept, again = programs
    assert again.as_text().count("optimization_barrier") > kept.as_text().count(
        "optimization_barrier"
    )
    assert collectives(again.compile().as_text()) == collectives(kept.compile().as_text())


@pytest.mark.slow
def test_a_frozen_batch_normalization_keeps_and_uses_its_statistics() -> None:
    model, tx, freeze = ConvNet(NET), optax.sgd(0.1), "(?!head).*"
    found = []
    for mesh in (None, mesh_of(8)):
        state = create_train_state(model, tx, 0, SHAPE, freeze=freeze)
        state = state.replace(batch_stats=jax.tree.map(lambda leaf: leaf + 0.5, state.batch_stats))
        axis = meshes.DATA if mesh else None
        step = make_train_step(model, tx, axis_name=axis, freeze=freeze)
        batch = batch_of_16()
        split, order = (batch["image"], batch["label"]), padded_order(jnp.arange(16), 16)
        program = make_train_program(step, mesh=mesh)
        new, metrics = program(state, Metrics.zeros(), split, order, 0, 1, ())
        found.append((new.params, new.batch_stats, metrics))
    for one, other in zip(*map(jax.tree.leaves, found), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6)
    assert found[1][1]["batch_norm_1"]["mean"] == pytest.approx(0.5)
