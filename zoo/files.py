"""Files that are always whole."""

import os
from pathlib import Path

from zoo.errors import ZooError


def write_whole(path: Path, text: str) -> None:
    """Replaces a file in one step: whoever reads it sees the old text or the new one.

    Raises:
        ZooError: there is something else than a file.
        OSError: it cannot be written; what was there stays.
    """
    if path.exists() and not path.is_file():
        raise ZooError(f"cannot write {path}: it is no file")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
