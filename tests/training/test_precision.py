"""Half the bits: what stays float32, and the scale of the loss; activations computed again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict
from test_training import untimed

from zoo.models import ConvNet
from zoo.models.layers import (
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Head,
    LayerNorm,
    MaxPool,
    Residual,
)
from zoo.system.errors import StoppedError, ZooError
from zoo.training import loss_scale, nets, train_and_evaluate
from zoo.training.history import History
from zoo.training.step import (
    Batch,
    TrainState,
    create_train_state,
    make_gradients,
    make_train_step,
)

NET = (Conv(4, 3), BatchNorm(), MaxPool(2), Dropout(0.25), Flatten(), Dense(8), Head())
TX = optax.adam(1e-2)


def state_of(dtype: Any) -> TrainState:
    return create_train_state(ConvNet(NET, 3, dtype), TX, 0, (8, 8, 1))


@pytest.fixture
def batch() -> Batch:
    images = np.random.default_rng(0).random((6, 8, 8, 1), np.float32)
    return {"image": jnp.asarray(images), "label": jnp.arange(6) % 3, "mask": jnp.arange(6) < 5}


def equations(jaxpr: Any) -> Iterator[Any]:
    """All of a program, those of what it calls included."""
    for equation in jaxpr.eqns:
        yield equation
        for value in jax.tree.leaves([*equation.params.values()]):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_products_are_of_half_and_all_else_that_is_kept_or_added_up_is_float32(
    dtype: Any, batch: Batch
) -> None:
    """Sums: of the loss, of statistics, of gradients of biases. So the program says."""
    state = state_of(dtype)
    traced, shapes = jax.make_jaxpr(make_train_step(ConvNet(NET, 3, dtype), TX), return_shape=True)(
        state, batch
    )
    products, sums = set(), set()
    for equation in equations(traced.jaxpr):
        name = equation.primitive.name
        types = {operand.aval.dtype for operand in equation.invars}
        if name == "dot_general" or name.startswith("conv_"):
            products |= types
        if name == "reduce_sum":
            sums |= types
    assert products == {jnp.dtype(dtype)}
    assert sums == {jnp.dtype("float32"), jnp.dtype("int32")}  # whole numbers: counts
    for tree in (state, shapes):
        assert {leaf.dtype.name for leaf in jax.tree.leaves(tree)} == {"float32", "int32", "uint32"}
    kept = state.params, state.batch_stats, shapes[0].params, shapes[0].batch_stats
    assert {leaf.dtype.name for leaf in jax.tree.leaves(kept)} == {"float32"}


def with_factor(state: TrainState, factor: float, num_good: int = 0) -> TrainState:
    scaled = state.opt_state._replace(factor=jnp.float32(factor), num_good=jnp.int32(num_good))
    return state.replace(opt_state=scaled)


def factor_of(state: TrainState) -> tuple[float, int]:
    return float(state.opt_state.factor), int(state.opt_state.num_good)


def assert_only_the_factor_changed(after: TrainState, before: TrainState) -> None:
    assert int(after.step) == int(before.step) + 1
    found = after.replace(step=before.step, opt_state=after.opt_state.inner)
    expected = before.replace(opt_state=before.opt_state.inner)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize("dtype", [jnp.float16, np.dtype("float16"), "float16"])
def test_float16_has_a_scale_however_it_is_named(dtype: Any) -> None:
    assert isinstance(state_of(dtype).opt_state, loss_scale.ScaledState)


def test_the_scale_of_the_loss_follows_what_float16_holds(batch: Batch) -> None:
    step = jax.jit(make_train_step(ConvNet(NET, 3, jnp.float16), TX))
    first = state_of(jnp.float16)
    assert factor_of(first) == (2**15, 0)
    state, metrics = step(first, batch)
    assert factor_of(state) == (2**15, 1)
    assert int(metrics.num_examples) == 5

    doubled, _ = step(with_factor(state, 2**15, loss_scale.GOOD_STEPS - 1), batch)
    assert factor_of(doubled) == (2**16, 0)
    unscaled, _ = step(with_factor(state, 1), batch)  # here no gradient is too small for it
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, atol=1e-2 / 5),  # a step: 1e-2
        doubled.params,
        unscaled.params,
    )

    too_high = with_factor(state, loss_scale.LARGEST, 7)
    after, metrics = step(too_high, batch)
    assert factor_of(after) == (loss_scale.LARGEST / 2, 0)
    assert_only_the_factor_changed(after, too_high)
    assert int(after.opt_state.num_skipped) == 1
    assert int(metrics.num_examples) == 5  # its loss is as good as any

    bad = {**batch, "image": batch["image"].at[1, 2, 2].set(jnp.inf)}  # no fault of the scale
    lowest = with_factor(state, loss_scale.SMALLEST)
    after, metrics = step(lowest, bad)
    assert factor_of(after) == (loss_scale.SMALLEST, 0)
    assert_only_the_factor_changed(after, lowest)
    assert not np.isfinite(metrics.loss_sum)  # so the run stops, but with on_nan=skip


@pytest.mark.slow
def test_a_run_in_float16_keeps_its_scale_and_goes_on_bit_for_bit(
    tiny_config: ConfigDict,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a scale that is too large at first, for both seeds."""
    tiny_config.update(dtype="float16", num_seeds=2)
    monkeypatch.setattr(loss_scale, "FIRST", loss_scale.LARGEST)

    def run(workdir: Path, **options: Any) -> History:
        return train_and_evaluate(tiny_config, workdir, model=NET, quiet=True, **options)

    whole = run(tmp_path / "whole")
    with pytest.raises(StoppedError, match="after batch 1 of 5 of epoch 1"):
        run(tmp_path / "run", should_stop=lambda: True)
    history = run(tmp_path / "run")
    assert untimed(history) == untimed(whole)
    first = history.epochs[0]
    assert min(first["skipped_steps"]) > 0
    for record in history.epochs:
        expected = loss_scale.LARGEST / 2.0 ** np.array(record["skipped_steps"])
        assert record["loss_scale"] == expected.tolist()
    assert history.environment["mixed_precision"] == 2
    said = capsys.readouterr().err
    assert f"{sum(first['skipped_steps'])} steps left out: gradients were too large" in said


