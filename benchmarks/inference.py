"""Compares how fast trained nets answer with PyTorch, ONNX Runtime and Keras on this CPU.

    python benchmarks/inference.py
    python benchmarks/inference.py --nets 'pooling*' --contenders zoo,onnxruntime --output results
    python benchmarks/inference.py --render docs/results/inference.json

An answer goes from a float32 NumPy array of images to one of logits. All contenders have the same
weights, and must give the same logits. Each runs in a separate process; their rounds alternate.
"""

import statistics
import sys
from collections.abc import Sequence
from typing import Any

import comparison
import inference_report
import numpy as np
from contenders import Worker, WorkerError, alternate

CONTENDERS = {  # with the packages that each needs besides those of the zoo
    "zoo": (),
    "torch": ("torch",),
    "torch-compile": ("torch",),
    "onnxruntime": ("torch", "onnx", "onnxruntime", "onnxscript"),
    "keras-tensorflow": ("keras", "tensorflow"),
    "keras-jax": ("keras",),
}
SIZES = (1, 32, 128, 500, 1000)  # images of a batch
MOST_DIFFERENCE = 1e-3  # of logits, as a part of the largest


def measure_net(name: str, contenders: Sequence[str], options: dict[str, Any]) -> dict[str, Any]:
    """One net's results, as in the JSON file.

    Args:
        name: the net.
        contenders: the contenders to measure, the zoo first.
        options: "sizes" (of batches), "seconds" (of a round), "rounds", "timeout" (seconds).

    Raises:
        SystemExit: the zoo failed, or a contender gives other logits than the zoo.
    """
    workers: dict[str, Worker] = {}
    entry: dict[str, Any] = {"weights": None, "sizes": {}, "failed": {}}
    try:
        logits: dict[str, dict[int, Any]] = {}
        ways: dict[str, dict[int, str]] = {}
        for contender in contenders:
            workers[contender] = Worker([contender, name, "--inference"], options["timeout"])
            try:
                entry["weights"] = workers[contender].hello()["weights"]
                asked = {
                    size: workers[contender].ask(f"logits {size}") for size in options["sizes"]
                }
            except WorkerError as error:
                if contender == "zoo":
                    sys.exit(f"the zoo failed on {name}: {error}")
                entry["failed"][contender] = str(error)
                workers.pop(contender).close()
                continue
            logits[contender] = {size: answer["logits"] for size, answer in asked.items()}
            ways[contender] = {size: answer["way"] for size, answer in asked.items()}
            check_logits(name, contender, logits)
        for size in options["sizes"]:
            found = _measure_size(size, workers, options, entry["failed"])
            for contender, own in found.items():
                own["way"] = ways[contender][size]
            entry["sizes"][str(size)] = {"contenders": found}
    finally:
        for process in workers.values():
            process.close()
    return entry


def check_logits(name: str, contender: str, logits: dict[str, dict[int, Any]]) -> None:
    """Ends the command if a contender's logits are not those of the zoo.

    Args:
        name: the net.
        contender: the contender to check.
        logits: by contender, size of the batch and way.

    Raises:
        SystemExit: they differ; the text says by how much.
    """
    for size, ways in logits[contender].items():
        expected = next(iter(logits["zoo"][size].values()))
        for way, found in ways.items():
            most = _difference(np.array(found), np.array(expected))
            if not most <= MOST_DIFFERENCE:  # also if it is not a number
                sys.exit(
                    f"{contender} ({way}) gives other logits than the zoo for {name} in batches of "
                    f"{size}: they differ by {most:.2g} of the largest, allowed is "
                    f"{MOST_DIFFERENCE:g}; is the transfer of weights wrong?"
                )


def _difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference of the logits, as a part of the largest expected one."""
    if found.shape != expected.shape:
        return float("inf")
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def _measure_size(
    size: int, workers: dict[str, Worker], options: dict[str, Any], failed: dict[str, str]
) -> dict[str, dict[str, Any]]:
    """The results of each contender; one that fails is taken from `workers` and put in `failed`."""
    rounds: dict[str, list[dict[str, Any]]] = {contender: [] for contender in workers}
    for contender in alternate(list(workers), options["rounds"]):
        if contender in workers:
            try:
                answer = workers[contender].ask(f"time {size} {options['seconds']}")
            except WorkerError as error:
                failed[contender] = str(error)
                workers.pop(contender).close()
            else:
                rounds[contender].append(answer)
    found = {}
    for contender in workers:
        own = {
            f"{key}_rounds": [answer[key] for answer in rounds[contender]]
            for key in ("calls", "seconds", "p99_seconds")
        }
        seconds, p99 = (
            statistics.median(own[f"{key}_rounds"]) for key in ("seconds", "p99_seconds")
        )
        found[contender] = {
            "seconds": seconds,
            "p99_seconds": p99,
            "images_per_second": size / seconds,
            **own,
        }
    return found


def main() -> int:
    """Runs the command; returns the exit status."""
    parser = comparison.parser(__doc__, CONTENDERS)
    parser.add_argument(
        "--sizes", default=",".join(map(str, SIZES)), help="comma-separated sizes of batches"
    )
    parser.set_defaults(
        stem="inference", title="Answers of the zoo and of its peers", seconds=0.5, rounds=5
    )
    args = comparison.parse(parser, CONTENDERS)
    if "zoo" not in args.contenders:
        parser.error("zoo must be among --contenders: the others are compared with it")
    args.contenders.sort(key=list(CONTENDERS).index)  # the zoo first
    if not all(size.isdecimal() and int(size) > 0 for size in args.sizes.split(",")):
        parser.error(f"--sizes must be whole numbers above 0, not {args.sizes}")
    args.sizes = sorted({int(size) for size in args.sizes.split(",")})
    options = ("sizes", "seconds", "rounds", "timeout")
    return comparison.run("inference.py", args, CONTENDERS, options, measure_net, inference_report)


if __name__ == "__main__":
    sys.exit(main())
