"""What the compiled programs of a run are given, and images that lie on the devices for it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from zoo.data import Split
from zoo.system.memory import check_fits
from zoo.training import mesh as meshes
from zoo.training.programs import padded_order


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


class Resident:
    """All images lie on the devices."""

    def __init__(
        self, splits: Mapping[str, Split], sizes: Sizes, mesh: Mesh | None, orders: Orders
    ) -> None:
        """Moves the images of training and validation to the devices.

        Raises:
            ZooError: they, or those for testing, do not fit.
        """
        on_cpu = jax.default_backend() == "cpu"  # where devices have one memory
        copies = len(mesh.local_devices) if mesh and on_cpu else 1
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


def scored_batch(most: int, num_images: int, mesh: Mesh | None) -> int:
    """Images of a step that scores a split; the number does not change the result.

    It is a multiple of the devices that share a batch.
    """
    sharing = meshes.count(mesh, meshes.DATA)
    return -(-min(most, num_images) // sharing) * sharing
