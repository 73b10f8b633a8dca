"""Datasets by name, as uint8 images and integer labels in memory.

| name | images | source |
|---|---|---|
| `digits` | 1,797 real 8x8 digits, resized to 28x28 | scikit-learn: no network, no file |
| `mnist`, `fashion_mnist`, `kmnist` | 70,000 of 28x28 | TFDS, prepared without TensorFlow |
| `idx` | any | your own four IDX files in `manual_dir` |

Decoded arrays are cached next to a prepared TFDS dataset, so that the next start reads them in
milliseconds. A missing dataset is an error that says what to do; it is never replaced by another.
"""

import dataclasses
import difflib
import functools
import hashlib
import os
import warnings
from pathlib import Path
from typing import Literal

import numpy as np

from zoo.data import cache
from zoo.data.idx import FILENAMES, FILES, read_idx
from zoo.data.idx_files import all_idx_files
from zoo.system.errors import ZooError
from zoo.system.files import expanded, is_address

_TFDS_VERSION = "3.0.1"
TFDS_DEFAULT_DIR = "~/tensorflow_datasets"
TFDS_DATASETS = ("mnist", "fashion_mnist", "kmnist")
DATASETS = ("digits", *TFDS_DATASETS, "idx")

Validation = Literal["test", "holdout", "holdout_last"]


