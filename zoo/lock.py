"""One process a run folder."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from zoo.errors import ZooError


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Holds workdir/.lock; the system lets go of it when the process ends, however it ends.

    Raises:
        ZooError: another process holds it.
    """
    with open(workdir / ".lock", "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ZooError(
                f"another process is training in {workdir}: wait for it, or use another folder"
            ) from None
        yield
