"""Images as rows of numbers in CSV files: Kaggle's Digit Recognizer, MNIST in CSV."""

import csv
import gzip
import io
import math
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zoo.data.assembly import Arrays, assemble
from zoo.data.dataset import Dataset, Options
from zoo.data.idx import archive_kind, opened
from zoo.data.table_files import split_files, usual_name
from zoo.system.errors import ZooError
from zoo.system.files import shown
from zoo.system.memory import available_bytes, bytes_text

_ENDINGS = (".csv", ".csv.gz")
_LABELS = ("label", "labels", "class", "target", "y")
_MOST_COLUMNS = 1_000_000
_FIRST_LINE = 2**24  # bytes


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
    files = split_files(path, _ENDINGS)
    parts = {split: [_read(file, options) for file in each] for split, each in files.items()}
    joined: dict[str, tuple[Any, Any]] = {}
    for split, tables in parts.items():
        if tables:
            widths = {images.shape[1:] for images, _ in tables}
            if len(widths) > 1:
                raise ZooError(f"the files of {shown(path)} have images of different sizes")
            images, labels = (np.concatenate(each) for each in zip(*tables, strict=True))
            joined[split] = images, labels
    return assemble(f"csv:{path}", Arrays(joined["train"], joined.get("test")), options, "ink")


def _read(path: Path, options: Options) -> tuple[np.ndarray, np.ndarray]:
    """(images [N, height, width, channels] uint8, labels [N] integers or texts)."""
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
            column_types=dict.fromkeys(pixels, pyarrow.uint8()), strings_can_be_null=True
        )
        with opened(path) as file:
            reader = pyarrow.csv.open_csv(file, read, convert_options=convert)
            images, labels = _values(reader, columns.label, path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ZooError(f"{shown(path)} is a damaged gzip file ({error}): get it again") from None
    except pyarrow.ArrowInvalid as error:
        raise ZooError(f"{shown(path)} cannot be read: {_reason(error)}") from None
    except OSError as error:
        raise ZooError(f"{shown(path)} cannot be read ({error.strerror or error})") from None
    return images.reshape(-1, *shape), labels


def _values(blocks: Iterable[Any], label: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(pixels [N, columns] uint8, labels [N]) of blocks of rows, as they are unpacked."""
    images: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    num_rows = num_bytes = 0
    for block in blocks:
        for name, column in zip(block.schema.names, block.columns, strict=True):
            if column.null_count:
                row = num_rows + int(np.flatnonzero(column.is_null().to_numpy(False))[0])
                raise ZooError(
                    f"{shown(path)} has no value in column {name!r} of image {row}: fill it in, or "
                    f"remove the row"
                )
        pixels = [
            column.to_numpy(zero_copy_only=False)
            for name, column in zip(block.schema.names, block.columns, strict=True)
            if name != label
        ]
        num_rows, num_bytes = num_rows + len(block), num_bytes + len(block) * len(pixels)
        if num_bytes > available_bytes():  # they are copied once, at the end
            raise ZooError(
                f"{shown(path)} unpacks to more than the free memory of this machine "
                f"({bytes_text(available_bytes())} are left): use a part of it"
            )
        images.append(np.stack(pixels, axis=1))
        labels.append(block.column(label).to_numpy(zero_copy_only=False))
    if not num_rows:
        raise ZooError(f"{shown(path)} has no row of numbers: get it again")
    return np.concatenate(images), np.concatenate(labels)


def _columns(line: bytes, path: Path, options: Options) -> _Columns:
    """The columns' names, and which of them is the label."""
    try:
        first = next(csv.reader(io.StringIO(line.decode("utf-8-sig"))), [])
    except (UnicodeDecodeError, csv.Error):
        advice = "unpack it" if archive_kind(path) else "write it as comma-separated UTF-8"
        raise ZooError(f"{shown(path)} is not a CSV file: {advice}") from None
    first = [name.strip() for name in first]
    if not 2 <= len(first) <= _MOST_COLUMNS:
        raise ZooError(
            f"the first line of {shown(path)} has {len(first):,} columns, not a label and pixels: "
            f"separate them by commas"
        )
    has_header = sum(not _is_number(each) for each in first) > len(first) / 2
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


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


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
    wrong = " (pixels are whole numbers from 0 to 255)" if "uint8" in text else ""
    return f"{text}{wrong}"
