"""A dataset: images and labels for training and testing, and what is known of them."""

import dataclasses
import functools
import hashlib
import warnings
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from zoo.data.stored import contents
from zoo.system.errors import ZooError
from zoo.system.text import counted

Validation = Literal["test", "holdout", "holdout_last"]
Pictures = Literal["ink", "resized"]


@dataclasses.dataclass(frozen=True)
class Options:
    """How data is brought into the form that nets take: the keys `data` of a configuration."""

    image_size: int = 0  # pixels of height and width; 0: as they are
    channels: int = 0  # 1 (grey) or 3 (red, green, blue); 0: as they are
    test_share: float = 0.2  # of each class, where the data has no test images of its own
    split_seed: int = 0  # determines which these are, and the order of the others
    fields: str = ""  # names in a file, separated by commas; "": those that are usual
    transposed: str = "auto"  # whether the images of IDX files are: auto (those of EMNIST), yes, no
    pictures: str = "auto"  # how one's own pictures are prepared: auto, ink, resized

    @classmethod
    def of(cls, keys: Mapping[str, Any]) -> "Options":
        """Those of a configuration's keys `data` that are options; the defaults for the others."""
        names = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in keys.items() if name in names})

    def prepared_as(self, usual: Pictures) -> Pictures:
        """How one's own pictures are prepared for a net that is trained on data of that kind."""
        chosen: dict[str, Pictures] = {"ink": "ink", "resized": "resized"}
        return chosen.get(self.pictures, usual)


DEFAULTS = Options()


@dataclasses.dataclass(frozen=True)
class Split:
    """Images and their labels."""

    images: Any  # [N, height, width, channels] uint8: an array, or `StoredImages`
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
    class_names: tuple[str, ...] = ()  # by label; empty: classes are known by their numbers
    options: Options = DEFAULTS  # those with which it was made
    # How a person's own picture is prepared for a net trained on it: what is drawn is found and
    # placed as in these images (ink), or it is resized as they were (resized).
    pictures: Pictures = "ink"
    known_sha256: str = ""  # of images that stay on disk, once they have all been read

    @functools.cached_property
    def sha256(self) -> str:
        """The checksum of its images and labels, wherever they lie and however they are stored."""
        if self.known_sha256:
            return self.known_sha256
        digest = hashlib.sha256()
        for split in (self.train, self.test):
            for array in (split.images, split.labels.astype("<i4", copy=False)):
                digest.update(f"{array.dtype.str} {array.shape}".encode())
                for piece in contents(array, "Reading"):
                    digest.update(piece.reshape(-1).data)
        return digest.hexdigest()

    @property
    def facts(self) -> dict[str, Any]:
        """What a history tells of it, but for the sizes of the splits."""
        names = {"classes": list(self.class_names)} if self.class_names else {}
        return {
            "num_test": len(self.test),
            "num_classes": self.num_classes,
            "image_shape": list(self.train.images.shape[1:]),  # height, width, channels
            "sha256": self.sha256,
            **names,
        }


def class_name(class_names: tuple[str, ...], label: int) -> str:
    """What a class is called: its name, or its number where it has none."""
    return class_names[label] if class_names else str(label)


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
            f"{dataset.name} has only {counted(len(dataset.train), 'training image')}, too few to "
            f"hold out any: use --config.validation=test"
        )
    return dataset.train[:count], dataset.train[count:]


def note_untrained_classes(dataset: Dataset, train: Split, held_out: Split) -> None:
    """Warns if all training images of a class are held out, as of images sorted by class."""
    found, counts = np.unique(held_out.labels, return_counts=True)
    if untrained := np.setdiff1d(found[counts > 1], train.labels).tolist():
        warnings.warn(
            f"all training images of class {class_name(dataset.class_names, untrained[0])} of "
            f"{dataset.name} are held out, which are the last 20%: shuffle the images, or use "
            f"--config.validation=test",
            stacklevel=3,
        )


def check(dataset: Dataset) -> None:
    """Checks that a net can be trained and tested on the dataset.

    Raises:
        ZooError: a split is empty or not of the form described by `Split`, the images of the
            splits differ in size, a label is out of range, there is only one class, or class names
            are not one for each class.
    """
    if dataset.num_classes < 2:
        raise ZooError(f"{dataset.name} has {dataset.num_classes} class: a net needs at least 2")
    names = dataset.class_names
    if names and (len(set(names)) != dataset.num_classes or len(names) != dataset.num_classes):
        raise ZooError(
            f"{dataset.name} has {dataset.num_classes} classes and {len(set(names))} different "
            f"class names: give each class a name of its own"
        )
    for name, split in (("training", dataset.train), ("test", dataset.test)):
        _check_split(dataset, name, split)
    shapes = dataset.train.images.shape[1:], dataset.test.images.shape[1:]
    if shapes[0] != shapes[1]:
        raise ZooError(
            f"the images of {dataset.name} have shape {shapes[0]} for training and {shapes[1]} "
            f"for testing: the shapes must be the same"
        )


def _check_split(dataset: Dataset, name: str, split: Split) -> None:
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
