"""The devices of a run: a batch spread over some of them, seeds over others.

Each device runs the program of one device on its part (`jax.shard_map`); what must be known of the
whole batch is added up over the devices: gradients, metrics, and the sums of batch normalization.
"""

import math
from collections.abc import Mapping
from typing import Any, TypeVar

import jax
import ml_collections
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from zoo.system.errors import ZooError
from zoo.system.text import counted

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
        most = len(devices) // seeds if can_spread else 1
        data = next((n for n in range(most, 0, -1) if batch_size % n == 0), 1)
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
    if config.num_seeds % seeds:
        raise ZooError(
            f"config.num_seeds ({config.num_seeds}) must be a multiple of config.mesh.seed "
            f"({seeds}): use --config.mesh.seed=-1"
        )
    if batch_size % data:
        larger = -(-batch_size // data) * data
        raise ZooError(
            f"a batch of {batch_size:,} images cannot be spread evenly over {data} devices: use "
            f"--config.batch_size={larger} or --config.mesh.data=-1"
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
    """What the history keeps of it: {"mesh": {"seed": 2, "data": 4}}; of one device {}."""
    return {"mesh": dict(mesh.shape)} if mesh else {}


def text(facts: Mapping[str, int]) -> str:
    """Such as "seeds over 2 and batches over 4 devices", of what the history keeps."""
    spread = [f"{name} over {facts[axis]}" for axis, name in _SPREAD.items() if facts[axis] > 1]
    return f"{' and '.join(spread)} devices"


def place(mesh: Mesh | None, tree: Tree, spec: P) -> Tree:
    """The tree's arrays on the devices of a mesh; of one device, as they are."""
    return jax.device_put(tree, NamedSharding(mesh, spec)) if mesh else tree


def shardings(mesh: Mesh, specs: Any) -> Any:
    """The same for the arguments of `jax.jit`."""
    return jax.tree.map(
        lambda spec: NamedSharding(mesh, spec), specs, is_leaf=lambda leaf: isinstance(leaf, P)
    )
