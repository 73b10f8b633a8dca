"""Training over 1, 2, 4 and 8 virtual devices, and over 1, 2 and 4 processes, of one machine.

    python benchmarks/scaling.py --devices
    python benchmarks/devices.py --nets vgg5 --layouts 1x1,1x2,2x1 --output results

A layout such as 2x1 is two processes with a device each. Each process of several is held to one
core. Virtual devices share the cores, so they show what is computed and moved, and not how fast
eight chips would be. The batch is that of the net's notebook, for all devices together.
"""

import argparse
import contextlib
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import devices_report
import environment
import measure
import results
from data import IMAGE_SHAPE, NUM_CLASSES, random_images

NETS = {"pooling_cnn3": 60, "pairs_cnn6": 10, "vgg5": 10}  # and the steps of an epoch
LAYOUTS = ("1x1", "1x2", "1x4", "1x8", "2x1", "4x1")
EPOCHS = 5  # the first is for warming up
_KINDS = "all-reduce|all-gather|reduce-scatter|collective-permute|all-to-all"


def collectives(program: str) -> dict[str, list[int]]:
    """The bytes of each collective operation of a compiled program, by its kind."""
    found: dict[str, list[int]] = {}
    for result, kind in re.findall(rf"= (.+?) ({_KINDS})(?:-start)?\(", program):
        sizes = [
            int(bits) // 8 * _product(shape)
            for bits, shape in re.findall(r"[a-z]+(\d+)\[([\d,]*)\]", result)
        ]
        found.setdefault(kind, []).append(sum(sizes))
    return found


def _product(shape: str) -> int:
    product = 1
    for length in filter(None, shape.split(",")):
        product *= int(length)
    return product


def measure_run(net: str, num_steps: int) -> dict[str, Any]:
    """Trains in this process, and the others of its run, for some epochs of random images."""
    import jax

    import zoo.config
    import zoo.data
    from zoo.training import mesh
    from zoo.training.loop import Trainer
    from zoo.training.terminal import Terminal

    config = zoo.config.load(net)
    config.update(dataset="digits", validation="test", num_epochs=EPOCHS)
    split = zoo.data.Split(*random_images(config.batch_size * num_steps))
    dataset = zoo.data.Dataset("random", split, split[: config.batch_size], NUM_CLASSES)
    trainer = Trainer(config, dataset, Terminal(quiet=True))
    trainer.prepare()
    trainer.compile()
    state, records = trainer.init(), []
    for epoch in range(1, EPOCHS + 1):
        state, record = trainer.run_epoch(state, epoch)
        records.append(record)
    seconds = [config.batch_size / record["images_per_second"] for record in records[1:]]
    moved = collectives(trainer._train.as_text())
    return {
        "step_seconds": statistics.median(seconds),
        "loss": records[-1]["loss"],
        "collectives": moved,
        "collective_seconds": _seconds_of_sums(moved, trainer.mesh),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        "batch_size": config.batch_size,
        "devices": mesh.count(trainer.mesh, mesh.DATA),
    }


def _seconds_of_sums(moved: dict[str, list[int]], mesh: Any) -> float:
    """The median time of the same all-reduces in a program of their own."""
    import jax
    import jax.numpy as jnp
    from jax.sharding import PartitionSpec as P

    if mesh is None:
        return 0.0
    arrays = [jnp.ones(size // 4) for size in moved["all-reduce"]]
    add = jax.shard_map(
        lambda each: [jax.lax.psum(array, "data") / mesh.shape["data"] for array in each],
        mesh=mesh,
        in_specs=P(),
        out_specs=P(),
        check_vma=False,
    )
    add = jax.jit(add)
    from zoo.training.mesh import place

    placed, times = place(mesh, arrays, P()), []
    for _ in range(21):
        began = time.perf_counter()
        placed = jax.block_until_ready(add(placed))
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def run_layout(net: str, layout: str, programs: Path) -> dict[str, Any]:
    """One layout in processes of its own.

    Raises:
        SystemExit: it failed; the text is the reason.
    """
    num_processes, num_devices = map(int, layout.split("x"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    variables = environment.worker_environment(programs)
    variables["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={num_devices}"
    with tempfile.TemporaryDirectory() as directory:
        members = [
            subprocess.Popen(
                [
                    *(sys.executable, __file__, "--member", f"{net},{number},{num_processes}"),
                    *("--port", str(port), "--directory", directory),
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=variables,
            )
            for number in range(num_processes)
        ]
        ends = [member.communicate() for member in members]
    if any(member.returncode for member in members):
        said = "".join(errors for _, errors in ends).strip().splitlines()
        sys.exit(f"{net} {layout}: {said[-1] if said else 'failed'}")
    return json.loads(ends[0][0].splitlines()[-1])


def _be_member(member: str, port: int, directory: Path) -> None:
    """This process as one of several, held to a core of its own if there are several."""
    from zoo.system.processes import Processes
    from zoo.training.joining import joined

    net, number, count = member.split(",")
    if int(count) > 1 and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(number) % len(cores)]})
    several = Processes(f"127.0.0.1:{port}", int(count), int(number)) if int(count) > 1 else None
    with joined(several, directory, quiet=True):
        found = measure_run(net, NETS.get(net, 10))
    print(json.dumps(found), flush=True)
    os._exit(0)


def net_facts(net: str) -> dict[str, Any]:
    """What the model of the cost needs: {"parameters", "train_flop" per image, "batch_size"}."""
    import jax

    import zoo.config
    import zoo.models

    model = zoo.models.create_model(net)
    shapes = jax.eval_shape(
        lambda: model.init(jax.random.key(0), jax.numpy.zeros((1, *IMAGE_SHAPE)), train=False)
    )
    return {
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(shapes["params"])),
        "train_flop": measure.train_flop(model.net, IMAGE_SHAPE, NUM_CLASSES),
        "batch_size": zoo.config.load(net).batch_size,
    }


def main() -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--devices", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--nets", default=",".join(NETS), help="comma-separated names")
    parser.add_argument("--layouts", default=",".join(LAYOUTS), help="PROCESSESxDEVICES,...")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("docs/results"), metavar="DIR")
    parser.add_argument("--stem", default="devices", help="name of the files, without suffix")
    parser.add_argument("--render", type=Path, metavar="JSON", help="only write the page of it")
    parser.add_argument("--member", help=argparse.SUPPRESS)  # used by run_layout
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.member:
        _be_member(args.member, args.port, args.directory)
    if args.render:
        print(*results.write_page(results.read(args.render), args.render, devices_report), sep="\n")
        return 0
    import zoo.models

    path = args.output / f"{args.stem}.json"
    title = "Training over several devices and processes"
    result = results.new("devices.py", title, {"rounds": args.rounds, "epochs": EPOCHS})
    result["nets"] = {net: net_facts(net) for net in zoo.models.NETS}
    rows: list[dict[str, Any]] = []
    result["rows"] = rows
    with tempfile.TemporaryDirectory() as programs, contextlib.suppress(KeyboardInterrupt):
        for net in args.nets.split(","):
            for number in range(args.rounds):
                for layout in args.layouts.split(","):
                    found = run_layout(net, layout, Path(programs))
                    rows.append({"net": net, "layout": layout, "round": number, **found})
                    results.write(result, path)
                    print(devices_report.line(rows[-1]), flush=True)
    print(*results.write_page(result, path, devices_report), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
