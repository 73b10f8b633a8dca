"""One process per run directory."""

import contextlib
import fcntl
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

from zoo.system.errors import ZooError
from zoo.system.files import as_sentence


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Holds the lock workdir/.lock; the system releases it when the process ends for any reason.

    On a file system without locks (some of NFS and Lustre) it warns and holds nothing.

    Raises:
        ZooError: another process holds it.
    """
    no_link = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW
    with as_sentence(workdir):
        descriptor = os.open(workdir / ".lock", no_link, 0o666)
    with os.fdopen(descriptor, "wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ZooError(
                f"another process is training in {workdir}: wait for it, or use another directory"
            ) from None
        except OSError as error:
            warnings.warn(
                f"{workdir} is on a file system that cannot lock it ({error.strerror}): make sure "
                f"that no other process trains there",
                stacklevel=3,
            )
        yield
