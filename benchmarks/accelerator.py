"""Training on a GPU: images/s and part of the chip's peak of every net, in three precisions.

    python benchmarks/accelerator.py
    python benchmarks/accelerator.py --minutes 4 --output results pooling_cnn3 vgg5

Several processes compile the programs at the same time, which is most of the work, and take turns
on the device when all have compiled. What is not ready by the time that is given is left out, and
said. Last, 32 seeds of pooling_cnn3 in one program against one: in a loop, and by `vmap`.
The programs are those of a run, without loading, order and validation; images are random.
"""

import argparse
import dataclasses
import multiprocessing
import os
import queue
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import measure
import results
from data import IMAGE_SHAPE, NUM_CLASSES, random_images

# Dense FLOP/s by the data sheets of NVIDIA H100 SXM and H200 SXM; float32: without matrix units.
PEAKS = {
    name: {"float32": 67e12, "tf32": 495e12, "bfloat16": 989e12}
    for name in ("NVIDIA H100 80GB HBM3", "NVIDIA H200")
}
PRECISIONS = ("float32", "tf32", "bfloat16")
SEEDS = 32
_SEEDS_NET = "pooling_cnn3"
_NUM_IMAGES = 60_000
_ROUNDS = 5
_SECONDS = 0.3  # of a round, about
_PATIENCE = 120.0  # seconds for one row, after which its process is given up


@dataclasses.dataclass(frozen=True)
class Case:
    """What is compiled and measured."""

    net: str
    precision: str  # one of PRECISIONS
    num_seeds: int = 1
    seeds_at_once: int = 1

    def __str__(self) -> str:
        seeds = f", {self.num_seeds} seeds" if self.num_seeds > 1 else ""
        at_once = f", {self.seeds_at_once} at once" if self.seeds_at_once > 1 else ""
        return f"{self.net}, {self.precision}{seeds}{at_once}"


def cases_of(nets: Sequence[str]) -> list[Case]:
    """All, those that take longest to compile first."""
    import zoo.models

    def cost(net: str) -> int:
        return sum(zoo.models.layer_macs(zoo.models.NETS[net], IMAGE_SHAPE, NUM_CLASSES).values())

    ordered = sorted(nets, key=cost, reverse=True)
    cases = [Case(net, precision) for net in ordered for precision in PRECISIONS]
    if _SEEDS_NET in nets:
        cases += [Case(_SEEDS_NET, "tf32", SEEDS, at_once) for at_once in (1, SEEDS)]
    return cases


def compiled(case: Case) -> tuple[Callable[[int], float], dict[str, Any]]:
    """A function that trains so many steps and gives the seconds; and what is known of it."""
    import jax
    import jax.numpy as jnp

    import zoo.config
    import zoo.models
    import zoo.training.optim
    from zoo.training import create_train_state, make_train_step, programs
    from zoo.training.step import Metrics

    config = zoo.config.load(case.net)
    dtype = jnp.bfloat16 if case.precision == "bfloat16" else jnp.float32
    model = zoo.models.create_model(case.net, NUM_CLASSES, dtype)
    tx = zoo.training.optim.make_optimizer(
        config.optimizer, zoo.training.optim.make_schedule(config.optimizer, 1, 1)
    )
    split = tuple(jnp.asarray(array) for array in random_images(_NUM_IMAGES))
    steps = _NUM_IMAGES // config.batch_size
    order = jnp.arange(steps * config.batch_size, dtype=jnp.int32).reshape(steps, -1)
    states = [create_train_state(model, tx, seed, IMAGE_SHAPE) for seed in range(case.num_seeds)]
    carry = [programs.stack_seeds(states), programs.stack_seeds([Metrics.zeros()] * len(states))]
    orders = programs.stack_seeds([order] * len(states))
    with jax.default_matmul_precision("highest" if case.precision == "float32" else "default"):
        program = programs.make_train_program(
            make_train_step(model, tx), case.num_seeds, seeds_at_once=case.seeds_at_once
        )
        began = time.perf_counter()
        ready = program.lower(*carry, split, orders, 0, 1).compile()
        seconds = time.perf_counter() - began

    def timed(num_steps: int) -> float:
        began = time.perf_counter()
        carry[:] = ready(*carry, split, orders, 0, min(num_steps, steps))
        jax.block_until_ready(carry)
        return time.perf_counter() - began

    return timed, {
        "batch_size": config.batch_size,
        "train_flop": measure.train_flop(model.net, IMAGE_SHAPE, NUM_CLASSES),
        "compile_seconds": seconds,
        "steps": steps,
    }


def measured(case: Case, timed: Callable[[int], float], facts: dict[str, Any]) -> dict[str, Any]:
    """The row of a case: images/s of all its seeds together, median of the rounds."""
    _, num_steps = measure.calibrate(timed, _SECONDS)
    num_steps = min(num_steps, facts["steps"])
    rounds = [timed(num_steps) / num_steps for _ in range(_ROUNDS)]
    images = case.num_seeds * facts["batch_size"]
    return {
        **dataclasses.asdict(case),
        **facts,
        "images_per_second": images / statistics.median(rounds),
        "rounds": [images / seconds for seconds in rounds],
    }


