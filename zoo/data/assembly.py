"""Makes a dataset of arrays, whatever they were read from: checks, sizes, classes, a test split."""

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo.data.dataset import DEFAULTS, Dataset, Options, Pictures, Split, check
from zoo.data.fitting import fit
from zoo.data.names import MEMORY
from zoo.data.splitting import mixed, split_off_test
from zoo.data.stored import StoredImages
from zoo.system.errors import ZooError
from zoo.system.text import counted

_MAX_CLASSES = 65_536
_MAX_NAME = 200  # characters


class Arrays(NamedTuple):
    """What a source of data holds, before it is checked."""

    train: tuple[Any, Any]  # images, labels
    test: tuple[Any, Any] | None  # None: it has no test images of its own
    class_names: Sequence[str] = ()


def from_arrays(
    images: Any,
    labels: Any,
    test_images: Any = None,
    test_labels: Any = None,
    *,
    class_names: Sequence[str] = (),
    name: str = "arrays",
    options: Options = DEFAULTS,
) -> Dataset:
    """Returns a dataset of arrays in memory, which `zoo.training.train_and_evaluate` takes.

    Without test images, a share of each class is for testing. The others, and training images that
    are sorted by class, are brought into an order of which every part has its share of each class,
    so that the last 20% may be held out.

    Args:
        images: [N, height, width] or [N, height, width, channels], whole numbers 0 to 255, with
            1 or 3 channels.
        labels: [N] or [N, 1] whole numbers from 0, or texts, which are the names of the classes.
        test_images, test_labels: the same for testing; None: a share of the images, as the options
            say.
        class_names: the name of each class, by label; none: that of the texts, or numbers.
        name: what histories and messages call it: "memory:NAME".
        options: of size, channels and split.

    Raises:
        ZooError: something has another form, a label is out of range, a class has too few images.
    """
    if (test_images is None) != (test_labels is None):
        raise ZooError("test_images and test_labels need each other: give both or neither")
    test = None if test_images is None else (test_images, test_labels)
    found = Arrays((images, labels), test, tuple(class_names))
    return assemble(f"{MEMORY}:{name}", found, options, "ink")


def assemble(name: str, found: Arrays, options: Options, pictures: Pictures) -> Dataset:
    """The dataset of that name of what its source holds.

    Args:
        name: for the history, and for messages.
        found: as the source has it.
        options: how it is brought into the form that nets take.
        pictures: how one's own pictures are usually prepared for such data.

    Raises:
        ZooError: as `from_arrays`.
    """
    parts = {"training": found.train} | ({"test": found.test} if found.test else {})
    images = {
        part: as_images(pair[0], f"the {part} images of {name}") for part, pair in parts.items()
    }
    texts = {part: _flat(pair[1], f"the {part} labels of {name}") for part, pair in parts.items()}
    names = tuple(found.class_names) or _names_in(texts["training"])
    _check_class_names(name, names)
    _check_alike(name, texts, tuple(found.class_names))
    labels = {
        part: _numbers(text, names, f"the {part} labels of {name}") for part, text in texts.items()
    }
    for part, own in labels.items():
        if len(own) != len(images[part]) or not len(own):
            raise ZooError(
                f"{name} has {counted(len(images[part]), f'{part} image')} and "
                f"{counted(len(own), 'label')}: the numbers must be equal, and at least 1"
            )
    fitted = {part: fit(array, options) for part, array in images.items()}
    train = Split(fitted["training"], labels["training"])
    num_classes = len(names) or int(max(own.max() for own in labels.values())) + 1
    test = Split(fitted["test"], labels["test"]) if found.test else None
    if test is None:
        train, test = split_off_test(name, train, names, options)
    elif np.all(np.diff(train.labels) >= 0):  # as of a directory: the last 20% would be one class
        order = mixed(train.labels, options.split_seed)
        train = Split(train.images[order], train.labels[order])
    _note_empty_classes(name, train, num_classes, names)
    dataset = Dataset(name, train, test, num_classes, names, options, options.prepared_as(pictures))
    check(dataset)
    return dataset


