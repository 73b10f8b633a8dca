"""Time and memory of the zoo against batch size, width, depth, images per epoch, and seeds.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --sweeps batch,depth --output results
    python benchmarks/scaling.py --render docs/results/scaling.json
    python benchmarks/scaling.py --devices     # over devices and processes: devices.py

Every point has a separate process, because its peak memory is measured. Images are random.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import devices
import environment
import measure
import numpy as np
import results
import scaling_report
from data import IMAGE_SHAPE, NUM_CLASSES, random_images

from zoo.models import layers

SWEEPS: dict[str, tuple[int, ...]] = {
    "batch": (16, 32, 64, 128, 256, 512),  # images per step
    "width": (1, 2, 4),  # multiples of the features of every layer
    "depth": (1, 2, 4, 8),  # convolutions
    "images": (1_000, 4_000, 15_000, 60_000),  # images per epoch
    "seeds": (1, 2, 4, 8),  # runs one after another in one process
}
BATCH_SIZE = 64  # except in the sweep over batch sizes
ROUNDS = 3
SEED_STEPS = 50  # steps per seed
POINT_TIMEOUT = 300  # seconds
# Small, so that 60,000 images take seconds.
SMALL_NET: layers.Net = (
    layers.Conv(8, 3),
    layers.MaxPool(2),
    layers.Conv(16, 3),
    layers.MaxPool(2),
    layers.Flatten(),
    layers.Head(),
)


def wide_net(width: int) -> layers.Net:
    """Three convolutions and a dense layer, with `width` times the features."""
    return (
        layers.Conv(16 * width, 3, "SAME"),
        layers.Conv(16 * width, 3, "SAME"),
        layers.MaxPool(2),
        layers.Conv(32 * width, 3, "SAME"),
        layers.MaxPool(2),
        layers.Flatten(),
        layers.Dense(64 * width),
        layers.Head(),
    )


def deep_net(depth: int) -> layers.Net:
    """`depth` 3x3 convolutions with 32 features on the full-size image."""
    convolutions = tuple(layers.Conv(32, 3, "SAME") for _ in range(depth))
    return (*convolutions, layers.MaxPool(4), layers.Flatten(), layers.Head())


def random_split(num_images: int) -> Any:
    """Noise images with the shape of MNIST and random labels."""
    import zoo.data

    return zoo.data.Split(*random_images(num_images))


def measure_steps(net: layers.Net, batch_size: int, seconds: float) -> dict[str, Any]:
    """{"seconds": of a step, "gflop": of a step, ...} in rounds of about `seconds`."""
    import nets_jax

    from zoo.configs import default

    config = default.get_config()
    config.batch_size = batch_size
    split = random_split(2048)
    run = nets_jax.make_runner(net, config, split.images, split.labels, NUM_CLASSES, stock=False)

    def timed(num_steps: int) -> float:
        start = time.perf_counter()
        run(num_steps)
        return time.perf_counter() - start

    first, num_steps = measure.calibrate(timed, seconds)
    flop = batch_size * measure.train_flop(net, IMAGE_SHAPE, NUM_CLASSES)
    found = measure.median_of(timed, num_steps, ROUNDS)
    return {**found, "first_step_seconds": first, "gflop": flop / 1e9}


def measure_epoch(num_images: int) -> dict[str, Any]:
    """{"seconds": of a training epoch, ...} with the trainer of `train.py`, without the first."""
    import zoo.data
    import zoo.models
    import zoo.training.loop
    import zoo.training.terminal
    from zoo.configs import default

    zoo.models.MODELS["scaling"] = SMALL_NET  # the trainer finds nets by name
    config = default.get_config()
    config.model, config.validation, config.batch_size = "scaling", "test", BATCH_SIZE
    dataset = zoo.data.Dataset("random", random_split(num_images), random_split(500), NUM_CLASSES)
    trainer = zoo.training.loop.Trainer(config, dataset, zoo.training.terminal.Terminal(quiet=True))
    state, first = trainer.run_epoch(trainer.init(), 1)
    epoch = 1

    def timed(_: int) -> float:
        nonlocal state, epoch
        epoch += 1
        state, record = trainer.run_epoch(state, epoch)
        return num_images / record["images_per_second"]  # its "seconds" include validation

    return {**measure.median_of(timed, 1, ROUNDS), "first_epoch_seconds": first["seconds"]}


def measure_seeds(num_seeds: int) -> dict[str, Any]:
    """{"seconds": of `num_seeds` short runs with compilation, "seconds_per_seed"}."""
    import jax.numpy as jnp

    import zoo.training.optim
    from zoo.configs import default
    from zoo.training import programs, step

    optimizer = default.get_config().optimizer
    tx = zoo.training.optim.make_optimizer(
        optimizer, zoo.training.optim.make_schedule(optimizer, 1, 1)
    )
    split = random_split(2048)
    data = (jnp.asarray(split.images), jnp.asarray(split.labels))
    order = np.random.default_rng(0).integers(len(split), size=(SEED_STEPS, BATCH_SIZE))
    batches = jnp.asarray(order, jnp.int32)
    start = time.perf_counter()
    model = zoo.models.ConvNet(SMALL_NET, NUM_CLASSES)
    program = programs.make_train_program(step.make_train_step(model, tx))
    for seed in range(num_seeds):
        state = step.create_train_state(model, tx, seed, IMAGE_SHAPE)
        metrics = step.Metrics.zeros()
        state, metrics = program(state, metrics, data, batches, 0, SEED_STEPS)
        metrics.means()  # waits for the device
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "seconds_per_seed": seconds / num_seeds}


def measure_point(sweep: str, value: int, seconds: float) -> dict[str, Any]:
    """One point in this process; adds {"value", "peak_bytes", "device"}."""
    import jax

    points: dict[str, Callable[[], dict[str, Any]]] = {
        "batch": lambda: measure_steps(wide_net(1), value, seconds),
        "width": lambda: measure_steps(wide_net(value), BATCH_SIZE, seconds),
        "depth": lambda: measure_steps(deep_net(value), BATCH_SIZE, seconds),
        "images": lambda: measure_epoch(value),
        "seeds": lambda: measure_seeds(value),
    }
    device = jax.devices()[0]
    found = points[sweep]()
    on_device = device.memory_stats()  # None on a CPU, where the memory of the process counts
    peak = on_device["peak_bytes_in_use"] if on_device else environment.memory()["peak"]
    return {"value": value, **found, "peak_bytes": peak, "device": device.device_kind}


def run_point(sweep: str, value: int, seconds: float) -> dict[str, Any]:
    """One point in a fresh process.

    Raises:
        SystemExit: it failed; the text is the reason.
    """
    command = [sys.executable, str(Path(__file__)), "--point", f"{sweep}={value}"]
    command += ["--seconds", str(seconds)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=True,
            timeout=POINT_TIMEOUT,
            env=environment.worker_environment(),
        )
    except subprocess.TimeoutExpired:
        sys.exit(f"{sweep} {value}: not finished within {POINT_TIMEOUT} s")
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines()
        sys.exit(f"{sweep} {value}: {said[-1] if said else f'status {error.returncode}'}")
    return json.loads(done.stdout.splitlines()[-1])


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sweeps", default=",".join(SWEEPS), help="comma-separated names")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a round")
    parser.add_argument("--output", type=Path, default=Path("docs/results"), metavar="DIR")
    parser.add_argument("--stem", default="scaling", help="name of the files, without suffix")
    parser.add_argument("--title", default="How the zoo's time and memory grow")
    parser.add_argument(
        "--render",
        type=Path,
        metavar="JSON",
        help="only write the table and the chart of this file",
    )
    parser.add_argument("--point", help=argparse.SUPPRESS)  # used by run_point
    args = parser.parse_args()
    args.sweeps = args.sweeps.split(",")
    unknown = [sweep for sweep in args.sweeps if sweep not in SWEEPS]
    if unknown:
        parser.error(f"unknown sweep {unknown[0]}; known: {', '.join(SWEEPS)}")
    if args.seconds <= 0:
        parser.error("--seconds must be above 0")
    return args


def main() -> int:
    """Runs the command; returns the exit status."""
    if "--devices" in sys.argv:
        return devices.main()
    args = _parse()
    if args.point:
        sweep, value = args.point.split("=")
        print(json.dumps(measure_point(sweep, int(value), args.seconds)))
        return 0
    if args.render:
        print(*results.write_page(results.read(args.render), args.render, scaling_report), sep="\n")
        return 0
    path = args.output / f"{args.stem}.json"
    result = results.new("scaling.py", args.title, {"seconds": args.seconds, "rounds": ROUNDS})
    result["sweeps"] = {}
    try:
        for sweep in args.sweeps:
            points = result["sweeps"][sweep] = []
            for value in SWEEPS[sweep]:
                points.append(run_point(sweep, value, args.seconds))
                results.write(result, path)
                print(scaling_report.point_line(sweep, points[-1]), flush=True)
            print(scaling_report.slope_line(sweep, points), flush=True)
    except KeyboardInterrupt:
        print(f"stopped; {path} contains the finished points", file=sys.stderr)
        return 130
    print(*results.write_page(result, path, scaling_report), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
