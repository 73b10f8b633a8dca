"""Trees of arrays in directories, as Orbax writes them. Nothing else imports Orbax."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import absl.logging
import jax
import numpy as np
import orbax.checkpoint as ocp

from zoo.system.errors import ZooError
from zoo.system.memory import available_bytes, bytes_text

Tree = TypeVar("Tree")
ERRORS = (ValueError, KeyError, TypeError, AttributeError, OSError)  # that reading may raise


def quieten() -> None:
    """Keeps Orbax and TensorStore from telling of errors that are raised here."""
    absl.logging.set_verbosity(absl.logging.ERROR)
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def write(directory: Path, tree: Any) -> None:
    """Writes a tree of arrays into a new directory.

    Raises:
        ValueError: TensorStore cannot write it.
        OSError: it cannot be written.
    """
    # As NumPy arrays: of JAX's, Orbax 0.12 keeps some kilobytes for ever with each save.
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
        checkpointer.save(directory, args=ocp.args.StandardSave(jax.device_get(tree)))


def read(directory: Path, like: Tree) -> Tree:
    """The tree that a directory holds, with the structure, types and placement of `like`.

    Raises:
        ERRORS: it cannot be read, or its arrays have other names or shapes.
    """
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
        there = _shapes(checkpointer.metadata(directory).item_metadata.tree)
        if other := sorted(dict(there.items() ^ _shapes(like).items())):
            raise ValueError(f"{other[0]} differs: it is of another net or optimizer")
        return checkpointer.restore(directory, args=ocp.args.StandardRestore(abstract))


def read_parts(directory: Path, names: Sequence[str]) -> dict[str, Any]:
    """The named parts of the tree that a directory holds, as NumPy arrays; empty ones are left out.

    Raises:
        ZooError: they need more memory than this machine has free.
        ERRORS: they cannot be read.
    """
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        tree = checkpointer.metadata(directory).item_metadata.tree
        wanted = {name: tree[name] for name in names if tree.get(name)}
        size = sum(
            np.prod(leaf.shape, dtype=float) * np.dtype(leaf.dtype).itemsize
            for leaf in jax.tree.leaves(wanted)
        )
        if size > available_bytes():  # an array of zeros takes no place on disk
            raise ZooError(
                f"the checkpoint {directory.parent} holds arrays of {bytes_text(size)}, more than "
                f"this machine has free ({bytes_text(available_bytes())})"
            )
        as_arrays = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
        item = ocp.args.PyTreeRestore(wanted, restore_args=as_arrays, partial_restore=True)
        return checkpointer.restore(directory, args=item)


def reason(error: Exception) -> str:
    """What an error says, in a line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if "RESOURCE_EXHAUSTED" in str(error):  # TensorStore's word for it, a dozen lines long
        return "no space is left"
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    """{"params/conv_1/kernel": (3, 3, 1, 32), ...}"""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
        for path, leaf in leaves
    }
