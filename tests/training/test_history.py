"""History files: always whole, and a damaged one is a sentence."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest

import zoo.training.history
from zoo.configs import default
from zoo.system.errors import ZooError
from zoo.training.history import History


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
    config = default.get_config()
    config.update(model="vgg5", validation="holdout", num_epochs=max(1, num_epochs), batch_size=10)
    data = {"num_train": 60, "num_val": 15, "num_test": 20, "num_classes": 10}
    return History(config.to_dict(), {"jax": "0"}, {"name": "vgg5", "num_params": 1}, data, epochs)


def test_a_history_survives_the_file(tmp_path: Path) -> None:
    history = history_of()
    history.write(tmp_path)
    assert zoo.training.history.read(tmp_path) == history
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
    assert len(zoo.training.history.read(tmp_path).epochs) == 1


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
    with pytest.raises(ZooError, match=r"history\.json is damaged: the command that"):
        zoo.training.history.read(tmp_path)


NO_NUMBERS = [None, True, "1", [], {}, -1, float("nan"), float("inf"), 10**400]
EDITS = [
    *(
        (("epochs", 1, key), value)
        for key in ("loss", "val_loss", "seconds")
        for value in NO_NUMBERS
    ),
    *((("test", "accuracy"), value) for value in (*NO_NUMBERS, 1.5)),
    *((("data", "num_classes"), value) for value in (*NO_NUMBERS, 0, 2.5)),
    *((("test", "num_examples"), value) for value in (*NO_NUMBERS, 0)),
    *((("config", "num_seeds"), value) for value in (*NO_NUMBERS, 0, 1.0, 2)),
    *((("config", "seed"), value) for value in (*NO_NUMBERS, 2.5, 10**19)),
    *((("config", "dtype"), value) for value in (*NO_NUMBERS, "int32", "float31")),
    *((("config", "data_dir"), value) for value in (None, 5, ["x"])),
    *((("data", "image_shape"), value) for value in (*NO_NUMBERS, "28x", [28, 28], [28, 28, 0])),
    *((("data", "image_shape"), [value] * 3) for value in (*NO_NUMBERS, 28.0, 10**5, 10**9)),
    (("epochs", 0, "epoch"), 2),
    (("epochs",), {}),
    (("environment",), []),
    *((("environment", "device"), value) for value in (None, 5, [], "\udc80")),
    *((("earlier_environments",), value) for value in ([1], [{"device": 5}])),
]


@pytest.mark.parametrize(("place", "value"), EDITS, ids=str)
def test_an_edited_history_is_one_sentence(tmp_path: Path, place: Any, value: Any) -> None:
    history = history_of()
    history.data["image_shape"] = [28, 28, 1]
    history.test = {"loss": 0.1, "accuracy": 0.9, "num_examples": 20, "epoch": 2}
    history.write(tmp_path)
    assert zoo.training.history.read(tmp_path) == history
    content = json.loads((tmp_path / "history.json").read_text())
    *outer, key = place
    part = content
    for name in outer:
        part = part[name]
    part[key] = value
    (tmp_path / "history.json").write_text(json.dumps(content))
    with pytest.raises(ZooError, match=r"history\.json is damaged: the command that"):
        zoo.training.history.read(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "history.json")
    with pytest.raises(ZooError, match="it is not a file"):
        zoo.training.history.read(tmp_path)


def test_a_history_of_another_format_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "history.json").write_text(json.dumps({"format": 1}))
    with pytest.raises(
        ZooError, match=r"is of format 1, and this version of the zoo reads format 2"
    ):
        zoo.training.history.read(tmp_path)


def test_no_history_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="does not exist: name the directory of a run"):
        zoo.training.history.read(tmp_path)


def test_environment_names_versions_and_device() -> None:
    environment = zoo.training.history.environment()
    assert environment["zoo"] == zoo.__version__
    assert environment["device_count"] >= 1
    json.dumps(environment, allow_nan=False)
