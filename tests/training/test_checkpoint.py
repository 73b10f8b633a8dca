"""Checkpoints: exact, bounded in number, and a damaged one is set aside."""

import dataclasses
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import absl.logging
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

import zoo.training.parameters
from zoo.configs import default
from zoo.models import ConvNet
from zoo.models.layers import BatchNorm, Conv, Flatten, Head
from zoo.system.errors import ZooError
from zoo.training.best import better_of, none_yet
from zoo.training.checkpoint import Checkpoints
from zoo.training.history import History
from zoo.training.snapshot import Snapshot
from zoo.training.step import Metrics, Progress, TrainState, create_train_state


def state_of(seed: int, features: int = 2) -> TrainState:
    model = ConvNet((Conv(features, 3), BatchNorm(), Flatten(), Head()), num_classes=3)
    state = create_train_state(model, optax.adam(1e-3), seed, (5, 5, 1))
    return state.replace(step=jnp.int32(seed))


def history_of(metrics: list[dict[str, float]]) -> History:
    """An epoch of one step for each of the metrics."""
    record = dict(loss=1.0, accuracy=0.5, learning_rate=0.1, seconds=1.0, images_per_second=9.0)
    return History(
        config=default.get_config().to_dict(),
        environment={},
        model={"name": "x", "num_params": 1},
        data={"num_train": 1, "num_val": 0, "num_test": 1, "num_classes": 3},
        epochs=[
            {**record, **each, "epoch": number, "step": number}
            for number, each in enumerate(metrics, start=1)
        ],
    )


def snapshot_of(seed: int, features: int = 2) -> Snapshot:
    return Snapshot(state_of(seed, features), history_of([]))


def metrics_of(accuracy: float, loss: float = 1.0) -> dict[str, float]:
    return {"val_accuracy": accuracy, "val_loss": loss}


def checkpoints_of(workdir: Path, **settings: Any) -> Checkpoints:
    workdir.mkdir(exist_ok=True)
    return Checkpoints(
        workdir, **{"keep_last": 2, "keep_best": 1, "best_metric": "val_accuracy"} | settings
    )


def names(workdir: Path) -> list[str]:
    return sorted(path.name for path in (workdir / "checkpoints").iterdir())


def save_all(
    workdir: Path, metrics: list[dict[str, float]], best_metric: str = "val_accuracy", **kept: Any
) -> list[str]:
    checkpoints = checkpoints_of(workdir, best_metric=best_metric, **kept)
    for step in range(1, len(metrics) + 1):
        checkpoints.save(Snapshot(state_of(step), history_of(metrics[:step])))
    return names(workdir)


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """A run's folder with checkpoints of the steps 1, 2 and 3."""
    assert save_all(tmp_path, 3 * [metrics_of(0.5)], keep_last=3) == ["1", "2", "3"]
    return tmp_path


def newest_step(workdir: Path) -> tuple[int | None, list[str]]:
    found, notes = checkpoints_of(workdir).newest(like=snapshot_of(0))
    return (None if found is None else int(found.state.step)), notes


def test_a_run_survives_bit_for_bit(tmp_path: Path) -> None:
    history = history_of([metrics_of(1 / 3)])
    sums = Metrics(jnp.float32(1e9 / 7), jnp.int32(2**31 - 1), jnp.int32(5))
    for progress in (None, Progress(sums, 1.25)):
        checkpoints_of(tmp_path).save(Snapshot(state_of(3), history, progress=progress))
        found, notes = checkpoints_of(tmp_path).newest(like=snapshot_of(0))
        assert found is not None
        assert isinstance(found.state, TrainState)
        jax.tree.map(np.testing.assert_array_equal, found.state, state_of(3))
        assert found.history == history
        assert notes == []
        (tmp_path / "checkpoints/3").rename(tmp_path / "away") if progress is None else None
    assert found is not None
    assert found.progress is not None
    assert found.progress.seconds == 1.25
    jax.tree.map(np.testing.assert_array_equal, found.progress.sums, sums)


SLOW = pytest.mark.slow
DIRECTORIES = (
    *("lr=[1e-3]", "[a]", "a]b[c", "[!x]", "{a,b}", "*", "?", "**", "back\\slash", "a%20b%2Fc"),
    *("a#b", "a&b=c;d", "~", "$HOME", "new\nline", "tab\there", "quote'\"", "Zähler 数字 🔢"),
    *("-x", "a:b|c"),
)


@pytest.mark.parametrize(
    "name",
    [
        name if number % 4 == 0 else pytest.param(name, marks=SLOW)
        for number, name in enumerate(DIRECTORIES)
    ],
)
def test_what_is_saved_in_a_directory_of_any_name_is_read_back(tmp_path: Path, name: str) -> None:
    """With the name in the path and at its end; the checkpoints before are deleted as ever."""
    (tmp_path / name).mkdir()
    workdir = tmp_path / name / name
    assert save_all(workdir, 2 * [metrics_of(0.5)], keep_last=1) == ["2"]
    assert newest_step(workdir) == (2, [])
    found = zoo.training.parameters.read(workdir)
    jax.tree.map(np.testing.assert_array_equal, found.variables["params"], state_of(2).params)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("lost", ["manifest.ocdbt", "d", "_METADATA"])
