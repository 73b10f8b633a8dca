"""The runs in a directory: which there are, how far each is, and where."""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Iterator
from pathlib import Path

import flask

import zoo.training.history
from zoo.data.names import short
from zoo.system.errors import ZooError
from zoo.system.files import as_text
from zoo.system.text import mean_text
from zoo.training.parameters import newest_step

_DEPTH = 3  # directory levels below the watched one that are searched for runs


@dataclasses.dataclass(frozen=True)
class ListedRun:
    """A run in the list."""

    name: str  # its directory, relative to the watched one
    problem: str = ""  # why the run cannot be shown
    net: str = ""
    dataset: str = ""
    epochs_done: int = 0
    num_epochs: int = 1
    num_parameters: int = 0
    validation_accuracy: str = ""
    test_accuracy: str = ""
    changed: str = ""  # how long ago


def find(folder: Path, name: str) -> Path:
    """The run with that name in the list; a path from a request is never opened.

    Raises:
        NotFound: the answer 404.
    """
    for workdir in _workdirs(folder):
        if _name(folder, workdir) == name:
            return workdir
    flask.abort(404, f"There is no run {name}.")


def list_runs(folder: Path) -> list[ListedRun]:
    """The runs, most recently changed first."""
    workdirs = sorted(_workdirs(folder), key=changed_ns, reverse=True)
    return [_listed(folder, workdir) for workdir in workdirs]


def has_runs(folder: Path) -> bool:
    """Whether there is any."""
    return any(True for _ in _workdirs(folder))


def changed_ns(workdir: Path) -> int:
    """When the run's history was written, in nanoseconds; 0 if it no longer exists."""
    try:
        return (workdir / zoo.training.history.FILENAME).stat().st_mtime_ns
    except OSError:
        return 0


def state_of(workdir: Path) -> tuple[int, int]:
    """What changes when a run has a newer checkpoint, or is made again from the beginning."""
    return newest_step(workdir), changed_ns(workdir)


def _workdirs(folder: Path) -> Iterator[Path]:
    """Run directories, at most three levels below the given one."""
    for depth in range(_DEPTH + 1):
        pattern = "/".join(["*"] * depth + [zoo.training.history.FILENAME])
        with contextlib.suppress(OSError):  # a directory may be deleted during the search
            yield from (path.parent for path in folder.glob(pattern))


def _name(folder: Path, workdir: Path) -> str:
    """The run's name in addresses: its directory, relative to the watched one."""
    if workdir == folder:
        return as_text(folder.resolve().name) or "run"
    return as_text(workdir.relative_to(folder).as_posix())


def _listed(folder: Path, workdir: Path) -> ListedRun:
    name, changed = _name(folder, workdir), changed_ns(workdir)
    if workdir != folder and name != workdir.relative_to(folder).as_posix():
        return ListedRun(
            name, problem="its name cannot be part of an address: rename the directory"
        )
    try:
        run = _read(workdir, name, changed)
    except ZooError as error:
        return ListedRun(name, problem=as_text(str(error)))
    return dataclasses.replace(run, changed=_ago(time.time() - changed / 1e9))


@functools.lru_cache(maxsize=100_000)  # more than one lists; they are small
def _read(workdir: Path, name: str, changed: int) -> ListedRun:
    """The run, but for the time since it changed."""
    history = zoo.training.history.read(workdir)
    return ListedRun(
        name,
        net=history.config["model"],
        dataset=short(history.config["dataset"]),
        epochs_done=len(history.epochs),
        num_epochs=history.config["num_epochs"],
        num_parameters=history.model["num_params"],
        validation_accuracy=mean_text(history.epochs[-1]["val_accuracy"], ".2%")
        if history.epochs
        else "",
        test_accuracy=mean_text(history.test["accuracy"], ".2%") if history.test else "",
    )


def _ago(seconds: float) -> str:
    """Such as "5 min ago"."""
    for length, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit} ago"
    return "just now"
