"""Checkpoints of a run, in the folder `checkpoints` of its workdir. Nothing else imports Orbax.

A checkpoint is a folder with the number of its step::

    state/          the whole train state, as Orbax writes it
    run.json        {"format": 2, "step", "history": as history.json, "progress": null}
    sha256sums.txt  of each of these files; `sha256sum --check sha256sums.txt` tests them, too

One that was made within an epoch is called STEP-partial, and its "progress" holds the epoch's sums.
It goes once the epoch's own checkpoint is there.

All is written into a folder with another name, which is then renamed; what is deleted is renamed
first. So a killed run leaves every checkpoint whole. One that is damaged none the less is set aside
as damaged-STEP, and the newest good one is taken.
"""

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import absl.logging
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

import zoo.training.history
from zoo.system import forms
from zoo.system.errors import DamagedError, ZooError
from zoo.system.files import free_name, sync_folder, write_whole
from zoo.system.memory import available_bytes, bytes_text, give_back
from zoo.training.history import History
from zoo.training.step import Metrics, Progress, TrainState, num_steps

_FORMAT = 2
_RUN, _SUMS = "run.json", "sha256sums.txt"
_NAME = re.compile(r"(\d{1,15})(-partial)?", re.ASCII)
_SAVING, _DELETED = ".saving-", ".deleted-"


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A run at one moment: all that going on from there needs."""

    state: TrainState
    history: History  # of the epochs that are done
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
        _quieten()
        self._keep_last, self._keep_best, self._best_metric = keep_last, keep_best, best_metric
        self._folder = _folder_of(workdir)
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
        # As NumPy arrays: of JAX's, Orbax 0.12 keeps some kilobytes for ever with each save.
        host_state = jax.device_get(snapshot.state)
        try:
            if os.path.lexists(temporary):
                _remove(temporary)
            temporary.mkdir()
            with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
                checkpointer.save(temporary / "state", args=ocp.args.StandardSave(host_state))
            (temporary / _RUN).write_text(json.dumps(_about(snapshot, step), allow_nan=False))
            write_whole(temporary / _SUMS, _sums_of(temporary, sync=True))
            if os.path.lexists(target):  # made again, as the run went on from an earlier one
                self._delete(target)
            temporary.rename(target)
            sync_folder(self._folder)
        except (ValueError, OSError) as error:  # TensorStore's are ValueErrors
            with contextlib.suppress(OSError):
                _remove(temporary)
            raise ZooError(
                f"cannot save a checkpoint in {self._folder} ({_reason(error)}): make room, "
                f"and the same command goes on from the one before"
            ) from None
        self._clean_up(snapshot.history)
        give_back()

    def newest(self, like: TrainState) -> tuple[Snapshot | None, list[str]]:
        """The newest good checkpoint, None if there is none; and notes, which tell of damaged ones.

        A damaged one is renamed: nothing of it is deleted.

        Args:
            like: a state of the structure, types and placement that the restored one has.

        Raises:
            ZooError: the newest good one is of another version or of another net.
        """
        notes: list[str] = []
        for folder in reversed(_folders(self._folder)):
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
        found = _folders(self._folder)
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


def newest_step(workdir: Path) -> int:
    """The step of the newest checkpoint of a whole epoch, by the names alone; -1: there is none."""
    names = [path.name for path in _folder_of(workdir).glob("*")]
    return max((int(name) for name in names if name.isdecimal()), default=-1)


def read_parameters(workdir: Path) -> tuple[int, dict[str, Any], list[str]]:
    """(step, {"params", "batch_stats", "best"}, notes) of the newest good checkpoint of an epoch.

    Arrays are NumPy's. Nothing in the folder is changed, so it may be that of a run in progress.
    What the state does not hold is left out. The notes tell of damaged ones.

    Raises:
        ZooError: there is no good checkpoint, or it cannot be read.
    """
    _quieten()
    folder = _folder_of(workdir)
    if not folder.is_dir():
        raise ZooError(f"{workdir} holds no checkpoints: name the folder of a run that keeps them")
    notes: list[str] = []
    for checkpoint in reversed(_folders(folder)):
        if not checkpoint.name.isdecimal():
            continue
        try:
            if not _is_old(checkpoint):
                _check_sums(checkpoint)
            return int(checkpoint.name), _read_arrays(checkpoint / "state"), notes
        except DamagedError as error:
            if checkpoint.exists():  # else a run in progress has deleted it for a newer one
                notes.append(str(error))
    if notes:
        raise ZooError(f"{workdir} holds no good checkpoint: {notes[0]}")
    raise ZooError(
        f"{workdir} holds no checkpoint: wait for its first epoch, or train with "
        f"--config.checkpoint.every_epochs=1"
    )


def _folder_of(workdir: Path) -> Path:
    return (workdir / "checkpoints").absolute()


def _key(folder: Path) -> tuple[int, bool]:
    """(step, whole): of two of one step, the one with its epoch validated is the newer."""
    match = _NAME.fullmatch(folder.name)
    assert match
    return int(match[1]), match[2] is None


def _folders(folder: Path) -> list[Path]:
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


def _restore(folder: Path, like: TrainState) -> Snapshot:
    """What a checkpoint holds.

    Raises:
        DamagedError: it is not as it was written.
        ZooError: it is, but of another version or net.
    """
    if _is_old(folder):
        raise ZooError(
            f"{folder} was written by an earlier version of the zoo, which did not keep the "
            f"history in it: finish the run with that version, or use another folder"
        )
    _check_sums(folder)
    history, progress = _read_run(folder)
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    try:
        with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
            there = _shapes(checkpointer.metadata(folder / "state").item_metadata.tree)
            if other := sorted(dict(there.items() ^ _shapes(like).items())):
                raise ValueError(f"{other[0]} differs: it is of another net or optimizer")
            state = checkpointer.restore(folder / "state", args=ocp.args.StandardRestore(abstract))
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise ZooError(
            f"the checkpoint {folder} is whole but cannot be read here ({_reason(error)}): use the "
            f"version and the configuration that wrote it, or another folder"
        ) from None
    return Snapshot(state, history, progress)


def _read_run(folder: Path) -> tuple[History, Progress | None]:
    """What run.json tells.

    Raises:
        DamagedError: it is no such file.
        ZooError: it is of another version.
    """
    path = folder / _RUN
    try:
        about = forms.read_json(path)
        if about["format"] != _FORMAT:
            raise ZooError(
                f"{path} is of format {about['format']!r}, and this version of the zoo reads "
                f"format {_FORMAT} of checkpoints: use the version that wrote it, or another folder"
            )
        history = zoo.training.history.from_content(about["history"], path)
        progress = _progress(about["progress"], history.num_seeds)
        if about["step"] != _key(folder)[0]:
            raise ValueError(about["step"])
        return history, progress
    except (ValueError, KeyError, TypeError, OSError):
        raise DamagedError(
            f"the checkpoint {folder} is damaged ({_RUN} does not hold what it should)"
        ) from None


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """{"params/conv_1/kernel": (3, 3, 1, 32), ...}"""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
        for path, leaf in leaves
    }


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


def _is_old(folder: Path) -> bool:
    """Whether it is of format 1: Orbax's whole, without sums."""
    return (folder / "metrics" / "metrics").is_file() and not (folder / _SUMS).exists()


