"""Scores of a trained net, compared with manual results and with those of its run."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ml_collections import ConfigDict

import zoo.analysis.trained
import zoo.system.waiting
from zoo.analysis.evaluation import calibration_bins, evaluate, to_json, to_text, wilson
from zoo.configs import default
from zoo.system.errors import ZooError
from zoo.training import train_and_evaluate
from zoo.training.history import History

Zoo = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def finished(idx_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, History]:
    """A run of two seeds that selected its best epochs."""
    config = default.get_config()
    config.update(dataset="idx", manual_dir=str(idx_dir), batch_size=16)
    config.update(num_seeds=2, validation="holdout", num_epochs=3)
    config.optimizer.learning_rate = 0.01
    workdir = tmp_path_factory.mktemp("finished") / "run"
    return workdir, train_and_evaluate(config, workdir, quiet=True)


@pytest.fixture
def run(finished: tuple[Path, History], tmp_path: Path) -> tuple[Path, History]:
    """A copy of it that a test may damage."""
    return Path(shutil.copytree(finished[0], tmp_path / "run")), finished[1]


def test_wilson_against_a_published_table() -> None:
    """Newcombe 1998, table I: 81 of 263 and 0 of 20."""
    assert (wilson(81, 263).low, wilson(81, 263).high) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert (wilson(0, 20).low, wilson(0, 20).high) == pytest.approx((0, 0.1611), abs=1e-4)
    assert wilson(0, 0).high == 1


@given(st.integers(0, 500), st.integers(0, 500))
def test_wilson_contains_the_fraction(first: int, second: int) -> None:
    right, count = min(first, second), max(first, second, 1)
    found = wilson(right, count)
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1


def test_scores_by_hand() -> None:
    """Labels 0 0 1 2, predicted 0 1 1 1, each with probability 0.8."""
    labels, predicted = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 1])
    logits = np.log(np.where(np.arange(3) == predicted[:, None], 0.8, 0.1)) + 7
    found = evaluate(logits, labels)
    assert found.accuracy.value == 0.5
    assert found.loss.value == pytest.approx(-(2 * np.log(0.8) + 2 * np.log(0.1)) / 4)
    assert found.calibration_error == pytest.approx(0.3)
    assert [score.precision for score in found.classes] == pytest.approx([1, 1 / 3, 0])
    assert [score.recall.value for score in found.classes] == [0.5, 1, 0]
    assert [score.f1 for score in found.classes] == pytest.approx([2 / 3, 0.5, 0])
    assert [(c.label, c.predicted, c.count) for c in found.confusions] == [(0, 1, 1), (2, 1, 1)]
    assert json.loads(to_json(found))["num_images"] == 4
    assert "0 taken for 1: 1 of 2" in to_text(found)


def test_a_class_without_images_or_predictions_is_not_listed() -> None:
    """Labels from 1: no image is of class 0; class 3 has none either, but is predicted."""
    labels, predicted = np.array([1, 2, 2]), np.array([1, 2, 3])
    found = evaluate(np.log(np.where(np.arange(5) == predicted[:, None], 0.8, 0.05)), labels)
    assert [(score.label, score.num_images) for score in found.classes] == [(1, 1), (2, 2), (3, 0)]
    assert "2 taken for 3: 1 of 2" in to_text(found)


def test_bins_of_confidence_include_their_upper_end() -> None:
    counts, sums, rights = calibration_bins(np.array([0.2, 0.21, 1.0]), np.array([1, 0, 1]))
    assert counts.tolist() == [0, 0, 1, 1] + [0] * 10 + [1]  # 0.2 = 3/15 belongs to the third
    assert rights.tolist() == [0, 0, 1, 0] + [0] * 10 + [1]
    assert sums[3] == 0.21


def test_logits_of_any_size_can_be_scored() -> None:
    """A single image; all correct; logits that overflow float32's exponential."""
    found = evaluate(np.array([[1000.0, -1000.0]]), np.array([0]))
    assert found.accuracy.value == 1
    assert found.loss.value == 0
    assert found.confusions == ()
    assert json.loads(to_json(found))["loss"] == {"value": 0.0, "low": None, "high": None}
    assert "most often confused" not in to_text(found)


def test_answers_that_are_not_finite_are_one_sentence(run: tuple[Path, History]) -> None:
    """Weights may be finite, and their products may not."""
    net = zoo.analysis.trained.load(run[0])
    huge = jax.tree.map(lambda leaf: leaf * np.float32(1e25), net.variables)
    with pytest.raises(ZooError, match=r"are not finite numbers, .*: train it again"):
        dataclasses.replace(net, variables=huge).probabilities(net.split("test").images)


@pytest.mark.parametrize("index", [0, 1])
def test_scores_of_a_trained_net_equal_those_of_its_run(
    run: tuple[Path, History], index: int
) -> None:
    workdir, history = run
    net = zoo.analysis.trained.load(workdir, seed=index)
    test = net.split("test")
    found = evaluate(net.logits(test.images), test.labels)
    assert history.test is not None
    assert net.epoch == history.test["epoch"][index]
    assert found.accuracy.value == history.test["accuracy"][index]
    assert found.loss.value == pytest.approx(history.test["loss"][index], rel=1e-5)
    assert [len(net.split(name)) for name in ("train", "validation", "test")] == [57, 15, 20]
    np.testing.assert_allclose(net.probabilities(test.images).sum(axis=1), 1, rtol=1e-6)


