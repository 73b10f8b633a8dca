"""The environment of a measurement, and the memory of a process."""

import importlib.metadata
import importlib.util
import os
import platform
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_PACKAGES = (
    *("jax", "jaxlib", "flax", "optax", "numpy"),
    *("torch", "onnx", "onnxruntime", "keras", "tensorflow"),
    "ai_edge_litert",
)


def num_cores() -> int:
    """Logical cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory() -> dict[str, int]:
    """Resident memory of this process now and at its peak, bytes."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:  # macOS: bytes, and only the peak
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {"resident": peak, "peak": peak}
    # Not ru_maxrss: on Linux it still includes the parent's memory after exec.
    kibibytes = {line.split(":")[0]: int(line.split()[1]) for line in lines if "kB" in line}
    return {"resident": kibibytes["VmRSS"] * 1024, "peak": kibibytes["VmHWM"] * 1024}


def describe() -> dict[str, Any]:
    """{"hardware", "versions", "commit"}, without names of a host, a user or a directory."""
    return {"hardware": _hardware(), "versions": _versions(), "commit": commit()}


def where() -> str:
    """Hardware, version of JAX and commit in a line, for a table on the terminal."""
    import jax

    about, device = describe(), jax.devices()[0]
    kind = "" if device.platform == "cpu" else f", {device.device_kind}"
    versions = f"jax {about['versions']['jax']}, commit {about['commit']}"
    return f"{hardware_text(about['hardware'])}{kind}, {versions}"


def hardware_text(hardware: dict[str, Any]) -> str:
    """The hardware in a few words, such as "AMD EPYC, 2 cores, 23 GiB"."""
    memory_gib = hardware["memory_bytes"] / 2**30
    return f"{hardware['cpu']}, {hardware['cores']} cores, {memory_gib:.0f} GiB"


def _hardware() -> dict[str, Any]:
    import zoo.training.history  # not at the top: workers measure memory and may not need JAX

    extensions = ""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        fields = [line.partition(":") for line in cpuinfo.read_text().splitlines()]
        values = {key.strip(): value.strip() for key, _, value in fields}
        flags = values.get("flags", "").split()
        extensions = next((flag for flag in ("avx512f", "avx2", "avx") if flag in flags), "")
    return {
        "cpu": zoo.training.history.processor_name(),
        "vector_extension": extensions,
        "cores": num_cores(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        if package == "torch" and (build := _torch_build()):
            versions[package] = build
            continue
        names = (package, f"{package}_cpu")  # tensorflow-cpu is TensorFlow under another name
        for name in names:
            try:
                versions[package] = importlib.metadata.version(name)
                break
            except importlib.metadata.PackageNotFoundError:
                continue
    return versions


def _torch_build() -> str:
    """Such as "2.14.1+cu130", whose libraries take memory on a CPU, too; "" if it is not here.

    Its wheel's version may lack the end. It is read, not imported, because memory is measured.
    """
    if (found := importlib.util.find_spec("torch")) is None or not found.origin:
        return ""
    text = Path(found.origin).with_name("version.py").read_text()
    version = re.search(r"^__version__ = '([^']+)'", text, re.MULTILINE)
    return version[1] if version else ""


def commit(checkout: Path = ROOT) -> str | None:
    """The checkout's commit, with "-dirty" if tracked files were changed; None if there is none."""
    git = [
        "git",
        "-C",
        str(checkout),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=12",
        "--exclude=*",
    ]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def worker_environment(programs: Path | None = None, checkout: Path = ROOT) -> dict[str, str]:
    """Variables for a process that runs a file of this directory and imports `configs`.

    Args:
        checkout: the process imports `zoo` and `configs` from there.
        programs: a directory for JAX's compiled programs, shared with later processes. None: no
            programs are read from disk, so the first step includes compilation.
    """
    paths = (str(checkout), os.environ.get("PYTHONPATH", ""))
    caches = {"JAX_ENABLE_COMPILATION_CACHE": "0", "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"}
    if programs:
        caches |= {
            "JAX_ENABLE_COMPILATION_CACHE": "1",
            "JAX_COMPILATION_CACHE_DIR": str(programs),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
    return {**os.environ, **caches, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def without_paths(text: str) -> str:
    """The text without this machine's directories, for published results."""
    for folder, name in ((ROOT, "."), (Path(sys.prefix), "PREFIX"), (Path.home(), "~")):
        if len(folder.parts) > 1:
            text = text.replace(str(folder), name)
    return text
