"""Prepares EMNIST's parts and CIFAR-10 as TFDS does, without TensorFlow, from published files.

The files must be on this disk, unpacked from the archives: there are no published checksums of the
files in them. What is prepared has the name, version and features of TFDS's own dataset.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tensorflow_datasets.image_classification import cifar
from tensorflow_datasets.image_classification import mnist as stock

from zoo.data.idx import FILES
from zoo.data.idx_files import find_idx_files
from zoo.data.mnist_tfds import WithoutTensorFlow, build
from zoo.data.names import place_of
from zoo.system.errors import ZooError
from zoo.system.files import shown

_EMNIST = re.compile(
    rf"emnist/({'|'.join(config.name for config in stock.EMNIST.BUILDER_CONFIGS)})"
)
_SIDE = 32  # pixels of CIFAR's images
_RECORD = 1 + 3 * _SIDE * _SIDE  # bytes: a label, then the red, green and blue pixels
_CIFAR_FILES = {
    "train": [f"data_batch_{number}.bin" for number in range(1, 6)],
    "test": ["test_batch.bin"],
}
_CIFAR_NAMES = "batches.meta.txt"


def can_prepare(name: str) -> bool:
    """Whether "tfds:NAME" is a dataset that is prepared here."""
    bare = place_of(name).partition(":")[0]
    return bare == "cifar10" or _EMNIST.fullmatch(bare) is not None


def prepare(name: str, data_dir: Path, manual_dir: Path) -> None:
    """Prepares the dataset under data_dir from its unpacked files in manual_dir.

    Raises:
        ZooError: a file is missing or damaged, or data_dir cannot be written.
    """
    bare = place_of(name).partition(":")[0]
    if match := _EMNIST.fullmatch(bare):
        part = f"emnist-{match[1]}"
        found = find_idx_files(manual_dir, part)
        if missing := [each for pair in FILES.values() for each in pair if each not in found]:
            raise ZooError(
                f"{shown(manual_dir)} has no {part}-{missing[0].replace('t10k', 'test')}: name the "
                f"directory into which EMNIST's gzip.zip was unpacked"
            )
        bases, members = (WithoutTensorFlow, stock.EMNIST), {"found": found}
        kind = type(stock.EMNIST)("EMNIST", bases, members, skip_registration=True)
        build(bare, kind, data_dir, config=match[1])
        return
    folder = _cifar_directory(manual_dir)
    bases_of_cifar = (_CifarWithoutTensorFlow, cifar.Cifar10)
    kind = type(cifar.Cifar10)(
        "Cifar10", bases_of_cifar, {"folder": folder}, skip_registration=True
    )
    build(bare, kind, data_dir)


class _CifarWithoutTensorFlow:
    """The methods of TFDS's builder of CIFAR-10 that need TensorFlow, on NumPy and Pillow."""

    folder: Path
    info: Any

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        text = (self.folder / _CIFAR_NAMES).read_text(errors="replace")
        self.info.features["label"].names = [line for line in text.splitlines() if line.strip()]
        return {split: self._generate_examples(split, None) for split in _CIFAR_FILES}

    def _generate_examples(self, split: str, _: Any) -> Iterator[tuple[int, Any]]:
        index = 0
        for filename in _CIFAR_FILES[split]:
            for label, image in _cifar_records(self.folder / filename):
                yield index, {"id": f"{split}_{index:05d}", "image": image, "label": label}
                index += 1


def _cifar_directory(manual_dir: Path) -> Path:
    """The directory with CIFAR-10's files in their binary version.

    Raises:
        ZooError: one is missing, or is not of that form.
    """
    inside = manual_dir / "cifar-10-batches-bin"
    folder = inside if inside.is_dir() else manual_dir
    for filename in (_CIFAR_NAMES, *(name for names in _CIFAR_FILES.values() for name in names)):
        path = folder / filename
        if not path.is_file():
            raise ZooError(
                f"{shown(folder)} has no {filename}: name the directory into which CIFAR-10's "
                f"cifar-10-binary.tar.gz was unpacked"
            )
        if filename != _CIFAR_NAMES and (not path.stat().st_size or path.stat().st_size % _RECORD):
            raise ZooError(
                f"{shown(path)} has {path.stat().st_size:,} bytes, not records of {_RECORD:,}: get "
                f"the binary version of CIFAR-10 again"
            )
    return folder


def _cifar_records(path: Path) -> Iterator[tuple[int, Image.Image]]:
    records = np.fromfile(path, np.uint8).reshape(-1, _RECORD)
    for record in records:
        pixels = record[1:].reshape(3, _SIDE, _SIDE).transpose(1, 2, 0)  # [height, width, channels]
        yield int(record[0]), Image.fromarray(np.ascontiguousarray(pixels))
