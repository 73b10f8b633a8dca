"""Images in Parquet files, as Hugging Face keeps them: bytes of image files, or arrays.

Only `zoo.data` imports this module, and only when such a file is named: it imports PyArrow.
"""

import errno
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from pyarrow import types

from zoo.data.assembly import Arrays, assemble
from zoo.data.dataset import Dataset, Options
from zoo.data.decoding import Source, decode_all
from zoo.data.table_files import ENDINGS, split_files, usual_name
from zoo.system.errors import ZooError
from zoo.system.files import shown, unreadable
from zoo.system.memory import available_bytes, bytes_text

_IMAGES = ("image", "img", "images", "pixels", "x")
_LABELS = ("label", "labels", "class", "target", "fine_label", "y")
_MOST_ROWS = 1024  # that are read at once
_WAY_OUT = "repair the file, or leave that row out"


def load_parquet(path: Path, options: Options) -> Dataset:
    """The dataset in a Parquet file, or in those of a directory.

    Images are the bytes of image files, alone or in a struct as Hugging Face's, or arrays of
    numbers from 0 to 255. The columns are named by the options' fields, IMAGE,LABEL; else they are
    those called "image" and "label" or the like. The names of the classes are taken from what
    Hugging Face's `datasets` writes into a file.

    Raises:
        ZooError: a file is missing or damaged, has no such columns, or an image cannot be read.
    """
    files = split_files(path, ENDINGS["parquet"])
    tables = {split: [_read(file, options) for file in each] for split, each in files.items()}
    parts = [part for each in tables.values() for images, _ in each for part in images]
    if not parts:
        raise ZooError(f"{shown(path)} has no row: name a file that has some")
    images = _images(parts, path, options)
    labels = {
        split: np.concatenate([each for _, each in of_split])
        for split, of_split in tables.items()
        if of_split
    }
    num_train = len(labels["train"])
    test = (images[num_train:], labels["test"]) if "test" in labels else None
    names = _class_names(files["train"][0], options)
    found = Arrays((images[:num_train], labels["train"]), test, names)
    return assemble(f"parquet:{path}", found, options, "resized")


def _images(parts: list[np.ndarray | Source], path: Path, options: Options) -> np.ndarray:
    """The images of all files, decoded if they are stored as image files."""
    sources = [part for part in parts if isinstance(part, Source)]
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    if sources and arrays:
        raise ZooError(
            f"of the files of {shown(path)}, some hold the bytes of image files and some arrays: "
            f"name one of them"
        )
    if sources:
        return decode_all(sources, options, _WAY_OUT)
    if len({array.shape[1:] for array in arrays}) > 1:
        raise ZooError(f"the images of {shown(path)} differ in size: bring them to one size")
    return np.concatenate(arrays)


def _read(path: Path, options: Options) -> tuple[list[np.ndarray | Source], np.ndarray]:
    """(arrays of images, or the bytes of image files; labels) of a file.

    It is read by a few rows at a time, for a small file can hold one large value many times.
    """
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            names = _fields(path, file.schema_arrow.names, options)
            return _rows(file, *names, path)
    except MemoryError:
        raise ZooError(_too_large(path)) from None
    except PermissionError:
        denied = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        raise ZooError(unreadable(path, denied)) from None
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ZooError(f"{shown(path)} is no Parquet file ({reason}): get it again") from None


def _rows(
    file: Any, image: str, label: str, path: Path
) -> tuple[list[np.ndarray | Source], np.ndarray]:
    images: list[np.ndarray | Source] = []
    none = pyarrow.nulls(0, file.schema_arrow.field(label).type)
    labels = [none.to_numpy(zero_copy_only=False)]
    num_rows = num_bytes = 0
    for batch in file.iter_batches(_rows_at_once(file, image, path), columns=[image, label]):
        for name in (image, label):
            if batch.column(name).null_count:
                is_null = batch.column(name).is_null().to_numpy(False)
                row = num_rows + int(np.flatnonzero(is_null)[0])
                raise ZooError(f"{shown(path)} has no {name} in row {row}: leave that row out")
        if _is_list(batch.column(image).type):
            images.append(_array(batch.column(image), path))
            num_bytes += batch.nbytes
        else:
            for number, value in enumerate(batch.column(image).to_pylist(), num_rows):
                content = _content(value, number, path)
                images.append(Source(f"image {number} of {shown(path)}", content))
                num_bytes += len(content)
        if num_bytes > available_bytes():  # they are copied once, or decoded
            raise ZooError(_too_large(path))
        labels.append(batch.column(label).to_numpy(zero_copy_only=False))
        num_rows += len(batch)
    return images, np.concatenate(labels)


