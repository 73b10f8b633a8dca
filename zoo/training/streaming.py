"""Images that are read while a run trains, a few windows of batches ahead."""

import dataclasses
import gc
import shutil
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jax.sharding import Mesh, NamedSharding

from zoo.data import Split
from zoo.data.windows import Part, Place, Windows, next_of, opened
from zoo.system.files import as_sentence
from zoo.training import mesh as meshes
from zoo.training.feeding import Data, Feed, Orders, Phase, Resident, Sizes, scored_batch

WINDOW_BYTES = 2_000_000  # of the images of a window, unless a batch has more


def make_feed(
    config: ml_collections.ConfigDict,
    splits: Mapping[str, Split],
    batch_size: int,
    mesh: Mesh | None,
    orders: Orders,
) -> Feed:
    """The feed of a run.

    Args:
        config: as in configs/default.py.
        splits: "train", "validation", and "test" where that is another.
        batch_size: images of a step of training.
        mesh: the devices; None: one.
        orders: gives an epoch's order.

    Raises:
        ZooError: the images do not fit on the devices.
    """
    sizes = Sizes(batch_size, config.eval_batch_size, config.num_seeds, config.num_epochs)
    if config.data.stream:
        return Streamed(splits, sizes, mesh, orders, config.data.workers)
    return Resident(splits, sizes, mesh, orders)


