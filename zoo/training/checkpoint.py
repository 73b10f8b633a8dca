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
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from zoo.system import sums
from zoo.system.errors import DamagedError, ZooError
from zoo.system.files import free_name, sync_directory
from zoo.system.memory import give_back
from zoo.training import arrays
from zoo.training.history import History
from zoo.training.snapshot import Snapshot, read_rest, write_rest
from zoo.training.step import TrainState, num_steps

_NAME = re.compile(r"(\d{1,15})(-partial)?", re.ASCII)
_SAVING, _DELETED = ".saving-", ".deleted-"


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, workdir: Path, keep_last: int, keep_best: int, best_metric: str) -> None:
        """Opens the directory, or makes it, and clears what a killed process left half done.

        Args:
            workdir: the run's directory.
            keep_last: how many of the newest are kept.
            keep_best: how many of the best are kept beside them.
            best_metric: the metric that says which are best: largest if it ends in "accuracy",
                smallest otherwise.

        Raises:
            OSError: the directory cannot be made or read.
        """
        self._keep_last, self._keep_best, self._best_metric = keep_last, keep_best, best_metric
        self._directory = directory_of(workdir)
        self._directory.mkdir(exist_ok=True)
        for left in self._directory.iterdir():
            if left.name.startswith((_SAVING, _DELETED)):
                _remove(left)

    def save(self, snapshot: Snapshot) -> None:
        """Saves, and deletes what need not be kept; returns when all is on disk.

        Raises:
            ZooError: it cannot be written; the checkpoints before stay as they are.
        """
        step = num_steps(snapshot.state)
        target = self._directory / (f"{step}-partial" if snapshot.progress else str(step))
        temporary = self._directory / f"{_SAVING}{target.name}"
        try:
            if os.path.lexists(temporary):
                _remove(temporary)
            temporary.mkdir()
            arrays.write(temporary / "state", snapshot.state)
            if snapshot.best is not None:
                arrays.write(temporary / "best", snapshot.best)
            write_rest(temporary, snapshot)
            sums.write(temporary)
            if os.path.lexists(target):  # made again, as the run went on from an earlier one
                self._delete(target)
            temporary.rename(target)
            sync_directory(self._directory)
        except (ValueError, OSError) as error:  # TensorStore's are ValueErrors
            with contextlib.suppress(OSError):
                _remove(temporary)
            raise ZooError(
                f"cannot save a checkpoint in {self._directory} ({arrays.reason(error)}): make "
                f"room, and the same command goes on from the one before"
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
        for checkpoint in reversed(checkpoints_in(self._directory)):
            try:
                found = _restore(checkpoint, like)
                self._clean_up(found.history)  # a process may have been killed before it could
                return found, notes
            except DamagedError as error:
                aside = free_name(self._directory / f"damaged-{checkpoint.name}")
                checkpoint.rename(aside)
                notes.append(f"{error}; it is kept as {aside.name}")
        return None, notes

    def _clean_up(self, history: History) -> None:
        """Deletes what is neither among the newest nor among the best."""
        scores = {record["step"]: self._score(record) for record in history.epochs}
        found = checkpoints_in(self._directory)
        whole = [checkpoint for checkpoint in found if checkpoint.name.isdecimal()]
        partial = found[1 + found.index(whole[-1]) :] if whole else found
        best = sorted(
            (checkpoint for checkpoint in whole if int(checkpoint.name) in scores),
            key=lambda checkpoint: (scores[int(checkpoint.name)], int(checkpoint.name)),
        )
        kept = whole[-self._keep_last :] + partial[-self._keep_last :]
        kept += best[len(best) - min(self._keep_best, len(best)) :]
        for checkpoint in found:
            if checkpoint not in kept:
                self._delete(checkpoint)

    def _score(self, record: dict[str, Any]) -> float:
        """The larger, the better."""
        mean = float(np.mean(record[self._best_metric]))
        return mean if self._best_metric.endswith("accuracy") else -mean

    def _delete(self, checkpoint: Path) -> None:
        doomed = self._directory / f"{_DELETED}{checkpoint.name}"
        checkpoint.rename(doomed)  # a process killed from here on leaves no half a checkpoint
        _remove(doomed)


def directory_of(workdir: Path) -> Path:
    """Where the checkpoints of a run are."""
    return (workdir / "checkpoints").absolute()


def _key(checkpoint: Path) -> tuple[int, bool]:
    """(step, whole): of two of one step, the one with its epoch validated is the newer."""
    match = _NAME.fullmatch(checkpoint.name)
    assert match
    return int(match[1]), match[2] is None


def checkpoints_in(directory: Path) -> list[Path]:
    """The checkpoints, oldest first."""
    found = [path for path in directory.iterdir() if _NAME.fullmatch(path.name)]
    return sorted((path for path in found if path.is_dir() and not path.is_symlink()), key=_key)


def _restore(checkpoint: Path, like: Snapshot) -> Snapshot:
    """What a checkpoint holds.

    Raises:
        DamagedError: it is not as it was written.
        ZooError: it is, but of another version or net.
    """
    if is_of_format_1(checkpoint):
        raise ZooError(
            f"{checkpoint} was written by an earlier version of the zoo, which did not keep the "
            f"history in it: finish the run with that version, or use another directory"
        )
    check_whole(checkpoint)
    rest = read_rest(checkpoint, _key(checkpoint)[0])
    best = None
    try:
        if rest.format == 2:
            fields = vars(like.state) | {"best": like.best}
            fields = arrays.read(checkpoint / "state", fields)
            best = fields.pop("best")
            state = TrainState(**fields)
        else:
            state = arrays.read(checkpoint / "state", like.state)
            if like.best is not None:
                best = arrays.read(checkpoint / "best", like.best)
    except arrays.ERRORS as error:
        raise ZooError(
            f"the checkpoint {checkpoint} is whole but cannot be read here "
            f"({arrays.reason(error)}): use the version and the configuration that wrote it, or "
            f"another directory"
        ) from None
    return Snapshot(state, rest.history, best, rest.progress)


def is_of_format_1(checkpoint: Path) -> bool:
    """Whether it is as Orbax alone wrote it, without sums."""
    return (checkpoint / "metrics" / "metrics").is_file() and not (
        checkpoint / sums.FILENAME
    ).exists()


def check_whole(checkpoint: Path) -> None:
    """Compares a checkpoint with its sums.

    Raises:
        DamagedError: it is not as it was written.
        ZooError: it cannot be read.
    """
    try:
        sums.check(checkpoint)
    except ValueError as error:
        raise DamagedError(f"the checkpoint {checkpoint} is damaged ({error})") from None
    except OSError as error:  # no right to read it, or the disk fails: that is not damage yet
        raise ZooError(
            f"the checkpoint {checkpoint} cannot be read ({arrays.reason(error)}): repair that, "
            f"and the same command goes on from it"
        ) from None


def _remove(path: Path) -> None:
    """Removes a directory with all that is in it; of a link, the link alone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
