"""Going on: from within an epoch, after damage, elsewhere; always the run that never stopped."""

import dataclasses
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from conftest import ROOT, write_idx_dataset
from ml_collections import ConfigDict
from test_checkpoint import each_file, flip, rewrite
from test_training import files_of, last_state, untimed

import zoo.training.history
from zoo.configs import default
from zoo.system.errors import StoppedError, ZooError
from zoo.training import programs, train_and_evaluate


def stop_at(number: int) -> Callable[[], bool]:
    """Says True from the number-th time on that it is asked, counting from 0."""
    asked = itertools.count()
    return lambda: next(asked) >= number


def assert_same_run(config: ConfigDict, a: Path, b: Path) -> None:
    """Histories, parameters, statistics, optimizer: bit for bit."""
    one, other = zoo.training.history.read(a), zoo.training.history.read(b)
    assert untimed(one) == untimed(other)
    assert one.test == other.test
    states = [last_state(config, workdir) for workdir in (a, b)]
    jax.tree.map(np.testing.assert_array_equal, *states)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for the whole module, with a data set in its folder idx."""
    folder = tmp_path_factory.mktemp("resume")
    write_idx_dataset(folder / "idx", num_train=72, num_test=20)
    return folder


@pytest.fixture
def config(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ConfigDict:
    """Dropout, accumulation over the epoch's end, a schedule; a batch a piece."""
    monkeypatch.setattr(programs, "SECONDS_PER_PIECE", 0.0)
    config = default.get_config()
    config.update(dataset="idx", manual_dir=str(folder / "idx"), validation="holdout")
    config.update(num_epochs=2, batch_size=20)  # 57 images: 3 batches an epoch
    config.optimizer.update(accumulate_steps=2, schedule="cosine", warmup_epochs=1.0)
    return config


@pytest.fixture
def whole(config: ConfigDict, folder: Path) -> Path:
    """The folder of the run that was never stopped."""
    workdir = folder / "whole"
    if not workdir.exists():
        train_and_evaluate(config, workdir, quiet=True)
    return workdir


