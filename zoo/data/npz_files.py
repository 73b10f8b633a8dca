"""Arrays in one .npz file, or in a directory of .npy files: Keras's mnist.npz, MedMNIST's files.

Nothing in them is executed: arrays of Python objects, which would be, are refused.
"""

import os
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tokenize import TokenError
from typing import IO

import numpy as np

from zoo.data.assembly import Arrays, assemble
from zoo.data.dataset import Dataset, Options
from zoo.data.splitting import use_of_validation
from zoo.system.errors import ZooError
from zoo.system.files import check_is_file, shown, unreadable
from zoo.system.memory import available_bytes, bytes_text

_LAYOUTS = (  # training images and labels, test images and labels, validation images and labels
    ("x_train", "y_train", "x_test", "y_test", "x_val", "y_val"),  # Keras
    ("X_train", "y_train", "X_test", "y_test", "X_val", "y_val"),
    (  # MedMNIST
        *("train_images", "train_labels"),
        *("test_images", "test_labels"),
        *("val_images", "val_labels"),
    ),
    ("images", "labels"),
    ("x", "y"),
    ("X", "y"),
)
_ERRORS = (
    *(ValueError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError),
    *(SyntaxError, TokenError),  # of the header of an array, which is read as an expression
)

Pair = tuple[np.ndarray, np.ndarray]  # images, labels
Readers = Mapping[str, Callable[[], np.ndarray]]  # by the name of the array


def load_npz(path: Path, options: Options) -> Dataset:
    """The dataset in an .npz file.

    Raises:
        ZooError: it cannot be read, is damaged, or has no such arrays.
    """
    if os.path.isdir(path):
        raise ZooError(f"{shown(path)} is a directory: name an .npz file, or use npy:DIRECTORY")
    check_is_file(path)
    try:
        with _opened(path) as archive:
            members = {
                member.filename.removesuffix(".npy"): member
                for member in archive.infolist()
                if member.filename.endswith(".npy")
            }
            readers = {
                name: _member_reader(archive, member, path) for name, member in members.items()
            }
            return assemble(f"npz:{path}", _found(path, readers, options), options, "ink")
    except OSError as error:
        raise ZooError(unreadable(path, error)) from None


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except _ERRORS as error:  # also names that are not text, and a later version of the format
        raise ZooError(
            f"{shown(path)} is not an .npz file, or a damaged one ({error}): get it again"
        ) from None


def load_npy(path: Path, options: Options) -> Dataset:
    """The dataset in a directory of .npy files, such as x_train.npy and y_train.npy.

    Raises:
        ZooError: as `load_npz`.
    """
    if not os.path.isdir(path):
        raise ZooError(
            f"{shown(path)} is not a directory: name the one with x_train.npy and y_train.npy"
        )
    try:
        files = sorted(file for file in path.iterdir() if file.suffix == ".npy")
    except OSError as error:
        raise ZooError(unreadable(path, error)) from None
    readers = {file.stem: _file_reader(file) for file in files}
    return assemble(f"npy:{path}", _found(path, readers, options), options, "ink")


def _found(path: Path, readers: Readers, options: Options) -> Arrays:
    """The arrays with the usual names, or with those that the options give."""
    names = _chosen(path, readers, options)
    parts = {split: (readers[pair[0]](), readers[pair[1]]()) for split, pair in names.items()}
    if more := parts.pop("validation", None):
        images = f"{names['validation'][0]} of {shown(path)} ({_count(more[0]):,} images)"
        if use_of_validation(images, has_test="test" in parts) == "test":
            parts["test"] = more
        else:
            parts["train"] = _joined(parts["train"], more, names, path)
    if left_out := sorted({*readers} - {name for pair in names.values() for name in pair}):
        warnings.warn(f"{shown(path)} has arrays of no use: {', '.join(left_out)}", stacklevel=2)
    return Arrays(parts["train"], parts.get("test"))


def _count(array: np.ndarray) -> int:
    return len(array) if array.ndim else 0


