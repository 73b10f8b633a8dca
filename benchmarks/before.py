"""Compares a training step of every net with that of an earlier checkout of the zoo, on this CPU.

    git worktree add ../before COMMIT
    python benchmarks/before.py ../before --stem exact-zeros --title "What exact zeros cost"

Or, in an environment with a newer JAX, with that of the same code and an older JAX:

    python benchmarks/before.py . --python ../old/bin/python --stem newer-jax

The code of each checkout runs in a separate process; their rounds alternate, and each ratio is
that of two consecutive rounds.
"""

import argparse
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import contenders
import environment
import measure
import results


def measure_net(
    net: str, sides: Sequence[tuple[Path, str]], seconds: float, rounds: int
) -> dict[str, Any]:
    """{"images_per_second": by side, "first_step_seconds": by side, "ratios": by round}.

    Args:
        net: the net.
        sides: a checkout of the zoo and the Python that runs it, before and after.
        seconds: of a round.
        rounds: of each side.
    """
    workers = [
        contenders.Worker(["zoo", net], timeout=600, checkout=checkout, python=python)
        for checkout, python in sides
    ]
    try:
        batch_size = max(worker.hello()["batch_size"] for worker in workers)  # the same for both
        first, num_steps = zip(
            *(measure.calibrate(worker.run, seconds) for worker in workers), strict=True
        )
        speeds: list[list[float]] = [[] for _ in workers]
        for index in contenders.alternate(list(range(len(workers))), rounds):
            took = workers[index].run(num_steps[index])
            speeds[index].append(batch_size * num_steps[index] / took)
    finally:
        for worker in workers:
            worker.close()
    return {
        "images_per_second": [statistics.median(each) for each in speeds],
        "first_step_seconds": first,
        "ratios": [after / before for before, after in zip(*speeds, strict=True)],
    }


def markdown(result: dict[str, Any]) -> str:
    """The page, with one row per net."""
    before = f"Before: commit {result['before']}, jax {result['jax_before']}."
    lines = [results.head_text(result), "", before, ""]
    lines.append(
        "| net | images/s before | after | ratio | range of rounds | first step before, s | after |"
    )
    lines.append("|---|---:|---:|---:|---:|---:|---:|")
    for net, found in result["nets"].items():
        before, after = found["images_per_second"]
        first = found["first_step_seconds"]
        ratios = found["ratios"]
        lines.append(
            f"| `{net}` | {before:,.0f} | {after:,.0f} | {statistics.median(ratios):.2f} "
            f"| {min(ratios):.2f} to {max(ratios):.2f} | {first[0]:.1f} | {first[1]:.1f} |"
        )
    medians = [(net, statistics.median(e["ratios"])) for net, e in result["nets"].items()]
    lines += ["", f"After / before: {measure.ratios_text(medians)}."]
    return "\n".join(lines) + "\n"


def jax_version(python: str) -> str:
    """The version of JAX that a Python has; "" where there is no such Python, or no JAX in it."""
    program = "import importlib.metadata; print(importlib.metadata.version('jax'))"
    try:
        found = subprocess.run([python, "-c", program], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return found.stdout.strip()


def main() -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", type=Path, help="the other checkout")
    parser.add_argument(
        "--python", default=sys.executable, help="runs that checkout; default: this Python"
    )
    parser.add_argument(
        "--nets", default="*", help="comma-separated patterns; default: all except custom7"
    )
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("docs/results"), metavar="DIR")
    parser.add_argument("--stem", default="before", help="name of the files, without suffix")
    parser.add_argument("--title", default="A training step before and after")
    args = parser.parse_args()
    before = args.before.resolve()
    if not (before / "benchmarks/worker.py").exists():
        parser.error(f"{args.before} is not a checkout of the zoo")
    jax_before = jax_version(args.python)
    if not jax_before:
        parser.error(f"{args.python} is no Python with JAX: give that of an environment of the zoo")
    nets = contenders.matching_nets(args.nets.split(","))
    if not nets:
        parser.error("no net of the zoo matches --nets")
    options = {"seconds": args.seconds, "rounds": args.rounds}
    result = results.new("before.py", args.title, options) | {
        "before": environment.commit(before),
        "jax_before": jax_before,
        "nets": {},
    }
    sides = ((before, args.python), (environment.ROOT, sys.executable))
    path = args.output / f"{args.stem}.json"
    for net in nets:
        result["nets"][net] = measure_net(net, sides, **options)
        results.write(result, path)
        path.with_suffix(".md").write_text(markdown(result), encoding="utf-8")
        print(net, *(f"{ratio:.2f}" for ratio in result["nets"][net]["ratios"]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
