"""The step with frozen parameters, given weights, and learning rates of parts."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from test_optim import PARAMS, constant_gradient, optimizer
from test_step import (
    SHAPE,
    TINY,
    assert_trees_close,
    assert_trees_equal,
    gradient_of,
    split_of,
    state_of,
)

from zoo.config import OPTIMIZERS
from zoo.models import ConvNet
from zoo.models.layers import BatchNorm, Conv, Dense, Flatten, Head
from zoo.models.paths import PatternError
from zoo.training import create_train_state, make_eval_step, make_train_step
from zoo.training.fine_tuning import given_variables, has_new_head, scale_rates
from zoo.training.programs import take_batch
from zoo.training.step import Batch, TrainState

PLAIN = ConvNet((Conv(4, 3), BatchNorm(), Flatten(), Dense(8), Head()), num_classes=3)
BODY = "conv_1, batch_norm_1, dense_1"


@pytest.fixture
def batch() -> Batch:
    return take_batch(split_of(6), jnp.arange(6))


def frozen_state(model: Any, tx: Any, freeze: str, **options: Any) -> TrainState:
    return create_train_state(model, tx, 0, SHAPE, freeze=freeze, **options)


def step_of(model: Any, tx: Any, *options: Any, freeze: str = "") -> Any:
    return jax.jit(make_train_step(model, tx, *options, freeze=freeze))


def with_odd_statistics(state: TrainState) -> TrainState:
    """As of a trained net: far from those of a batch."""
    return state.replace(batch_stats=jax.tree.map(lambda leaf: 2 * leaf + 0.3, state.batch_stats))


def test_what_is_frozen_stays_and_the_rest_is_updated_as_before(batch: Batch) -> None:
    tx = optax.sgd(0.1)
    state = frozen_state(TINY, tx, "conv_1, dense_1/bias")
    new, _ = step_of(TINY, tx, freeze="conv_1, dense_1/bias")(state, batch)
    expected = jax.tree.map(
        lambda p, g: p - 0.1 * g, state.params, jax.jit(gradient_of)(state, batch)
    )
    expected["conv_1"] = state.params["conv_1"]
    expected["dense_1"]["bias"] = state.params["dense_1"]["bias"]
    assert_trees_close(new.params, expected)
    assert_trees_equal(new.params["conv_1"], state.params["conv_1"])
    assert_trees_equal(new.params["dense_1"]["bias"], state.params["dense_1"]["bias"])


def test_a_frozen_batch_normalization_keeps_and_uses_its_statistics(batch: Batch) -> None:
    """With all but the head frozen, training sees the very logits that evaluation sees."""
    tx = optax.adam(1e-2)
    state = with_odd_statistics(frozen_state(PLAIN, tx, BODY))
    new, metrics = step_of(PLAIN, tx, freeze=BODY)(state, batch)
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    assert_trees_close(metrics, jax.jit(make_eval_step(PLAIN))(variables, batch))
    assert_trees_equal(new.batch_stats, state.batch_stats)
    assert not np.array_equal(new.params["head"]["kernel"], state.params["head"]["kernel"])
    _, other = step_of(PLAIN, optax.sgd(0.1))(with_odd_statistics(state_of(PLAIN)), batch)
    assert abs(metrics.loss_sum - other.loss_sum) > 0.01


def test_one_of_which_a_part_is_trained_goes_on_learning_statistics(batch: Batch) -> None:
    tx = optax.sgd(0.1)
    state = frozen_state(PLAIN, tx, "conv_1, batch_norm_1/scale")
    new, _ = step_of(PLAIN, tx, freeze="conv_1, batch_norm_1/scale")(state, batch)
    assert not np.array_equal(
        new.batch_stats["batch_norm_1"]["mean"], state.batch_stats["batch_norm_1"]["mean"]
    )


def test_batch_normalization_anywhere_in_any_flax_module_can_be_frozen(batch: Batch) -> None:
    class Block(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array, train: bool) -> jax.Array:
            return nn.BatchNorm(use_running_average=not train, name="norm")(x)

    class Net(nn.Module):
        @nn.compact
        def __call__(self, images: jax.Array, *, train: bool, mask: Any = None) -> jax.Array:
            x = nn.Dense(4, name="body")(images.reshape(len(images), -1) / 255)
            for name in ("block_1", "block_2"):
                x = Block(name=name)(x, train)
            return nn.Dense(3, name="head")(x)

    freeze, tx = "body, block_1", optax.sgd(0.1)
    state = frozen_state(Net(), tx, freeze)
    new, _ = step_of(Net(), tx, freeze=freeze)(state, batch)
    assert_trees_equal(new.batch_stats["block_1"], state.batch_stats["block_1"])
    before, after = (each.batch_stats["block_2"]["norm"]["mean"] for each in (state, new))
    assert not np.array_equal(before, after)
    assert jax.tree.structure(new) == jax.tree.structure(state)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_is_frozen_has_no_optimizer_state(name: str) -> None:
    """A conv_1/kernel, alone of its shape, that no array of the state has."""
    tx = optimizer(name=name, momentum=0.5, weight_decay=0.1, accumulate_steps=2)
    shapes = [
        {leaf.shape for leaf in jax.tree.leaves(frozen_state(TINY, tx, freeze).opt_state)}
        for freeze in ("", "conv_1/kernel")
    ]
    assert (3, 3, 1, 4) in shapes[0] - shapes[1]
    assert (8, 3) in shapes[1]


def test_weight_decay_and_clipping_are_of_what_is_trained(batch: Batch) -> None:
    tx = optimizer(name="sgd", learning_rate=1.0, clip_norm=1e-3, weight_decay=0.0)
    state = frozen_state(PLAIN, tx, BODY)
    new, _ = step_of(PLAIN, tx, freeze=BODY)(state, batch)
    moved = jax.tree.map(jnp.subtract, new.params["head"], state.params["head"])
    assert float(optax.tree.norm(moved)) == pytest.approx(1e-3, rel=1e-2)
    tx = optimizer(name="adamw", weight_decay=0.5)
    state = frozen_state(PLAIN, tx, BODY)
    new, _ = step_of(PLAIN, tx, freeze=BODY)(state, batch)
    assert_trees_equal(new.params["conv_1"], state.params["conv_1"])


def test_a_step_that_is_skipped_changes_nothing_with_frozen_parameters(batch: Batch) -> None:
    tx = optimizer(name="adam")
    state = frozen_state(PLAIN, tx, BODY)
    bad = jax.tree.map(lambda leaf: leaf * jnp.nan, state.params["head"])
    state = state.replace(params={**state.params, "head": bad})
    new, metrics = step_of(PLAIN, tx, True, freeze=BODY)(state, batch)
    assert_trees_equal(new.replace(step=state.step), state)
    assert int(metrics.num_examples) == 0


def test_no_gradient_is_computed_before_the_first_layer_that_is_trained(batch: Batch) -> None:
    tx = optax.sgd(0.1)

    def flops(freeze: str) -> float:
        step = jax.jit(make_train_step(PLAIN, tx, freeze=freeze))
        compiled = step.lower(frozen_state(PLAIN, tx, freeze), batch).compile()
        return compiled.cost_analysis()["flops"]

    assert flops(BODY) < 0.6 * flops("")


def test_a_wrong_pattern_is_told_before_anything_is_compiled(batch: Batch) -> None:
    with pytest.raises(PatternError, match=r"freeze: 'conv_2' matches no parameter: did you mean"):
        frozen_state(TINY, optax.sgd(0.1), "conv_2")
    with pytest.raises(PatternError, match=r"rates: 'conv_1' matches no parameter that is train"):
        frozen_state(TINY, optimizer(rates="conv_1=0.1"), "conv_1")


def descend(tx: optax.GradientTransformation) -> Any:
    """Where four updates lead, of gradients that are alike everywhere."""

    @jax.jit
    def run(params: Any) -> Any:
        state = tx.init(params)
        for value in (1.0, -0.3, 0.2, 0.7):
            updates, state = tx.update(constant_gradient(value), state, params)
            params = optax.apply_updates(params, updates)
        return params

    return run(PARAMS)


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("adam", "rmsprop", "muon") else pytest.param(name, marks=pytest.mark.slow)
        for name in OPTIMIZERS
    ],
)
def test_a_factor_of_the_rate_is_that_rate(name: str) -> None:
    """Of momenta, decoupled decay and accumulation, too: as if the layer were trained alone."""
    settings: dict[str, Any] = {
        "name": name,
        "momentum": 0.5,
        "weight_decay": 0.1,
        "accumulate_steps": 2,
        "schedule": "cosine",
    }
    found = descend(optimizer(learning_rate=0.04, rates="conv_1=0.25", **settings))
    slow = descend(optimizer(learning_rate=0.01, **settings))
    fast = descend(optimizer(learning_rate=0.04, **settings))
    for name in ("kernel", "bias"):
        np.testing.assert_allclose(found["conv_1"][name], slow["conv_1"][name], 1e-5, 1e-7)
        np.testing.assert_allclose(found["head"][name], fast["head"][name], 1e-6, 1e-8)
        assert not np.allclose(found["conv_1"][name], fast["conv_1"][name], 1e-5, 1e-7)


def test_rates_alone_can_follow_any_optimizer() -> None:
    tx = optax.chain(optax.sgd(1.0), scale_rates("head=0.5"))
    updates, _ = tx.update(constant_gradient(1.0), tx.init(PARAMS), PARAMS)
    expected = {
        "conv_1": constant_gradient(-1.0)["conv_1"],
        "head": constant_gradient(-0.5)["head"],
    }
    assert_trees_equal(updates, expected)


def test_given_weights_are_copied_and_a_head_of_another_size_is_drawn() -> None:
    trained = state_of(TINY.clone(num_classes=5), seed=7)
    variables = {"params": trained.params, "batch_stats": trained.batch_stats}
    state = frozen_state(TINY, optax.sgd(0.1), "", variables=variables)
    assert_trees_equal(state.params["conv_1"], trained.params["conv_1"])
    assert_trees_equal(state.params["head"], state_of().params["head"])
    step = jax.jit(make_train_step(TINY, optax.sgd(0.1)), donate_argnums=0)
    step(state, take_batch(split_of(6), jnp.arange(6)))  # uses up the state
    assert np.isfinite(trained.params["conv_1"]["kernel"]).all()


def test_a_head_of_the_same_size_is_taken_and_none_is_needed() -> None:
    one, other = state_of(seed=1), state_of(seed=2)
    ours, theirs = ({"params": s.params, "batch_stats": s.batch_stats} for s in (one, other))
    assert not has_new_head(theirs, ours)
    assert_trees_equal(given_variables(theirs, ours), theirs)
    body = {name: leaf for name, leaf in other.params.items() if name != "head"}
    assert has_new_head({**theirs, "params": body}, ours)
    without = {"params": body, "batch_stats": other.batch_stats}
    assert not has_new_head(theirs, without)  # features: there is no head to fill
    assert given_variables(theirs, without).keys() == {"params", "batch_stats"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda v: v["params"].pop("conv_1"), r"it has no conv_1/bias, which this net has"),
        (
            lambda v: v["params"].update(dense_9={"kernel": jnp.zeros(1)}),
            "it has dense_9/kernel, which this net does not have",
        ),
        (
            lambda v: v["params"]["conv_1"].update(kernel=jnp.zeros((5, 5, 1, 4))),
            r"its conv_1/kernel has shape \(5, 5, 1, 4\), but this net's has \(3, 3, 1, 4\)",
        ),
        (lambda v: v.pop("batch_stats"), "it has no batch_stats/batch_norm_1/mean"),
    ],
)
def test_weights_of_another_net_are_a_sentence(change: Any, sentence: str) -> None:
    state = state_of()
    variables = jax.tree.map(lambda leaf: leaf, {"params": state.params})
    variables["batch_stats"] = state.batch_stats
    change(variables)
    with pytest.raises(ValueError, match=sentence):
        frozen_state(TINY, optax.sgd(0.1), "", variables=variables)
