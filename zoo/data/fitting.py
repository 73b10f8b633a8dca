"""Brings arrays of images to the size and the channels that a configuration asks for."""

import dataclasses
import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from PIL import Image
from tqdm import tqdm

from zoo.data.dataset import DEFAULTS, Dataset, Options, Split
from zoo.data.images import to_pixels
from zoo.system.errors import ZooError
from zoo.system.memory import available_bytes, bytes_text

Item = TypeVar("Item")
Result = TypeVar("Result")
_PIECE = 64  # items that a thread takes at once


def fitted(dataset: Dataset, options: Options) -> Dataset:
    """The dataset with images of the size and the channels that the options ask for."""
    if options == DEFAULTS:
        return dataset
    return dataclasses.replace(
        dataset,
        train=Split(fit(dataset.train.images, options), dataset.train.labels),
        test=Split(fit(dataset.test.images, options), dataset.test.labels),
        options=options,
        pictures=options.prepared_as(dataset.pictures),
    )


def fit(images: Any, options: Options) -> Any:
    """Images [N, height, width, 1 or 3] uint8 with the size and the channels of the options.

    Those that have them, as images that stay on disk do, are given back as they are.
    """
    if has_form(images, options):
        return images
    wanted, channels = _form(images, options), images.shape[-1]
    result = empty_images(len(images), wanted)

    def fit_one(index: int) -> None:
        image = images[index]
        picture = Image.fromarray(image[..., 0] if channels == 1 else image)
        result[index] = to_pixels(picture, *wanted)

    for _ in in_threads(fit_one, range(len(images)), "Resizing"):
        pass
    return result


def has_form(images: Any, options: Options) -> bool:
    """Whether images [N, height, width, channels] have the size and the channels of the options."""
    return _form(images, options) == images.shape[1:]


def _form(images: Any, options: Options) -> tuple[int, int, int]:
    height, width, channels = images.shape[1:]
    size = options.image_size
    return size or height, size or width, options.channels or channels


def empty_images(count: int, shape: tuple[int, int, int]) -> np.ndarray:
    """An array for so many images of that shape.

    Raises:
        ZooError: it, and the copy that is made when it is split or kept, are larger than the memory
            that is free.
    """
    size = 2 * count * math.prod(shape)
    if size > available_bytes():
        raise ZooError(
            f"{count:,} images of {'x'.join(map(str, shape))} and their copy take "
            f"{bytes_text(size)}, more than the free memory of this machine "
            f"({bytes_text(available_bytes())}): use a smaller config.data.image_size, fewer "
            f"images, or, of a directory of images or a dataset of TFDS, --config.data.stream=True"
        )
    return np.empty((count, *shape), np.uint8)


def in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], doing: str
) -> Iterator[Result]:
    """The function of each item, in their order, computed by as many threads as there are cores.

    Pillow decodes and resizes without holding Python's lock. The first error, in the order of the
    items, ends it. A bar is shown on a terminal.
    """
    pieces = [items[start : start + _PIECE] for start in range(0, len(items), _PIECE)]
    threads = ThreadPoolExecutor(os.cpu_count())
    try:
        results = threads.map(lambda piece: [*map(function, piece)], pieces)
        with tqdm(
            total=len(items), desc=doing, unit=" images", leave=False, disable=None
        ) as progress:
            for piece in results:
                progress.update(len(piece))
                yield from piece
    finally:
        threads.shutdown(cancel_futures=True)
