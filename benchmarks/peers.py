"""Compares a training step of every net with stock Flax, PyTorch and Keras on this CPU.

    python benchmarks/peers.py
    python benchmarks/peers.py --nets 'pooling*' --contenders zoo,torch --output results
    python benchmarks/peers.py --render docs/results/peers.json

A step includes forward and backward pass, dropout, batch normalization, optimizer and metrics, on a
random batch of random images. Every contender runs in a separate process; their rounds alternate.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import comparison
import measure
import peers_report
import worker
from contenders import Worker, WorkerError, alternate
from data import IMAGE_SHAPE, NUM_CLASSES

import zoo.models

CONTENDERS = {  # with the packages that each needs besides those of the zoo
    "zoo": (),
    "flax": (),
    "torch": ("torch",),
    "torch-compile": ("torch",),
    "keras-tensorflow": ("keras", "tensorflow"),
    "keras-jax": ("keras",),
    "keras-torch": ("keras", "torch"),
}


def measure_net(name: str, contenders: Sequence[str], options: dict[str, Any]) -> dict[str, Any]:
    """One net's results, as in the JSON file.

    Args:
        name: the net.
        contenders: the contenders to measure.
        options: "seconds" (of a round), "rounds", "timeout" (seconds), "batch_size" (or None).
    """
    with tempfile.TemporaryDirectory() as programs:
        return _measure_net(name, contenders, options, Path(programs))


def _measure_net(
    name: str, contenders: Sequence[str], options: dict[str, Any], programs: Path
) -> dict[str, Any]:
    workers: dict[str, Worker] = {}
    found: dict[str, dict[str, Any]] = {}
    failed: dict[str, str] = {}

    def start_worker(contender: str) -> Worker:
        kept = programs if contender == "zoo" else None
        size = ["--batch-size", str(options["batch_size"])] if options["batch_size"] else []
        return Worker([contender, name, *size], options["timeout"], kept)

    try:
        for contender in ("matmul", *contenders):
            start = time.perf_counter()
            workers[contender] = start_worker(contender)
            try:
                found[contender] = _prepare(workers[contender], options["seconds"], start)
            except WorkerError as error:
                failed[contender] = str(error)
                workers.pop(contender).close()
        for contender in alternate(list(workers), options["rounds"]):
            if contender in failed:
                continue
            entry = found[contender]
            try:
                entry["rounds_seconds"].append(workers[contender].run(entry["num_steps"]))
            except WorkerError as error:
                failed[contender] = str(error)
                del found[contender]
                workers[contender].close()
            else:
                answer = workers[contender].answer
                entry |= {f"{key}_bytes": answer[key] for key in ("peak", "resident")}
                entry["loss"] = answer["loss"]
        if "zoo" in found:
            workers["later"] = start_worker("zoo")
            try:
                found["zoo"] |= _later_start(workers["later"], found["zoo"]["num_steps"])
            except WorkerError as error:
                failed["zoo's later start"] = str(error)
    finally:
        for process in workers.values():
            process.close()
    return _summary(name, found, failed)


def _prepare(process: Worker, seconds: float, start: float) -> dict[str, Any]:
    """Waits for building and compiling; returns the first values of the contender."""
    hello = process.hello()
    start_seconds = time.perf_counter() - start
    first, num_steps = measure.calibrate(process.run, seconds)
    return {
        "batch_size": hello["batch_size"],
        "start_seconds": start_seconds,
        "first_step_seconds": first,
        "num_steps": num_steps,
        "rounds_seconds": [],
    }


def _later_start(process: Worker, num_steps: int) -> dict[str, Any]:
    """The first step and the peak memory if the compiled programs are already on disk."""
    process.hello()
    first = process.run(1)
    process.run(num_steps)
    return {
        "later_first_step_seconds": first,
        "later_peak_bytes": process.answer["peak"],
    }


def _summary(name: str, found: dict[str, Any], failed: dict[str, str]) -> dict[str, Any]:
    net = zoo.models.MODELS[name]
    flop = measure.train_flop(net, IMAGE_SHAPE, NUM_CLASSES)
    matmul = found.pop("matmul", None)
    batch_size = next((entry["batch_size"] for entry in found.values()), None)
    for entry in found.values():
        images = entry["num_steps"] * entry.pop("batch_size")
        entry["rounds"] = [images / seconds for seconds in entry["rounds_seconds"]]
        entry["images_per_second"] = statistics.median(entry["rounds"])
    peak = None
    if matmul:
        product_flop = 2 * worker.MATMUL_SIZE**3 * matmul["num_steps"]
        rates = [product_flop / seconds / 1e9 for seconds in matmul["rounds_seconds"]]
        peak = {"gflop_per_second": statistics.median(rates), "rounds": rates}
    fraction = None
    if peak and "zoo" in found:
        rate = found["zoo"]["images_per_second"] * flop / 1e9
        fraction = rate / peak["gflop_per_second"]
    return {
        "batch_size": batch_size,
        "train_flop_per_image": flop,
        "matmul": peak,
        "zoo_fraction_of_matmul": fraction,
        "contenders": found,
        "failed": failed,
    }


def main() -> int:
    """Runs the command; returns the exit status."""
    parser = comparison.parser(__doc__, CONTENDERS)
    parser.add_argument("--batch-size", type=int, help="default: from each net's config")
    parser.set_defaults(stem="peers", title="Training steps of the zoo and of its peers")
    args = comparison.parse(parser, CONTENDERS)
    if (args.batch_size or 1) < 1:
        parser.error("--batch-size must be above 0")
    options = ("seconds", "rounds", "timeout", "batch_size")
    return comparison.run("peers.py", args, CONTENDERS, options, measure_net, peers_report)


if __name__ == "__main__":
    sys.exit(main())
