"""The cache of compiled programs on disk, so that a second start compiles nothing."""

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
    """Caches compiled programs in JAX_COMPILATION_CACHE_DIR or the user's cache directory.

    With JAX_ENABLE_COMPILATION_CACHE=0 in the environment nothing is cached. Call it before
    anything is compiled. If the directory cannot be written, programs are only compiled again at
    the next start. A damaged program is compiled and written again.
    """
    chosen = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    try:
        folder = Path(chosen) if chosen else _default_folder()
    except RuntimeError:  # a user that is not in the system's list, as in some containers
        warnings.warn(
            "there is no home directory, so compiled programs are not cached: name a directory for "
            "them in JAX_COMPILATION_CACHE_DIR",
            stacklevel=2,
        )
        return
    if not chosen:
        with contextlib.suppress(OSError):
            folder.mkdir(
                mode=0o700, parents=True, exist_ok=True
            )  # its files are run: only the user may write
        jax.config.update("jax_compilation_cache_dir", str(folder))
    _heed_warnings(folder)
    # By default JAX skips programs that compile in under a second; a run has a dozen of them.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _heed_warnings(folder: Path) -> None:
    """Replaces JAX's many warnings by one short warning, and deletes the damaged entries.

    JAX would keep a damaged entry forever, because it does not overwrite entries.
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
                "reading": "has damaged entries: these programs are compiled again",
                "writing": "cannot be written: the next start compiles again",
            }[about[1]]
            show(f"the cache of compiled programs {folder} {state}", *where, **options)

    warnings.showwarning = heed


def _is_whole(entry: bytes) -> bool:
    """Whether zlib can decompress it; entries compressed with zstandard count as damaged."""
    try:
        zlib.decompress(entry)
    except zlib.error:
        return False
    return True


def _default_folder() -> Path:
    """A directory for this type of processor: code for another type might not run here."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "jax-cnn-zoo" / "compiled" / f"{platform.machine()}-{_processor()}"


def _processor() -> str:
    """Eight hexadecimal digits that identify the processor's instruction set."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        features = next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):  # not on Linux
        features = platform.processor()
    return hashlib.sha256(features.encode()).hexdigest()[:8]
