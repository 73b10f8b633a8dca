"""Optimizers and schedules as a configuration describes them."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

import zoo.config
import zoo.data
from zoo.config import OPTIMIZERS, rates
from zoo.configs import default
from zoo.system.errors import ZooError
from zoo.training import train_and_evaluate
from zoo.training.loop import Trainer
from zoo.training.optim import make_optimizer, make_schedule
from zoo.training.terminal import Terminal

PARAMS = {
    "conv_1": {"kernel": jnp.full((2, 2, 1, 3), 0.5), "bias": jnp.full(3, 0.5)},
    "head": {"kernel": jnp.full((4, 2), -0.5), "bias": jnp.zeros(2)},
}


def optimizer_config(**changes: Any) -> ConfigDict:
    config = default.get_config().optimizer
    config.update(changes)
    return config


def optimizer(**changes: Any) -> optax.GradientTransformation:
    config = optimizer_config(**changes)
    return make_optimizer(config, make_schedule(config, steps_per_epoch=10, num_epochs=5))


def descend(tx: optax.GradientTransformation, gradients: list[Any]) -> Any:
    params, state = PARAMS, tx.init(PARAMS)
    for gradient in gradients:
        updates, state = tx.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return params


def constant_gradient(value: float) -> Any:
    return jax.tree.map(lambda param: jnp.full_like(param, value), PARAMS)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_lowers_a_quadratic(name: str) -> None:
    tx = optimizer(name=name, learning_rate=0.05, momentum=0.5, warmup_epochs=0.5)
    loss = lambda params: sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(params))  # noqa: E731
    params, state = PARAMS, tx.init(PARAMS)
    step = jax.jit(lambda p, s: tx.update(jax.grad(loss)(p), s, p))
    for _ in range(20):
        updates, state = step(params, state)
        params = optax.apply_updates(params, updates)
    assert loss(params) < loss(PARAMS)


@pytest.mark.parametrize("steps", [1, 3])
def test_muon_takes_as_many_iterations_as_asked(steps: int) -> None:
    """Jordan et al. 2024, kellerjordan.github.io/posts/muon: X <- aX + (bXX' + c(XX')^2)X."""
    gradient = np.random.default_rng(0).normal(size=(2, 2, 1, 3)).astype(np.float32)
    tx = optimizer(name="muon", learning_rate=0.5, b1=0.0, ns_steps=steps)
    params = {"kernel": jnp.asarray(PARAMS["conv_1"]["kernel"])}
    updates, _ = tx.update({"kernel": jnp.asarray(gradient)}, tx.init(params), params)
    x = gradient.reshape(4, 3).T / np.linalg.norm(gradient)
    for _ in range(steps):
        gram = x @ x.T
        x = 3.4445 * x + (-4.775 * gram + 2.0315 * gram @ gram) @ x
    np.testing.assert_allclose(updates["kernel"].reshape(4, 3), -0.5 * x.T, rtol=1e-4, atol=1e-6)


def test_keras_eps_is_keras_adam() -> None:
    """Keras 2.2.4, keras/optimizers.py: eps is added to sqrt(v) before the bias correction."""
    gradients = [constant_gradient(value) for value in (1e-7, -3e-8, 2e-7)]  # eps matters here
    params = descend(optimizer(keras_eps=True), gradients)
    expected, m, v = 0.5, 0.0, 0.0
    for t, gradient in enumerate((1e-7, -3e-8, 2e-7), start=1):
        rate = 0.001 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        expected -= rate * m / (np.sqrt(v) + 1e-7)
    moved = np.asarray(params["conv_1"]["kernel"]) - 0.5
    np.testing.assert_allclose(moved, expected - 0.5, rtol=1e-3)
    plain = descend(optimizer(keras_eps=False), gradients)
    assert abs(plain["conv_1"]["kernel"] - 0.5).max() > 3 * abs(moved).max()


def test_weight_decay_spares_biases() -> None:
    for name in ("sgd", "adamw", "lion"):
        tx = optimizer(name=name, weight_decay=0.1, learning_rate=0.1)
        params = descend(tx, [constant_gradient(0.0)])
        assert abs(params["conv_1"]["kernel"]).max() < 0.5
        np.testing.assert_array_equal(params["conv_1"]["bias"], PARAMS["conv_1"]["bias"])


def test_clipping_bounds_the_global_norm() -> None:
    params = descend(
        optimizer(name="sgd", learning_rate=1.0, clip_norm=0.25), [constant_gradient(100.0)]
    )
    moved = jax.tree.map(jnp.subtract, params, PARAMS)
    assert float(optax.tree.norm(moved)) == pytest.approx(0.25, rel=1e-5)


def test_accumulation_averages_the_gradients_of_several_batches() -> None:
    gradients = [constant_gradient(1.0), constant_gradient(3.0)]
    accumulated = descend(optimizer(name="sgd", learning_rate=0.1, accumulate_steps=2), gradients)
    at_once = descend(optimizer(name="sgd", learning_rate=0.1), [constant_gradient(2.0)])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), accumulated, at_once)
    half = descend(optimizer(name="sgd", accumulate_steps=2), gradients[:1])
    jax.tree.map(np.testing.assert_array_equal, half, PARAMS)


@pytest.mark.parametrize(
    ("changes", "by_update"),
    [
        ({"schedule": "constant"}, {0: 1.0, 49: 1.0}),
        ({"schedule": "constant", "warmup_epochs": 1.0}, {0: 0.1, 4: 0.5, 9: 1.0, 10: 1.0}),
        ({"schedule": "cosine"}, {0: 1.0, 25: 0.5, 50: 0.0}),
        ({"schedule": "cosine", "warmup_epochs": 1.0}, {0: 0.1, 10: 1.0, 30: 0.5, 50: 0.0}),
        ({"schedule": "one_cycle"}, {0: 1 / 25, 15: 1.0, 50: 1 / 25e4}),
        ({"schedule": "cosine", "accumulate_steps": 5}, {0: 1.0, 5: 0.5, 10: 0.0}),
    ],
)
def test_schedules(changes: dict[str, Any], by_update: dict[int, float]) -> None:
    schedule = make_schedule(
        optimizer_config(learning_rate=1.0, **changes), steps_per_epoch=10, num_epochs=5
    )
    assert {update: float(schedule(update)) for update in by_update} == pytest.approx(
        by_update, abs=1e-6
    )


@pytest.mark.parametrize(
    ("name", "accumulate_steps", "rate", "factor"),
    [("sgd", 1, 0.4, "64 / 16"), ("sgd", 2, 0.8, "128 / 16"), ("adamw", 1, 0.2, "sqrt(64 / 16)")],
)
def test_a_rate_for_another_batch_is_scaled_and_told(
    tiny_config: ConfigDict, name: str, accumulate_steps: int, rate: float, factor: str
) -> None:
    """Linear: Goyal et al. (2017); with a root: Malladi et al. (2022)."""
    tiny_config.batch_size = 64
    tiny_config.optimizer.update(
        name=name, learning_rate=0.1, rate_for_batch=16, accumulate_steps=accumulate_steps
    )
    dataset = zoo.data.load("idx", manual_dir=tiny_config.manual_dir)
    trainer = Trainer(tiny_config, dataset, Terminal(quiet=True))
    assert trainer.learning_rate(1) == pytest.approx(rate)
    assert trainer._rate == (np.float32(rate),)  # of which the program is called
    told = rates.text(tiny_config.to_dict())
    assert told == f"learning rate {rate:g}: 0.1 for batches of 16, times {factor}"


@pytest.mark.parametrize("name", ["adadelta", "lion", "muon"])
def test_without_a_rule_no_rate_is_scaled(tiny_config: ConfigDict, name: str) -> None:
    tiny_config.optimizer.update(name=name, rate_for_batch=16)
    with pytest.raises(ZooError, match=f"rate_for_batch has no rule for {name}, only for sgd, ad"):
        zoo.config.validate(tiny_config)


def test_a_run_of_before_goes_on_with_its_rate_alone(tiny_config: ConfigDict) -> None:
    before = tiny_config.to_dict()
    del before["optimizer"]["rate_for_batch"], before["remat"]
    tiny_config.remat = True  # changes no number
    zoo.config.check_same_run(before, tiny_config.to_dict(), "runs/old")
    tiny_config.optimizer.rate_for_batch = 16
    with pytest.raises(ZooError, match=r"optimizer\.rate_for_batch \(0 there, 16 here\)"):
        zoo.config.check_same_run(before, tiny_config.to_dict(), "runs/old")


def test_updates_that_would_not_be_as_the_configuration_says_are_one_sentence(
    tiny_config: ConfigDict, tmp_path: Path
) -> None:
    """72 images: a batch is of so many at most, and two epochs of batches of 72 are two steps."""
    tiny_config.update(batch_size=512, validation="test")
    tiny_config.optimizer.rate_for_batch = 16
    with pytest.raises(ZooError, match="would count 512 images in a batch, but there are 72 train"):
        train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)
    tiny_config.optimizer.update(rate_for_batch=0, accumulate_steps=3)
    with pytest.raises(
        ZooError, match=r"accumulate_steps \(3\) is more than the 2 steps of the run"
    ):
        train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