def test_activations_that_are_computed_again_are_the_same(batch: Batch) -> None:
    """With dropout, and statistics of a layer that is frozen; each convolution is there twice."""
    net = (Residual((Conv(2, 1), BatchNorm())), Dropout(0.5), Flatten(), Head())
    model, freeze = ConvNet(net, 3), "residual_1/batch_norm_1"
    state = create_train_state(model, TX, 0, (8, 8, 1), freeze=freeze)
    gradients = [make_gradients(each, freeze=freeze) for each in (model, model.clone(remat=True))]
    counts = []
    for each in gradients:
        program = jax.make_jaxpr(each)(state, batch).jaxpr
        names = [equation.primitive.name for equation in equations(program)]
        counts.append(names.count("conv_output"))
    assert counts == [2, 4]  # one is of the shortcut
    kept, again = (jax.jit(each)(state, batch) for each in gradients)
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6), again, kept
    )


def test_a_module_of_ones_own_says_itself_what_is_computed_again() -> None:
    chosen = nets.ChosenNet(nn.Dense(3), "Dense", {"layers": None})
    assert nets.make(chosen, 3, "float32") is chosen.net
    with pytest.raises(ZooError, match=r"not for Dense: use flax\.linen\.remat in the module"):
        nets.make(chosen, 3, "float32", remat=True)


@pytest.mark.slow
@pytest.mark.skipif(jax.__version_info__ < (0, 11), reason="on a CPU, XLA saves nothing by it")
def test_activations_that_are_computed_again_take_less_memory() -> None:
    model = ConvNet((*(Conv(8, 1, activation="gelu"), LayerNorm()) * 6, GlobalAvgPool(), Head()))
    state = jax.eval_shape(lambda: create_train_state(model, TX, 0, (20, 20, 1)))
    batch = {
        "image": jax.ShapeDtypeStruct((64, 20, 20, 1), jnp.uint8),
        "label": jax.ShapeDtypeStruct((64,), jnp.int32),
        "mask": jax.ShapeDtypeStruct((64,), jnp.bool),
    }
    kept, again = (
        jax.jit(make_gradients(each)).lower(state, batch).compile().memory_analysis()
        for each in (model, model.clone(remat=True))
    )
    assert again.temp_size_in_bytes < 0.6 * kept.temp_size_in_bytes
