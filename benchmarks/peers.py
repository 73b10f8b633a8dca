"""Compares a training step of every net with stock Flax, PyTorch and Keras on this CPU.

    python benchmarks/peers.py
    python benchmarks/peers.py --nets 'pooling*' --contenders zoo,torch --output results
    python benchmarks/peers.py --render docs/results/peers.json

A step includes forward and backward pass, dropout, batch normalization, optimizer and metrics, on a
random batch of random images. Every contender runs in a separate process; their rounds alternate.
"""

import argparse
import contextlib
import fnmatch
import importlib.util
import json
import os
import select
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import environment
import measure
import peers_report
import results
import worker
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
LEFT_OUT_NETS = ("custom7",)  # 60 times the work of the next largest: only if it is named


class WorkerError(Exception):
    """A contender failed; the text is the reason, in one line."""


class Worker:
    """A contender's process."""

    def __init__(
        self,
        contender: str,
        net: str,
        batch_size: int | None,
        timeout: float,
        programs: Path | None = None,
        checkout: Path = environment.ROOT,
    ) -> None:
        """Starts the process.

        Args:
            contender: a key of CONTENDERS, or matmul.
            net: the net.
            batch_size: None: the one of the net's config.
            timeout: maximum seconds for any answer.
            programs: directory of JAX's cache of compiled programs.
            checkout: the process runs the code of this checkout.
        """
        command = [sys.executable, str(checkout / "benchmarks/worker.py"), contender, net]
        if batch_size:
            command += ["--batch-size", str(batch_size)]
        # All on the CPU, even if some of the libraries find a GPU.
        only_cpu = {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2"}
        self._timeout = timeout
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115, closed in close()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment.worker_environment(programs, checkout) | only_cpu,
            start_new_session=True,  # only the parent gets Ctrl-C and ends the whole group
        )
        self.answer: dict[str, Any] = {}

    def hello(self) -> dict[str, Any]:
        """Waits until the net is built: {"batch_size"}."""
        return self._read()

    def run(self, num_steps: int) -> float:
        """Seconds for `num_steps` steps; the complete answer is in `self.answer`."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(b"run %d\n" % num_steps)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerError(self._last_error()) from None
        self.answer = self._read()
        return self.answer["seconds"]

    def close(self) -> None:
        """Ends the process and its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()
        self._errors.close()

    def _read(self) -> dict[str, Any]:
        # One line per request, so no data stays in the buffer, where select cannot see it.
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], self._timeout)[0]:
            raise WorkerError(f"no answer within {self._timeout:g} s")
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(self._last_error())
        return json.loads(line)

    def _last_error(self) -> str:
        status = self._process.wait(timeout=self._timeout)
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return environment.without_paths(said[:300]) or f"ended with status {status}"


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
        return Worker(contender, name, options["batch_size"], options["timeout"], kept)

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


def alternate(contenders: list[str], rounds: int) -> Iterator[str]:
    """Every contender once per round; each round starts with a different one."""
    for index in range(rounds):
        first = index % max(1, len(contenders))
        yield from contenders[first:] + contenders[:first]


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


def missing_packages(contenders: Iterable[str]) -> dict[str, list[str]]:
    """The contenders that cannot run here, with the packages that are not installed."""
    missing = {
        contender: [name for name in CONTENDERS[contender] if not importlib.util.find_spec(name)]
        for contender in contenders
    }
    return {contender: names for contender, names in missing.items() if names}


def matching_nets(patterns: Sequence[str]) -> list[str]:
    """The nets with a name that matches any pattern; those of LEFT_OUT_NETS only by full name."""
    return [
        name
        for name in zoo.models.list_models()
        if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
        and (name not in LEFT_OUT_NETS or name in patterns)
    ]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--nets", default="*", help="comma-separated patterns; default: all except custom7"
    )
    parser.add_argument("--contenders", default=",".join(CONTENDERS), help="comma-separated names")
    parser.add_argument("--batch-size", type=int, help="default: from each net's config")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of a contender's round")
    parser.add_argument(
        "--rounds", type=int, default=3, help="number of rounds; results are medians"
    )
    parser.add_argument("--timeout", type=float, default=300, help="maximum seconds for any answer")
    parser.add_argument("--output", type=Path, default=Path("docs/results"), metavar="DIR")
    parser.add_argument("--stem", default="peers", help="name of the files, without suffix")
    parser.add_argument("--title", default="Training steps of the zoo and of its peers")
    parser.add_argument(
        "--resume", action="store_true", help="skip nets that are already in the JSON file"
    )
    parser.add_argument(
        "--render",
        type=Path,
        metavar="JSON",
        help="only write the table and the chart of this file",
    )
    args = parser.parse_args()
    args.contenders = args.contenders.split(",")
    patterns = args.nets.split(",")
    args.nets = matching_nets(patterns)
    unknown = [name for name in args.contenders if name not in CONTENDERS]
    if unknown:
        parser.error(f"unknown contender {unknown[0]}; known: {', '.join(CONTENDERS)}")
    if not args.nets:
        parser.error("no net of the zoo matches --nets")
    if min(args.seconds, args.rounds, args.timeout) <= 0 or (args.batch_size or 1) < 1:
        parser.error("--seconds, --rounds, --timeout and --batch-size must be above 0")
    return args


def _begin(args: argparse.Namespace, path: Path) -> dict[str, Any]:
    """A new result, or with --resume the one in the file."""
    missing = missing_packages(args.contenders)
    options = {key: getattr(args, key) for key in ("seconds", "rounds", "timeout", "batch_size")}
    fresh = results.new("peers.py", args.title, options) | {
        "contenders": [name for name in args.contenders if name not in missing],
        "not_installed": missing,
        "nets": {},
    }
    if not (args.resume and path.exists()):
        return fresh
    old = results.read(path)
    for key in ("contenders", "options"):
        if old[key] != fresh[key]:
            sys.exit(f"{path} was measured with different {key}: {old[key]}; use another --stem")
    for key in ("hardware", "versions"):
        if old["environment"][key] != fresh["environment"][key]:
            sys.exit(f"{path} was measured with different {key}: use another --stem")
    earlier = old.setdefault("earlier_commands", [])
    earlier.append({key: old[key] for key in ("command", "date")} | old["environment"])
    return old | {key: fresh[key] for key in ("command", "date", "environment", "title")}


def main() -> int:
    """Runs the command; returns the exit status."""
    args = _parse()
    if args.render:
        print(*results.write_page(results.read(args.render), args.render, peers_report), sep="\n")
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    path = args.output / f"{args.stem}.json"
    result = _begin(args, path)
    for contender, packages in result["not_installed"].items():
        print(f"{contender} is skipped: {' and '.join(packages)} not installed", flush=True)
    try:
        for name in args.nets:
            if name not in result["nets"]:
                start = time.perf_counter()
                entry = measure_net(name, result["contenders"], result["options"])
                result["nets"][name] = entry
                results.write(result, path)
                line = peers_report.net_line(name, entry)
                print(f"{line}  ({time.perf_counter() - start:.0f} s)", flush=True)
    except KeyboardInterrupt:
        resume = shlex.join(["--resume", "--output", str(args.output), "--stem", args.stem])
        print(f"stopped; to continue, use the same options and {resume}", file=sys.stderr)
        return 130
    print(*results.write_page(result, path, peers_report), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
