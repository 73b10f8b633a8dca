"""Images that stay on disk and are read a few at a time, where an array of all would not fit."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from tqdm import tqdm

Read = Callable[[np.ndarray], np.ndarray]  # of indices [n], images [n, height, width, channels]
_PIECE_BYTES = 1 << 20  # of images that a thread reads at once


class StoredImages:
    """Like an array [N, height, width, channels] uint8, but what it holds stays on disk.

    A slice of it, or an index array, is another one; `read` gives an array.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, read: Read, image_shape: tuple[int, int, int], indices: np.ndarray) -> None:
        """Images that `read` gives for those indices [N]; it can be pickled."""
        self._read, self._indices = read, indices
        self.shape = (len(indices), *image_shape)

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, part: slice | np.ndarray) -> "StoredImages":
        return StoredImages(self._read, self.shape[1:], self._indices[part])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.read(np.arange(len(self)))

    @property
    def nbytes(self) -> int:
        """What an array of all would take."""
        return int(np.prod(self.shape, dtype=object))

    def read(self, places: np.ndarray) -> np.ndarray:
        """The images at those places [n] as an array [n, height, width, channels] uint8.

        Raises:
            ZooError: one cannot be read, or is not of the shape that all must have.
        """
        return self._read(self._indices[places])


def read(images: Any, places: np.ndarray) -> np.ndarray:
    """The images at those places [n] of an array, or of one that stays on disk."""
    return images.read(places) if isinstance(images, StoredImages) else images[places]


def contents(images: Any, doing: str) -> Iterator[np.ndarray]:
    """All images, a few at a time, in their order; from disk they are read by several threads.

    Args:
        images: an array [N, height, width, channels], or one that stays on disk.
        doing: title of the bar that is shown on a terminal.
    """
    each = max(1, images[:1].nbytes)
    places = np.arange(len(images))
    pieces = np.split(places, range(0, len(places), max(1, _PIECE_BYTES // each))[1:])
    if not isinstance(images, StoredImages):
        yield from (np.ascontiguousarray(images[piece[0] : piece[-1] + 1]) for piece in pieces)
        return
    ahead: deque[Any] = deque()
    threads = ThreadPoolExecutor(os.cpu_count())
    try:
        with tqdm(
            total=len(images), desc=doing, unit=" images", leave=False, disable=None
        ) as progress:
            for piece in [*pieces, *[None] * (os.cpu_count() or 1)]:
                if piece is not None:
                    ahead.append(threads.submit(images.read, piece))
                if ahead and (piece is None or len(ahead) > (os.cpu_count() or 1)):
                    found = ahead.popleft().result()
                    progress.update(len(found))
                    yield found
    finally:
        threads.shutdown(cancel_futures=True)
