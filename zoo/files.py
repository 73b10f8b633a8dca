"""Files that are always whole."""

import os
from pathlib import Path

from zoo.errors import ZooError


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
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        error.filename = str(path)  # not the temporary's, nor none
        raise


def as_text(name: str) -> str:
    """A file's name with question marks in place of bytes that are no text."""
    return name.encode(errors="replace").decode()