def _sums_of(folder: Path, sync: bool = False) -> str:
    """What sha256sums.txt must hold: a line for each other file.

    Args:
        folder: the checkpoint.
        sync: also wait until the files are on disk.

    Raises:
        DamagedError: it holds what is neither file nor folder, such as a link.
    """
    lines = []
    if sync:
        for path in folder.rglob("*"):
            if path.is_dir():
                sync_folder(path)
    for path in _files(folder):
        with open(path, "rb") as file:
            if sync:
                os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        lines.append(f"{digest}  {path.relative_to(folder).as_posix()}\n")
    return "".join(lines)


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise DamagedError(
                f"the checkpoint {folder} is damaged ({path.relative_to(folder)} is no file)"
            )
        if path.is_file() and path != folder / _SUMS:
            yield path


def _check_sums(folder: Path) -> None:
    """Raises DamagedError unless the files are those that were written."""
    try:
        expected = set((folder / _SUMS).read_bytes().decode().splitlines())
        found = set(_sums_of(folder).splitlines())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError) as error:
        raise DamagedError(f"the checkpoint {folder} is damaged ({_reason(error)})") from None
    except OSError as error:  # no right to read it, or the disk fails: that is no damage yet
        raise ZooError(
            f"the checkpoint {folder} cannot be read ({_reason(error)}): mend that, and the same "
            f"command goes on from it"
        ) from None
    if expected != found:
        names = sorted(line.partition("  ")[2][:200] for line in expected ^ found)
        raise DamagedError(
            f"the checkpoint {folder} is damaged ({names[0] or _SUMS} is not as it was written)"
        )


def _read_arrays(folder: Path) -> dict[str, Any]:
    """The parts of a state that a net needs, as NumPy arrays."""
    try:
        with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
            tree = checkpointer.metadata(folder).item_metadata.tree
            wanted = {key: tree[key] for key in ("params", "batch_stats", "best") if tree.get(key)}
            size = sum(
                np.prod(leaf.shape, dtype=float) * np.dtype(leaf.dtype).itemsize
                for leaf in jax.tree.leaves(wanted)
            )
            if size > available_bytes():  # an array of zeros takes no place on disk
                raise ZooError(
                    f"the checkpoint {folder.parent} tells of arrays of {bytes_text(size)}, more "
                    f"than this machine has free ({bytes_text(available_bytes())})"
                )
            as_arrays = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
            item = ocp.args.PyTreeRestore(wanted, restore_args=as_arrays, partial_restore=True)
            return checkpointer.restore(folder, args=item)
    except (ValueError, KeyError, OSError, AttributeError, TypeError) as error:
        raise DamagedError(
            f"the checkpoint {folder.parent} cannot be read ({_reason(error)})"
        ) from None


def _remove(path: Path) -> None:
    """Removes a folder with all that is in it; of a link, the link alone."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _quieten() -> None:
    absl.logging.set_verbosity(absl.logging.ERROR)
    for name in ("absl", "asyncio"):  # asyncio tells again of errors that are raised here
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if "RESOURCE_EXHAUSTED" in str(error):  # TensorStore's word for it, a dozen lines long
        return "no space is left"
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