@dataclasses.dataclass(frozen=True)
class Split:
    """Images and their labels."""

    images: np.ndarray  # [N, height, width, channels] uint8
    labels: np.ndarray  # [N] int32

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, part: slice) -> "Split":
        return Split(self.images[part], self.labels[part])


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A training and a test split, in the order in which they were published."""

    name: str
    train: Split
    test: Split
    num_classes: int

    @functools.cached_property
    def sha256(self) -> str:
        """The checksum of its images and labels, wherever they lie and however they are stored."""
        digest = hashlib.sha256()
        for split in (self.train, self.test):
            for array in (split.images, split.labels.astype("<i4", copy=False)):
                digest.update(f"{array.dtype.str} {array.shape}".encode())
                digest.update(np.ascontiguousarray(array).reshape(-1).data)
        return digest.hexdigest()


def load(
    name: str, *, data_dir: str | Path | None = None, manual_dir: str | Path | None = None
) -> Dataset:
    """Returns the dataset of that name and prepares it first if necessary.

    Args:
        name: one of `DATASETS`.
        data_dir: directory of the TFDS datasets; None or "": the TFDS default, which is the
            environment variable TFDS_DATA_DIR or ~/tensorflow_datasets.
        manual_dir: directory of IDX files that are already downloaded; None or "": for mnist,
            the environment variable ZOO_MNIST_DIR if it is set.

    Raises:
        ZooError: unknown name; the dataset is missing and cannot be downloaded; damaged files.
    """
    check_name(name)
    if not manual_dir and name == "mnist":
        manual_dir = os.environ.get("ZOO_MNIST_DIR")
    manual_path = expanded(manual_dir) if manual_dir else None
    if name == "digits":
        return _load_digits()
    if name == "idx":
        return _load_idx(manual_path)
    data_path = expanded(data_dir or _default_data_dir())
    if is_address(data_path):
        raise ZooError(
            f"a dataset's directory must be on this machine, not {str(data_path)!r}: name another "
            f"with --config.data_dir=DIR or TFDS_DATA_DIR"
        )
    dataset = read_prepared(name, data_path)
    if dataset is None:
        from zoo.data import mnist_tfds

        mnist_tfds.prepare(name, _TFDS_VERSION, data_path, manual_path)
        dataset = read_prepared(name, data_path)
    assert dataset is not None
    return dataset


def check_name(name: str) -> None:
    """Raises ZooError unless it is one of `DATASETS`."""
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(DATASETS)}"
        raise ZooError(f"unknown dataset {name!r}: {hint}")


def split_validation(dataset: Dataset, validation: Validation) -> tuple[Split, Split]:
    """(training split, validation split).

    "test" validates on the test split, as four of the notebooks do. The other values take the last
    20% of the training split, as Keras's `validation_split=0.2` does (before any shuffling).

    Raises:
        ZooError: the dataset is too small to hold out any image.
    """
    if validation == "test":
        return dataset.train, dataset.test
    count = int(len(dataset.train) * (1 - 0.2))  # Keras's own expression
    if not count:
        raise ZooError(
            f"{dataset.name} has only {len(dataset.train)} training image, too few to hold out "
            f"any: use --config.validation=test"
        )
    return dataset.train[:count], dataset.train[count:]


def check(dataset: Dataset) -> None:
    """Checks that a net can be trained and tested on the dataset.

    Raises:
        ZooError: a split is empty or not of the form described by `Split`, the images of the
            splits differ in size, a label is out of range, or there is only one class.
    """
    if dataset.num_classes < 2:
        raise ZooError(f"{dataset.name} has {dataset.num_classes} class: a net needs at least 2")
    for name, split in (("training", dataset.train), ("test", dataset.test)):
        images, labels = split.images, split.labels
        if images.ndim != 4 or images.dtype != np.uint8 or 0 in images.shape:
            raise ZooError(
                f"the {name} images of {dataset.name} are {images.dtype} of shape {images.shape}: "
                f"they must be uint8 of shape [images, height, width, channels], and not empty"
            )
        if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
            raise ZooError(
                f"the {name} labels of {dataset.name} are {labels.dtype} of shape {labels.shape}: "
                f"they must be integers, one for each of the {len(images):,} images"
            )
        wrong = np.flatnonzero((labels < 0) | (labels >= dataset.num_classes))
        if len(wrong):
            raise ZooError(
                f"the {name} label {labels[wrong[0]]} of image {wrong[0]} of {dataset.name} is out "
                f"of range: its {dataset.num_classes} classes are 0 to {dataset.num_classes - 1}"
            )
    shapes = dataset.train.images.shape[1:], dataset.test.images.shape[1:]
    if shapes[0] != shapes[1]:
        raise ZooError(
            f"the images of {dataset.name} have shape {shapes[0]} for training and {shapes[1]} "
            f"for testing: the shapes must be the same"
        )


def _default_data_dir() -> str:
    # As tfds.core.constants.get_default_data_dir, without importing TFDS.
    return os.environ.get("TFDS_DATA_DIR") or TFDS_DEFAULT_DIR


def _load_digits() -> Dataset:
    """scikit-learn's digits, resized to 28x28.

    The images are in the order of their writers. Every fifth image of each class is for testing.
    The others are split into five groups, class by class in rotation, and the groups are
    concatenated: so the last 20%, which are held out, are spread over classes and writers.
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.stack(
        [
            np.asarray(
                Image.fromarray(np.rint(image * (255 / 16)).astype(np.uint8)).resize(
                    (28, 28), Image.Resampling.BILINEAR
                )
            )
            for image in digits.images  # [8, 8] float, 0..16
        ]
    )[..., None]
    labels = digits.target.astype(np.int32)
    rank = np.empty(len(labels), np.int32)  # position among the images of the same class
    for label in range(10):
        rank[labels == label] = np.arange(np.sum(labels == label))
    is_test = rank % 5 == 4
    test = np.flatnonzero(is_test)
    train = np.flatnonzero(~is_test)
    group = (rank - rank // 5)[train] % 5  # rank // 5 images of the class before it are for testing
    train = train[np.argsort(group, kind="stable")]
    return Dataset(
        "digits", Split(images[train], labels[train]), Split(images[test], labels[test]), 10
    )


def _load_idx(manual_dir: Path | None) -> Dataset:
    if manual_dir is None:
        raise ZooError(f"dataset idx needs --config.manual_dir=DIR, a directory with {FILENAMES}")
    files = all_idx_files(manual_dir)
    splits = {}
    for split, names in FILES.items():
        images_path, labels_path = (files[name] for name in names)
        images, labels = read_idx(images_path, num_axes=3), read_idx(labels_path, num_axes=1)
        if len(images) != len(labels) or not len(labels):
            is_last = images.shape[2] == len(labels) > 0
            hint = ": the axes of images are [images, height, width]" if is_last else ""
            raise ZooError(
                f"{images_path} holds {len(images):,} images and {labels_path.name} "
                f"{len(labels):,} labels: the numbers must be equal, and at least 1{hint}"
            )
        splits[split] = Split(images[..., None], labels.astype(np.int32))
    shapes = [splits[name].images.shape[1:3] for name in ("train", "test")]
    if shapes[0] != shapes[1] or 0 in shapes[0]:
        raise ZooError(
            f"{manual_dir} holds training images of {shapes[0][0]}x{shapes[0][1]} and test images "
            f"of {shapes[1][0]}x{shapes[1][1]}: they must have the same size, and not be empty"
        )
    num_classes = int(max(split.labels.max() for split in splits.values())) + 1
    if min(split.labels.min() for split in splits.values()) == 1:
        warnings.warn(
            f"labels in {manual_dir} start at 1: class 0 has no image, and tables leave it out",
            stacklevel=2,
        )
    return Dataset("idx", splits["train"], splits["test"], num_classes)


def read_prepared(name: str, data_dir: Path) -> Dataset | None:
    """The TFDS dataset of that name, None if it is not prepared in data_dir.

    Writes nothing but the cache beside it.

    Raises:
        ZooError: it is damaged.
    """
    version_dir = data_dir / name / _TFDS_VERSION
    cache_dir = version_dir / "decoded"
    arrays = cache.read(cache_dir)
    if arrays is None:
        if not os.path.exists(version_dir / "dataset_info.json"):
            return None
        from zoo.data import mnist_tfds

        if os.path.exists(cache_dir / "manifest.json"):
            warnings.warn(f"{cache_dir} is damaged: images are decoded again", stacklevel=2)
        arrays = mnist_tfds.read_prepared(version_dir)
        try:
            cache.write(cache_dir, arrays)
        except OSError as error:  # a read-only dataset directory is still usable
            warnings.warn(f"decoded images are not cached: {error}", stacklevel=2)
    return Dataset(name, Split(*arrays["train"]), Split(*arrays["test"]), num_classes=10)