def test_a_save_that_does_not_read_back_deletes_nothing_and_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """Orbax returns from saving as ever, but a part of it is not there."""
    save = ocp.Checkpointer.save

    def save_in_part(self: ocp.Checkpointer, directory: Path, **arguments: Any) -> None:
        save(self, directory, **arguments)
        for path in [*directory.rglob(lost)]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    assert save_all(tmp_path, 2 * [metrics_of(0.5)]) == ["1", "2"]
    monkeypatch.setattr(ocp.Checkpointer, "save", save_in_part)
    with pytest.raises(ZooError, match=r"cannot save a checkpoint in .* \(what was written cannot"):
        checkpoints_of(tmp_path).save(snapshot_of(3))
    assert names(tmp_path) == ["1", "2"]
    assert newest_step(tmp_path) == (2, [])


def test_what_orbax_warns_of_is_a_warning_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = ocp.Checkpointer.save

    def save_and_warn(self: ocp.Checkpointer, directory: Path, **arguments: Any) -> None:
        absl.logging.warning("the disk is\nslow")
        absl.logging.warning("the disk is slow")
        absl.logging.info("saved")
        save(self, directory, **arguments)

    monkeypatch.setattr(ocp.Checkpointer, "save", save_and_warn)
    with pytest.warns(UserWarning, match="disk") as warned:
        checkpoints_of(tmp_path).save(snapshot_of(1))
    assert [str(each.message) for each in warned] == ["Orbax: the disk is slow"]


def test_the_best_epoch_is_kept_beside_the_state(tmp_path: Path) -> None:
    history = history_of([metrics_of(0.5), metrics_of(0.4)])
    best = none_yet(state_of(1))
    for number, record in enumerate(history.epochs, start=1):
        best = better_of(best, state_of(number), record, "val_accuracy")
    checkpoints_of(tmp_path).save(Snapshot(state_of(2), history, best))
    like = snapshot_of(0)
    like = dataclasses.replace(like, best=none_yet(like.state))
    found, notes = checkpoints_of(tmp_path).newest(like)
    assert found is not None
    assert found.best is not None
    assert (int(found.best.epoch), notes) == (1, [])
    for part in ("params", "batch_stats"):
        expected = getattr(state_of(1), part)
        jax.tree.map(np.testing.assert_array_equal, getattr(found.best, part), expected)
        jax.tree.map(
            np.testing.assert_array_equal,
            zoo.training.parameters.read(tmp_path).variables[part],
            expected,
        )
    jax.tree.map(np.testing.assert_array_equal, found.state, state_of(2))
    assert zoo.training.parameters.read(tmp_path).best_epoch == 1


def test_the_last_and_the_best_are_kept(tmp_path: Path) -> None:
    metrics = [metrics_of(accuracy) for accuracy in (0.1, 0.9, 0.8, 0.3, 0.2)]
    assert save_all(tmp_path / "a", metrics, keep_last=1, keep_best=2) == ["2", "3", "5"]
    assert save_all(tmp_path / "b", metrics, keep_last=2, keep_best=0) == ["4", "5"]
    assert save_all(tmp_path / "c", metrics, keep_last=1, keep_best=9) == ["1", "2", "3", "4", "5"]


def test_the_best_loss_is_the_smallest(tmp_path: Path) -> None:
    metrics = [metrics_of(0.5, loss) for loss in (3.0, 1.0, 2.0, 4.0)]
    assert save_all(tmp_path, metrics, "val_loss", keep_last=1, keep_best=1) == ["2", "4"]


def test_one_within_an_epoch_goes_when_the_epoch_is_saved(tmp_path: Path) -> None:
    checkpoints = checkpoints_of(tmp_path, keep_last=1, keep_best=0)
    first, second = history_of([metrics_of(0.5)]), history_of(2 * [metrics_of(0.5)])
    progress = Progress(Metrics.zeros(), 1.0)
    checkpoints.save(Snapshot(state_of(1), first))
    checkpoints.save(
        Snapshot(state_of(2), first, progress=progress)
    )  # at the epoch's end, not validated
    assert names(tmp_path) == ["1", "2-partial"]
    found, _ = checkpoints.newest(like=snapshot_of(0))
    assert found is not None
    assert found.progress is not None
    checkpoints.save(Snapshot(state_of(2), second))
    assert names(tmp_path) == ["2"]


def test_sha256sum_knows_the_sums(three: Path) -> None:
    result = subprocess.run(
        ["sha256sum", "--check", "--strict", "sha256sums.txt"],
        cwd=three / "checkpoints/3",
        capture_output=True,
        text=True,
        check=True,
    )
    assert "run.json: OK" in result.stdout
    told = {line.rpartition(": ")[0] for line in result.stdout.splitlines()}
    files = {path for path in (three / "checkpoints/3").rglob("*") if path.is_file()}
    assert told == {str(path.relative_to(three / "checkpoints/3")) for path in files} - {
        "sha256sums.txt"
    }


