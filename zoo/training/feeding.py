"""What the compiled programs of a run are given: images on the devices, or windows of a stream."""

import gc
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from zoo.data import Split
from zoo.data.windows import Part, Place, Windows, next_of, opened
from zoo.system.files import as_sentence
from zoo.system.memory import check_fits
from zoo.training import mesh as meshes
from zoo.training.programs import padded_order, seeds_shapes

WINDOW_BYTES = 2_000_000  # of the images of a window, unless a batch has more


class Data(NamedTuple):
    """Some of the batches that come one after another."""

    split: Any  # (images [N, H, W, C], labels [N]) on the devices; None: the batches hold them
    batches: Any  # indices [steps, batch] of the split; or {"image": [steps, batch, ...], ...}
    first: int = 0  # the step of the first of them

    def piece(self, start: int, stop: int) -> tuple[Any, Any, int, int]:
        """What a program is called with for the steps `start` to `stop - 1`."""
        return self.split, self.batches, start - self.first, stop - self.first


class Phase(NamedTuple):
    """A pass over images: an epoch of training, or the scoring of a split."""

    num_images: int
    num_steps: int
    window: int  # as many steps are had at once, from a multiple of it
    at: Callable[[int], Data]  # those with that step among them


class Sizes(NamedTuple):
    """How a run divides its images."""

    batch: int  # images
    scored: int  # images of a step of validation and testing, at most
    num_seeds: int
    num_epochs: int


class Feed(Protocol):
    """Gives the data of a run in the order in which it needs it."""

    def begin(self, epoch: int, step: int) -> None:
        """Starts to read ahead from there, if anything is read."""

    def training(self, epoch: int) -> Phase:
        """The batches of an epoch, from 1; of many seeds, with an axis of seeds in front."""

    def scoring(self, part: str, epoch: int) -> Phase:
        """The batches of "validation" after that epoch, or of "test"."""

    def shapes(self) -> tuple[Data, Data]:
        """Data of training and of validation, or its shapes, to compile programs for it."""

    def close(self) -> None:
        """Ends what reads."""


Orders = Callable[[int], jax.Array]  # of an epoch: [(seeds,) steps, batch]


def make(
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


class Resident:
    """All images lie on the devices."""

    def __init__(
        self, splits: Mapping[str, Split], sizes: Sizes, mesh: Mesh | None, orders: Orders
    ) -> None:
        """Moves the images of training and validation to the devices.

        Raises:
            ZooError: they, or those for testing, do not fit.
        """
        copies = mesh.size if mesh and jax.default_backend() == "cpu" else 1  # in one memory
        shape = "x".join(map(str, splits["train"].images.shape[1:]))
        check_fits(
            copies * sum(split.images.nbytes for split in splits.values()),
            f"a dataset of {sum(map(len, splits.values())):,} images of {shape}",
            "read images when they are used, with --config.data.stream=True",
        )
        self._splits, self._sizes, self._mesh, self._orders = splits, sizes, mesh, orders
        self._of_orders = meshes.of_state_and_orders(sizes.num_seeds)[1]
        self._placed = {part: self._on_devices(splits[part]) for part in ("train", "validation")}

    def begin(self, epoch: int, step: int) -> None:
        """Nothing is read."""

    def training(self, epoch: int) -> Phase:
        """As in `Feed`."""
        orders = meshes.place(self._mesh, self._orders(epoch), self._of_orders)
        return self._phase(Data(self._placed["train"], orders))

    def scoring(self, part: str, epoch: int) -> Phase:
        """As in `Feed`; images for testing are moved to the devices only for that."""
        placed = self._placed.get(part) or self._on_devices(self._splits[part])
        batches = meshes.place(self._mesh, self._batches(placed), meshes.BATCHES)
        return self._phase(Data(placed, batches))

    def shapes(self) -> tuple[Data, Data]:
        """As in `Feed`."""
        placed = self._placed["validation"]
        orders, batches = jax.eval_shape(lambda: (self._orders(1), self._batches(placed)))
        return Data(self._placed["train"], orders), Data(placed, batches)

    def close(self) -> None:
        """Nothing is read."""

    def _phase(self, data: Data) -> Phase:
        num_steps = data.batches.shape[-2]
        return Phase(len(data.split[1]), num_steps, num_steps, lambda step: data)

    def _batches(self, placed: Any) -> jax.Array:
        num_images = len(placed[1])
        size = scored_batch(self._sizes.scored, num_images, self._mesh)
        return padded_order(jnp.arange(num_images), size)

    def _on_devices(self, split: Split) -> tuple[jax.Array, jax.Array]:
        arrays = jnp.asarray(split.images), jnp.asarray(split.labels)
        return meshes.place(self._mesh, arrays, meshes.WHOLE)


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
        self._of_train = meshes.of_state_and_orders(sizes.num_seeds)[1]
        self._num_workers = num_workers
        self._folder = tempfile.TemporaryDirectory(prefix="zoo-orders-", ignore_cleanup_errors=True)
        parts = {part: self._part(part, split) for part, split in splits.items()}
        self.windows = Windows(parts, sizes.num_epochs, Path(self._folder.name))
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
        train, validation = (self._shape_of(part) for part in ("train", "validation"))
        return Data(None, seeds_shapes(train, self._sizes.num_seeds)), Data(None, validation)

    def close(self) -> None:
        """As in `Feed`; waits until the window that is being read is whole."""
        self._folder.cleanup()  # whoever waits for an order there stops
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
        return Part(split.images, size, min(length, -(-len(split) // size)))

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
        spec = self._of_train if place.part == "train" else meshes.BATCHES
        return number, Data(None, self._on_devices(batches, spec), place.step)

    def _on_devices(self, batches: Any, spec: P) -> Any:
        if self._mesh is None:
            return jax.device_put(batches)
        return meshes.place(self._mesh, batches, spec)

    def _shape_of(self, name: str) -> dict[str, jax.ShapeDtypeStruct]:
        part = self.windows.parts[name]
        axes = part.length, part.batch_size
        return {
            "image": jax.ShapeDtypeStruct((*axes, *part.images.shape[1:]), jnp.uint8),
            "label": jax.ShapeDtypeStruct(axes, jnp.int32),
            "mask": jax.ShapeDtypeStruct(axes, jnp.bool),
        }

    def _write_orders(self, epoch: int) -> None:
        """Writes the orders of that epoch and the next, and removes those of epochs before."""
        folder = self.windows.orders
        with as_sentence(folder):
            for each in (epoch, epoch + 1):
                path = folder / f"{each}.npy"
                if each <= self._sizes.num_epochs and not path.exists():
                    with open(path.with_suffix(".tmp"), "wb") as file:
                        np.save(file, np.asarray(self._orders(each)), allow_pickle=False)
                    path.with_suffix(".tmp").replace(path)
            for path in folder.glob("*.npy"):
                if int(path.stem) < epoch:
                    path.unlink()


def scored_batch(most: int, num_images: int, mesh: Mesh | None) -> int:
    """Images of a step that scores a split; the number does not change the result.

    It is a multiple of the devices that share a batch.
    """
    sharing = meshes.count(mesh, meshes.DATA)
    return -(-min(most, num_images) // sharing) * sharing
