"""What a run reads of images that stay on disk: windows of batches, in the order of its seeds.

Grain reads them, in processes of their own, which import this without JAX.
"""

import contextlib
import dataclasses
import functools
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zoo.data import worker
from zoo.data.stored import StoredImages, read
from zoo.system.errors import ZooError

_MOST_WORKERS = 8
_AHEAD = 2  # windows that each process, and the thread that moves them to the devices, keeps
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclasses.dataclass(frozen=True)
class Part:
    """Images that are trained on or scored, and how they are divided."""

    images: Any  # [N, height, width, channels] uint8: an array, or `StoredImages`
    batch_size: int
    length: int  # batches of a window
    own: tuple[slice, ...] = ()  # of [(seeds,) steps, batch], what this process reads; (): all

    @property
    def num_steps(self) -> int:
        """Batches of a pass over the images."""
        return -(-len(self.images) // self.batch_size)

    @property
    def num_windows(self) -> int:
        """Windows of a pass over the images; the last one may be longer than what is left."""
        return -(-self.num_steps // self.length)


class Place(NamedTuple):
    """Where a window stands in a run."""

    part: str  # "train", "validation" or "test"
    epoch: int  # from 1
    step: int  # of its first batch, within the epoch


@dataclasses.dataclass(frozen=True)
class Windows:
    """All windows of a run: of each epoch those of training and validation, at last the test's.

    A data source of Grain: an item is {"number": of the window, "image": [steps, batch, height,
    width, channels] uint8}, with an axis of seeds in front where the epochs' orders have one.
    """

    parts: Mapping[str, Part]
    num_epochs: int
    orders: Path  # directory of the epochs' orders: EPOCH.npy, int32 [(seeds,) steps, batch]
    start: int = 0  # number of the window that is item 0

    def __len__(self) -> int:
        test = self.parts["test"].num_windows if "test" in self.parts else 0
        return self.num_epochs * self._per_epoch + test - self.start

    def __getitem__(self, item: int) -> dict[str, Any]:
        number = self.start + int(item)
        part = self.parts[self.place(number).part]
        indices = self.indices(number)
        is_there = indices.ravel() >= 0
        pixels = read(part.images, indices.ravel()[is_there])
        if not is_there.all():
            every = np.empty((len(is_there), *pixels.shape[1:]), np.uint8)
            every[is_there] = pixels
            every[~is_there] = read(part.images, np.array([0]))  # as `take_batch` pads
            pixels = every
        return {"number": number, "image": pixels.reshape(*indices.shape, *pixels.shape[1:])}

    @property
    def _per_epoch(self) -> int:
        return self.parts["train"].num_windows + self.parts["validation"].num_windows

    def from_number(self, number: int) -> "Windows":
        """Those from a window on."""
        return dataclasses.replace(self, start=number)

    def number(self, place: Place) -> int:
        """The number of the window with that step."""
        own = place.step // self.parts[place.part].length
        if place.part == "test":
            return self.num_epochs * self._per_epoch + own
        before = 0 if place.part == "train" else self.parts["train"].num_windows
        return (place.epoch - 1) * self._per_epoch + before + own

    def place(self, number: int) -> Place:
        """Where the window of that number stands."""
        epoch, own = divmod(number, self._per_epoch)
        name = "train"
        if epoch == self.num_epochs:
            name = "test"
        elif own >= self.parts["train"].num_windows:
            name, own = "validation", own - self.parts["train"].num_windows
        return Place(name, epoch + 1, own * self.parts[name].length)

    def indices(self, number: int) -> np.ndarray:
        """The window's images [(seeds,) steps, batch], by their places in its part; -1: none.

        Of several processes, those that this one reads.
        """
        name, epoch, step = self.place(number)
        part = self.parts[name]
        if name == "train":
            found = self._order(epoch)[..., step : step + part.length, :]
        else:
            shape = part.length, part.batch_size
            each = np.arange(part.length * part.batch_size).reshape(shape) + step * part.batch_size
            found = np.where(each < len(part.images), each, -1)
        missing = part.length - found.shape[-2]
        widths = [(0, 0)] * (found.ndim - 2) + [(0, missing), (0, 0)]
        return np.pad(found, widths, constant_values=-1)[part.own]

    def _order(self, epoch: int) -> np.ndarray:
        """An epoch's order, which is awaited: it is written when the epoch before it begins."""
        path = self.orders / f"{epoch}.npy"
        while not path.exists():
            if not self.orders.exists():
                raise ZooError("the stream of data is closed")
            time.sleep(0.01)
        return np.load(path, mmap_mode="r", allow_pickle=False)


def opened(
    windows: Windows, num_workers: int, finish: Callable[[dict[str, Any]], Any]
) -> Iterator[Any]:
    """Grain's iterator over windows, each as `finish` gives it, which are read ahead.

    Close it in the end.

    Args:
        windows: what is read.
        num_workers: processes that read; 0: none, -1: as many as there are cores, at most 8.
        finish: called in a thread.

    Raises:
        ZooError: Grain is not installed.
    """
    try:
        import grain
        from absl import flags
    except ImportError:
        raise ZooError(
            'config.data.stream needs Grain: pip install "jax-cnn-zoo[stream]"'
        ) from None
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # Grain asks for its own; they have their defaults
    if num_workers < 0:
        num_workers = min(_MOST_WORKERS, os.cpu_count() or 1)  # on all cores alike
    if not all(isinstance(part.images, StoredImages) for part in windows.parts.values()):
        num_workers = 0  # in memory: each process would have a copy
    items = grain.MapDataset.source(windows).to_iter_dataset(grain.ReadOptions(0, 0))
    if num_workers:
        worker.begin_here()
        items = items.mp_prefetch(
            grain.MultiprocessingOptions(num_workers, per_worker_buffer_size=_AHEAD),
            functools.partial(worker.end_with_parent, windows.orders),
        )
    ahead = grain.experimental.ThreadPrefetchIterDataset(
        items.map(finish), prefetch_buffer_size=_AHEAD
    )
    with _signals_blocked():  # for good in the threads and processes that this starts
        iterator = iter(ahead)
        iterator.start_prefetch()
    return iterator


def next_of(iterator: Iterator[Any]) -> Any:
    """The next window.

    Raises:
        ZooError: it cannot be read, or a process that reads has ended.
    """
    try:
        return next(iterator)
    except (RuntimeError, OSError, MemoryError) as error:
        reason = " ".join(str(error).split())[:200]
        if ended := re.search(r"exit code (-?\d+)", reason):
            reason = f"a process that reads them has ended with {ended[0]}"
        raise ZooError(
            f"images cannot be read ({reason}): the same command goes on from the last "
            f"checkpoint, if there is one; with --config.data.workers=0 no other processes read"
        ) from None


@contextlib.contextmanager
def _signals_blocked() -> Iterator[None]:
    """Keeps this thread, and what it starts, from signals that ask the run to stop."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
