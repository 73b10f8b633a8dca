"""Takes test images out of a dataset that has none of its own: a share of each class, by a seed."""

from collections.abc import Sequence

import numpy as np

from zoo.data.dataset import Options, Split
from zoo.system.errors import ZooError


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
