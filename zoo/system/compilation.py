"""Compiled programs kept on disk, so that a second start compiles nothing."""

import contextlib
import hashlib
import os
import platform
import re
import warnings
import zlib
from pathlib import Path
from typing import Any

import jax


def enable_cache() -> None:
    """Keeps every compiled program, in JAX_COMPILATION_CACHE_DIR or under the user's cache folder.

    With JAX_ENABLE_COMPILATION_CACHE=0 in the environment nothing is kept. Call it before anything
    is compiled. A folder that cannot be written costs the time to compile, nothing else; so does a
    damaged program, which is written anew.
    """
    chosen = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    folder = Path(chosen) if chosen else _default_folder()
    if not chosen:
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # who may write there is trusted
        jax.config.update("jax_compilation_cache_dir", str(folder))
    _heed_warnings(folder)
    # JAX by itself skips what compiles in less than a second; a run has a dozen such programs.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _heed_warnings(folder: Path) -> None:
    """Makes one short warning of JAX's many, and removes the entries that they tell of.

    JAX keeps a damaged entry for ever, because it writes none where there is one.
    """
    show, told = warnings.showwarning, set()

    def heed(message: Warning | str, *where: Any, **options: Any) -> None:
        about = re.match(
            r"Error (reading|writing) persistent compilation cache entry for '(\w+)'", str(message)
        )
        if not about:
            show(message, *where, **options)
            return
        for entry in folder.glob(f"{about[2]}-*"):
            with contextlib.suppress(OSError):
                if not _is_whole(entry.read_bytes()):
                    entry.unlink()
        if about[1] not in told:
            told.add(about[1])
            state = {
                "reading": "is damaged: what is damaged is compiled again",
                "writing": "cannot be written: a later start compiles again",
            }[about[1]]
            show(f"the cache of compiled programs {folder} {state}", *where, **options)

    warnings.showwarning = heed


def _is_whole(entry: bytes) -> bool:
    """Whether it is as zlib wrote it; of what JAX packs with zstandard, that cannot be told."""
    try:
        zlib.decompress(entry)
    except zlib.error:
        return False
    return True


def _default_folder() -> Path:
    """A folder for this kind of processor: code for another one might not run here."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "jax-cnn-zoo" / "compiled" / f"{platform.machine()}-{_processor()}"


def _processor() -> str:
    """Eight hexadecimal digits that stand for the processor's instructions."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        features = next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):  # not on Linux
        features = platform.processor()
    return hashlib.sha256(features.encode()).hexdigest()[:8]
