"""How much memory is free, and how much a compiled program needs.

Processes that only read data import this without JAX, which takes a second and 200 MB.
"""

import contextlib
import ctypes
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zoo.system.errors import ZooError

_CONTROL_GROUPS = (  # of a container, version 2 and version 1
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes"),
)


def available_bytes() -> float:
    """Memory of the host that this process can still allocate.

    The smallest of the system's free memory, the limit of the process's control group, and the
    limit on its address space; infinity if none of these is known.
    """
    found = [float("inf")]
    with contextlib.suppress(OSError, ValueError, StopIteration):  # not Linux
        lines = Path("/proc/meminfo").read_text().splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        found.append(1024.0 * int(line.split()[1]))
    for group, limit, used in _CONTROL_GROUPS:
        with contextlib.suppress(OSError, ValueError):  # no control group, or no limit: "max"
            words = (group / "memory.stat").read_text().split()
            stat = dict(zip(words[::2], map(int, words[1::2]), strict=True))
            cache = stat.get("inactive_file", 0) + stat.get("active_file", 0)  # freed on demand
            free = int((group / limit).read_text()) - int((group / used).read_text()) + cache
            found.append(float(max(0, free)))
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        with contextlib.suppress(OSError):
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            found.append(float(soft - pages * os.sysconf("SC_PAGE_SIZE")))
    return min(found)


def device_bytes() -> float:
    """Memory that is free on the first device of this process; on a CPU, on the host."""
    import jax

    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return float(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    return available_bytes()


def program_bytes(compiled: Any) -> float:
    """Memory that a call of a compiled program needs besides its arguments, as XLA reports it."""
    stats = compiled.memory_analysis()
    if stats is None:  # this platform does not report it
        return 0.0
    new = stats.output_size_in_bytes - stats.alias_size_in_bytes
    return float(stats.temp_size_in_bytes + max(0, new))


def bytes_text(count: float) -> str:
    """Such as "1.2 GB"."""
    for unit in ("bytes", "kB", "MB"):
        if count < 999.5:  # three digits of more are 1e+03
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.1f} GB"


def check_fits(needed: float, what: str, advice: str) -> None:
    """Raises ZooError if more is needed than the device has free."""
    free = device_bytes()
    if needed > free:
        raise ZooError(
            f"{what} needs about {bytes_text(needed)} of memory, but {bytes_text(free)} are free: "
            f"{advice}"
        )


def use_one_arena() -> None:
    """Makes glibc keep one heap for all threads; elsewhere it does nothing.

    By default it keeps several heaps, which become fragmented: the memory of a run then grows for
    hundreds of epochs. Call it before threads are started.
    """
    _call_of_libc("mallopt", -8, 1)  # M_ARENA_MAX, of malloc.h


def give_back() -> None:
    """Makes glibc return freed memory to the system; elsewhere it does nothing."""
    _call_of_libc("malloc_trim", 0)


def _call_of_libc(name: str, *arguments: int) -> None:
    with contextlib.suppress(OSError, AttributeError):  # another C library
        getattr(ctypes.CDLL("libc.so.6"), name)(*arguments)


@contextlib.contextmanager
def shortage_as_sentence(what: str, advice: str) -> Iterator[None]:
    """Makes a ZooError of the device's running out of memory.

    Args:
        what: what it has too little memory for.
        advice: what to do.
    """
    import jax

    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise ZooError(f"the device does not have enough memory for {what}: {advice}") from None
