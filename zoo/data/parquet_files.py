"""Images in Parquet files, as Hugging Face keeps them: bytes of image files, or arrays."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.assembly import Arrays, assemble
from zoo.data.dataset import Dataset, Options
from zoo.data.decoding import Source, decode_all
from zoo.data.table_files import split_files, usual_name
from zoo.system.errors import ZooError
from zoo.system.files import shown
from zoo.system.memory import available_bytes, bytes_text

_IMAGES = ("image", "img", "images", "pixels", "x")
_LABELS = ("label", "labels", "class", "target", "fine_label", "y")
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
    import pyarrow

    files = split_files(path, (".parquet",))
    everything = [file for each in files.values() for file in each]
    try:
        _check_size(everything)
        tables = {split: [_table(file, options) for file in each] for split, each in files.items()}
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ZooError(f"{shown(path)} is no Parquet file ({reason}): get it again") from None
    columns = [column for each in tables.values() for column, _ in each]
    if not any(map(len, columns)):
        raise ZooError(f"{shown(path)} has no row: name a file that has some")
    if _is_list(columns[0].type):
        images = np.concatenate([_array(*each) for each in zip(columns, everything, strict=True)])
    else:
        sources = [
            Source(f"image {number} of {shown(file)}", _content(value, number, file))
            for column, file in zip(columns, everything, strict=True)
            for number, value in enumerate(column.to_pylist())
        ]
        images = decode_all(sources, options, _WAY_OUT)
    labels = {
        split: np.concatenate([each for _, each in of_split])
        for split, of_split in tables.items()
        if of_split
    }
    num_train = len(labels["train"])
    test = (images[num_train:], labels["test"]) if "test" in labels else None
    names = _class_names(everything[0], options)
    found = Arrays((images[:num_train], labels["train"]), test, names)
    return assemble(f"parquet:{path}", found, options, "resized")


def _check_size(files: list[Path]) -> None:
    """Raises ZooError if the files need more memory than is free, or are not files of tables."""
    import pyarrow.parquet

    total = 0
    for file in files:
        metadata = pyarrow.parquet.read_metadata(file)
        total += sum(
            metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups)
        )
    if total > available_bytes():
        raise ZooError(
            f"{shown(files[0])} and the others take {bytes_text(total)}, more than the free memory "
            f"of this machine ({bytes_text(available_bytes())})"
        )


def _table(path: Path, options: Options) -> tuple[Any, np.ndarray]:
    """(column of images as they are stored, labels) of a file."""
    import pyarrow.parquet

    schema = pyarrow.parquet.read_schema(path)
    image, label = _fields(path, schema.names, options)
    table = pyarrow.parquet.read_table(path, columns=[image, label])
    for name in (image, label):
        if table.column(name).null_count:
            row = int(np.flatnonzero(table.column(name).is_null().to_numpy())[0])
            raise ZooError(f"{shown(path)} has no {name} in row {row}: leave that row out")
    return table.column(image), table.column(label).to_numpy()


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
    return str(found[0]), str(found[1])


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def _array(column: Any, path: Path) -> np.ndarray:
    """[N, height, width] or [N, height, width, channels] of a column of lists of numbers."""
    values, shape = column.combine_chunks(), [len(column)]
    while _is_list(values.type):
        flat = values.flatten()
        length, rest = divmod(len(flat), max(len(values), 1))
        if rest or values.value_lengths().unique().to_pylist() not in ([length], []):
            raise ZooError(f"the images of {shown(path)} differ in size: bring them to one size")
        values, shape = flat, [*shape, length]
    array = values.to_numpy(zero_copy_only=False).reshape(shape)
    side = math.isqrt(shape[-1])
    if array.ndim == 2 and side * side == shape[-1]:  # rows of pixels
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
    import pyarrow.parquet

    schema = pyarrow.parquet.read_schema(path)
    _, label = _fields(path, schema.names, options)
    try:
        kept = json.loads((schema.metadata or {})[b"huggingface"])
        names = kept["info"]["features"][label]["names"]
        return tuple(str(name) for name in names)
    except (KeyError, TypeError, ValueError, RecursionError):
        return ()
