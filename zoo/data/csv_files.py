"""Images as rows of numbers in CSV files: Kaggle's Digit Recognizer, MNIST in CSV."""

import csv
import gzip
import io
import math
import re
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zoo.data.assembly import Arrays, assemble
from zoo.data.dataset import Dataset, Options
from zoo.data.idx import archive_kind, opened
from zoo.data.table_files import ENDINGS, split_files, usual_name
from zoo.system.errors import ZooError
from zoo.system.files import shown, unreadable
from zoo.system.memory import available_bytes, bytes_text
from zoo.system.text import counted

_LABELS = ("label", "labels", "class", "target", "y")
_MOST_COLUMNS = 1_000_000
_FIRST_LINE = 2**24  # bytes
_MISSING = ("na", "n/a", "nan", "none", "null", "-nan", "#n/a")
_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"


class _Columns(NamedTuple):
    """What the first line tells."""

    names: list[str]
    has_header: bool
    label: str


def load_csv(path: Path, options: Options) -> Dataset:
    """The dataset in a CSV file, gzipped or not, or in those of a directory.

    A row is an image: a column with its label, a number or a text, and its pixels, whole numbers
    from 0 to 255, row by row from the upper left; three numbers a pixel if it is in colour. The
    label's column is named by the options' fields; else it is the one called "label" or the like
    or, without a header, the first.

    Raises:
        ZooError: a file is missing or damaged, has no label, or a value is no pixel.
    """
    files = split_files(path, ENDINGS["csv"])
    texts: dict[str, int] = {}
    parts = {split: [_read(file, options, texts) for file in each] for split, each in files.items()}
    values = _label_values([*texts], path)
    joined: dict[str, tuple[Any, Any]] = {}
    for split, tables in parts.items():
        if tables:
            widths = {images.shape[1:] for images, _ in tables}
            if len(widths) > 1:
                raise ZooError(
                    f"the files of {shown(path)} have images of different sizes: name one of them"
                )
            images, numbers = (np.concatenate(each) for each in zip(*tables, strict=True))
            joined[split] = images, values[numbers]
    return assemble(f"csv:{path}", Arrays(joined["train"], joined.get("test")), options, "ink")


def _label_values(texts: list[str], path: Path) -> np.ndarray:
    """What texts in a column of labels stand for: numbers, if all are numbers; else themselves.

    A test file may have fewer kinds of them, so this is asked once for all files.

    Raises:
        ZooError: among numbers there is a word for a missing value.
    """
    missing = [text for text in texts if text.strip().lower() in _MISSING]
    present = {*texts} - {*missing}
    if missing and present and all(_is_number(text.strip()) for text in present):
        raise ZooError(
            f"{shown(path)} has the label {missing[0]!r} among numbers: fill it in, or remove its "
            f"rows"
        )
    if all(re.fullmatch(r"[+-]?\d{1,18}", text.strip(), re.ASCII) for text in texts):
        return np.array([int(text.strip()) for text in texts], np.int64)
    if all(_is_number(text.strip()) for text in texts):
        return np.array([float(text.strip()) for text in texts])
    return np.array(texts, object)