def _joined(train: Pair, more: Pair, names: Mapping[str, tuple[str, str]], path: Path) -> Pair:
    """The images and labels of training, then those of validation."""
    joined = []
    for index, (array, other) in enumerate(zip(train, more, strict=True)):
        size = array.nbytes + other.nbytes
        if size > available_bytes():
            raise ZooError(_too_large(f"{names['train'][index]!r} of {shown(path)}", size))
        try:
            if (array.dtype.kind == "U") != (other.dtype.kind == "U"):
                raise ValueError("numbers and texts")  # NumPy would make texts of both
            joined.append(np.concatenate([array, other]))
        except ValueError:
            raise ZooError(
                f"{names['train'][index]} and {names['validation'][index]} of {shown(path)} are "
                f"{array.dtype} of shape {array.shape} and {other.dtype} of shape {other.shape}, "
                f"which do not fit together: write them alike"
            ) from None
    return joined[0], joined[1]


def _chosen(path: Path, readers: Readers, options: Options) -> dict[str, tuple[str, str]]:
    """{"train", "test", "validation"}: names of images and labels; the last two perhaps missing."""
    if options.fields:
        names = [name.strip() for name in options.fields.split(",")]
        if len(names) not in (2, 4):
            raise ZooError(
                f"config.data.fields must name two or four arrays of {shown(path)}, such as "
                f"x_train,y_train,x_test,y_test, not {options.fields!r}"
            )
        if missing := [name for name in names if name not in readers]:
            raise ZooError(f"{shown(path)} has no array {missing[0]!r}: {_has(readers)}")
        return _by_split(names)
    there = [
        {split: pair for split, pair in _by_split(layout).items() if {*pair} <= {*readers}}
        for layout in _LAYOUTS
    ]
    found = max((each for each in there if "train" in each), key=len, default=None)
    if found:
        return found
    raise ZooError(
        f"{shown(path)} has no arrays x_train and y_train, or of other usual names: {_has(readers)}"
        f"; name them with --config.data.fields=IMAGES,LABELS,TEST_IMAGES,TEST_LABELS"
    )


def _by_split(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    pairs = zip(names[::2], names[1::2], strict=True)
    return dict(zip(("train", "test", "validation"), pairs, strict=False))


def _has(readers: Readers) -> str:
    names = [name if name.isprintable() else repr(name) for name in sorted(readers)]
    return f"it has {', '.join(names[:10])}" if names else "it has none"


def _member_reader(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path
) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        what = f"{shown(path)}, array {member.filename.removesuffix('.npy')!r},"
        try:
            with archive.open(member) as file:
                _check_header(file, member.file_size, what)
            with archive.open(member) as file:
                return np.lib.format.read_array(file, allow_pickle=False)
        except _ERRORS as error:
            raise ZooError(_damaged(what, error)) from None

    return read


def _file_reader(path: Path) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        check_is_file(path)
        try:
            with open(path, "rb") as file:
                _check_header(file, path.stat().st_size, shown(path))
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except _ERRORS as error:
            raise ZooError(_damaged(shown(path), error)) from None
        except OSError as error:
            raise ZooError(unreadable(path, error)) from None

    return read


def _check_header(file: IO[bytes], size: int, what: str) -> None:
    """Raises an error unless the array that a header declares fits into the file and the memory."""
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    version = np.lib.format.read_magic(file)
    if version not in read_header:
        raise ValueError(f"version {version} of the format is not known")
    shape, _, dtype = read_header[version](file)
    if dtype.hasobject:
        raise ZooError(
            f"{what} holds Python objects, which are not read, for that could execute code: "
            f"save an array of numbers or texts"
        )
    declared = int(np.prod([int(axis) for axis in shape], dtype=object)) * dtype.itemsize
    if declared > size:
        raise ValueError(f"it declares {bytes_text(declared)} and has {bytes_text(size)}")
    if declared > available_bytes():
        raise ZooError(_too_large(what, declared))


def _too_large(what: str, size: int) -> str:
    return (
        f"{what} takes {bytes_text(size)}, more than the free memory of this machine "
        f"({bytes_text(available_bytes())}): use a part of it"
    )


def _damaged(what: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:200]
    return f"{what} is damaged, or no array ({reason}): get it again"
