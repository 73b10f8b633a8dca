"""History files: always whole, and a damaged one is a sentence."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest

import zoo.history
from zoo.errors import ZooError
from zoo.history import History


def history_of(num_epochs: int = 2) -> History:
    epochs = [
        {
            "epoch": epoch,
            "step": 10 * epoch,
            "loss": 1 / epoch,
            "accuracy": 1 - 0.5 / epoch,
            "val_loss": 1.1 / epoch,
            "val_accuracy": 1 - 0.6 / epoch,
            "learning_rate": 1e-3,
            "seconds": 2.0,
            "images_per_second": 30.0,
        }
        for epoch in range(1, num_epochs + 1)
    ]
    config = {
        "model": "vgg5",
        "dataset": "digits",
        "validation": "holdout",
        "num_epochs": num_epochs,
        "batch_size": 10,
        "seed": 0,
        "num_seeds": 1,
    }
    data = {"num_train": 60, "num_val": 15, "num_test": 20, "num_classes": 10}
    return History(config, {"jax": "0"}, {"name": "vgg5", "num_params": 1}, data, epochs)


def test_a_history_survives_the_file(tmp_path: Path) -> None:
    history = history_of()
    history.write(tmp_path)
    assert zoo.history.read(tmp_path) == history
    assert [path.name for path in tmp_path.iterdir()] == ["history.json"]


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history_of(1).write(tmp_path)

    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        history_of(2).write(tmp_path)
    assert len(zoo.history.read(tmp_path).epochs) == 1


def test_numbers_that_json_does_not_know_are_never_written(tmp_path: Path) -> None:
    history = history_of()
    history.epochs[0]["loss"] = float("nan")
    with pytest.raises(ValueError, match="not JSON compliant"):
        history.write(tmp_path)
    assert not (tmp_path / "history.json").exists()


def test_complete_means_all_epochs_and_the_test_set() -> None:
    history = history_of(2)
    assert not history.is_complete
    history = dataclasses.replace(history, test={"accuracy": 1.0})
    assert history.is_complete
    history.config["num_epochs"] = 3
    assert not history.is_complete


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "3",
        "\0",
        '{"format": 2}',
        '{"epochs": []}',
        '{"format": 2, "config": 3, "environment": {}, "model": {}, "data": {}}',
        '{"format": 2, "config": {}, "environment": {}, "model": {}, "data": {}, "epochs": []}',
        '{"format": 2, "config": {"num_epochs": 1, "num_seeds": 1}, "environment": {}, "model": {},'
        ' "data": {}, "epochs": [{}]}',
        "[" * 100_000,
    ],
    ids=range(11),
)
def test_a_damaged_history_is_one_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "history.json").write_text(content)
    with pytest.raises(ZooError, match=r"history\.json is damaged: move it away"):
        zoo.history.read(tmp_path)


def test_a_history_of_another_format_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "history.json").write_text(json.dumps({"format": 1}))
    with pytest.raises(ZooError, match=r"is of another format"):
        zoo.history.read(tmp_path)


def test_no_history_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match=r"history\.json does not exist: name the folder of a run"):
        zoo.history.read(tmp_path)


def test_environment_names_versions_and_device() -> None:
    environment = zoo.history.environment()
    assert environment["zoo"] == zoo.__version__
    assert environment["device_count"] >= 1
    json.dumps(environment, allow_nan=False)
