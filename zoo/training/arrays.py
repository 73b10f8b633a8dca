"""Trees of arrays in directories, as Orbax writes them. Nothing else imports Orbax."""

import contextlib
import logging
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
import orbax.checkpoint as ocp

from zoo.system.errors import ZooError
from zoo.system.memory import available_bytes, bytes_text
from zoo.system.notes import noted
from zoo.training import distributed
from zoo.training.mesh import place_as

Tree = TypeVar("Tree")
ERRORS = (ValueError, KeyError, TypeError, AttributeError, OSError)  # that reading may raise
# A failed read leaves others behind whose errors asyncio would tell of; the first one is raised.
logging.getLogger("asyncio").setLevel(logging.CRITICAL)
_PLAIN = re.compile(r"[\w./-]+", re.ASCII)


def write(directory: Path, tree: Any) -> None:
    """Writes a tree of arrays into a new directory, reads it back and compares.

    Of several processes one calls this, for all; so may each of them the functions that read.

    Raises:
        ValueError: TensorStore cannot write it, or it does not come back as it was.
        OSError: it cannot be written.
    """
    # As NumPy arrays: of JAX's, Orbax 0.12 keeps some kilobytes for ever with each save.
    tree = jax.device_get(tree)
    with _opened(directory, _handler()) as (checkpointer, plain):
        checkpointer.save(plain, args=ocp.args.StandardSave(tree))
    try:
        found = read(directory, like=tree)
    except ERRORS as error:
        raise ValueError(f"what was written cannot be read: {reason(error)}") from None
    for path, one, other in zip(_shapes(tree), *map(jax.tree.leaves, (tree, found)), strict=True):
        if np.asarray(one).tobytes() != np.asarray(other).tobytes():
            raise ValueError(f"{path} was written, but is read otherwise")


def _handler() -> ocp.StandardCheckpointHandler:
    return ocp.StandardCheckpointHandler(multiprocessing_options=_alone())


@contextlib.contextmanager
def _opened(
    directory: Path, handler: ocp.CheckpointHandler
) -> Iterator[tuple[ocp.Checkpointer, Path]]:
    """Orbax's object for one directory, and a path of it that Orbax takes as it is."""
    with (
        noted("Orbax"),
        _plainly_named(directory) as plain,
        ocp.Checkpointer(handler, multiprocessing_options=_alone()) as checkpointer,
    ):
        yield checkpointer, plain


def _alone() -> ocp.options.MultiprocessingOptions:
    """Keeps Orbax from waiting for other processes of the run."""
    if distributed.count() == 1:
        return ocp.options.MultiprocessingOptions()
    own = distributed.number()
    return ocp.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"process-{own}"
    )


def _metadata(checkpointer: ocp.Checkpointer, directory: Path) -> Any:
    """The tree that a directory holds, with shapes and types in place of arrays."""
    found = checkpointer.metadata(directory).item_metadata
    if found is None:
        raise ValueError("the description of its arrays is missing or damaged")
    return found.tree


@contextlib.contextmanager
def _plainly_named(directory: Path) -> Iterator[Path]:
    """The directory by a path without characters that have a meaning to Orbax or TensorStore.

    They take a path for a pattern ("[", "*", "?"), or a backslash in it for a "/", so such a
    directory is reached through a link in a temporary directory.
    """
    if _PLAIN.fullmatch(str(directory)):
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="zoo-") as temporary:
        link = Path(temporary, "parent")
        link.symlink_to(directory.parent)
        yield link / directory.name


def read(directory: Path, like: Tree) -> Tree:
    """The tree that a directory holds, with the structure, types and placement of `like`.

    Raises:
        ERRORS: it cannot be read, or its arrays have other names or shapes.
    """
    is_at_hand = all(
        leaf.is_fully_addressable for leaf in jax.tree.leaves(like) if isinstance(leaf, jax.Array)
    )
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct if is_at_hand else _like_numpy, like)
    with _opened(directory, _handler()) as (checkpointer, plain):
        there = _shapes(_metadata(checkpointer, plain))
        if other := sorted(dict(there.items() ^ _shapes(like).items())):
            raise ValueError(f"{other[0]} differs: it is of another net or optimizer")
        found = checkpointer.restore(plain, args=ocp.args.StandardRestore(abstract))
    if is_at_hand:
        return found
    return jax.tree.map(lambda leaf, other: place_as(other.sharding, leaf), found, like)


def _like_numpy(leaf: jax.Array) -> np.ndarray:
    """An array of that shape and type that takes no memory."""
    return np.broadcast_to(np.zeros((), leaf.dtype), leaf.shape)


def read_parts(directory: Path, names: Sequence[str]) -> dict[str, Any]:
    """The named parts of the tree that a directory holds, as NumPy arrays; empty ones are left out.

    Raises:
        ZooError: they need more memory than this machine has free.
        ERRORS: they cannot be read.
    """
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=_alone())
    with _opened(directory, handler) as (checkpointer, plain):
        tree = _metadata(checkpointer, plain)
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
        return checkpointer.restore(plain, args=item)


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
