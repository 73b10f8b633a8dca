"""A net's variables in a safetensors file, under keys such as "params/conv_1/kernel"."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy

from zoo.system.errors import DamagedError, ZooError
from zoo.system.files import shown, write_whole

DTYPES = ("float16", "float32", "float64")  # of arrays in a file; what is read is float32
_MOST_OTHERS = 1_000_000  # bytes of a file that are not arrays: its header


def flatten(variables: Mapping[str, Any]) -> dict[str, Any]:
    """{"params/conv_1/kernel": leaf, ...}, in order."""
    leaves = jax.tree_util.tree_leaves_with_path(dict(variables))
    return {"/".join(part.key for part in path): leaf for path, leaf in leaves}


def write(path: Path, variables: Mapping[str, Any], dtype: str) -> None:
    """Writes the file whole or not at all.

    Raises:
        ZooError, OSError: as `write_whole`.
    """
    arrays = {
        key: np.ascontiguousarray(np.asarray(leaf).astype(dtype))
        for key, leaf in flatten(variables).items()
    }
    write_whole(path, safetensors.numpy.save(arrays, {"format": "flax"}))


def read(path: Path, expected: Any, sha256: str | None = None) -> dict[str, Any]:
    """The variables, float32, in NumPy arrays.

    Args:
        path: a safetensors file.
        expected: {"params": ..., "batch_stats": ...} of anything with a shape.
        sha256: of the file's content; None: any content will do.

    Raises:
        DamagedError: it is not a safetensors file, or not that of the checksum.
        ZooError: it cannot be read, or does not hold just these arrays.
    """
    wanted = {key: tuple(leaf.shape) for key, leaf in flatten(expected).items()}
    name = shown(path)
    content = _content(path, _MOST_OTHERS + 8 * sum(int(np.prod(s)) for s in wanted.values()))
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise DamagedError(f"{name} is damaged (another sha256): install the zoo again")
    try:
        arrays = safetensors.numpy.load(content)
    except (safetensors.SafetensorError, KeyError, ValueError, TypeError) as error:
        raise DamagedError(
            f"{name} is not a whole safetensors file of float arrays ({_reason(error)}): save or "
            f"download it again"
        ) from None
    for key in (*wanted, *arrays):
        if key not in arrays:
            raise ZooError(f"{name} has no {key}: it holds the weights of another net")
        if key not in wanted:
            raise ZooError(
                f"{name} holds {_short(key)}, which this net does not have: it holds the weights "
                f"of another net"
            )
        if arrays[key].shape != wanted[key]:
            raise ZooError(
                f"{name} has {key} of shape {arrays[key].shape}, not {wanted[key]}: it holds the "
                f"weights of another net, or for images of another size"
            )
        if arrays[key].dtype.name not in DTYPES:
            raise ZooError(f"{name} has {key} of type {arrays[key].dtype}, not float: save it so")
        arrays[key] = arrays[key].astype(np.float32)
        if not np.isfinite(arrays[key]).all():
            raise ZooError(f"{name} has {key} with values that are not finite: train the net again")
    treedef = jax.tree.structure(dict(expected))
    return jax.tree.unflatten(treedef, [arrays[key] for key in wanted])


def _content(path: Path, most: int) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise ZooError(f"{shown(path)} is not a file: name a directory with saved weights")
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > most:
                raise ZooError(
                    f"{shown(path)} has {size:,} bytes, more than this net's weights can have "
                    f"({most:,}): it holds the weights of another net"
                )
            return file.read(most)
    except FileNotFoundError:
        raise ZooError(
            f"{shown(path)} does not exist: name a directory with saved weights"
        ) from None
    except OSError as error:
        raise ZooError(f"cannot read {shown(path)}: {error.strerror}") from None


def _reason(error: Exception) -> str:
    return _short(" ".join(str(error).split()))


def _short(text: str) -> str:
    return repr(text[:80]) if not text.isprintable() else text[:80]
