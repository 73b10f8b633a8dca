"""Tells from the times of files, without reading them, whether data may have changed."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from zoo.data.idx_files import find_idx_files
from zoo.data.image_files import CACHE
from zoo.data.names import is_place, kind_of, path_of
from zoo.data.table_files import ENDINGS
from zoo.system.errors import ZooError
from zoo.system.files import expanded

_ENDINGS = {"images": ("",), "npy": (".npy",), **ENDINGS}


def may_have_changed(name: str, manual_dir: str, since: float) -> bool:
    """Whether files of a dataset were written, moved there or removed since a time.

    If so, their content is to be compared; the answer is no of data that is not there, and of
    datasets that are prepared once.

    Args:
        name: of the dataset.
        manual_dir: of its IDX files, if it is "idx".
        since: in seconds, as the system counts them in the times of files.
    """
    paths: Iterable[str | Path] = ()
    try:
        if is_place(name):
            paths = _files(path_of(name), _ENDINGS.get(kind_of(name), ("",)))
        elif name == "idx" and manual_dir:
            paths = find_idx_files(expanded(manual_dir)).values()
        return any(_changed_at(path) > since for path in paths)
    except (ZooError, OSError):  # it is not there, or is being changed: a run on it would tell
        return False


def _files(path: Path, endings: tuple[str, ...]) -> Iterator[str | Path]:
    """A file, or those in a directory and below with one of the endings, and their directories."""
    if not os.path.isdir(path):
        yield path
        return
    for folder, below, names in os.walk(path):
        below[:] = [name for name in below if name != CACHE]
        found = [name for name in names if name.lower().endswith(endings)]
        if found or "" in endings:
            yield folder  # its time tells of files that were removed
        yield from (os.path.join(folder, name) for name in found)


def _changed_at(path: str | Path) -> float:
    facts = os.stat(path)
    return max(facts.st_mtime, facts.st_ctime)  # a file that is moved there keeps the first
