"""Images as files in a directory for each class: `train/CLASS/*.png` and `test/CLASS/*.png`.

Without `train`, the directory itself has the classes. Everything in it must be an image of a class:
nothing is skipped but what is hidden and the files in `_OF_SYSTEMS`, which is said.
"""

import dataclasses
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data import cache, passes
from zoo.data.assembly import Arrays, assemble
from zoo.data.dataset import DEFAULTS, Dataset, Options, check
from zoo.data.decoding import Source, decode_all
from zoo.data.idx import archive_kind
from zoo.data.readers import Files
from zoo.system.errors import ZooError
from zoo.system.files import as_text, expanded, is_address, shown, unreadable

_OF_SYSTEMS = {"Thumbs.db", "desktop.ini"}  # written by file managers, as is .DS_Store
CACHE = ".decoded"  # in the directory of images, made here
_WAY_OUT = "repair it, or move it out of the directory"


@dataclasses.dataclass(frozen=True)
class _Files:
    """The image files of a directory, by split, with the numbers of their classes."""

    names: tuple[str, ...]  # of the classes
    paths: dict[str, list[Path]]  # by split: "train", "test"
    labels: dict[str, list[int]]


def from_directory(
    directory: str | Path, options: Options = DEFAULTS, stream: bool = False
) -> Dataset:
    """Returns the dataset of image files that a directory has, by classes.

    They lie in `train/CLASS/` and `test/CLASS/`, or in `CLASS/`; where there is no `test`, a share
    of each class is for testing, as the options say. Classes are numbered in the order of their
    names, or by their names if these are numbers. The training images are in a random order, of
    which every part has its share of each class. Decoded images are kept in `.decoded` there.

    Args:
        directory: PNG, JPEG, GIF, BMP or WebP files in a directory for each class.
        options: the size and the channels to which images are brought, and the split.
        stream: whether images stay in their files, or in a decoded copy that was made before.

    Raises:
        ZooError: something in the directory is not as described, or an image cannot be read, or
            images differ in size and the options give none; it names the file.
    """
    root = expanded(directory)
    name = f"images:{root}"
    files = _scan(root)
    about = {
        "files": passes.fingerprint(root, files.paths),
        "options": dataclasses.asdict(options),
    }
    arrays = cache.read(root / CACHE, about)
    if arrays is not None:
        dataset = Dataset(
            name,
            *cache.splits(arrays, stream),
            len(files.names),
            files.names,
            options,
            options.prepared_as("resized"),
        )
        check(dataset)
        return dataset
    dataset = assemble(name, _arrays(files, options, stream), options, "resized")
    if stream:
        return passes.find(root / CACHE, about, 0).completed(dataset, np.empty(0, np.int32))
    splits = {"train": dataset.train, "test": dataset.test}
    cache.keep(
        root / CACHE, {key: (each.images, each.labels) for key, each in splits.items()}, about
    )
    return dataset


def _arrays(files: _Files, options: Options, stream: bool) -> Arrays:
    """The images, decoded; with `stream`, they are decoded when they are read."""
    paths = tuple(path for split in files.paths.values() for path in split)
    images: Any
    if stream:
        images = Files(options, _WAY_OUT, paths=paths).images(np.arange(len(paths)))
    else:
        images = decode_all([Source(shown(path), path) for path in paths], options, _WAY_OUT)
    train, test = (np.array(files.labels[split], np.int32) for split in ("train", "test"))
    found = (images[: len(train)], train), (images[len(train) :], test)
    return Arrays(found[0], found[1] if len(test) else None, files.names)


