"""Datasets that TFDS prepared, whose images stay in their records.

Only `zoo.data` imports this module, and only when such a dataset is named: it imports TFDS.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from google.protobuf.json_format import ParseError
from tensorflow_datasets.core import hashing

from zoo.data.assembly import Arrays, assemble
from zoo.data.dataset import Dataset, Options, Split
from zoo.data.passes import Pass, find, fingerprint
from zoo.data.readers import Records
from zoo.system.errors import ZooError
from zoo.system.notes import noted


def stored(
    name: str,
    builder: tfds.core.DatasetBuilder,
    splits: Mapping[str, Sequence[str]],
    features: tuple[str, str],
    options: Options,
    class_names: tuple[str, ...],
    is_transposed: bool,
) -> Dataset:
    """Any dataset of TFDS, in the order on disk.

    Args:
        name: as it is called.
        builder: of the prepared dataset.
        splits: the names of those for "train" and for "test", which may be none.
        features: the names of the image and of the label.
        options: the form to which images are brought.
        class_names: the name of each class, by label.
        is_transposed: rows and columns of the images are exchanged.

    Raises:
        ZooError: records are damaged, or cannot be read in any order.
    """
    readers = {
        part: dataclasses.replace(
            _records(name, builder, own, options), feature=features[0], is_transposed=is_transposed
        )
        for part, own in splits.items()
        if own
    }
    done, labels = _labelled(builder, splits, readers, features[1])
    pairs = {
        part: (reader.images(np.arange(len(labels[part]))), labels[part])
        for part, reader in readers.items()
    }
    found = Arrays(pairs["train"], pairs.get("test"), class_names)
    dataset = assemble(name, found, options, "resized")
    return done.completed(dataset, np.concatenate([*labels.values()]))


def stored_mnist(name: str, version_dir: Path, options: Options) -> Dataset:
    """MNIST, Fashion-MNIST or KMNIST, in the order of the IDX files.

    Raises:
        ZooError: as `stored`.
    """
    splits = {part: [part] for part in ("train", "test")}
    try:
        with noted("TFDS", ("OpenCV is not installed",)):  # Pillow is enough
            builder = tfds.builder_from_directory(version_dir)
            readers = {part: _records(name, builder, own, options) for part, own in splits.items()}
            done, labels = _labelled(builder, splits, readers, "label")
    except (RuntimeError, OSError, ValueError, KeyError, ParseError) as error:
        raise damaged(version_dir, error) from None
    pairs = {}
    for part, reader in readers.items():
        numbers = np.argsort(idx_order(part, len(labels[part])))  # of the records, in IDX order
        pairs[part] = Split(reader.images(numbers), labels[part][numbers])
    pictures = options.prepared_as("ink")
    dataset = Dataset(
        name, pairs["train"], pairs["test"], num_classes=10, options=options, pictures=pictures
    )
    return done.completed(dataset, np.concatenate([*labels.values()]))


def idx_order(split: str, count: int) -> list[int]:
    """The place in the IDX file of each example on disk.

    TFDS stores examples sorted by the hash of their index, salted with the split's name; sorting
    the indices by that hash restores the order.
    """
    return sorted(range(count), key=hashing.Hasher(split).hash_key)


def damaged(version_dir: Path, error: Exception) -> ZooError:
    """The error for a dataset of ours that cannot be read."""
    reason = " ".join(str(error).split())[:200]
    return ZooError(
        f"the prepared dataset in {version_dir} is damaged ({reason}): delete this directory, and "
        f"the next training prepares the dataset again"
    )


def _records(
    name: str, builder: tfds.core.DatasetBuilder, splits: Sequence[str], options: Options
) -> Records:
    """What reads the records of those splits, one split after the other."""
    kind = builder.info.file_format
    if kind != tfds.core.file_adapters.FileFormat.ARRAY_RECORD:
        raise ZooError(
            f"{name} is prepared as {kind.value}, which cannot be read in any order: prepare it "
            f"with tfds build --file_format=array_record, or leave out --config.data.stream"
        )
    paths = [os.fspath(path) for split in splits for path in builder.info.splits[split].filepaths]
    return Records(
        options,
        f"delete {builder.data_dir}, and prepare the dataset again",
        paths=tuple(paths),
        name=f"{name} ({' and '.join(splits)})",
    )


def _labelled(
    builder: tfds.core.DatasetBuilder,
    splits: Mapping[str, Sequence[str]],
    readers: Mapping[str, Records],
    feature: str,
) -> tuple[Pass, dict[str, np.ndarray]]:
    """What is known of the records, and the labels of each part in their order."""
    directory = Path(builder.data_dir)
    paths = {part: map(Path, reader.paths) for part, reader in readers.items()}
    counts = {
        part: sum(builder.info.splits[split].num_examples for split in splits[part])
        for part in readers
    }
    about = {
        "files": fingerprint(directory, paths),
        "splits": {part: list(splits[part]) for part in readers},
        "options": dataclasses.asdict(next(iter(readers.values())).options),
    }
    done = find(directory / "decoded", about, sum(counts.values()))
    if done.labels is None:
        return done, {
            part: reader.labels(counts[part], feature) for part, reader in readers.items()
        }
    ends = np.cumsum([*counts.values()])[:-1]
    return done, dict(zip(counts, np.split(done.labels, ends), strict=True))
