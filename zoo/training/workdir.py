"""The directory of a run."""

import os
from pathlib import Path

from zoo.data.names import kind_of, path_of
from zoo.system.errors import ZooError
from zoo.system.files import is_address


def check(workdir: Path) -> None:
    """Finds out before the data is loaded whether a run can be written there.

    Raises:
        ZooError: it cannot.
    """
    if is_address(workdir):
        raise ZooError(f"a run's directory must be on this machine, not {str(workdir)!r}")
    try:
        existing = next(path for path in (workdir, *workdir.absolute().parents) if path.exists())
        is_directory, is_writable = existing.is_dir(), os.access(existing, os.W_OK)
    except OSError as error:
        raise ZooError(
            f"the run's directory {workdir} cannot be used ({error.strerror}): name another"
        ) from None
    if not is_directory or not is_writable:
        state = "cannot be written" if is_directory else "is not a directory"
        raise ZooError(
            f"the run's directory {workdir} cannot be used ({existing} {state}): name another"
        )


def check_is_outside(workdir: Path, dataset: str) -> None:
    """Raises ZooError if a run would lie among the images of a directory, where all counts."""
    if kind_of(dataset) != "images":
        return
    root, place = (Path(os.path.realpath(path)) for path in (path_of(dataset), workdir))
    if place.is_relative_to(root):
        other = os.path.relpath(root.parent / "runs" / place.name)
        raise ZooError(
            f"the run's directory {workdir} is within {dataset}, where every file counts as an "
            f"image: name another, such as --workdir={other}"
        )


def make(workdir: Path) -> None:
    """Makes the directory, if it is not there.

    Raises:
        ZooError: it cannot be made.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ZooError(
            f"the run's directory {workdir} cannot be made ({error.strerror}): name another"
        ) from None
