"""Finds the four IDX files of a dataset, under any of the names by which they are passed on.

As published: `train-images-idx3-ubyte.gz`; unpacked, with a dot for a dash, in a directory of the
file's own name (Kaggle), in a directory below such as `MNIST/raw` (torchvision).
"""

import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

from zoo.data.dataset import Options
from zoo.data.idx import FILENAMES, FILES, archive_kind, content_sha256
from zoo.system.errors import ZooError

_NAME = re.compile(
    r"(?:(?P<emnist>emnist-[a-z]+)-)?"
    r"(?P<split>train|t10k|test)[-_.](?P<what>images|labels)([-_.]idx\d?)?([-_.]ubyte)?"
    r"(\.(gz|zip|bz2|xz|zst|z|7z|rar))?",
    re.IGNORECASE,
)
_DEPTH = 2  # directory levels that are searched if a directory itself has none of the files


def find_idx_files(manual_dir: Path, part: str | None = None) -> dict[str, Path]:
    """The files that are there: {name as published, such as in `FILES`: path}.

    Args:
        manual_dir: a directory with the files, or one above it, or one of the files.
        part: of EMNIST, such as "emnist-letters"; None: that of the file, or the only one there.

    Raises:
        ZooError: it is not a directory; the files are in several places, or two that differ have
            the name of one; it has those of several parts of EMNIST, and none is named.
    """
    is_one = _NAME.fullmatch(manual_dir.name)  # one of the files, or the directory that it is in
    places = [manual_dir, manual_dir.parent] if is_one else [manual_dir]
    if not os.path.isdir(manual_dir) and not (is_one and os.path.isfile(manual_dir)):
        raise ZooError(_not_a_directory(manual_dir))
    if part is None and is_one:
        part = _part_of_emnist(manual_dir)
    here = [_in_directory(place, part) for place in places]
    below = [] if any(here) else [_in_directory(place, part) for place in _below(manual_dir)]
    whole = [files for files in below if len(files) == 4]
    whole = [*{next(iter(files.values()))[0].resolve(): files for files in whole}.values()]
    if len(whole) > 1:
        one, other = (next(iter(files.values()))[0].parent for files in whole[:2])
        raise ZooError(f"{manual_dir} has IDX files in {one} and in {other}: name one of them")
    chosen = max([*here, *below], key=len)  # the first of those that have the most
    parts = sorted({_part_of_emnist(path) for paths in chosen.values() for path in paths})
    if len(parts) > 1:
        raise ZooError(
            f"{manual_dir} has the files of {parts[0] or 'MNIST'} and of {parts[1]}: name one of "
            f"the files, such as {next(iter(chosen.values()))[-1]}"
        )
    names = [name for pair in FILES.values() for name in pair]
    return {name: _the_one(name, chosen[name]) for name in names if name in chosen}


def all_idx_files(manual_dir: Path) -> dict[str, Path]:
    """As `find_idx_files`.

    Raises:
        ZooError: one of the four is missing, too.
    """
    found = find_idx_files(manual_dir)
    missing = [name for pair in FILES.values() for name in pair if name not in found]
    if missing:
        raise ZooError(
            f"{manual_dir} has no {missing[0].removesuffix('.gz')}, with or without .gz: "
            f"{_unpack(manual_dir) or f'name a directory with {FILENAMES}'}"
        )
    return found


def are_transposed(path: Path, options: Options) -> bool:
    """Whether rows and columns are exchanged in a file of images; says so, if that was not asked.

    EMNIST's are, which its names tell.
    """
    if options.transposed != "auto":
        return options.transposed == "yes"
    if not _part_of_emnist(path):
        return False
    warnings.warn(
        f"{path.name}: EMNIST stores rows and columns of its images exchanged, and they are turned "
        f"upright (--config.data.transposed=no leaves them)",
        stacklevel=3,
    )
    return True


def _part_of_emnist(path: Path) -> str:
    """Such as "emnist-letters" of a file of it; empty for other files."""
    match = _NAME.fullmatch(path.name)
    return (match["emnist"] or "").lower() if match else ""


def _in_directory(directory: Path, part: str | None = None) -> dict[str, list[Path]]:
    """{name as published: the files that may be it}, of those that the directory has.

    Args:
        directory: where they are.
        part: of EMNIST, of which the others are left out, "" for no part; None: any.
    """
    found: dict[str, list[Path]] = {}
    for path in _listed(directory):
        if not _NAME.fullmatch(path.name):
            continue
        inside = _listed(path) if os.path.isdir(path) else [path]
        for file in inside:
            if part is not None and _part_of_emnist(file) != part:
                continue
            if os.path.isfile(file) and (match := _NAME.fullmatch(file.name)):
                split = "train" if match["split"].lower() == "train" else "test"
                name = FILES[split][match["what"].lower() == "labels"]
                found.setdefault(name, []).append(file)
    return found


def _the_one(name: str, paths: list[Path]) -> Path:
    """That of several files with the name of one which holds the data.

    Raises:
        ZooError: they differ.
    """
    if len(paths) == 1:
        return paths[0]
    unpacked = [path for path in paths if not archive_kind(path)] or paths
    contents = {content_sha256(path) for path in unpacked}
    if len(contents) > 1 or None in contents:
        raise ZooError(
            f"{unpacked[0]} and {unpacked[1]} may both be {name}, and they differ: rename or "
            f"remove the wrong one"
        )
    # torchvision keeps both, and of kmnist and fashion_mnist only the .gz has a known sum.
    return next((path for path in unpacked if path.name == name), unpacked[0])


def _below(directory: Path, depth: int = _DEPTH) -> Iterator[Path]:
    for path in _listed(directory):
        if os.path.isdir(path) and not path.name.startswith("."):
            yield path
            if depth > 1:
                yield from _below(path, depth - 1)


def _listed(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:  # not a directory, or not to be read: it has none of the files
        return []


def _not_a_directory(path: Path) -> str:
    if os.path.isfile(path) and (kind := archive_kind(path)):
        return f"manual_dir is {kind}, not a directory: {path}: unpack it, and name its directory"
    return f"manual_dir is not a directory: {path}: name the one with the IDX files"


def _unpack(directory: Path) -> str:
    """What to do, if the directory has an archive."""
    for path in _listed(directory):
        if os.path.isfile(path) and (kind := archive_kind(path)):
            return f"{path.name} there is {kind}: unpack it"
    return ""
