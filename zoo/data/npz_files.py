"""Arrays in one .npz file, or in a directory of .npy files: Keras's mnist.npz, MedMNIST's files.

Nothing in them is executed: arrays of Python objects, which would be, are refused.
"""

import os
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from zoo.data.assembly import Arrays, assemble
from zoo.data.dataset import Dataset, Options
from zoo.system.errors import ZooError
from zoo.system.files import shown
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
_ERRORS = (ValueError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)

Readers = Mapping[str, Callable[[], np.ndarray]]  # by the name of the array


def load_npz(path: Path, options: Options) -> Dataset:
    """The dataset in an .npz file.

    Raises:
        ZooError: it cannot be read, is damaged, or has no such arrays.
    """
    if os.path.isdir(path):
        raise ZooError(f"{shown(path)} is a directory: name an .npz file, or use npy:DIRECTORY")
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
        raise ZooError(f"{shown(path)} cannot be read ({error.strerror or error})") from None


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
    readers = {file.stem: _file_reader(file) for file in sorted(path.glob("*.npy"))}
    return assemble(f"npy:{path}", _found(path, readers, options), options, "ink")


def _found(path: Path, readers: Readers, options: Options) -> Arrays:
    """The arrays with the usual names, or with those that the options give."""
    names = _chosen(path, readers, options)
    pairs = [
        (readers[images](), readers[labels]())
        for images, labels in zip(names[::2], names[1::2], strict=True)
    ]
    if len(pairs) == 3:
        warnings.warn(
            f"{names[4]} of {shown(path)} ({len(pairs[2][0]):,} images) come after those of "
            f"{names[0]}: of both together, the last 20% are held out for validation",
            stacklevel=2,
        )
        (images, labels), test, (more_images, more_labels) = pairs
        try:
            joined = (np.concatenate([images, more_images]), np.concatenate([labels, more_labels]))
            pairs = [joined, test]
        except ValueError:
            raise ZooError(
                f"{names[0]} and {names[4]} of {shown(path)} have the shapes {images.shape} and "
                f"{more_images.shape}, which do not fit together"
            ) from None
    if left_out := sorted(set(readers) - set(names)):
        warnings.warn(f"{shown(path)} has arrays of no use: {', '.join(left_out)}", stacklevel=2)
    return Arrays(pairs[0], pairs[1] if len(pairs) > 1 else None)


def _chosen(path: Path, readers: Readers, options: Options) -> list[str]:
    """Names of images and labels by turns: of training, test, validation."""
    if options.fields:
        names = [name.strip() for name in options.fields.split(",")]
        if len(names) not in (2, 4):
            raise ZooError(
                f"config.data.fields must name two or four arrays of {shown(path)}, such as "
                f"x_train,y_train,x_test,y_test, not {options.fields!r}"
            )
        if missing := [name for name in names if name not in readers]:
            raise ZooError(f"{shown(path)} has no array {missing[0]!r}: {_has(readers)}")
        return names
    for layout in _LAYOUTS:
        if set(layout[:4]) <= set(readers):
            return [*layout[: 6 if set(layout) <= set(readers) else 4]]
    raise ZooError(
        f"{shown(path)} has no arrays x_train and y_train, or of other usual names: {_has(readers)}"
        f"; name them with --config.data.fields=IMAGES,LABELS,TEST_IMAGES,TEST_LABELS"
    )


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
        try:
            with open(path, "rb") as file:
                _check_header(file, path.stat().st_size, shown(path))
            return np.load(path, mmap_mode="r", allow_pickle=False)
        except _ERRORS as error:
            raise ZooError(_damaged(shown(path), error)) from None
        except OSError as error:
            raise ZooError(f"{shown(path)} cannot be read ({error.strerror or error})") from None

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
        raise ZooError(
            f"{what} takes {bytes_text(declared)}, more than the free memory of this machine "
            f"({bytes_text(available_bytes())})"
        )


def _damaged(what: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:200]
    return f"{what} is damaged, or no array ({reason}): get it again"