def _work(cases: Any, ready: Any, turn: Any, found: Any) -> None:
    """A process: compiles cases until none are left, waits for its turn, measures its own."""
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # the device is shared
    own = []
    while True:
        try:
            case = cases.get_nowait()
        except queue.Empty:
            break
        try:
            own.append((case, *compiled(case)))
            print(f"compiled {case}: {own[-1][2]['compile_seconds']:.0f} s", flush=True)
        except Exception as error:  # of one case, such as memory: the others go on
            found.put({**dataclasses.asdict(case), "error": str(error).strip()[:200]})
    ready.release()
    with turn:
        for case, timed, facts in own:
            found.put(measured(case, timed, facts))
    found.put(None)


def run(cases: Sequence[Case], num_workers: int, seconds: float) -> list[dict[str, Any]]:
    """The rows of the cases; those that were not compiled in that time are missing."""
    context = multiprocessing.get_context("spawn")  # a process that has used a device cannot fork
    waiting, found = context.Queue(), context.Queue()
    for case in cases:
        waiting.put(case)
    turn, ready = context.Lock(), context.Semaphore(0)
    turn.acquire()
    workers = [
        context.Process(target=_work, args=(waiting, ready, turn, found), daemon=True)
        for _ in range(num_workers)
    ]
    for worker in workers:
        worker.start()
    end = time.monotonic() + seconds
    num_ready = sum(ready.acquire(timeout=max(0.0, end - time.monotonic())) for _ in workers)
    if num_ready < num_workers:
        print(f"{num_workers - num_ready} of {num_workers} processes still compile", flush=True)
    turn.release()
    rows: list[dict[str, Any]] = []
    left = num_ready
    while left:
        try:
            row = found.get(timeout=_PATIENCE)
        except queue.Empty:
            print(f"{left} of {num_workers} processes did not end", flush=True)
            break
        if row is None:
            left -= 1
            continue
        rows.append(row)
        print(line(row), flush=True)
    for worker in workers:
        worker.kill()
    return rows


def line(row: dict[str, Any]) -> str:
    """A row for the terminal."""
    case = Case(*(row[field.name] for field in dataclasses.fields(Case)))
    if "error" in row:
        return f"{case}: {row['error']}"
    return f"{case}: {row['images_per_second']:,.0f} images/s"


def markdown(result: dict[str, Any]) -> str:
    """The page."""
    peaks = PEAKS.get(result["device"])
    by_case = {
        (row["net"], row["precision"]): row
        for row in result["rows"]
        if row["num_seeds"] == 1 and "error" not in row
    }
    rows = []
    for net in dict.fromkeys(net for net, _ in by_case):
        cells = [_cells(by_case.get((net, each)), peaks, each) for each in PRECISIONS]
        rows.append(f"| `{net}` | {' | '.join(cells)} |")
    names = " | ".join(f"{each}, images/s | s an epoch | of the peak" for each in PRECISIONS)
    parts = [
        results.head_text(result),
        f"On one {result['device']}. An epoch is of {_NUM_IMAGES:,} images. float32 is "
        f"`JAX_DEFAULT_MATMUL_PRECISION=highest`, tf32 what JAX takes for float32 by default.",
        f"| net | {names} |\n|---|{'---:|' * 9}\n" + "\n".join(rows),
    ]
    if several := [row for row in result["rows"] if row["num_seeds"] > 1 and "error" not in row]:
        alone = by_case[_SEEDS_NET, "tf32"]["images_per_second"]
        parts.append(
            f"{SEEDS} seeds of `{_SEEDS_NET}` in one program, all their images per second: "
            + ", ".join(_seeds_text(row, alone) for row in several)
            + "."
        )
    return "\n\n".join(parts) + "\n"


def _seeds_text(row: dict[str, Any], alone: float) -> str:
    way = "by vmap" if row["seeds_at_once"] > 1 else "one after another"
    rate = row["images_per_second"]
    return f"{rate:,.0f} {way} ({rate / alone:.2f} of one seed's)"


def _cells(row: dict[str, Any] | None, peaks: dict[str, float] | None, precision: str) -> str:
    if row is None:
        return "- | - | -"
    rate = row["images_per_second"]
    part = f"{rate * row['train_flop'] / peaks[precision]:.1%}" if peaks else "-"
    return f"{rate:,.0f} | {_NUM_IMAGES / rate:.2f} | {part}"


def _device(found: Any) -> None:
    import jax

    found.put(jax.devices()[0].device_kind)


def main() -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("nets", nargs="*", metavar="NET", help="default: all")
    parser.add_argument("--workers", type=int, default=max(1, (os.cpu_count() or 2) // 2))
    parser.add_argument("--minutes", type=float, default=10.0, help="for compiling")
    parser.add_argument("--output", type=Path, default=Path("docs/results"), metavar="DIR")
    parser.add_argument("--stem", default="accelerator", help="name of the files, without suffix")
    options = parser.parse_args()
    import zoo.models

    for net in options.nets:
        if net not in zoo.models.MODELS:
            parser.error(f"unknown net {net!r}")
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    context.Process(target=_device, args=(found,)).start()  # this one shall not hold the device
    result = results.new("accelerator.py", "Training on a GPU", {"rounds": _ROUNDS})
    result["device"] = found.get()
    cases = cases_of(options.nets or list(zoo.models.MODELS))
    result["rows"] = run(cases, options.workers, 60 * options.minutes)
    path = options.output / f"{options.stem}.json"
    results.write(result, path)
    path.with_suffix(".md").write_text(markdown(result), encoding="utf-8")
    print(path, path.with_suffix(".md"), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
