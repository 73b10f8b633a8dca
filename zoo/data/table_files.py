"""The files of a table of images: one file, or those of a directory, for training and testing."""

import os
import re
import warnings
from pathlib import Path

from zoo.data.idx import archive_kind
from zoo.system.errors import ZooError
from zoo.system.files import shown

_TEST = re.compile(r"(^|[^a-z])(test|t10k)([^a-z]|$)", re.IGNORECASE)
_VALIDATION = re.compile(r"(^|[^a-z])(val|valid|validation|dev)([^a-z]|$)", re.IGNORECASE)


def split_files(path: Path, endings: tuple[str, ...]) -> dict[str, list[Path]]:
    """The files by split: {"train": [...], "test": [...]}, those of testing perhaps none.

    Of a directory, and those in it, all files with one of the endings are taken: those with
    "test" in their name for testing, the others, also of "validation", for training.

    Raises:
        ZooError: there is no such file, or none for training.
    """
    if os.path.isfile(path):
        return {"train": [path], "test": []}
    if not os.path.isdir(path):
        raise ZooError(f"{shown(path)} does not exist: name a file or a directory of {endings[0]}")
    found = [
        file
        for file in sorted(path.rglob("*"))
        if file.name.lower().endswith(endings) and file.is_file()
    ]
    if not found:
        archive = next((file for file in sorted(path.iterdir()) if archive_kind(file)), None)
        advice = f": unpack {archive.name}" if archive else ": name the directory that has them"
        raise ZooError(f"{shown(path)} has no {' or '.join(endings)} file{advice}")
    files: dict[str, list[Path]] = {"train": [], "test": []}
    validation = []
    for file in found:
        if _VALIDATION.search(file.name):
            validation.append(file)
        else:
            files["test" if _TEST.search(file.name) else "train"].append(file)
    if not files["train"]:
        raise ZooError(f"{shown(path)} has only {found[0].name} and the like: training is missing")
    if validation:
        warnings.warn(
            f"the images of {shown(validation[0])} come after those of training: of both together, "
            f"the last 20% are held out for validation",
            stacklevel=2,
        )
    return {"train": files["train"] + validation, "test": files["test"]}


def usual_name(names: list[str], usual: tuple[str, ...]) -> str | None:
    """The first of the usual names that is there, in upper or lower case."""
    lower = {name.lower(): name for name in reversed(names)}
    return next((lower[name] for name in usual if name in lower), None)
