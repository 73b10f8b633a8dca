"""The devices of a run: a batch spread over some of them, seeds over others.

Each device runs the program of one device on its part (`jax.shard_map`); what must be known of the
whole batch is added up over the devices: gradients, metrics, and the sums of batch normalization.
Over the axis "model", the large kernels of convolutions and dense layers are spread by their
outputs, and XLA's partitioner adds what the layers need of each other.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import jax
import ml_collections
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.tree_util import keystr

from zoo.ops.windows import largest_divisor
from zoo.system.errors import ZooError
from zoo.system.text import counted
from zoo.training import distributed

Tree = TypeVar("Tree")
DATA, SEED, MODEL = "data", "seed", "model"  # the axes
_SPREAD = {SEED: "seeds", DATA: "batches", MODEL: "kernels"}
_LARGE = 2**18  # parameters of a kernel that is worth spreading: 1 MB
_AXES = {"conv": 4, "dense": 2}  # of a kernel: height, width, inputs, outputs; inputs, outputs

# How arrays lie on the devices.
WHOLE = P()  # each has all of it
SEEDS = P(SEED)  # [seeds, ...]
BATCHES = P(None, DATA)  # indices [steps, batch]
ORDERS = P(SEED, None, DATA)  # indices [seeds, steps, batch]


def make(
    config: ml_collections.ConfigDict, batch_size: int, can_spread: bool = True
) -> Mesh | None:
    """The mesh [seed, data], or [seed, data, model], that a configuration asks for.

    None: one device.

    Args:
        config: as in configs/default.py.
        batch_size: images in a batch.
        can_spread: whether a batch of the net can be spread.

    Raises:
        ZooError: it cannot be had.
    """
    devices = jax.devices()
    seeds, data, model = config.mesh.seed, config.mesh.data, config.mesh.model
    if seeds == -1:
        free = max(1, len(devices) // (max(1, data) * model))
        seeds = math.gcd(config.num_seeds, free)  # what it leaves is for the parts of a batch
        if distributed.count() == 1 and (data != -1 or not can_spread):
            seeds = largest_divisor(config.num_seeds, free)
    if data == -1:
        most = max(1, len(devices) // (seeds * model)) if can_spread else 1
        fewest = 1 if distributed.count() == 1 else most  # no process may have nothing to do
        data = next((n for n in range(most, fewest, -1) if batch_size % n == 0), fewest)
    if data > 1 and not can_spread:
        raise ZooError(
            "config.mesh.data must be 1 for a module or layers of one's own: whether they treat a "
            "part of a batch as they would the whole is not known"
        )
    needed = seeds * data * model
    _check_devices(seeds, data, model, devices)
    if config.num_seeds % seeds:
        raise ZooError(
            f"config.num_seeds ({config.num_seeds}) must be a multiple of config.mesh.seed "
            f"({seeds}): use --config.mesh.seed=-1"
        )
    _check_batch(batch_size, data)
    if needed == 1:
        return None
    axes = {SEED: seeds, DATA: data} | ({MODEL: model} if model > 1 else {})
    return jax.make_mesh(
        tuple(axes.values()), tuple(axes), (AxisType.Auto,) * len(axes), devices=devices[:needed]
    )


def _check_devices(seeds: int, data: int, model: int, devices: Sequence[jax.Device]) -> None:
    """Raises ZooError if there are not as many devices, or some processes would have none."""
    needed = seeds * data * model
    if needed > len(devices):
        sizes = [str(size) for size in (seeds, data, model) if size > 1]
        product = f"{' x '.join(sizes)} = {needed}" if len(sizes) > 1 else f"{needed}"
        advice = "use --config.mesh.data=-1 for all there are"
        raise ZooError(
            f"config.mesh asks for {product} devices, but JAX has "
            f"{counted(len(devices), 'device')} ({devices[0].platform}): "
            f"{'use --config.mesh.model=1' if model > 1 else advice}"
        )
    if needed < len(devices) and distributed.count() > 1:
        raise ZooError(
            f"config.mesh takes {needed} of the {len(devices)} devices of "
            f"{distributed.count()} processes, and some would have nothing to do: start fewer "
            f"processes, or use --config.mesh.data=-1 and --config.mesh.seed=-1"
        )


def _check_batch(batch_size: int, data: int) -> None:
    """Raises ZooError if a batch cannot be spread evenly over so many devices."""
    if batch_size < data:
        raise ZooError(
            f"a batch of {counted(batch_size, 'image')} cannot be spread over {data} devices: use "
            f"fewer of them, or a larger config.batch_size, if there are as many images"
        )
    if batch_size % data:
        larger = -(-batch_size // data) * data
        other = "start fewer processes" if distributed.count() > 1 else "--config.mesh.data=-1"
        raise ZooError(
            f"a batch of {batch_size:,} images cannot be spread evenly over {data} devices: use "
            f"--config.batch_size={larger} or {other}"
        )


def of_state_and_orders(num_seeds: int) -> tuple[P, P]:
    """How a run's state and metrics lie, and its batches of indices."""
    return (SEEDS, ORDERS) if num_seeds > 1 else (WHOLE, BATCHES)


