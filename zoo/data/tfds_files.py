"""Any image-classification dataset that TFDS has prepared on this disk, read without TensorFlow.

EMNIST's parts and CIFAR-10 are prepared here, too, from their published files.
Only `zoo.data` imports this module, and only when such a dataset is named: it imports TFDS.
"""

import dataclasses
import os
import re
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from google.protobuf.json_format import ParseError

from zoo.data import cache
from zoo.data.assembly import Arrays, assemble
from zoo.data.dataset import Dataset, Options, check
from zoo.data.decoding import Source, decode_all
from zoo.data.names import place_of
from zoo.data.splitting import use_of_validation
from zoo.data.tfds_stored import stored
from zoo.system.errors import ZooError
from zoo.system.files import check_is_file, shown
from zoo.system.notes import noted

_NAME = re.compile(r"(?P<name>[a-z]\w*(/[\w.-]+)?)(:(?P<version>\d+\.\d+\.\d+))?", re.ASCII)
_VERSION = re.compile(r"\d+\.\d+\.\d+", re.ASCII)
NO_MATTER = ("OpenCV is not installed",)  # Pillow is enough
_RECORDS = 100  # that are held at once, as they lie on disk
_ERRORS = (RuntimeError, OSError, ValueError, KeyError, TypeError, ParseError, struct.error)


def find_prepared(name: str, data_dir: Path) -> Path | None:
    """The directory of "tfds:NAME[:VERSION]", of the newest version; None if it is not prepared.

    Raises:
        ZooError: the name has another form, or is of several datasets there.
    """
    match = _NAME.fullmatch(place_of(name))
    if not match:
        raise ZooError(
            f"{name!r} is no dataset of TFDS: name it as in tfds:cifar10, tfds:emnist/letters or "
            f"tfds:cifar10:3.0.2"
        )
    folder = data_dir / match["name"]
    found = _versions(folder)
    if not found and "/" not in match["name"]:
        configs = [path for path in _directories(folder) if _versions(path)]
        if len(configs) > 1:
            raise ZooError(
                f"{name} has the parts {', '.join(path.name for path in configs)}: name one, such "
                f"as tfds:{match['name']}/{configs[0].name}"
            )
        found = _versions(configs[0]) if configs else {}
    if match["version"]:
        return found.get(match["version"])
    newest = max(found, key=lambda version: [*map(int, version.split("."))], default=None)
    return found[newest] if newest else None


def read(name: str, version_dir: Path, options: Options, stream: bool = False) -> Dataset:
    """The dataset that TFDS prepared in that directory; decoded images are kept beside it.

    With `stream`, images stay on disk, and are not decoded where that was not done before. Its
    examples come in the order on disk. Splits "train" and "test" are taken, and "validation" as
    `zoo.data.splitting.use_of_validation` says; others are left out, which is said.

    Raises:
        ZooError: it is damaged, or is none of image classification.
    """
    cache_dir = version_dir / "decoded"
    try:
        with noted("TFDS", NO_MATTER):
            builder = tfds.builder_from_directory(version_dir)
            image, label, class_names = _features(name, builder)
            splits = _splits(name, builder)
            about = {"options": dataclasses.asdict(options), "splits": splits}
            arrays = cache.read(cache_dir, about)
            if arrays is None and stream:
                turned = _are_transposed(name, options)
                return stored(name, builder, splits, (image, label), options, class_names, turned)
            if arrays is None:
                found = Arrays(*_decoded(name, builder, splits, image, label, options), class_names)
    except _ERRORS as error:
        reason = " ".join(str(error).split())[:200]
        raise ZooError(
            f"the prepared dataset in {shown(version_dir)} is damaged ({reason}): prepare it again"
        ) from None
    if arrays is not None:
        pictures = options.prepared_as("resized")
        dataset = Dataset(
            name, *cache.splits(arrays, stream), len(class_names), class_names, options, pictures
        )
        check(dataset)
        return dataset
    dataset = assemble(name, found, options, "resized")
    both = {"train": dataset.train, "test": dataset.test}
    cache.keep(cache_dir, {key: (each.images, each.labels) for key, each in both.items()}, about)
    return dataset