def _scan(root: Path) -> _Files:
    """The image files of a directory, none of them opened.

    Raises:
        ZooError: it is not a directory, or something in it is not of a class.
    """
    if not os.path.isdir(root) or is_address(root):
        raise ZooError(_not_a_directory(root))
    resolved = root.resolve()
    left_out: list[Path] = []
    tops = {path.name: path for path in _listed(root, resolved, left_out)}
    if "train" not in tops and "test" in tops:
        raise ZooError(f"{shown(root)} has test but no train: name the directory with both")
    splits = {"train": tops.pop("train", root), "test": tops.pop("test", None)}
    if splits["train"] != root and tops:
        other = shown(next(iter(tops.values())))
        raise ZooError(f"{other} is neither train nor test: rename it, or move it elsewhere")
    classes = {
        split: {path.name: path for path in _classes(folder, resolved, left_out)} if folder else {}
        for split, folder in splits.items()
    }
    names = sorted(classes["train"], key=_place_of_name)
    for name, path in classes["test"].items():
        if name not in names:
            raise ZooError(
                f"{shown(path)} is a class without training images: add {name} to "
                f"{shown(splits['train'] or root)}, or move it elsewhere"
            )
    paths: dict[str, list[Path]] = {"train": [], "test": []}
    labels: dict[str, list[int]] = {"train": [], "test": []}
    for split, of_split in classes.items():
        for label, name in enumerate(names):
            if name in of_split:
                found = _images(of_split[name], resolved, left_out)
                paths[split] += found
                labels[split] += [label] * len(found)
    if left_out:
        warnings.warn(
            f"{len(left_out):,} hidden files or files of file managers, such as "
            f"{shown(left_out[0])}, are left out",
            stacklevel=4,
        )
    return _Files(tuple(names), paths, labels)


def _place_of_name(name: str) -> tuple[int, str]:
    """Numbers first, by their value."""
    is_number = name.isascii() and name.isdecimal() and len(name) < 10
    return (int(name), name) if is_number else (2**31, name)


def _classes(folder: Path, root: Path, left_out: list[Path]) -> Iterator[Path]:
    """The directories of the classes."""
    found = _listed(folder, root, left_out)
    if not found:
        raise ZooError(f"{shown(folder)} is empty: it must have a directory for each class")
    for path in found:
        if not os.path.isdir(path):
            raise ZooError(
                f"{shown(path)} is not in the directory of a class: give each class a directory, "
                f"as in train/CLASS/image.png, and move everything else elsewhere"
            )
        if as_text(path.name) != path.name or not path.name.isprintable():
            raise ZooError(f"the name of the class {path.name!r} is not text: rename the directory")
        yield path


def _images(folder: Path, root: Path, left_out: list[Path]) -> list[Path]:
    """The image files of a class."""
    found = _listed(folder, root, left_out)
    if not found:
        raise ZooError(f"{shown(folder)} is a class without images: add some, or remove it")
    for path in found:
        if not os.path.isfile(path):
            if not os.path.isdir(path):
                raise ZooError(f"{shown(path)} is not a file: move it elsewhere")
            raise ZooError(
                f"{shown(path)} is a directory within a class: move its images into {shown(folder)}"
            )
    return found


def _listed(folder: Path, root: Path, left_out: list[Path]) -> list[Path]:
    """What a directory has, by name, but for files of file managers and what is hidden.

    Raises:
        ZooError: it cannot be read; it has a link to what lies outside of the root.
    """
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise ZooError(unreadable(folder, error)) from None
    found = []
    for path in paths:
        if path.name == CACHE and not path.is_symlink():
            continue
        if path.name in _OF_SYSTEMS or path.name.startswith("."):
            left_out.append(path)
            continue
        if path.is_symlink():
            _check_link(path, root)
        found.append(path)
    return found


def _check_link(path: Path, root: Path) -> None:
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):  # a circle
        raise ZooError(f"{shown(path)} is a link to nothing: remove it") from None
    if not target.is_relative_to(root) or root.is_relative_to(target):
        raise ZooError(
            f"{shown(path)} is a link out of {shown(root)}: put a copy in its place, or remove it"
        )


def _not_a_directory(path: Path) -> str:
    if is_address(path):
        return f"a directory of images must be on this machine, not {str(path)!r}"
    if os.path.isfile(path):
        kind = archive_kind(path)
        advice = "unpack it, and name its directory" if kind else "name a directory"
        return f"{shown(path)} is {kind or 'a file'}: {advice}"
    return f"{shown(path)} is not a directory: name one with images in train/CLASS/ or CLASS/"