def _rows_at_once(file: Any, image: str, path: Path) -> int:
    """So few that their images fit into the memory, were each as large as all that are stored.

    Raises:
        ZooError: all images, as far as their number tells, or one of them may not fit.
    """
    kind = file.schema_arrow.field(image).type
    is_list = _is_list(kind)
    while _is_list(kind):
        kind = kind.value_type
    paths = [file.schema.column(index).path for index in range(len(file.schema))]
    parts = {n: path for n, path in enumerate(paths) if f"{path}.".startswith(f"{image}.")}
    for part in parts.values():  # damage that is an error here would end the process below
        file.scan_contents([part])
    groups = [file.metadata.row_group(index) for index in range(file.metadata.num_row_groups)]
    chunks = [group.column(index) for group in groups for index in parts]
    stored = [each.total_uncompressed_size for each in chunks]
    width = kind.bit_width // 8 if is_list and types.is_primitive(kind) else 0
    needed = max(sum(stored), width * sum(each.num_values for each in chunks))
    free = available_bytes()
    if needed > free:
        raise ZooError(_too_large(path))
    if width:
        return _MOST_ROWS
    return int(max(1, min(_MOST_ROWS, free // 8 // max([*stored, 1]))))  # they are copied twice


def _too_large(path: Path) -> str:
    return (
        f"{shown(path)} holds more than the free memory of this machine "
        f"({bytes_text(available_bytes())} are left): use a part of it"
    )


def _fields(path: Path, names: list[str], options: Options) -> tuple[str, str]:
    """The columns of images and of labels."""
    given = options.fields.split(",") if options.fields else []
    if len(given) not in (0, 2):
        raise ZooError(
            f"config.data.fields must name two columns, IMAGE,LABEL, of {shown(path)}, not "
            f"{options.fields!r}"
        )
    usual = [usual_name(names, each) for each in (_IMAGES, _LABELS)]
    found = [name.strip() for name in given] or usual
    for what, name in zip(("images", "labels"), found, strict=True):
        if name is None or name not in names:
            raise ZooError(
                f"{shown(path)} has no column {name or f'of {what}'}: it has "
                f"{', '.join(names[:10])}; name two with --config.data.fields=IMAGE,LABEL"
            )
        if names.count(name) > 1:
            raise ZooError(f"{shown(path)} has two columns {name}: give each its own name")
    return str(found[0]), str(found[1])


def _is_list(kind: Any) -> bool:
    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def _array(column: Any, path: Path) -> np.ndarray:
    """[N, height, width] or [N, height, width, channels] of a column of lists of numbers."""
    values, shape = column, [len(column)]
    while _is_list(values.type):
        flat = values.flatten()
        length, rest = divmod(len(flat), max(len(values), 1))
        if rest or values.value_lengths().unique().to_pylist() not in ([length], []):
            raise ZooError(f"the images of {shown(path)} differ in size: bring them to one size")
        values, shape = flat, [*shape, length]
    array = values.to_numpy(zero_copy_only=False).reshape(shape)
    side = math.isqrt(shape[-1])
    if array.ndim == 2 and side and side * side == shape[-1]:  # rows of pixels
        return array.reshape(-1, side, side)
    return array


def _content(value: Any, number: int, path: Path) -> bytes:
    """The bytes of an image file that a row holds."""
    content = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(content, bytes):
        raise ZooError(
            f"image {number} of {shown(path)} is neither the bytes of an image file nor an array: "
            f"write it so, or name other columns with --config.data.fields=IMAGE,LABEL"
        )
    return content


def _class_names(path: Path, options: Options) -> tuple[str, ...]:
    """Those that Hugging Face's `datasets` keeps of a column of labels; none if it did not."""
    schema = pyarrow.parquet.read_schema(path)
    _, label = _fields(path, schema.names, options)
    try:
        kept = json.loads((schema.metadata or {})[b"huggingface"])
        names = kept["info"]["features"][label]["names"]
        return tuple(str(name) for name in names)
    except (KeyError, TypeError, ValueError, RecursionError):
        return ()
