"""How images that stay on disk are read: rows of an array, image files, records of TFDS.

The processes that read for a run import this, so it needs neither JAX nor the whole of TFDS.
"""

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.dataset import Options
from zoo.data.decoding import Source, decode, shape_of
from zoo.data.stored import StoredImages
from zoo.system.errors import ZooError
from zoo.system.files import shown

_RECORDS = 1000  # that are held at once to read their labels


@dataclasses.dataclass(frozen=True)
class Rows:
    """Reads rows of a decoded array in an .npy file, which another may replace."""

    path: Path
    identity: tuple[int, ...]  # of the file

    def __call__(self, indices: np.ndarray) -> np.ndarray:
        return _mapped(self.path, self.identity)[indices]


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Reads and decodes images of one form, as the options say."""

    options: Options
    way_out: str  # what to do with one that is no image
    is_transposed: bool = False  # rows and columns are exchanged
    shape: tuple[int, int, int] = (0, 0, 0)  # as they are stored, once it is known

    def __call__(self, indices: np.ndarray) -> np.ndarray:
        height, width, channels = self.shape
        result = np.empty((len(indices), height, width, channels), np.uint8)
        for row, source in zip(result, self.sources(indices), strict=True):
            row[:] = decode(source, self.shape, self.options, self.way_out)
        return np.ascontiguousarray(result.transpose(0, 2, 1, 3)) if self.is_transposed else result

    def sources(self, indices: np.ndarray) -> Iterator[Source]:
        """The image files of those indices [n], or the bytes of them."""
        raise NotImplementedError

    def images(self, indices: np.ndarray) -> StoredImages:
        """The images of those indices [N], all of the form of the first one."""
        first = shape_of(next(iter(self.sources(indices[:1]))), self.options, self.way_out)
        height, width, channels = first
        turned = (width, height, channels) if self.is_transposed else first
        return StoredImages(dataclasses.replace(self, shape=first), turned, indices)


@dataclasses.dataclass(frozen=True)
class Files(Pictures):
    """Image files by their number."""

    paths: tuple[Path, ...] = ()

    def sources(self, indices: np.ndarray) -> Iterator[Source]:
        for index in indices.tolist():
            yield Source(shown(self.paths[index]), self.paths[index])


@dataclasses.dataclass(frozen=True)
class Records(Pictures):
    """Images in array_record files of TFDS, by their number in all of them together."""

    paths: tuple[str, ...] = ()
    name: str = ""  # of the dataset
    feature: str = "image"  # that is the image

    def sources(self, indices: np.ndarray) -> Iterator[Source]:
        for number, example in self._examples(indices):
            values = example.features.feature[self.feature].bytes_list.value
            if len(values) != 1:
                raise ZooError(f"record {number} of {self.name} has no image: {self.way_out}")
            yield Source(f"record {number} of {self.name}", values[0])

    def labels(self, count: int, feature: str) -> np.ndarray:
        """The labels [count] int32 of all records, which are the feature of that name."""
        result = np.empty(count, np.int32)
        for start in range(0, count, _RECORDS):
            for number, example in self._examples(np.arange(start, min(start + _RECORDS, count))):
                values = example.features.feature[feature].int64_list.value
                if len(values) != 1 or not 0 <= values[0] < 2**31:
                    raise ZooError(f"record {number} of {self.name} has no label: {self.way_out}")
                result[number] = values[0]
        return result

    def _examples(self, indices: np.ndarray) -> Iterator[tuple[int, Any]]:
        """(number, record) of those indices."""
        from google.protobuf.message import DecodeError
        from tensorflow_datasets.proto import tf_example_pb2

        numbers = indices.tolist()
        try:
            records = _opened(self.paths).__getitems__(numbers)
        except (RuntimeError, OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ZooError(
                f"records of {self.name} cannot be read ({reason}): {self.way_out}"
            ) from None
        for number, record in zip(numbers, records, strict=True):
            try:
                yield number, tf_example_pb2.Example.FromString(record)
            except DecodeError:
                raise ZooError(
                    f"record {number} of {self.name} is damaged: {self.way_out}"
                ) from None


@functools.lru_cache(8)
def _opened(paths: tuple[str, ...]) -> Any:
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    return ArrayRecordDataSource(paths)


def in_decoded_copy(images: np.ndarray) -> StoredImages:
    """The rows of an array [N, height, width, channels] uint8 that is mapped from an .npy file."""
    assert isinstance(images, np.memmap)
    height, width, channels = images.shape[1:]
    path = Path(str(images.filename))
    rows = Rows(path, _identity(path))
    return StoredImages(rows, (height, width, channels), np.arange(len(images)))


@functools.lru_cache(8)
def _mapped(path: Path, identity: tuple[int, ...]) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        is_same = _identity(path) == identity
    except (OSError, ValueError):
        is_same = False
    if not is_same:
        raise ZooError(
            f"the decoded copy {shown(path)} was replaced while it was read, by a command with "
            f"other data options or after a file had changed: give the same command again"
        )
    return array


def _identity(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
