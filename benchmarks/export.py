"""Compares what `zoo export` writes with the zoo: answers on all test images, size, latency.

    python benchmarks/export.py
    python benchmarks/export.py --nets pooling_cnn3 --files onnx,int8 --output results

Each file is written, read and asked in a process of its own; the rounds of the measurement
alternate. The nets are those with trained weights, and need their test set.
"""

import argparse
import statistics
import sys
from pathlib import Path
from typing import Any

import environment
import results
from contenders import Worker, WorkerError, alternate, missing_packages

import zoo.models

FILES = {  # with the packages that each needs besides those of the zoo
    "zoo": (),
    "onnx": ("onnx", "onnxruntime"),
    "int8": ("onnx", "onnxruntime"),
    "stablehlo": ("flatbuffers",),
    "tflite": ("ai_edge_litert",),
    "pt2": ("torch",),
    "keras": ("keras",),
}
SIZES = (1, 128)  # images of a batch
TIMEOUT = 600  # seconds, for any answer


def measure_net(name: str, files: list[str], rounds: int, seconds: float) -> dict[str, Any]:
    """{file: {"bytes", "test": ..., "seconds": {size: median of the rounds}} or {"failed"}}."""
    workers: dict[str, Worker] = {}
    found: dict[str, dict[str, Any]] = {file: {} for file in files}
    took: dict[str, dict[int, list[float]]] = {file: {size: [] for size in SIZES} for file in files}
    try:
        for file in files:
            workers[file] = Worker([file, name, "--exported"], TIMEOUT)
            try:
                found[file]["bytes"] = workers[file].hello()["bytes"]
                found[file]["test"] = workers[file].ask("test")
            except WorkerError as error:
                found[file] = {"failed": str(error)}
                workers.pop(file).close()
        for size in SIZES:
            for file in alternate(list(workers), rounds):
                took[file][size].append(workers[file].ask(f"time {size} {seconds}")["seconds"])
    finally:
        for worker in workers.values():
            worker.close()
    for file in workers:
        found[file]["seconds"] = {
            str(size): statistics.median(values) for size, values in took[file].items()
        }
    return found


def markdown(result: dict[str, Any]) -> str:
    """The page."""
    size_texts = ("one image", "batch of 128")
    lines = [
        results.head_text(result),
        "",
        "Each file was asked for all test images. *Difference*: the largest of a logit to the",
        "zoo's, as a part of the zoo's largest. *Same*: images with the same class as the zoo's.",
        f"Latencies are medians of {result['options']['rounds']} rounds, taken alternately, in a "
        "process for each",
        "file, from uint8 images in a NumPy array to logits in one, on a machine that others used",
        "meanwhile: compare them within a net only. `zoo` is the compiled `model.apply`; `int8` is",
        "`.onnx` with `--int8`; `pt2` is PyTorch without `torch.compile`, on one thread or all,",
        "whichever is faster.",
        "",
        f"| net | file | bytes | difference | same | accuracy | {' | '.join(size_texts)} |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, files in result["nets"].items():
        for file, entry in files.items():
            lines.append(f"| `{name}` | {file} | {' | '.join(_cells(entry))} |")
    return "\n".join([*lines, ""])


def _cells(entry: dict[str, Any]) -> list[str]:
    if "failed" in entry:
        return [f"failed: {entry['failed']}", *[""] * 5]
    test = entry["test"]
    return [
        f"{entry['bytes']:,}" if entry["bytes"] else "",
        f"{test['difference']:.1e}",
        f"{test['same']:,} of {test['num_images']:,}",
        f"{test['accuracy']:.2%}",
        *(_milliseconds(entry["seconds"][str(size)]) for size in SIZES),
    ]


def _milliseconds(seconds: float) -> str:
    """With three digits, if it has as many before the point."""
    value = seconds * 1e3
    return f"{value:.0f} ms" if value >= 100 else f"{value:.3g} ms"


def main() -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", default="pooling_cnn3,lenet3,vgg5", help="comma-separated")
    parser.add_argument("--files", default=",".join(FILES), help="comma-separated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a round")
    parser.add_argument("--output", type=Path, default=environment.ROOT / "docs/results")
    parser.add_argument("--stem", default="export", help="name of the files, without ending")
    args = parser.parse_args()
    nets, files = args.nets.split(","), args.files.split(",")
    for name in set(nets) - set(zoo.models.list_models(pretrained=True)):
        parser.error(f"there are no trained weights of {name!r}")
    for file in set(files) - set(FILES):
        parser.error(f"unknown file {file!r}; known: {', '.join(FILES)}")
    missing = missing_packages({file: FILES[file] for file in files})
    for file, packages in missing.items():
        print(f"{file} is left out: {', '.join(packages)} is not installed", file=sys.stderr)
    options = {"rounds": args.rounds, "seconds": args.seconds}
    result = results.new("export.py", "Exported files, and the zoo", options)
    measured = [file for file in files if file not in missing]
    result["nets"] = {}
    for name in nets:
        result["nets"][name] = measure_net(name, measured, args.rounds, args.seconds)
        path = args.output / f"{args.stem}.json"
        results.write(result, path)
        path.with_suffix(".md").write_text(markdown(result), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
