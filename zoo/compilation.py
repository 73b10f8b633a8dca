"""Compiled programs kept on disk, so that a second start compiles nothing."""

import hashlib
import os
import platform
from pathlib import Path

import jax


def enable_cache() -> None:
    """Keeps every compiled program, in JAX_COMPILATION_CACHE_DIR or under the user's cache folder.

    With JAX_ENABLE_COMPILATION_CACHE=0 in the environment nothing is kept. Call it before anything
    is compiled. A folder that cannot be written costs the time to compile, nothing else.
    """
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", str(_default_folder()))
    # JAX by itself skips what compiles in less than a second; a run has a dozen such programs.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


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