def test_a_net_is_computed_in_the_dtype_of_its_run(tiny_config: ConfigDict, tmp_path: Path) -> None:
    tiny_config.update(dtype="bfloat16", num_epochs=1)
    history = train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)
    net = zoo.analysis.trained.load(tmp_path / "run")
    assert net.model.dtype == "bfloat16"
    test = net.split("test")
    assert history.test is not None
    found = evaluate(net.logits(test.images), test.labels)
    assert found.loss.value == pytest.approx(history.test["loss"], rel=1e-5)


def test_reading_a_run_changes_nothing_in_it(run: tuple[Path, History]) -> None:
    def files() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in run[0].rglob("*")}

    before = files()
    (run[0] / "checkpoints" / "12.orbax-checkpoint-tmp-0").mkdir()  # as of a run in progress
    zoo.analysis.trained.load(run[0])
    (run[0] / "checkpoints" / "12.orbax-checkpoint-tmp-0").rmdir()
    assert files() | {run[0] / "checkpoints": 0} == before | {run[0] / "checkpoints": 0}


def test_what_cannot_be_scored_is_one_sentence(run: tuple[Path, History], tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="has no seed 2, only seeds 0 to 1"):
        zoo.analysis.trained.load(run[0], seed=2)
    with pytest.raises(ZooError, match=r"history.json does not exist: name the directory of a run"):
        zoo.analysis.trained.load(tmp_path)
    net = zoo.analysis.trained.load(run[0])
    with pytest.raises(ZooError, match="unknown dataset 'nope'"):
        net.split("test", "nope")
    history = json.loads((run[0] / "history.json").read_text())
    history["config"]["model"] = "vgg6"
    (run[0] / "history.json").write_text(json.dumps(history))
    with pytest.raises(ZooError, match="unknown net 'vgg6'"):
        zoo.analysis.trained.load(run[0])
    history["config"].update(model="pooling_cnn3", dataset="digits")
    (run[0] / "history.json").write_text(json.dumps(history))
    with pytest.raises(ZooError, match="was not trained on idx, so its IDX files are not known"):
        zoo.analysis.trained.load(run[0]).split("test", "idx")
    (run[0] / "checkpoints").rename(run[0] / "elsewhere")
    with pytest.raises(ZooError, match="holds no checkpoints"):
        zoo.analysis.trained.load(run[0])
    (run[0] / "checkpoints").mkdir()
    with pytest.raises(ZooError, match="holds no checkpoint: wait for its first epoch"):
        zoo.analysis.trained.load(run[0])


@pytest.mark.parametrize(
    ("part", "key", "value", "sentence"),
    [
        ("config", "model", "lenet3", "does not match the net and the seeds in its history"),
        ("data", "num_classes", 9, "does not match the net and the seeds in its history"),
        ("data", "image_shape", [28, 28, 3], "does not match the net and the seeds in its history"),
        ("data", "image_shape", [5, 5, 1], "a 5x5 image is too small"),
    ],
)
def test_a_history_of_another_run_is_one_sentence(
    run: tuple[Path, History], part: str, key: str, value: Any, sentence: str
) -> None:
    history = zoo.training.history.read(run[0])
    getattr(history, part)[key] = value
    history.write(run[0])
    with pytest.raises(ZooError, match=sentence):
        zoo.analysis.trained.load(run[0])


@pytest.mark.parametrize(("num_seeds", "seed"), [(1, None), (1, 0), (3, None), (3, 2), (9, 8)])
def test_a_history_edited_to_other_seeds_is_one_sentence(
    run: tuple[Path, History], run_zoo: Zoo, num_seeds: int, seed: int | None
) -> None:
    def edited(values: dict[str, Any]) -> dict[str, Any]:
        """With the numbers of the first seed for each."""
        return {
            key: ([value[0]] * num_seeds if num_seeds > 1 else value[0])
            if isinstance(value, list)
            else value
            for key, value in values.items()
        }

    history = zoo.training.history.read(run[0])
    history.config["num_seeds"] = num_seeds
    history.epochs = [edited(record) for record in history.epochs]
    assert history.test is not None
    history.test = edited(history.test)
    history.write(run[0])
    chosen = [] if seed is None else [f"--seed={seed}"]
    status, output, error = run_zoo("evaluate", run[0], *chosen)
    assert (status, output, error.count("\n")) == (2, "", 1)
    assert "does not match the net and the seeds in its history" in error


def test_the_command(
    run: tuple[Path, History], run_zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, said, error = run_zoo("evaluate", run[0], "--split=train")
    assert (status, error) == (0, "")
    monkeypatch.setattr(zoo.system.waiting, "SILENT_SECONDS", 0.0)
    assert run_zoo("evaluate", run[0])[2] == "evaluating …\n"
    assert "on the train split of idx (57 images)" in said.splitlines()[0]
    assert json.loads(run_zoo("evaluate", run[0], "--json", "--seed=1")[1])["num_images"] == 20
    status, _, error = run_zoo("evaluate", run[0] / "nothing")
    assert status == 2
    assert len(error.splitlines()) == 1
