"""The devices of a run: a batch spread over some of them, seeds over others.

Each device runs the program of one device on its part (`jax.shard_map`); what must be known of the
whole batch is added up over the devices: gradients, metrics, and the sums of batch normalization.
"""

import math
from collections.abc import Mapping
from typing import Any, TypeVar

import jax
import ml_collections
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from zoo.system.errors import ZooError
from zoo.system.text import counted
from zoo.training import distributed

Tree = TypeVar("Tree")
DATA, SEED = "data", "seed"  # the axes
_SPREAD = {SEED: "seeds", DATA: "batches"}

# How arrays lie on the devices.
WHOLE = P()  # each has all of it
SEEDS = P(SEED)  # [seeds, ...]
BATCHES = P(None, DATA)  # indices [steps, batch]
ORDERS = P(SEED, None, DATA)  # indices [seeds, steps, batch]


def make(
    config: ml_collections.ConfigDict, batch_size: int, can_spread: bool = True
) -> Mesh | None:
    """The mesh [seed, data] that a configuration asks for; None: one device.

    Args:
        config: as in configs/default.py.
        batch_size: images in a batch.
        can_spread: whether a batch of the net can be spread.

    Raises:
        ZooError: it cannot be had.
    """
    devices = jax.devices()
    seeds, data = config.mesh.seed, config.mesh.data
    if seeds == -1:
        seeds = math.gcd(config.num_seeds, max(1, len(devices) // max(1, data)))
    if data == -1:
        most = max(1, len(devices) // seeds) if can_spread else 1
        fewest = 1 if distributed.count() == 1 else most  # no process may have nothing to do
        data = next((n for n in range(most, fewest, -1) if batch_size % n == 0), fewest)
    if data > 1 and not can_spread:
        raise ZooError(
            "config.mesh.data must be 1 for a module or layers of one's own: whether they treat a "
            "part of a batch as they would the whole is not known"
        )
    if seeds * data > len(devices):
        product = f"{seeds} x {data} = {seeds * data}" if seeds > 1 else f"{data}"
        raise ZooError(
            f"config.mesh asks for {product} devices, but JAX has "
            f"{counted(len(devices), 'device')} ({devices[0].platform}): "
            f"use --config.mesh.data=-1 for all there are"
        )
    if seeds * data < len(devices) and distributed.count() > 1:
        raise ZooError(
            f"config.mesh takes {seeds * data} of the {len(devices)} devices of "
            f"{distributed.count()} processes, and some would have nothing to do: start fewer "
            f"processes, or use --config.mesh.data=-1 and --config.mesh.seed=-1"
        )
    if config.num_seeds % seeds:
        raise ZooError(
            f"config.num_seeds ({config.num_seeds}) must be a multiple of config.mesh.seed "
            f"({seeds}): use --config.mesh.seed=-1"
        )
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
    if seeds * data == 1:
        return None
    return jax.make_mesh(
        (seeds, data), (SEED, DATA), (AxisType.Auto,) * 2, devices=devices[: seeds * data]
    )


def of_state_and_orders(num_seeds: int) -> tuple[P, P]:
    """How a run's state and metrics lie, and its batches of indices."""
    return (SEEDS, ORDERS) if num_seeds > 1 else (WHOLE, BATCHES)


def count(mesh: Mesh | None, axis: str) -> int:
    """The devices along an axis."""
    return mesh.shape[axis] if mesh else 1


def facts(mesh: Mesh | None) -> dict[str, Any]:
    """What the history keeps of it: {"mesh": {"seed": 2, "data": 4}}; of one device {}.

    Of several processes also their number: {"mesh": ..., "processes": 2}.
    """
    processes = {"processes": distributed.count()} if distributed.count() > 1 else {}
    return {"mesh": dict(mesh.shape)} | processes if mesh else {}


def text(environment: Mapping[str, Any]) -> str:
    """Such as "seeds over 2 and batches over 4 devices", of a history's environment."""
    shape = environment["mesh"]
    spread = [f"{name} over {shape[axis]}" for axis, name in _SPREAD.items() if shape[axis] > 1]
    processes = f" of {environment['processes']} processes" if "processes" in environment else ""
    return f"{' and '.join(spread)} devices{processes}"


def place(mesh: Mesh | None, tree: Tree, spec: P) -> Tree:
    """The tree's arrays on the devices of a mesh; of one device, as they are."""
    return place_as(NamedSharding(mesh, spec), tree) if mesh else tree


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