def examples(
    builder: tfds.core.DatasetBuilder, split: str, decoders: dict[str, Any] | None = None
) -> Iterator[Any]:
    """The examples of a split in the order on disk, from array_record or tfrecord files."""
    for record in _records(builder, split):
        yield builder.info.features.deserialize_example_np(record, decoders=decoders)


def _records(builder: tfds.core.DatasetBuilder, split: str) -> Iterator[bytes]:
    if builder.info.file_format == tfds.core.file_adapters.FileFormat.ARRAY_RECORD:
        source = builder.as_data_source(split).data_source
        # Read one by one, a record of MNIST takes as long as its image takes to be decoded.
        for start in range(0, len(source), _RECORDS):
            yield from source.__getitems__(list(range(start, min(start + _RECORDS, len(source)))))
        return
    for path in builder.info.splits[split].filepaths:
        check_is_file(Path(path))
        with open(path, "rb") as file:
            # TFRecord: length (uint64), its crc, data, its crc. The PNG has its own crc.
            while header := file.read(12):
                (length,) = struct.unpack("<Q", header[:8])
                if length > os.path.getsize(path):
                    raise ValueError(f"a record of {path} declares {length:,} bytes")
                yield file.read(length)
                file.read(4)


def _versions(folder: Path) -> dict[str, Path]:
    return {
        path.name: path
        for path in _directories(folder)
        if _VERSION.fullmatch(path.name) and os.path.isfile(path / "dataset_info.json")
    }


def _directories(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir())
    except OSError:
        return []


def _features(name: str, builder: tfds.core.DatasetBuilder) -> tuple[str, str, tuple[str, ...]]:
    """The names of the image and the label, and those of the classes."""
    features = builder.info.features
    found = [
        [key for key, feature in features.items() if isinstance(feature, kind)]
        for kind in (tfds.features.Image, tfds.features.ClassLabel)
    ]
    supervised = builder.info.supervised_keys
    if supervised and len(supervised) == 2:
        found = [[key] if key in keys else [] for key, keys in zip(supervised, found, strict=True)]
    if not all(found):
        raise ZooError(
            f"{name} has no image with a class as its label: it is not for image classification"
        )
    return found[0][0], found[1][0], tuple(features[found[1][0]].names)


def _splits(name: str, builder: tfds.core.DatasetBuilder) -> dict[str, list[str]]:
    """The names of the splits for training and, if there are any, for testing."""
    there = [key for key, info in builder.info.splits.items() if info.num_examples]
    if "train" not in there:
        raise ZooError(f"{name} has no split train, only {', '.join(there) or 'empty ones'}")
    chosen = {"train": ["train"], "test": ["test"] if "test" in there else []}
    if "validation" in there:
        images = f"the validation images of {name}"
        chosen[use_of_validation(images, has_test="test" in there)].append("validation")
    if left_out := [key for key in there if key not in ("train", "test", "validation")]:
        warnings.warn(f"of {name} the splits {', '.join(left_out)} are left out", stacklevel=3)
    return chosen


def _decoded(
    name: str,
    builder: tfds.core.DatasetBuilder,
    splits: dict[str, list[str]],
    image: str,
    label: str,
    options: Options,
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray] | None]:
    """(training images and labels, those of testing or None)."""
    skip = {image: tfds.decode.SkipDecoding()}
    sources, labels = [], []
    for part in splits.values():
        own = []
        for split in part:
            for number, example in enumerate(examples(builder, split, skip)):
                content = np.asarray(example[image]).item()
                sources.append(Source(f"{split} image {number} of {name}", content))
                own.append(int(example[label]))
        labels.append(np.array(own, np.int32))
    images = decode_all(sources, options, "prepare the dataset again")
    if _are_transposed(name, options):
        images = np.ascontiguousarray(images.transpose(0, 2, 1, 3))
    train = images[: len(labels[0])], labels[0]
    return train, (images[len(labels[0]) :], labels[1]) if splits["test"] else None


def _are_transposed(name: str, options: Options) -> bool:
    if options.transposed != "auto":
        return options.transposed == "yes"
    if not place_of(name).startswith("emnist/"):
        return False
    warnings.warn(
        f"{name}: EMNIST has rows and columns of its images exchanged, and they are turned upright "
        f"(--config.data.transposed=no leaves them)",
        stacklevel=3,
    )
    return True