class Streamed:
    """Images are read as they are used, by other processes, a few windows ahead."""

    def __init__(
        self,
        splits: Mapping[str, Split],
        sizes: Sizes,
        mesh: Mesh | None,
        orders: Orders,
        num_workers: int,
    ) -> None:
        """Reads nothing yet; the number of workers is as in `zoo.data.windows.opened`."""
        self._splits, self._sizes, self._mesh, self._orders = splits, sizes, mesh, orders
        self._num_workers = num_workers
        parts = {part: self._part(part, split) for part, split in splits.items()}
        orders_at = Path(tempfile.gettempdir(), f"zoo-orders-{uuid.uuid4().hex}")
        self.windows = Windows(parts, sizes.num_epochs, orders_at)
        self._iterator: Any = None
        self._next = -1  # the number of the window that the iterator gives next
        self._current: tuple[int, Data] | None = None

    def begin(self, epoch: int, step: int) -> None:
        """As in `Feed`."""
        self._write_orders(epoch)
        self._open(self.windows.number(Place("train", epoch, step)))

    def training(self, epoch: int) -> Phase:
        """As in `Feed`."""
        self._write_orders(epoch)
        return self._phase("train", epoch)

    def scoring(self, part: str, epoch: int) -> Phase:
        """As in `Feed`."""
        return self._phase(part, epoch)

    def shapes(self) -> tuple[Data, Data]:
        """As in `Feed`."""
        return Data(None, self._shape_of("train")), Data(None, self._shape_of("validation"))

    def close(self) -> None:
        """As in `Feed`; waits until the window that is being read is whole."""
        shutil.rmtree(self.windows.orders, ignore_errors=True)  # who waits for an order there stops
        self._current = None
        if self._iterator is not None:
            self._iterator.close()
            self._iterator = None
            gc.collect()  # Grain's iterators refer to each other; they hold semaphores

    def _part(self, name: str, split: Split) -> Part:
        size = self._sizes.batch
        if name != "train":
            size = scored_batch(self._sizes.scored, len(split), self._mesh)
        at_once = size * (self._sizes.num_seeds if name == "train" else 1)
        length = max(1, WINDOW_BYTES // (at_once * int(np.prod(split.images.shape[1:]))))
        part = Part(split.images, size, min(length, -(-len(split) // size)))
        return dataclasses.replace(part, own=self._own(name, part))

    def _own(self, name: str, part: Part) -> tuple[slice, ...]:
        """The smallest box of a window that has all that this process's devices need."""
        sharding = self._sharding(name)
        if sharding.is_fully_addressable:
            return ()
        each = sharding.addressable_devices_indices_map(self._axes(name, part)).values()
        return tuple(
            slice(min(own.start or 0 for own in axis), max(own.stop or size for own in axis))
            for axis, size in zip(zip(*each, strict=True), self._axes(name, part), strict=True)
        )

    def _axes(self, name: str, part: Part) -> tuple[int, ...]:
        """(seeds, if there are many, and for training,) steps, batch of a window."""
        seeds = (self._sizes.num_seeds,) if name == "train" and self._sizes.num_seeds > 1 else ()
        return *seeds, part.length, part.batch_size

    def _sharding(self, name: str) -> jax.sharding.Sharding:
        if self._mesh is None:
            return jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        of_train = meshes.of_state_and_orders(self._sizes.num_seeds)[1]
        return NamedSharding(self._mesh, of_train if name == "train" else meshes.BATCHES)

    def _phase(self, name: str, epoch: int) -> Phase:
        part = self.windows.parts[name]

        def at(step: int) -> Data:
            return self._window(Place(name, epoch, step))

        return Phase(len(part.images), part.num_steps, part.length, at)

    def _window(self, place: Place) -> Data:
        number = self.windows.number(place)
        if self._current is None or self._current[0] != number:
            self._current = None  # its memory is needed
            if self._iterator is None or self._next != number:
                self._open(number)
            self._next += 1
            self._current = next_of(self._iterator)
        return self._current[1]

    def _open(self, number: int) -> None:
        """Starts to read from that window on."""
        if self._iterator is not None:
            self._iterator.close()
        windows = self.windows.from_number(number)
        self._iterator, self._next = opened(windows, self._num_workers, self._placed), number

    def _placed(self, item: Mapping[str, Any]) -> tuple[int, Data]:
        """(number, data on the devices) of a window that was read; called in a thread."""
        number = item["number"]
        place, indices = self.windows.place(number), self.windows.indices(number)
        batches = {
            "image": item["image"],
            "label": np.asarray(self._splits[place.part].labels)[np.maximum(indices, 0)],
            "mask": indices >= 0,
        }
        return number, Data(None, self._on_devices(place.part, batches), place.step)

    def _on_devices(self, name: str, batches: Any) -> Any:
        """The batches as they are spread, of which this process has its own part."""
        sharding, part = self._sharding(name), self.windows.parts[name]
        if not part.own:
            return jax.device_put(batches, sharding)
        first, axes = [own.start for own in part.own], self._axes(name, part)

        def placed(leaf: np.ndarray) -> jax.Array:
            def at(index: Any) -> np.ndarray:
                own = zip(index, first, axes, strict=False)
                return leaf[tuple(slice((i.start or 0) - f, (i.stop or n) - f) for i, f, n in own)]

            shape = (*axes, *leaf.shape[len(axes) :])
            return jax.make_array_from_callback(shape, sharding, at)

        return jax.tree.map(placed, batches)

    def _shape_of(self, name: str) -> dict[str, jax.ShapeDtypeStruct]:
        part = self.windows.parts[name]
        axes = self._axes(name, part)
        return {
            "image": jax.ShapeDtypeStruct((*axes, *part.images.shape[1:]), jnp.uint8),
            "label": jax.ShapeDtypeStruct(axes, jnp.int32),
            "mask": jax.ShapeDtypeStruct(axes, jnp.bool),
        }

    def _write_orders(self, epoch: int) -> None:
        """Writes the orders of that epoch and the next, and removes those of epochs before."""
        folder = self.windows.orders
        with as_sentence(folder):
            folder.mkdir(mode=0o700, exist_ok=True)
            for each in (epoch, epoch + 1):
                path = folder / f"{each}.npy"
                if each <= self._sizes.num_epochs and not path.exists():
                    with open(path.with_suffix(".tmp"), "wb") as file:
                        np.save(file, np.asarray(self._orders(each)), allow_pickle=False)
                    path.with_suffix(".tmp").replace(path)
            for path in folder.glob("*.npy"):
                if int(path.stem) < epoch:
                    path.unlink()
