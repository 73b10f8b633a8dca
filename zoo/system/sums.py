"""Sums of the files in a directory, as `sha256sum --check sha256sums.txt` reads them."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from zoo.system.files import sync_directory, write_whole

FILENAME = "sha256sums.txt"


def write(directory: Path) -> None:
    """Writes the sums of all files in a directory, once these are on disk.

    Raises:
        ValueError: it holds something that is neither a file nor a directory.
        OSError: a file cannot be read, or the sums cannot be written.
    """
    for path in directory.rglob("*"):
        if path.is_dir():
            sync_directory(path)
    write_whole(directory / FILENAME, _sums_of(directory, sync=True))


def check(directory: Path) -> None:
    """Compares the files in a directory with their sums.

    Raises:
        ValueError: they are not as they were written; it says which.
        OSError: they cannot be read.
    """
    try:
        expected = set((directory / FILENAME).read_bytes().decode().splitlines())
        found = set(_sums_of(directory).splitlines())
    except UnicodeDecodeError:
        raise ValueError(f"{FILENAME} is not as it was written") from None
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise ValueError(error.strerror) from None
    if expected != found:
        names = sorted(line.partition("  ")[2][:200] for line in expected ^ found)
        raise ValueError(f"{names[0] or FILENAME} is not as it was written")


def _sums_of(directory: Path, sync: bool = False) -> str:
    """A line for each file but the sums' own; with `sync`, once its content is on disk."""
    lines = []
    for path in _files(directory):
        with open(path, "rb") as file:
            if sync:
                os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        lines.append(f"{digest}  {path.relative_to(directory).as_posix()}\n")
    return "".join(lines)


def _files(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.rglob("*")):
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise ValueError(f"{path.relative_to(directory)} is not a file")
        if path.is_file() and path != directory / FILENAME:
            yield path
