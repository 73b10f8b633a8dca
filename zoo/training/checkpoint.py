"""Checkpoints of a run, in the directory `checkpoints` of its workdir.

A checkpoint is a directory with the number of its step::

    state/          the train state, as Orbax writes it
    best/           of a run that chooses an epoch: the parameters of the best one so far
    run.json        {"format": 3, "step", "history": as history.json, "progress": null}
    sha256sums.txt  of each of these files; `sha256sum --check sha256sums.txt` tests them, too

One that was made within an epoch is called STEP-partial, and its "progress" holds the epoch's sums.
It is deleted once the epoch's own checkpoint is there. Format 2, which is read too, held the best
epoch within the state.

Everything is written into a directory with another name, which is then renamed; what is deleted is
renamed first. So a killed run leaves every checkpoint whole. If one is damaged nevertheless, it is
set aside as damaged-STEP, and the newest good one is taken.
"""

import contextlib
import dataclasses
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import zoo.training.history
from zoo.system import forms, sums
from zoo.system.errors import DamagedError, ZooError
from zoo.system.files import free_name, sync_folder
from zoo.system.memory import give_back
from zoo.training import arrays
from zoo.training.best import Best
from zoo.training.history import History
from zoo.training.step import Metrics, Progress, TrainState, num_steps