def each_file(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content) or b"x")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] or b"x"),
    "emptied": lambda path: path.write_bytes(b"" if path.stat().st_size else b"x"),
    "flipped byte": flip,
    "deleted": Path.unlink,
    "made a link": lambda path: (path.unlink(), path.symlink_to("/etc/passwd")),
    "made a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize(
    "damage",
    [
        damage if damage in ("flipped byte", "deleted") else pytest.param(damage, marks=SLOW)
        for damage in DAMAGE
    ],
)
def test_damage_to_any_file_of_the_newest_gives_the_one_before(three: Path, damage: str) -> None:
    whole = three / "checkpoints/3"
    kept = three / "kept"
    whole.rename(kept)
    count = len(each_file(kept))
    assert count > 8
    for index in range(count):
        subprocess.run(["cp", "-r", kept, whole], check=True)
        DAMAGE[damage](each_file(whole)[index])
        after = [path.read_bytes() for path in each_file(whole)]
        step, notes = newest_step(three)
        assert step == 2
        assert len(notes) == 1
        assert f"the checkpoint {whole} is damaged (" in notes[0]
        assert notes[0].endswith("; it is kept as damaged-3")
        assert [path.read_bytes() for path in each_file(three / "checkpoints/damaged-3")] == after
        subprocess.run(["rm", "-r", three / "checkpoints/damaged-3"], check=True)


def test_half_deleted_ones_are_passed_over_down_to_the_last_good_one(three: Path) -> None:
    for step in (3, 2):
        for path in each_file(three / f"checkpoints/{step}")[::2]:
            path.unlink()
    step, notes = newest_step(three)
    assert (step, len(notes)) == (1, 2)
    assert names(three) == ["1", "damaged-2", "damaged-3"]


def test_what_was_set_aside_before_is_kept(three: Path) -> None:
    for _ in range(2):
        (three / "checkpoints/9").mkdir()
        newest_step(three)
    assert names(three) == ["2", "3", "damaged-9", "damaged-9-2"]


def test_no_good_one_is_none(three: Path) -> None:
    for step in (1, 2, 3):
        flip(three / f"checkpoints/{step}/run.json")
    assert newest_step(three)[0] is None


def test_what_a_killed_process_left_is_cleared(three: Path) -> None:
    for name in (".saving-4", ".deleted-1"):
        (three / "checkpoints" / name / "state").mkdir(parents=True)
    checkpoints_of(three)
    assert names(three) == ["1", "2", "3"]


def rewrite(checkpoint: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes run.json, sums included, as somebody who means to would."""
    path = checkpoint / "run.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    (checkpoint / "sha256sums.txt").write_text(
        "".join(
            f"{hashlib.sha256(each.read_bytes()).hexdigest()}  {each.relative_to(checkpoint)}\n"
            for each in each_file(checkpoint)
            if each.name != "sha256sums.txt"
        )
    )


def test_one_of_a_newer_version_is_refused_and_left(three: Path) -> None:
    rewrite(three / "checkpoints/3", lambda content: content.update(format=4))
    with pytest.raises(
        ZooError, match=r"is of format 4, .* reads the formats 2 and 3 .* use the version"
    ):
        newest_step(three)
    rewrite(three / "checkpoints/3", lambda content: content.update(format=3))
    rewrite(three / "checkpoints/3", lambda content: content["history"].update(format=9))
    with pytest.raises(ZooError, match=r"is of format 9, .* reads format 2 of histories"):
        newest_step(three)
    assert names(three) == ["1", "2", "3"]


def test_one_of_the_first_version_is_refused_for_training_and_read_for_its_net(
    three: Path,
) -> None:
    """Format 1: Orbax's folders state, config and metrics, without sums."""
    old = three / "checkpoints/3"
    for name in ("run.json", "sha256sums.txt"):
        (old / name).unlink()
    (old / "metrics").mkdir()
    (old / "metrics/metrics").write_text(json.dumps(metrics_of(0.5)))
    with pytest.raises(ZooError, match=r"written by an earlier version of the zoo"):
        newest_step(three)
    found = zoo.training.parameters.read(three)
    assert (found.step, found.best_epoch, found.notes) == (3, None, [])
    jax.tree.map(np.testing.assert_array_equal, found.variables["params"], state_of(3).params)


def test_one_of_another_net_is_refused(three: Path) -> None:
    with pytest.raises(ZooError, match=r"is whole but cannot be read here"):
        checkpoints_of(three).newest(like=snapshot_of(0, features=3))


def test_the_net_of_the_newest_good_one_is_read(three: Path) -> None:
    flip(each_file(three / "checkpoints/3/state")[-1])
    before = names(three)
    found = zoo.training.parameters.read(three)
    assert found.step == 2
    assert len(found.notes) == 1
    jax.tree.map(np.testing.assert_array_equal, found.variables["params"], state_of(2).params)
    assert names(three) == before, "reading changes nothing"
