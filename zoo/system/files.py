"""Atomic writes of files, and unused file names."""

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from zoo.system.errors import ZooError


def check_target(path: Path) -> None:
    """Raises ZooError unless a file can be written there, as far as this is known beforehand."""
    if path.exists() and not path.is_file():
        raise ZooError(f"cannot write {path}: it is not a file")
    if not path.absolute().parent.is_dir():
        raise ZooError(f"cannot write {path}: the directory {path.parent} does not exist")


def check_is_file(path: Path) -> None:
    """Raises ZooError if something else is there, such as a pipe, of which reading may not end."""
    if os.path.isdir(path):
        raise ZooError(f"{shown(path)} is a directory: name a file")
    if os.path.exists(path) and not os.path.isfile(path):
        raise ZooError(f"{shown(path)} is not a file: put a file in its place, or name another")


def unreadable(path: Path, error: OSError) -> str:
    """The sentence for a file or a directory that cannot be read."""
    is_forbidden = error.errno in (errno.EACCES, errno.EPERM)
    advice = "get permission to read it" if is_forbidden else "name another, or get it again"
    return f"{shown(path)} cannot be read ({error.strerror or error}): {advice}"


def write_whole(path: Path, content: str | bytes, *, follow: bool = False) -> None:
    """Replaces a file atomically: a reader sees either the old or the new content.

    The file keeps its permissions.

    Args:
        path: the file.
        content: text is written in UTF-8.
        follow: whether a symbolic link stays and the file that it names is replaced. Only where a
            person names the file: links in a directory may be an attack, and are replaced.

    Raises:
        ZooError: like `check_target`.
        OSError: it cannot be written; an existing file is unchanged.
    """
    target = Path(os.path.realpath(path)) if follow else path
    check_target(target)
    data = content.encode() if isinstance(content, str) else content
    start = os.fsencode(target.name)[:200].decode(errors="ignore")  # a name has at most 255 bytes
    temporary = target.with_name(f".{start}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)  # left by a process with the same PID, or an attack
        with open(temporary, "xb") as file:  # x: do not follow a link to another file
            if target.is_file() and not target.is_symlink():
                os.fchmod(file.fileno(), target.stat().st_mode & 0o777)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        sync_directory(target.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        error.filename = str(path)  # not the temporary file, and not None
        raise


def sync_directory(folder: Path) -> None:
    """Waits until the names in a directory are on disk, if the system supports it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def as_sentence(path: Path) -> Iterator[None]:
    """Turns an error of writing there into a ZooError that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            advice = "make room on the disk"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            advice = "get write permission"
        else:
            advice = "fix this"
        raise ZooError(
            f"cannot write {error.filename or path} ({error.strerror or error}): {advice}, then "
            f"run the same command again to continue"
        ) from None


def expanded(name: str | os.PathLike[str]) -> Path:
    """The path, with a leading tilde replaced by the home directory.

    Raises:
        ZooError: there is no such home directory.
    """
    try:
        return Path(name).expanduser()
    except RuntimeError:  # ~nobody
        raise ZooError(
            f"{os.fspath(name)} is in a home directory, which this user does not have: give the "
            f"full path, or set HOME"
        ) from None


def is_address(path: Path) -> bool:
    """Whether it was an address, such as gs://bucket/name, of which Path has made gs:/bucket."""
    return re.match(r"\w{2,}:/", str(path)) is not None


def free_name(path: Path) -> Path:
    """That path, or if it exists, the first unused one of "NAME-2", "NAME-3", ..."""
    number, free = 1, path
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free


def as_text(name: str) -> str:
    """A file name with question marks in place of bytes that cannot be decoded."""
    return name.encode(errors="replace").decode()


def shown(path: Path) -> str:
    """The path as it may stand in a message: quoted, if it would break the line."""
    return str(path) if str(path).isprintable() else repr(str(path))
