"""What the time of a training step goes to on this CPU, operation by operation.

    python benchmarks/operations.py kernels_cnn7 --steps 50 --top 30

A trace of XLA's own threads, and its program after optimization: for each operation its core time
in milliseconds a step, how often it runs, its result and the layer that it belongs to. What Eigen
and YNNPACK hand to other threads is not in the trace: a convolution's time is its own thread's.
"""

import argparse
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import worker

import zoo.config
import zoo.models

_EXECUTOR = "ThunkExecutor"  # of XLA: runs operations, and is none
_OPERATION = re.compile(r'^\s*(?:ROOT )?%(\S+) = (\S+) .*op_name="([^"]*)"', re.MULTILINE)


class Times(NamedTuple):
    """Of some steps."""

    core_ns: Counter[str]  # by operation
    runs: Counter[str]
    wall_seconds: float


def measure(net: str, num_steps: int) -> tuple[Times, dict[str, str]]:
    """The times of operations in a training step; and of each operation, what it is.

    Sets XLA_FLAGS, and so must be called before JAX has compiled anything.
    """
    with tempfile.TemporaryDirectory() as directory:
        dump, traced = Path(directory, "dump"), Path(directory, "trace")
        flags = f"--xla_dump_to={dump} --xla_dump_hlo_as_text --xla_dump_hlo_module_re=jit_run"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}"
        run = worker.make_runner("zoo", zoo.config.load(net))
        run(num_steps)
        with jax.profiler.trace(str(traced)):
            began = time.perf_counter()
            run(num_steps)
            seconds = time.perf_counter() - began
        texts = [path.read_text() for path in dump.glob("*.cpu_after_optimizations.txt")]
        largest = max(texts, key=len)
        trace = jax.profiler.ProfileData.from_file(str(next(traced.rglob("*.xplane.pb"))))
    core_ns, runs = Counter[str](), Counter[str]()
    for plane in trace.planes:
        for line in plane.lines:
            if "XLAEigen" in line.name:
                _add(line.events, core_ns, runs)
    found = {name: f"{kind}  {where}" for name, kind, where in _OPERATION.findall(largest)}
    return Times(core_ns, runs, seconds), found


def _add(events: Iterable[Any], core_ns: Counter[str], runs: Counter[str]) -> None:
    """Adds a thread's operations; the time of those within a loop or call is not of that, too."""
    outer: list[tuple[float, str]] = []  # (end, name) of what has begun and not ended
    for event in sorted(events, key=lambda event: (event.start_ns, -event.duration_ns)):
        if event.name.startswith(_EXECUTOR):
            continue
        while outer and outer[-1][0] <= event.start_ns:
            outer.pop()
        if outer:
            core_ns[outer[-1][1]] -= int(event.duration_ns)
        core_ns[event.name] += int(event.duration_ns)
        runs[event.name] += 1
        outer.append((event.start_ns + event.duration_ns, event.name))


def text(times: Times, found: dict[str, str], num_steps: int, top: int) -> str:
    """A table of the operations that take longest.

    Args:
        times: of all steps.
        found: what an operation is.
        num_steps: so many were measured.
        top: number of rows.
    """
    total = sum(times.core_ns.values())
    step_ms = times.wall_seconds * 1e3 / num_steps
    lines = [
        f"{step_ms:.2f} ms a step; {total / 1e6 / num_steps:.2f} ms of cores are traced",
        "core ms   share  times  operation",
    ]
    for name, core_ns in times.core_ns.most_common(top):
        milliseconds, often = core_ns / 1e6 / num_steps, times.runs[name] / num_steps
        what = found.get(name, "").replace("jit(run)/while/body/", "")
        share = core_ns / total
        lines.append(f"{milliseconds:7.3f} {share:7.1%} {often:6.0f}  {name}  {what}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("net", choices=zoo.models.list_models())
    parser.add_argument("--steps", type=int, default=20, help="how many are traced (default: 20)")
    parser.add_argument("--top", type=int, default=25, help="rows of the table (default: 25)")
    options = parser.parse_args(arguments)
    if min(options.steps, options.top) < 1:
        parser.error("--steps and --top must be above 0")
    times, found = measure(options.net, options.steps)
    if not times.core_ns:
        sys.exit("the trace holds no operation of this CPU: does this JAX name its threads anew?")
    print(text(times, found, options.steps, options.top))


if __name__ == "__main__":
    main()
