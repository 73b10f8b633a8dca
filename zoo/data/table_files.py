"""The files of a table of images: one file, or those of a directory, for training and testing."""

import os
import re
import warnings
from pathlib import Path

from zoo.data.idx import archive_kind
from zoo.data.splitting import use_of_validation
from zoo.system.errors import ZooError
from zoo.system.files import check_is_file, shown, unreadable


def _word(words: str) -> re.Pattern[str]:
    return re.compile(rf"(^|[^a-z])({words})([^a-z]|$)", re.IGNORECASE)


ENDINGS = {"csv": (".csv", ".csv.gz"), "parquet": (".parquet",)}
_SPLITS = {
    "validation": _word("val|valid|validation|dev"),
    "test": _word("test|testing|t10k"),
    "train": _word("train|training"),
}


def split_files(path: Path, endings: tuple[str, ...]) -> dict[str, list[Path]]:
    """The files by split: {"train": [...], "test": [...]}, those of testing perhaps none.

    Of a directory, and those in it, all files with one of the endings are taken. The name of a
    file, or else of the directory that it is in, tells its split: "test" is for testing, of
    "validation" see `zoo.data.splitting.use_of_validation`, the others are for training.

    Raises:
        ZooError: there is no such file, or none for training; a directory cannot be read.
    """
    if not os.path.isdir(path):
        check_is_file(path)
        if not os.path.exists(path):
            raise ZooError(
                f"{shown(path)} does not exist: name a file or a directory of {endings[0]}"
            )
        return {"train": [path], "test": []}
    found = _files_in(path, endings)
    if not found:
        archive = next((file for file in sorted(path.iterdir()) if archive_kind(file)), None)
        advice = f": unpack {archive.name}" if archive else ": name the directory that has them"
        raise ZooError(f"{shown(path)} has no {' or '.join(endings)} file{advice}")
    files: dict[str, list[Path]] = {split: [] for split in _SPLITS}
    for file in found:
        files[_split_of(file.relative_to(path))].append(file)
    if not files["train"]:
        raise ZooError(
            f"{shown(path)} has only {shown(found[0].relative_to(path))} and the like: training is "
            f"missing, name a directory that has it, too"
        )
    if validation := files.pop("validation"):
        more = " and the like" if len(validation) > 1 else ""
        images = f"the images of {shown(validation[0])}{more}"
        files[use_of_validation(images, has_test=bool(files["test"]))] += validation
    return {"train": files["train"], "test": files["test"]}


def _files_in(path: Path, endings: tuple[str, ...]) -> list[Path]:
    """The files with one of the endings in a directory and below, but for hidden ones."""

    def refuse(error: OSError) -> None:
        raise ZooError(unreadable(Path(error.filename), error))

    found = sorted(
        Path(folder, name)
        for folder, _, names in os.walk(path, onerror=refuse)
        for name in names
        if name.lower().endswith(endings)
    )
    hidden = [file for file in found if _is_hidden(file.relative_to(path))]
    if hidden:
        warnings.warn(
            f"hidden files are left out, such as {shown(hidden[0])}: {len(hidden):,} in all",
            stacklevel=4,
        )
    for file in found:
        check_is_file(file)
    return [file for file in found if not _is_hidden(file.relative_to(path))]


def _is_hidden(path: Path) -> bool:
    """Whether it is, or is in, what is hidden, such as the copies that editors keep."""
    return any(part.startswith(".") for part in path.parts)


def _split_of(path: Path) -> str:
    """The split that the last part of a path tells which tells one; else that for training."""
    told = (
        split
        for part in reversed(path.parts)
        for split, word in _SPLITS.items()
        if word.search(part)
    )
    return next(told, "train")


def usual_name(names: list[str], usual: tuple[str, ...]) -> str | None:
    """The first of the usual names that is there, in upper or lower case."""
    lower = {name.lower(): name for name in reversed(names)}
    return next((lower[name] for name in usual if name in lower), None)