def _read(path: Path, options: Options, texts: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """(images [N, height, width, channels] uint8, numbers [N] of the labels in `texts`).

    Texts that are new are added there.
    """
    import pyarrow
    import pyarrow.csv

    try:
        with opened(path) as file:
            columns = _columns(file.readline(_FIRST_LINE), path, options)
        pixels = [name for name in columns.names if name != columns.label]
        shape = _shape(len(pixels), path)
        read = pyarrow.csv.ReadOptions(
            column_names=columns.names, skip_rows=int(columns.has_header), block_size=2**24
        )
        convert = pyarrow.csv.ConvertOptions(
            column_types={
                columns.label: pyarrow.dictionary(pyarrow.int32(), pyarrow.string()),
                **dict.fromkeys(pixels, pyarrow.uint8()),
            }
        )
        with opened(path) as file:
            reader = pyarrow.csv.open_csv(file, read, convert_options=convert)
            images, numbers = _values(reader, columns.label, path, texts)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ZooError(f"{shown(path)} is a damaged gzip file ({error}): get it again") from None
    except pyarrow.ArrowInvalid as error:
        raise ZooError(f"{shown(path)} cannot be read: {_reason(error)}") from None
    except OSError as error:
        raise ZooError(unreadable(path, error)) from None
    return images.reshape(-1, *shape), numbers


def _values(
    blocks: Iterable[Any], label: str, path: Path, texts: dict[str, int]
) -> tuple[np.ndarray, np.ndarray]:
    """(pixels [N, columns] uint8, numbers [N] of the labels) of blocks of rows, as unpacked."""
    images: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    num_rows = num_bytes = 0
    for block in blocks:
        columns = dict(zip(block.schema.names, block.columns, strict=True))
        for name, column in columns.items():
            if column.null_count:
                row = num_rows + int(np.flatnonzero(column.is_null().to_numpy(False))[0])
                raise ZooError(_no_value(path, name, row))
        own = columns.pop(label)
        found = own.dictionary.to_pylist()
        kinds = np.array([texts.setdefault(text, len(texts)) for text in found], np.int64)
        labels.append(kinds[own.indices.to_numpy()])
        if "" in found:
            row = num_rows + int(np.flatnonzero(labels[-1] == texts[""])[0])
            raise ZooError(_no_value(path, label, row))
        pixels = [column.to_numpy(zero_copy_only=False) for column in columns.values()]
        num_rows, num_bytes = num_rows + len(block), num_bytes + block.nbytes
        if num_bytes > available_bytes():  # they are copied once, at the end
            raise ZooError(
                f"{shown(path)} unpacks to more than the free memory of this machine "
                f"({bytes_text(available_bytes())} are left): use a part of it"
            )
        images.append(np.stack(pixels, axis=1))
    if not num_rows:
        raise ZooError(f"{shown(path)} has no row of numbers: get it again")
    return np.concatenate(images), np.concatenate(labels)


def _no_value(path: Path, column: str, row: int) -> str:
    return (
        f"{shown(path)} has no value in column {column!r} of image {row}: fill it in, or remove "
        f"the row"
    )


def _columns(line: bytes, path: Path, options: Options) -> _Columns:
    """The columns' names, and which of them is the label."""
    try:
        first = next(csv.reader(io.StringIO(line.decode("utf-8-sig"))), [])
    except (UnicodeDecodeError, csv.Error):
        advice = "unpack it" if archive_kind(path) else "write it as comma-separated UTF-8"
        raise ZooError(f"{shown(path)} is not a CSV file: {advice}") from None
    first = [name.strip() for name in first]
    if not line.strip():
        raise ZooError(f"{shown(path)} is empty, or its first line is: get it again")
    if not 2 <= len(first) <= _MOST_COLUMNS:
        raise ZooError(
            f"the first line of {shown(path)} has {counted(len(first), 'column')}, not a label and "
            f"pixels: {'unpack it' if archive_kind(path) else 'separate them by commas'}"
        )
    has_header = sum(not _is_number(each) for each in first) > len(first) / 2 or _count_up(first)
    if not has_header:
        names = [f"column {number}" for number in range(1, len(first) + 1)]
        wanted = f"column {options.fields}" if options.fields.isdecimal() else options.fields
    else:
        names, wanted = first, options.fields
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ZooError(f"{shown(path)} has two columns {twice!r}: give each its own name")
    usual = usual_name(names, _LABELS) if has_header else names[0]
    label = wanted or usual
    if label is None or label not in names:
        missing = f"no column {wanted!r}" if wanted else "no column named label"
        raise ZooError(
            f"{shown(path)} has {missing}: name the column of labels with "
            f"--config.data.fields=NAME, or, if it has none, name the file that has labels"
        )
    return _Columns(names, has_header, label)


def _count_up(names: list[str]) -> bool:
    """Whether all but one, or all, count the columns, as in "label,0,1,2", so are no pixels."""
    numbers = [int(name) for name in names if re.fullmatch(r"\d{1,7}", name, re.ASCII)]
    in_order = any([*range(start, start + len(numbers))] == numbers for start in (0, 1))
    return in_order and len(numbers) >= max(9, len(names) - 1)


def _is_number(text: str) -> bool:
    return re.fullmatch(_NUMBER, text, re.ASCII) is not None


def _shape(num_pixels: int, path: Path) -> tuple[int, int, int]:
    """(height, width, channels) of square images with so many numbers each."""
    for channels in (1, 3):
        side = math.isqrt(num_pixels // channels)
        if side * side * channels == num_pixels:
            return side, side, channels
    raise ZooError(
        f"{shown(path)} has {num_pixels:,} columns beside the label, which is no square of pixels, "
        f"grey or with 3 numbers each: leave out other columns"
    )


def _reason(error: Exception) -> str:
    """Such as "In CSV column #3: CSV conversion error to uint8: invalid value '256'"."""
    text = " ".join(str(error).split())[:200]
    if "uint8" in text:
        return f"{text} (pixels are whole numbers from 0 to 255)"
    return f"{text} (write it as UTF-8)" if "UTF8" in text else text
