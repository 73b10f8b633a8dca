"""Measures the trained nets for their model cards in docs/nets, and writes the cards.

    python benchmarks/cards.py measure [NET...]   # up to three minutes a net, needs MNIST
    python benchmarks/cards.py write              # seconds

`measure` draws each net's curves from docs/results/reproduction.json. Of nets with weights in the
package it also writes docs/nets/NET.json (scores on the test set and on pictures that people make,
speed on two cores) and draws confusions, mistakes and calibration. `write` makes the pages from
what is there, and tests hold that they are so.
"""

import argparse
import dataclasses
import datetime
import functools
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cards_pages
import environment
import jax
import numpy as np
import pictures
import results
from cards_facts import FOLDER, RESULTS
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from PIL import Image

import zoo.analysis.pictures
import zoo.models
import zoo.reproduction.published
import zoo.reproduction.results
from zoo.analysis import trained
from zoo.analysis.evaluation import evaluate
from zoo.models.catalogue import check_net
from zoo.models.packaged import packaged_weights
from zoo.reproduction.published import Published
from zoo.system.compilation import enable_cache
from zoo.system.errors import ZooError
from zoo.system.figures import COLORS, add_legend, save
from zoo.training.curves import METRICS, draw_curve

_CORES = 2
_SECONDS = 3.0  # of each measurement of speed
_NUM_COLORS = 64  # of a picture's file
_BUSY = (0, 1, 2, 5, 6, 7)  # user, nice, system, irq, softirq, steal: columns of /proc/stat


def measure(name: str, num_images: int) -> dict[str, Any]:
    """The content of a net's JSON file; it draws the net's pictures besides."""
    net = trained.load(name)
    test = net.split("test")
    speed = _speed(net, test.images)
    logits = net.logits(test.images)
    for kind, draw in zoo.analysis.pictures.OF_SPLIT.items():
        _save(draw(net, test, trained.softmax(logits)), name, kind)
    right = pictures.scores(net, pictures.for_net(net, num_images))
    (entry,) = (each for each in packaged_weights() if each["net"] == name)
    return {
        "net": name,
        "command": f"python benchmarks/cards.py measure {name}",
        "date": datetime.date.today().isoformat(),
        "environment": environment.describe(),
        "sha256": entry["sha256"],
        "dataset": net.data.dataset,
        "speed": speed,
        "test": dataclasses.asdict(evaluate(logits, test.labels)),
        "pictures": {
            kind: {"right": int(own.sum()), "images": len(own)} for kind, own in right.items()
        },
    }


def _speed(net: trained.TrainedNet, images: np.ndarray) -> dict[str, Any]:
    """Images/s by size of the batch, and the latency of one image, uint8 in and logits out."""
    predict = jax.jit(functools.partial(net.model.apply, train=False))
    variables = jax.device_put(net.variables)

    def seconds(count: int) -> float:
        return _median_seconds(lambda: np.asarray(predict(variables, images[:count])))

    start, own, all_busy = time.perf_counter(), time.process_time(), _busy_seconds()
    found = {
        "images_per_second": {str(count): round(count / seconds(count), 1) for count in (128, 250)},
        "latency_ms": round(1000 * seconds(1), 3),  # median
    }
    others = _busy_seconds() - all_busy - (time.process_time() - own)
    used = round(max(0.0, others) / (time.perf_counter() - start), 2)
    return found | {"cores_used_by_others": used}


def _median_seconds(call: Callable[[], Any]) -> float:
    for _ in range(3):
        call()
    rounds: list[float] = []
    while sum(rounds) < _SECONDS or len(rounds) < 5:
        start = time.perf_counter()
        call()
        rounds.append(time.perf_counter() - start)
    return statistics.median(rounds)


def _busy_seconds() -> float:
    """Seconds that the machine's cores have worked; 0 where the system does not tell."""
    path = Path("/proc/stat")
    if not path.exists():
        return 0.0
    ticks = path.read_text().splitlines()[0].split()[1:]
    return sum(int(ticks[column]) for column in _BUSY) / os.sysconf("SC_CLK_TCK")


def curves(name: str, metric: str) -> Figure:
    """Loss or errors by epoch, on a logarithmic scale, of the notebook and of all seeds here."""
    published = zoo.reproduction.published.load()[name]
    runs = zoo.reproduction.results.by_notebook(zoo.reproduction.results.read(RESULTS), name)
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    on = "held out" if published.notebook == "003" else "test set"
    sources = [("notebook", COLORS[1], [_with_test(published)])]
    if runs:
        sources.append((f"here (n = {len(runs)})", COLORS[0], [run.epochs for run in runs]))
    for source, color, histories in sources:
        for prefix, style, data in (("", "--", "training"), ("val_", "-", on)):
            values = np.array([own[prefix + metric] for own in histories], float).T
            values = 100 * (1 - values) if metric == "accuracy" else values
            look = {"color": color, "linestyle": style}
            if np.isnan(values[:-1]).all():
                look |= {"marker": "o", "linestyle": "none"}
            draw_curve(axes, values, f"{source}, {data}", "", **look)
    label = {"loss": "loss (nats per image)", "accuracy": "images wrong (%)"}[metric]
    axes.set(xlabel="epoch", ylabel=label, yscale="log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    add_legend(figure, handles, labels, num_columns=2)
    return figure


def _with_test(published: Published) -> dict[str, list[float | None]]:
    """The history, with the final test where the notebook's printout cuts validation off."""
    history = published.history
    if any(value is not None for value in history["val_loss"]):
        return history
    none = [None] * (published.num_epochs - 1)
    found = {"val_loss": [*none, published.loss], "val_accuracy": [*none, published.accuracy]}
    return history | found


def _save(figure: Figure, name: str, kind: str) -> None:
    path = FOLDER / f"{name}-{kind}.png"
    save(figure, path)
    with Image.open(path) as image:
        few = image.convert("RGB").quantize(_NUM_COLORS, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


def _measure_all(names: Sequence[str], num_images: int) -> None:
    for name in names:
        check_net(name)
    if hasattr(os, "sched_setaffinity"):  # before JAX starts its threads
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:_CORES])
    enable_cache()
    pretrained = zoo.models.list_models(pretrained=True)
    FOLDER.mkdir(exist_ok=True)
    for name in names or zoo.models.MODELS:
        for metric in METRICS:
            _save(curves(name, metric), name, metric)
        if name in pretrained:
            results.write(measure(name, num_images), FOLDER / f"{name}.json")
        print(f"{name}: {'measured' if name in pretrained else 'only curves drawn'}", flush=True)


def main() -> None:
    """Measures, or writes the pages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure", help="measure nets and draw their pictures")
    measuring.add_argument("nets", nargs="*", metavar="NET", help="default: all")
    measuring.add_argument(
        "--images", type=int, default=200, help="test images to alter in 25 ways; default: 200"
    )
    commands.add_parser("write", help="write the pages of what was measured")
    arguments = parser.parse_args()
    if arguments.command == "write":
        cards_pages.write()
        return
    try:
        _measure_all(arguments.nets, arguments.images)
    except (ZooError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