_FORMAT = 3
_FORMATS_READ = (2, 3)
_RUN = "run.json"
_NAME = re.compile(r"(\d{1,15})(-partial)?", re.ASCII)
_SAVING, _DELETED = ".saving-", ".deleted-"


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A run at one moment: all that going on from there needs."""

    state: TrainState
    history: History  # of the epochs that are done
    best: Best | None = None  # of a run that chooses an epoch
    progress: Progress | None = None  # of the epoch after these; None: not begun


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, workdir: Path, keep_last: int, keep_best: int, best_metric: str) -> None:
        """Opens the folder, or makes it, and clears what a killed process left half done.

        Args:
            workdir: the run's folder.
            keep_last: how many of the newest are kept.
            keep_best: how many of the best are kept beside them.
            best_metric: the metric that says which are best: largest if it ends in "accuracy",
                smallest otherwise.

        Raises:
            OSError: the folder cannot be made or read.
        """
        arrays.quieten()
        self._keep_last, self._keep_best, self._best_metric = keep_last, keep_best, best_metric
        self._folder = directory_of(workdir)
        self._folder.mkdir(exist_ok=True)
        for left in self._folder.iterdir():
            if left.name.startswith((_SAVING, _DELETED)):
                _remove(left)

    def save(self, snapshot: Snapshot) -> None:
        """Saves, and deletes what need not be kept; returns when all is on disk.

        Raises:
            ZooError: it cannot be written; the checkpoints before stay as they are.
        """
        step = num_steps(snapshot.state)
        target = self._folder / (f"{step}-partial" if snapshot.progress else str(step))
        temporary = self._folder / f"{_SAVING}{target.name}"
        try:
            if os.path.lexists(temporary):
                _remove(temporary)
            temporary.mkdir()
            arrays.write(temporary / "state", snapshot.state)
            if snapshot.best is not None:
                arrays.write(temporary / "best", snapshot.best)
            (temporary / _RUN).write_text(json.dumps(_about(snapshot, step), allow_nan=False))
            sums.write(temporary)
            if os.path.lexists(target):  # made again, as the run went on from an earlier one
                self._delete(target)
            temporary.rename(target)
            sync_folder(self._folder)
        except (ValueError, OSError) as error:  # TensorStore's are ValueErrors
            with contextlib.suppress(OSError):
                _remove(temporary)
            raise ZooError(
                f"cannot save a checkpoint in {self._folder} ({arrays.reason(error)}): make room, "
                f"and the same command goes on from the one before"
            ) from None
        self._clean_up(snapshot.history)
        give_back()

    def newest(self, like: Snapshot) -> tuple[Snapshot | None, list[str]]:
        """The newest good checkpoint, None if there is none; and notes on the damaged ones.

        A damaged one is renamed: nothing of it is deleted.

        Args:
            like: holds a state, and in a run that chooses a best epoch, of the structure, types and
                placement that the restored ones have.

        Raises:
            ZooError: the newest good one is of another version or of another net.
        """
        notes: list[str] = []
        for folder in reversed(checkpoints_in(self._folder)):
            try:
                found = _restore(folder, like)
                self._clean_up(found.history)  # a process may have been killed before it could
                return found, notes
            except DamagedError as error:
                aside = free_name(self._folder / f"damaged-{folder.name}")
                folder.rename(aside)
                notes.append(f"{error}; it is kept as {aside.name}")
        return None, notes

    def _clean_up(self, history: History) -> None:
        """Deletes what is neither among the newest nor among the best."""
        scores = {record["step"]: self._score(record) for record in history.epochs}
        found = checkpoints_in(self._folder)
        whole = [folder for folder in found if folder.name.isdecimal()]
        partial = found[1 + found.index(whole[-1]) :] if whole else found
        best = sorted(
            (folder for folder in whole if int(folder.name) in scores),
            key=lambda folder: (scores[int(folder.name)], int(folder.name)),
        )
        kept = whole[-self._keep_last :] + partial[-self._keep_last :]
        kept += best[len(best) - min(self._keep_best, len(best)) :]
        for folder in found:
            if folder not in kept:
                self._delete(folder)

    def _score(self, record: dict[str, Any]) -> float:
        """The larger, the better."""
        mean = float(np.mean(record[self._best_metric]))
        return mean if self._best_metric.endswith("accuracy") else -mean

    def _delete(self, folder: Path) -> None:
        doomed = self._folder / f"{_DELETED}{folder.name}"
        folder.rename(doomed)  # a process killed from here on leaves no half a checkpoint
        _remove(doomed)


def directory_of(workdir: Path) -> Path:
    """Where the checkpoints of a run are."""
    return (workdir / "checkpoints").absolute()


def _key(folder: Path) -> tuple[int, bool]:
    """(step, whole): of two of one step, the one with its epoch validated is the newer."""
    match = _NAME.fullmatch(folder.name)
    assert match
    return int(match[1]), match[2] is None


def checkpoints_in(folder: Path) -> list[Path]:
    """The checkpoints, oldest first."""
    found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    return sorted((path for path in found if path.is_dir() and not path.is_symlink()), key=_key)


def _about(snapshot: Snapshot, step: int) -> dict[str, Any]:
    progress = None
    if snapshot.progress:
        sums = jax.device_get(snapshot.progress.sums)
        progress = {name: np.asarray(value).tolist() for name, value in vars(sums).items()}
        progress["seconds"] = snapshot.progress.seconds
    return {
        "format": _FORMAT,
        "step": step,
        "history": snapshot.history.to_content(),
        "progress": progress,
    }


def _restore(folder: Path, like: Snapshot) -> Snapshot:
    """What a checkpoint holds.

    Raises:
        DamagedError: it is not as it was written.
        ZooError: it is, but of another version or net.
    """
    if is_of_format_1(folder):
        raise ZooError(
            f"{folder} was written by an earlier version of the zoo, which did not keep the "
            f"history in it: finish the run with that version, or use another directory"
        )
    check_whole(folder)
    found_format, history, progress = _read_run(folder)
    best = None
    try:
        if found_format == 2:
            fields = vars(like.state) | {"best": like.best}
            fields = arrays.read(folder / "state", fields)
            best = fields.pop("best")
            state = TrainState(**fields)
        else:
            state = arrays.read(folder / "state", like.state)
            if like.best is not None:
                best = arrays.read(folder / "best", like.best)
    except arrays.ERRORS as error:
        raise ZooError(
            f"the checkpoint {folder} is whole but cannot be read here ({arrays.reason(error)}): "
            f"use the version and the configuration that wrote it, or another directory"
        ) from None
    return Snapshot(state, history, best, progress)


def _read_run(folder: Path) -> tuple[int, History, Progress | None]:
    """(format, history, progress) of run.json.

    Raises:
        DamagedError: it is not such a file.
        ZooError: it is of another version.
    """
    path = folder / _RUN
    try:
        about = forms.read_json(path)
        if about["format"] not in _FORMATS_READ:
            raise ZooError(
                f"{path} is of format {about['format']!r}, and this version of the zoo reads the "
                f"formats {' and '.join(map(str, _FORMATS_READ))} of checkpoints: use the version "
                f"that wrote it, or another directory"
            )
        history = zoo.training.history.from_content(about["history"], path)
        progress = _progress(about["progress"], history.num_seeds)
        if about["step"] != _key(folder)[0]:
            raise ValueError(about["step"])
        return about["format"], history, progress
    except (ValueError, KeyError, TypeError, OSError):
        raise DamagedError(
            f"the checkpoint {folder} is damaged ({_RUN} does not hold what it should)"
        ) from None


def _progress(content: Any, num_seeds: int) -> Progress | None:
    if content is None:
        return None
    count = forms.per_seed(forms.whole(0, 2**31 - 1), num_seeds)
    loss = forms.per_seed(forms.number(0, 1e39), num_seeds)
    forms.check(
        content,
        {
            "loss_sum": loss,
            "num_correct": count,
            "num_examples": count,
            "seconds": forms.number(0),
        },
    )
    sums = Metrics(
        loss_sum=jnp.asarray(content["loss_sum"], jnp.float32),  # JSON keeps all digits
        num_correct=jnp.asarray(content["num_correct"], jnp.int32),
        num_examples=jnp.asarray(content["num_examples"], jnp.int32),
    )
    return Progress(sums, content["seconds"])


def is_of_format_1(folder: Path) -> bool:
    """Whether it is as Orbax alone wrote it, without sums."""
    return (folder / "metrics" / "metrics").is_file() and not (folder / sums.FILENAME).exists()


def check_whole(folder: Path) -> None:
    """Compares a checkpoint with its sums.

    Raises:
        DamagedError: it is not as it was written.
        ZooError: it cannot be read.
    """
    try:
        sums.check(folder)
    except ValueError as error:
        raise DamagedError(f"the checkpoint {folder} is damaged ({error})") from None
    except OSError as error:  # no right to read it, or the disk fails: that is no damage yet
        raise ZooError(
            f"the checkpoint {folder} cannot be read ({arrays.reason(error)}): repair that, and "
            f"the same command goes on from it"
        ) from None


def _remove(path: Path) -> None:
    """Removes a folder with all that is in it; of a link, the link alone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