def count(mesh: Mesh | None, axis: str) -> int:
    """The devices along an axis."""
    return mesh.shape.get(axis, 1) if mesh else 1


def facts(mesh: Mesh | None) -> dict[str, Any]:
    """What the history keeps of it: {"mesh": {"seed": 2, "data": 4}}; of one device {}.

    Of several processes also their number: {"mesh": ..., "processes": 2}.
    """
    processes = {"processes": distributed.count()} if distributed.count() > 1 else {}
    return {"mesh": dict(mesh.shape)} | processes if mesh else {}


def text(environment: Mapping[str, Any]) -> str:
    """Such as "seeds over 2 and batches over 4 devices", of a history's environment."""
    shape = environment["mesh"]
    spread = [
        f"{name} over {shape[axis]}" for axis, name in _SPREAD.items() if shape.get(axis, 1) > 1
    ]
    processes = f" of {environment['processes']} processes" if "processes" in environment else ""
    return f"{' and '.join(spread)} devices{processes}"


def place(mesh: Mesh | None, tree: Tree, spec: P) -> Tree:
    """The tree's arrays on the devices of a mesh; of one device, as they are."""
    if mesh is None:
        return tree
    return jax.tree.map(
        lambda leaf, sharding: place_as(sharding, leaf), tree, shardings_of(mesh, tree, spec)
    )


def shardings_of(mesh: Mesh, tree: Any, spec: P) -> Any:
    """How each array of a tree lies, if they all lie by `spec` but for the large kernels.

    Args:
        mesh: the devices.
        tree: of arrays or shapes, such as a run's state; kernels are known by their names in it.
        spec: of all axes but "model".
    """

    def of_leaf(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        name = keystr(path, simple=True, separator="/")
        found = re.search(r"(?:^|/)(conv|dense)_\d+/kernel$", name)
        kernel = leaf.shape[len(spec) :]
        parts = count(mesh, MODEL)
        is_large = (
            parts > 1 and found and len(kernel) == _AXES[found[1]] and math.prod(kernel) >= _LARGE
        )
        if is_large and kernel[-1] % parts == 0:
            return NamedSharding(mesh, P(*spec, *[None] * (len(kernel) - 1), MODEL))
        return NamedSharding(mesh, spec)

    return jax.tree_util.tree_map_with_path(of_leaf, tree)


def check_spreads(mesh: Mesh | None, tree: Any, name: str) -> None:
    """Raises ZooError if a mesh has the axis "model", but the net no kernel to spread over it."""
    parts = count(mesh, MODEL)
    if mesh is None or parts == 1:
        return
    if not any(MODEL in each.spec for each in jax.tree.leaves(shardings_of(mesh, tree, WHOLE))):
        raise ZooError(
            f"config.mesh.model={parts}: {name} has no kernel of {_LARGE:,} parameters or more "
            f"whose outputs divide by {parts}: use another number, or 1"
        )


def shapes_of(mesh: Mesh | None, tree: Any, spec: P) -> Any:
    """The shapes of a tree's arrays, with how they lie if they do not all lie by `spec`."""
    if mesh is None or MODEL not in mesh.shape:
        return tree
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        tree,
        shardings_of(mesh, tree, spec),
    )


def part_of_bytes(mesh: Mesh | None, tree: Any, spec: P) -> float:
    """The bytes of a tree of arrays or shapes on each device."""
    if mesh is None:
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
    parts = jax.tree.map(
        lambda leaf, sharding: math.prod(sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize,
        tree,
        shardings_of(mesh, tree, spec),
    )
    return sum(jax.tree.leaves(parts))


def place_as(sharding: jax.sharding.Sharding, tree: Tree) -> Tree:
    """The tree's arrays as that sharding lays them.

    On devices of several processes, each of which has the same arrays, it puts its own parts there.
    """
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def of_leaf(leaf: Any) -> jax.Array:
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
            return jax.device_put(leaf, sharding)
        whole = np.asarray(leaf)
        return jax.make_array_from_callback(whole.shape, sharding, whole.__getitem__)

    return jax.tree.map(of_leaf, tree)


def shardings(mesh: Mesh, specs: Any) -> Any:
    """The same for the arguments of `jax.jit`."""
    return jax.tree.map(
        lambda spec: NamedSharding(mesh, spec), specs, is_leaf=lambda leaf: isinstance(leaf, P)
    )
