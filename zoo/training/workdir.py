"""The directory of a run."""

import os
from pathlib import Path

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
