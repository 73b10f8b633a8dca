"""Files that are always whole, and names that take nobody's place."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from zoo.system.errors import ZooError


def check_target(path: Path) -> None:
    """Raises ZooError unless a file can be written there, as far as that shows without writing."""
    if path.exists() and not path.is_file():
        raise ZooError(f"cannot write {path}: it is no file")
    if not path.absolute().parent.is_dir():
        raise ZooError(f"cannot write {path}: there is no folder {path.parent}")


def write_whole(path: Path, content: str | bytes) -> None:
    """Replaces a file in one step: whoever reads it sees the old content or the new one.

    Raises:
        ZooError: as `check_target`.
        OSError: it cannot be written; what was there stays.
    """
    check_target(path)
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name[:200]}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)  # left by a process of the same number, or laid as a trap
        with open(temporary, "xb") as file:  # x: not through a link to another file
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        error.filename = str(path)  # not the temporary's, nor none
        raise


def sync_folder(folder: Path) -> None:
    """Waits until the names in a folder are on disk, where the system can tell."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def as_sentence(path: Path) -> Iterator[None]:
    """Makes a ZooError with a way out of an error of writing at that place."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            advice = "make room"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            advice = "get the right to write there"
        else:
            advice = "mend that"
        raise ZooError(
            f"cannot write {error.filename or path} ({error.strerror or error}): {advice}, and the "
            f"same command goes on"
        ) from None


def expanded(name: str | Path) -> Path:
    """The path, with the home folder for a tilde.

    Raises:
        ZooError: there is no such home folder.
    """
    try:
        return Path(name).expanduser()
    except RuntimeError:  # ~nobody
        raise ZooError(f"there is no home folder for {name}: name the folder in full") from None


def free_name(path: Path) -> Path:
    """That path, or if something is there, the first free one of "NAME-2", "NAME-3", ..."""
    number, free = 1, path
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free


def as_text(name: str) -> str:
    """A file's name with question marks in place of bytes that are no text."""
    return name.encode(errors="replace").decode()