def as_images(images: Any, what: str) -> Any:
    """[N, height, width, channels] uint8 of images in one of the usual forms; `what` they are.

    Those that stay on disk are given back as they are.

    Raises:
        ZooError: they have another type or shape, or values that are not 0 to 255.
    """
    if isinstance(images, StoredImages):
        return images
    try:
        array = np.asarray(images)
    except ValueError:  # a list of arrays of several shapes
        array = np.empty(0, object)
    if array.dtype == object:
        raise ZooError(f"{what} differ in size: bring them to one size, as one array")
    if array.dtype.kind not in "iu":
        advice = {
            "f": "scale them to 0 to 255, round and use .astype('uint8')",
            "b": "multiply them by 255 and use .astype('uint8')",
        }
        raise ZooError(
            f"{what} are {array.dtype}, not whole numbers from 0 to 255: "
            f"{advice.get(array.dtype.kind, 'give numbers')}"
        )
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[-1] not in (1, 3):
        is_first = array.ndim == 4 and array.shape[1] in (1, 3)
        advice_of_shape = ": use .transpose(0, 2, 3, 1)" if is_first else ""
        raise ZooError(
            f"{what} have shape {array.shape}, not [N, height, width] or [N, height, width, 1 or 3]"
            f"{advice_of_shape}"
        )
    if 0 in array.shape:
        raise ZooError(f"{what} have shape {array.shape}: there must be at least one, of one pixel")
    if array.dtype != np.uint8:
        low, high = int(array.min()), int(array.max())
        if low < 0 or high > 255:
            raise ZooError(
                f"{what} have values from {low} to {high}, not from 0 to 255: scale them"
            )
        array = array.astype(np.uint8)
    return array


def _flat(labels: Any, what: str) -> np.ndarray:
    """[N] of labels [N] or [N, 1]."""
    try:
        array = np.asarray(labels)
    except ValueError:
        raise ZooError(f"{what} differ in length: give one label for each image") from None
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        advice = ": use .argmax(axis=1) on one-hot labels" if array.ndim == 2 else ""
        raise ZooError(f"{what} have shape {array.shape}, not [N]{advice}")
    return array


def _names_in(labels: np.ndarray) -> tuple[str, ...]:
    """The names of the classes, if labels are texts."""
    is_text = labels.dtype.kind in "UO" and all(isinstance(each, str) for each in labels.tolist())
    return tuple(sorted({str(each) for each in labels.tolist()})) if is_text else ()


def _numbers(labels: np.ndarray, names: Sequence[str], what: str) -> np.ndarray:
    """[N] int32 of labels, which are numbers or names."""
    if _names_in(labels):
        known = {name: index for index, name in enumerate(names)}
        if unknown := [each for each in labels.tolist() if each not in known]:
            raise ZooError(
                f"{what} have the class {unknown[0]!r}, which is not among "
                f"{', '.join(names[:10])}: each class needs training images"
            )
        return np.array([known[each] for each in labels.tolist()], np.int32)
    if labels.dtype.kind not in "iu":
        raise ZooError(
            f"{what} are {labels.dtype}, not whole numbers or texts: number the classes from 0, "
            f"without fractions (in NumPy, .astype('int32'))"
        )
    if len(labels) and (labels.min() < 0 or labels.max() >= _MAX_CLASSES):
        wrong = int(labels.min() if labels.min() < 0 else labels.max())
        raise ZooError(
            f"{what} have the number {wrong}, not 0 to {_MAX_CLASSES - 1:,}: number the classes "
            f"from 0"
        )
    return labels.astype(np.int32)


def _check_alike(name: str, labels: dict[str, np.ndarray], class_names: Sequence[str]) -> None:
    """Raises ZooError if labels are texts in one part and numbers in the other, without names."""
    kinds = {}
    for part, own in labels.items():
        if _names_in(own) or own.dtype.kind in "iuf":  # else `_numbers` tells
            kinds[part] = "texts" if _names_in(own) else "numbers"
    if len({*kinds.values()}) > 1 and not class_names:
        found = " and the ".join(f"{part} labels are {kind}" for part, kind in kinds.items())
        raise ZooError(f"the {found} in {name}: write both as numbers, or both as texts")


def _check_class_names(name: str, names: Sequence[str]) -> None:
    for each in names:
        if not isinstance(each, str) or not each.strip() or not each.isprintable():
            raise ZooError(f"the class name {each!r} of {name} is not a line of text: rename it")
        if len(each) > _MAX_NAME:
            raise ZooError(
                f"the class name {each[:40]!r}... of {name} has {len(each):,} characters, more "
                f"than {_MAX_NAME}: rename it"
            )


def _note_empty_classes(name: str, train: Split, num_classes: int, names: Sequence[str]) -> None:
    missing = np.setdiff1d(np.arange(num_classes), train.labels).tolist()
    if missing and num_classes > 1:
        first = names[missing[0]] if names else missing[0]
        text = f"class {first} of {name} has"
        if len(missing) > 1:
            text = f"{len(missing):,} classes of {name}, such as {first}, have"
        advice = "give it some" if len(missing) == 1 else "give them some"
        warnings.warn(
            f"{text} no training image: {advice}, or number the classes without gaps", stacklevel=3
        )
