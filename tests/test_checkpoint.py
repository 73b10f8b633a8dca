"""Checkpoints: exact, bounded in number, and a damaged one is a sentence."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from zoo.checkpoint import Checkpoints
from zoo.errors import ZooError
from zoo.models import ConvNet
from zoo.models.layers import BatchNorm, Conv, Flatten, Head
from zoo.steps import TrainState, create_train_state


def state_of(seed: int, features: int = 2) -> TrainState:
    model = ConvNet((Conv(features, 3), BatchNorm(), Flatten(), Head()), num_classes=3)
    return create_train_state(model, optax.adam(1e-3), seed, (5, 5, 1))


def metrics_of(accuracy: float, loss: float = 1.0) -> dict[str, float]:
    return {"val_accuracy": accuracy, "val_loss": loss}


def save_all(
    workdir: Path, metrics: list[dict[str, float]], best_metric: str, **kept: Any
) -> list[int]:
    with Checkpoints(workdir, best_metric=best_metric, **kept) as checkpoints:
        for step, values in enumerate(metrics, start=1):
            checkpoints.save(step, state_of(step), values, {"model": "x"})
        return checkpoints.steps()


def test_a_state_survives_bit_for_bit(tmp_path: Path) -> None:
    state = state_of(3).replace(step=jnp.int32(7))
    with Checkpoints(tmp_path, 1, 1, "val_accuracy") as checkpoints:
        checkpoints.save(7, state, metrics_of(0.5), {"model": "x"})
    with Checkpoints(tmp_path, 1, 1, "val_accuracy") as checkpoints:
        restored = checkpoints.restore(7, like=state_of(0))
    assert isinstance(restored, TrainState)
    jax.tree.map(np.testing.assert_array_equal, restored, state)


def test_the_last_and_the_best_are_kept(tmp_path: Path) -> None:
    metrics = [metrics_of(accuracy) for accuracy in (0.1, 0.9, 0.8, 0.3, 0.2)]
    assert save_all(tmp_path / "a", metrics, "val_accuracy", keep_last=1, keep_best=2) == [2, 3, 5]
    assert save_all(tmp_path / "b", metrics, "val_accuracy", keep_last=2, keep_best=0) == [4, 5]


def test_the_best_loss_is_the_smallest(tmp_path: Path) -> None:
    metrics = [metrics_of(0.5, loss) for loss in (3.0, 1.0, 2.0, 4.0)]
    assert save_all(tmp_path, metrics, "val_loss", keep_last=1, keep_best=1) == [2, 4]


def test_the_best_are_known_after_a_restart(tmp_path: Path) -> None:
    save_all(tmp_path, [metrics_of(0.9), metrics_of(0.1)], "val_accuracy", keep_last=1, keep_best=1)
    with Checkpoints(tmp_path, 1, 1, "val_accuracy") as checkpoints:
        assert checkpoints.steps() == [1, 2]
        checkpoints.save(3, state_of(3), metrics_of(0.2), {})
        assert checkpoints.steps() == [1, 3]


def test_metrics_and_config_are_readable_beside_the_state(tmp_path: Path) -> None:
    save_all(tmp_path, [metrics_of(0.25)], "val_accuracy", keep_last=1, keep_best=1)
    folder = tmp_path / "checkpoints/1"
    assert json.loads((folder / "metrics/metrics").read_text()) == metrics_of(0.25)
    assert json.loads((folder / "config/metadata").read_text()) == {"model": "x"}


def test_cut_metrics_are_one_sentence(tmp_path: Path) -> None:
    save_all(tmp_path, [metrics_of(0.5)], "val_accuracy", keep_last=1, keep_best=1)
    (tmp_path / "checkpoints/1/metrics/metrics").write_text("")
    with pytest.raises(ZooError, match=r"checkpoint in .* is damaged .* move the damaged one away"):
        Checkpoints(tmp_path, 1, 1, "val_accuracy")


def test_a_cut_state_is_one_sentence(tmp_path: Path) -> None:
    save_all(tmp_path, [metrics_of(0.5)], "val_accuracy", keep_last=1, keep_best=1)
    for path in (tmp_path / "checkpoints/1/state").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with (
        Checkpoints(tmp_path, 1, 1, "val_accuracy") as checkpoints,
        pytest.raises(
            ZooError, match=r"checkpoints/1 cannot be read .* goes on from its beginning"
        ),
    ):
        checkpoints.restore(1, like=state_of(0))
