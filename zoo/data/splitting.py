"""Which images are for training and which for testing, where their source does not say it all."""

import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np

from zoo.data.dataset import Options, Split
from zoo.system.errors import ZooError


def use_of_validation(images: str, *, has_test: bool) -> Literal["train", "test"]:
    """For what a source's own validation images are taken, which a note says.

    They are for testing where it has no test images; else they come after those for training.

    Args:
        images: what they are, for the note.
        has_test: whether the source has test images.
    """
    if not has_test:
        warnings.warn(f"{images} are for testing: there are no test images", stacklevel=4)
        return "test"
    warnings.warn(
        f"{images} come after those of training: of both together, the last 20% are held out, "
        f"unless config.validation is test",
        stacklevel=4,
    )
    return "train"


def split_off_test(
    name: str, all_images: Split, names: Sequence[str], options: Options
) -> tuple[Split, Split]:
    """(training, test) splits of images without a test split, stratified, by the options' seed.

    Raises:
        ZooError: a class has one image, which cannot be in both.
    """
    labels = all_images.labels
    order = mixed(labels, options.split_seed)
    present, counts = np.unique(labels, return_counts=True)
    if 1 in counts:
        label = int(present[np.argmax(counts == 1)])
        raise ZooError(
            f"class {names[label] if names else label} of {name} has one image, which cannot be "
            f"both for training and for testing: give it another, or name test images"
        )
    num_test = np.clip(np.rint(options.test_share * counts), 1, counts - 1).astype(int)
    left = dict(zip(present.tolist(), (counts - num_test).tolist(), strict=True))
    is_test = np.zeros(len(labels), bool)
    for place, label in enumerate(labels[order].tolist()):  # the last ones of each class
        left[label] -= 1
        is_test[place] = left[label] < 0
    train, test = order[~is_test], np.sort(order[is_test])
    images = all_images.images
    return Split(images[train], labels[train]), Split(images[test], labels[test])


def mixed(labels: np.ndarray, seed: int) -> np.ndarray:
    """A random order [N] of images, of which every part has its share of each class."""
    order = np.random.default_rng(seed).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    _, first, counts = np.unique(labels[by_class], return_index=True, return_counts=True)
    rank = np.arange(len(labels)) - np.repeat(first, counts)  # within its class
    place = np.empty(len(labels))
    place[by_class] = (rank + 0.5) / np.repeat(counts, counts)
    return np.argsort(place, kind="stable")
