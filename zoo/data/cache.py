"""The decoded arrays of a prepared dataset, kept beside it with their checksums."""

import contextlib
import hashlib
import io
import json
import time
import warnings
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from zoo.data.dataset import Split
from zoo.data.readers import in_decoded_copy
from zoo.system import forms
from zoo.system.errors import ZooError
from zoo.system.files import write_whole

_INVALID = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError),
    *(SyntaxError, TokenError, MemoryError),
)
_SECONDS_TO_WRITE = 3600  # one file, at most
Arrays = dict[str, tuple[np.ndarray, np.ndarray]]  # split -> (images uint8, labels int32)


def keep(cache_dir: Path, arrays: Arrays, about: Any = None) -> None:
    """As `write`; where it cannot be written, a warning says so."""
    try:
        write(cache_dir, arrays, about)
    except (OSError, ZooError) as error:  # a read-only dataset directory is still usable
        warnings.warn(f"decoded images are not cached: {error}", stacklevel=3)


def write(cache_dir: Path, arrays: Arrays, about: Any = None) -> None:
    """Writes one .npy per array and, last, a manifest with their sha256; each file atomically.

    Args:
        cache_dir: is made, if its parent exists.
        arrays: what was decoded.
        about: JSON that tells of what, and how; None: the directory alone says it.
    """
    cache_dir.mkdir(exist_ok=True)
    for left in cache_dir.glob("*.tmp"):  # by a killed process, or of one that is writing
        with contextlib.suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > _SECONDS_TO_WRITE:
                left.unlink()
    manifest: dict[str, Any] = {} if about is None else {"about": about}
    for split, pair in arrays.items():
        for field, array in zip(("images", "labels"), pair, strict=True):
            file = io.BytesIO()
            np.save(file, array, allow_pickle=False)
            filename = f"{split}_{field}.npy"
            write_whole(cache_dir / filename, file.getvalue())
            manifest[filename] = hashlib.sha256(file.getvalue()).hexdigest()
    write_whole(cache_dir / "manifest.json", json.dumps(manifest, indent=2))


def splits(arrays: Arrays, stream: bool = False) -> tuple[Split, Split]:
    """(training, test) splits of what `read` gave; with `stream`, the images stay on disk."""
    train, test = (
        Split(in_decoded_copy(images) if stream else images, labels)
        for images, labels in (arrays["train"], arrays["test"])
    )
    return train, test


def read(cache_dir: Path, about: Any = None) -> Arrays | None:
    """The memory-mapped arrays, or None if there is no cache, or it is not valid or not of that."""
    try:
        manifest = forms.read_json(cache_dir / "manifest.json")
        if manifest.get("about") != about:
            return None
        found = {}
        for filename in (
            "train_images.npy",
            "train_labels.npy",
            "test_images.npy",
            "test_labels.npy",
        ):
            path = cache_dir / filename
            if not path.is_file():  # reading a pipe would block
                return None
            with open(path, "rb") as file:  # it may be larger than the memory
                if hashlib.file_digest(file, "sha256").hexdigest() != manifest[filename]:
                    return None
            found[path.stem] = np.load(path, mmap_mode="r", allow_pickle=False)
    except _INVALID:
        return None
    arrays = {}
    for split in ("train", "test"):
        images, labels = found[f"{split}_images"], found[f"{split}_labels"]
        if (images.dtype, labels.dtype) != (np.uint8, np.int32) or images.ndim != 4:
            return None
        if labels.shape != images.shape[:1]:
            return None
        arrays[split] = (images, labels)
    return arrays