@pytest.mark.slow
def test_a_run_stopped_after_any_piece_goes_on_bit_for_bit(
    config: ConfigDict, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In training, in validation, between epochs, in the test."""
    places = []
    for number in itertools.count():
        workdir = tmp_path / f"stopped-{number}"
        try:
            train_and_evaluate(config, workdir, quiet=True, should_stop=stop_at(number))
            break
        except StoppedError as error:
            places.append(str(error).partition(",")[0].removeprefix("stopped "))
        train_and_evaluate(config, workdir)
        assert f"going on {places[-1]}" in capsys.readouterr().out
        assert_same_run(config, workdir, whole)
        assert not list(workdir.glob("checkpoints/*-partial"))
    batches = [f"after batch {number} of 3 of epoch" for number in (1, 2)]
    assert places == [
        *(f"{text} 1" for text in batches),
        *2 * ["in the validation of epoch 1"],
        "after epoch 1 of 2",
        *(f"{text} 2" for text in batches),
        *2 * ["in the validation of epoch 2"],
        *2 * ["after epoch 2 of 2"],  # and in the test
    ]


def test_a_checkpoint_is_made_within_an_epoch_after_so_many_minutes(
    config: ConfigDict, whole: Path, tmp_path: Path
) -> None:
    workdir = tmp_path / "run"
    seen = []

    def look() -> bool:
        seen.append({path.name for path in workdir.glob("checkpoints/*")})
        return False

    config.checkpoint.every_minutes = 1e-9
    train_and_evaluate(config, workdir, quiet=True, should_stop=look)
    assert {"1-partial", "2-partial", "4-partial"} <= set.union(*seen)
    assert_same_run(config, workdir, whole)
    assert {path.name for path in workdir.glob("checkpoints/*")} == {
        path.name for path in whole.glob("checkpoints/*")
    }


@pytest.mark.slow
def test_a_clock_that_goes_backwards_changes_nothing(
    config: ConfigDict, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    backwards = itertools.count()
    monkeypatch.setattr(time, "time", lambda: now - 3600 * next(backwards))
    with pytest.raises(StoppedError):
        train_and_evaluate(config, tmp_path / "run", quiet=True, should_stop=stop_at(4))
    train_and_evaluate(config, tmp_path / "run", quiet=True)
    assert_same_run(config, tmp_path / "run", whole)
    assert next(backwards), "nobody asked for the time"


@pytest.fixture
def stopped(config: ConfigDict, folder: Path, tmp_path: Path) -> Path:
    """A copy of a run stopped in its second epoch: checkpoints 3 and 4-partial."""
    if not (folder / "stopped").exists():
        with pytest.raises(StoppedError, match="after batch 1 of 3 of epoch 2"):
            train_and_evaluate(config, folder / "stopped", quiet=True, should_stop=stop_at(5))
    names = {path.name for path in (folder / "stopped/checkpoints").iterdir()}
    assert names == {"3", "4-partial"}
    return Path(shutil.copytree(folder / "stopped", tmp_path / "run"))


@pytest.mark.parametrize("damaged", [["4-partial"], ["4-partial", "3"]], ids=str)
def test_after_damage_the_run_goes_on_from_the_newest_good_checkpoint(
    config: ConfigDict,
    whole: Path,
    stopped: Path,
    damaged: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in damaged:
        flip(max(each_file(stopped / "checkpoints" / name), key=lambda path: path.stat().st_size))
    capsys.readouterr()
    train_and_evaluate(config, stopped, quiet=True)
    error = capsys.readouterr().err
    for name in damaged:
        assert f"note: the checkpoint {stopped / 'checkpoints' / name} is damaged (" in error
        assert f"; it is kept as damaged-{name}" in error
        assert (stopped / "checkpoints" / f"damaged-{name}").is_dir()
    assert ("so the run starts from its beginning" in error) == (len(damaged) == 2)
    assert_same_run(config, stopped, whole)


@pytest.mark.parametrize("content", ["", "{", "null", "[" * 100_000, "cut", "missing", "flipped"])
def test_a_damaged_history_is_made_again_from_the_checkpoint(
    config: ConfigDict,
    whole: Path,
    stopped: Path,
    content: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = stopped / "history.json"
    before = path.read_text()
    if content == "missing":
        path.unlink()
    else:
        other = {"cut": before[: len(before) // 2], "flipped": before.replace("epochs", "epocis")}
        path.write_text(other.get(content, content))
    left = path.read_text() if path.exists() else None
    capsys.readouterr()
    train_and_evaluate(config, stopped, quiet=True)
    error = capsys.readouterr().err
    if left is not None:
        assert error == f"note: {path} is damaged; it is kept as damaged-history.json\n"
        assert (stopped / "damaged-history.json").read_text() == left
    assert_same_run(config, stopped, whole)


def test_a_damaged_history_of_a_complete_run_is_made_again(
    config: ConfigDict, whole: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run/history.json").write_text("{")
    train_and_evaluate(config, tmp_path / "run", quiet=True)
    assert_same_run(config, tmp_path / "run", whole)


def test_everything_damaged_starts_again_and_keeps_what_was_there(
    config: ConfigDict, whole: Path, stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in each_file(stopped):
        flip(path)
    (stopped / "history.json").write_text("{")
    train_and_evaluate(config, stopped, quiet=True)
    assert "no good checkpoint, so the run starts from" in capsys.readouterr().err
    assert_same_run(config, stopped, whole)
    kept = {path.name for path in stopped.rglob("damaged-*")}
    assert kept == {"damaged-history.json", "damaged-3", "damaged-4-partial"}


def test_another_configuration_is_refused_also_where_the_history_is_damaged(
    config: ConfigDict, stopped: Path
) -> None:
    (stopped / "history.json").unlink()
    before = files_of(stopped / "checkpoints")
    config.update(batch_size=10, seed=3)
    with pytest.raises(
        ZooError, match=r"batch_size \(20 there, 10 here\), seed \(0 there, 3 here\)"
    ):
        train_and_evaluate(config, stopped, quiet=True)
    assert files_of(stopped / "checkpoints") == before


def test_a_history_of_a_newer_version_is_refused_and_left(
    config: ConfigDict, stopped: Path
) -> None:
    path = stopped / "history.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 3}))
    before = files_of(stopped)
    with pytest.raises(ZooError, match=r"is of format 3, and this version of the zoo reads"):
        train_and_evaluate(config, stopped, quiet=True)
    assert files_of(stopped) == before


def test_a_checkpoint_of_a_newer_version_is_refused_and_left(
    config: ConfigDict, stopped: Path
) -> None:
    rewrite(stopped / "checkpoints/4-partial", lambda content: content.update(format=4))
    before = files_of(stopped)
    with pytest.raises(ZooError, match=r"is of format 4, .* use the version that wrote it"):
        train_and_evaluate(config, stopped, quiet=True)
    assert files_of(stopped) == before


def test_a_run_of_the_first_version_goes_on_only_there(config: ConfigDict, stopped: Path) -> None:
    old = stopped / "checkpoints/4-partial"
    (old / "run.json").unlink()
    (old / "sha256sums.txt").unlink()
    (old / "metrics").mkdir()
    (old / "metrics/metrics").write_text("{}")
    with pytest.raises(ZooError, match=r"was written by an earlier version of the zoo"):
        train_and_evaluate(config, stopped, quiet=True)


def test_a_run_whose_configuration_lacks_later_keys_goes_on(
    config: ConfigDict, whole: Path, stopped: Path
) -> None:
    """As one of an older version, before on_nan, deterministic, every_minutes, tensorboard."""

    def make_older(content: dict[str, Any]) -> None:
        old = content["history"]["config"]
        for key in ("on_nan", "deterministic", "tensorboard"):
            del old[key]
        del old["checkpoint"]["every_minutes"]

    for name in ("3", "4-partial"):
        rewrite(stopped / "checkpoints" / name, make_older)
    (stopped / "history.json").unlink()
    train_and_evaluate(config, stopped, quiet=True)
    assert_same_run(config, stopped, whole)


def test_a_checkpoint_of_another_run_is_refused(config: ConfigDict, stopped: Path) -> None:
    rewrite(
        stopped / "checkpoints/4-partial",
        lambda content: content["history"].update(epochs=[]),
    )
    with pytest.raises(ZooError, match="is of another run than its history"):
        train_and_evaluate(config, stopped, quiet=True)


def test_going_on_in_another_environment_is_said_and_kept(
    config: ConfigDict, stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("3", "4-partial"):
        rewrite(
            stopped / "checkpoints" / name,
            lambda content: content["history"]["environment"].update(jax="0.0.1"),
        )
    capsys.readouterr()
    history = train_and_evaluate(config, stopped)
    error = capsys.readouterr().err
    assert error == "note: not as before: jax; the numbers may differ in a last bit\n"
    assert [(old["jax"], old["until_epoch"]) for old in history.earlier_environments] == [
        ("0.0.1", 1)
    ]
    assert zoo.training.history.read(stopped) == history


@pytest.mark.slow
def test_a_run_goes_on_on_another_number_of_devices(
    tiny_config: ConfigDict, idx_dir: Path, tmp_path: Path
) -> None:
    """Begun on one device, ended where JAX sees two: said, and equal to a tolerance."""
    command = [
        *(sys.executable, "train.py", "--config=configs/default.py"),
        *("--config.dataset=idx", f"--config.manual_dir={idx_dir}", "--config.validation=test"),
        "--config.batch_size=16",
    ]
    tiny_config.num_epochs = 2
    whole = train_and_evaluate(tiny_config, tmp_path / "whole", quiet=True)
    tiny_config.num_epochs = 1
    train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)
    result = subprocess.run(
        [*command, "--config.num_epochs=2", f"--workdir={tmp_path / 'run'}"],
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "note: not as before: device_count, mesh; the numbers may differ" in result.stderr
    parts = zoo.training.history.read(tmp_path / "run")
    assert parts.environment["device_count"] == 2
    for one, other in zip(untimed(parts), untimed(whole), strict=True):
        assert one == pytest.approx(other, rel=1e-4)


def test_a_clean_history_is_what_a_checkpoint_holds(config: ConfigDict, whole: Path) -> None:
    content = json.loads((whole / "checkpoints/6/run.json").read_text())
    history = zoo.training.history.read(whole)
    assert content["history"] == {**history.to_content(), "test": None}
    assert dataclasses.asdict(history)["test"] is not None
