"""Compares several runs or the runs of a results file: a table and a picture."""

import collections
import dataclasses
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullLocator

import zoo.models
import zoo.reproduction.results
import zoo.training.history
from zoo.analysis.summary import summarize
from zoo.data.names import short
from zoo.models.layers import Conv, DepthwiseConv, Dropout, Net, every_layer
from zoo.reproduction.table import is_of_cpu
from zoo.system.errors import ZooError
from zoo.system.figures import (
    COLORS,
    add_legend,
    add_tooltips,
    bars_of,
    light_frame,
    spread_accuracies,
)
from zoo.system.text import mean_text, table_text
from zoo.training.curves import draw_curve
from zoo.training.nets import layers_of

_NAMES = (
    "run",
    "dataset",
    "convs",
    "dropout",
    "parameters",
    "test accuracy",
    "test loss",
    "s/epoch",
)
TEXT_COLUMNS = (0, 1, 5, 6)  # the others contain right-aligned numbers


@dataclasses.dataclass(frozen=True)
class Entry:
    """The finished training of one net, with one seed or several."""

    name: str
    layers: Net  # (): a module, of which nothing is known
    dataset: str
    num_parameters: int  # with moving statistics
    accuracies: tuple[float, ...]  # on the test set, one per seed
    losses: tuple[float, ...]
    seconds_per_epoch: float  # median, for one seed
    platform: str  # that took them: cpu, gpu, tpu
    val_accuracy: np.ndarray  # [epochs, seeds]

    @property
    def num_convolutions(self) -> int:
        """Number of convolutions of the net."""
        return sum(isinstance(layer, Conv | DepthwiseConv) for layer in every_layer(self.layers))

    @property
    def has_dropout(self) -> bool:
        """Whether the net has dropout."""
        return any(isinstance(layer, Dropout) for layer in every_layer(self.layers))


def read(paths: Sequence[Path]) -> list[Entry]:
    """Reads entries from run directories and results files.

    Raises:
        ZooError: neither a run directory nor a results file; a run that is not complete.
    """
    workdirs = [path for path in paths if not path.is_file()]
    names = dict(zip(workdirs, zoo.training.history.names(workdirs), strict=True))
    entries: list[Entry] = []
    for path in paths:
        entries += [_of_run(path, names[path])] if path in names else _of_results(path)
    if not entries:
        raise ZooError("there is no finished run to compare")
    return entries


def _of_run(workdir: Path, name: str) -> Entry:
    history = zoo.training.history.read(workdir)
    if not history.is_complete or history.test is None:
        done, of = len(history.epochs), history.config["num_epochs"]
        raise ZooError(
            f"{workdir} is not complete ({done} of {of} epochs): finish its training first"
        )
    net = layers_of(history)
    if isinstance(net, str) and net not in zoo.models.NETS:
        raise ZooError(
            f"{workdir} has a net that is unknown to this version: use the version that trained it"
        )
    return Entry(
        name=name,
        layers=zoo.models.NETS[net] if isinstance(net, str) else net or (),
        dataset=short(history.config["dataset"]),
        num_parameters=history.model["num_params"],
        accuracies=tuple(np.atleast_1d(history.test["accuracy"]).tolist()),
        losses=tuple(np.atleast_1d(history.test["loss"]).tolist()),
        seconds_per_epoch=history.seconds_per_epoch,
        platform=str(history.environment.get("platform", "unknown")),
        val_accuracy=np.array([np.atleast_1d(r["val_accuracy"]) for r in history.epochs]),
    )


def _of_results(path: Path) -> list[Entry]:
    groups: dict[tuple[str, str], list[zoo.reproduction.results.FinishedRun]] = {}
    for run in zoo.reproduction.results.read(path):
        groups.setdefault((run.net, run.protocol), []).append(run)
    timed = {  # a GPU's only where no run was on a CPU
        key: [*filter(is_of_cpu, runs)] or runs for key, runs in groups.items()
    }
    return [
        Entry(
            name=net if protocol == "notebook" else f"{net}, {protocol}",
            layers=zoo.models.NETS[net],
            dataset=runs[0].config["dataset"],
            num_parameters=summarize(net).parameters,  # for MNIST images
            accuracies=tuple(run.test["accuracy"] for run in runs),
            losses=tuple(run.test["loss"] for run in runs),
            seconds_per_epoch=statistics.median(
                s for run in timed[net, protocol] for s in run.epochs["seconds"]
            ),
            platform=timed[net, protocol][0].environment["platform"],
            val_accuracy=np.array(  # the epochs that all runs have
                list(zip(*(run.epochs["val_accuracy"] for run in runs), strict=False))
            ),
        )
        for (net, protocol), runs in groups.items()
    ]


def to_text(entries: Sequence[Entry]) -> str:
    """A table for the terminal, the most accurate first."""
    return table_text(to_rows(entries), left=TEXT_COLUMNS)


def to_rows(entries: Sequence[Entry]) -> list[tuple[str, ...]]:
    """The rows of the table: the column names, then the entries, the most accurate first."""
    is_mixed = len({entry.platform for entry in entries}) > 1
    rows = [
        (
            entry.name,
            entry.dataset,
            str(entry.num_convolutions) if entry.layers else "",
            ("yes" if entry.has_dropout else "no") if entry.layers else "",
            f"{entry.num_parameters:,}",
            f"{mean_text(entry.accuracies, '.2%')} (n = {len(entry.accuracies)})",
            mean_text(entry.losses, ".4f"),
            f"{entry.seconds_per_epoch:.1f}{f' ({entry.platform.upper()})' if is_mixed else ''}",
        )
        for entry in sorted(entries, key=lambda entry: -statistics.fmean(entry.accuracies))
    ]
    return [_NAMES, *rows]


def draw(entries: Sequence[Entry]) -> Figure:
    """Draws accuracy by depth, with and without dropout, by parameters and seconds; curves."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    (depth, size), (cost, curves) = figure.subplots(2, 2)
    for axes in (depth, size, cost, curves):
        spread_accuracies(axes)
    looks: list[dict[str, Any]] = [  # if there are more runs than colours, lines and markers differ
        {
            "color": COLORS[index % len(COLORS)],
            "linestyle": ("-", "--", ":")[index // len(COLORS) % 3],
            "marker": ("o", "s", "^")[index // len(COLORS) % 3],
        }
        for index in range(len(entries))
    ]
    _draw_depth(depth, entries)
    _draw_cost(size, entries, looks, "parameters", [entry.num_parameters for entry in entries])
    _draw_seconds(cost, entries, looks)
    lines = [
        draw_curve(curves, 100 * entry.val_accuracy, entry.name, "%", markersize=3, **look)
        for entry, look in zip(entries, looks, strict=True)
    ]
    curves.set(xlabel="epoch", ylabel="validation accuracy (%)")
    curves.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (depth, size, cost):
        axes.set_ylabel("test accuracy (%)")
    for axes in (depth, size, cost, curves):
        light_frame(axes)
    add_legend(figure, lines, [entry.name for entry in entries], num_columns=4)
    return figure


def _draw_depth(axes: Axes, entries: Sequence[Entry]) -> None:
    """Accuracy by number of convolutions: each net, and the mean over nets of the same depth."""
    for is_dropping, label, marker, style in (
        (True, "with dropout", "o", "-"),
        (False, "without", "s", "--"),
    ):
        chosen = [  # of a Flax module the layers are not known
            entry for entry in entries if entry.layers and entry.has_dropout == is_dropping
        ]
        chosen.sort(key=lambda entry: entry.num_convolutions)
        if not chosen:
            continue
        depths, values = [entry.num_convolutions for entry in chosen], [*map(_percent, chosen)]
        color = COLORS[is_dropping]
        points = axes.plot(depths, values, marker, color=color, alpha=0.5)[0]
        add_tooltips(points, [_tooltip(entry) for entry in chosen])
        by_depth: dict[int, list[float]] = {depth: [] for depth in depths}
        for depth, value in zip(depths, values, strict=True):
            by_depth[depth].append(value)
        if len(by_depth) == 1:  # there is no line
            points.set_label(label)
            continue
        means = [*map(statistics.fmean, by_depth.values())]
        axes.plot([*by_depth], means, style, color=color, label=f"{label} (mean)")
    axes.set_xlabel("convolutions")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if axes.lines:  # not of modules alone
        low, high = axes.get_xlim()
        if high - low < 1:  # of one depth: so that its tick is not alone
            axes.set_xlim(low - 1, high + 1)
        axes.legend(frameon=False)


def _draw_seconds(axes: Axes, entries: Sequence[Entry], looks: Sequence[dict[str, Any]]) -> None:
    """Accuracy by seconds per epoch, on the platform that most entries have."""
    ((platform, number),) = collections.Counter(entry.platform for entry in entries).most_common(1)
    label = "seconds per epoch" + (f" ({platform.upper()})" if number < len(entries) else "")
    chosen = [pair for pair in zip(entries, looks, strict=True) if pair[0].platform == platform]
    own, own_looks = zip(*chosen, strict=True)
    _draw_cost(axes, own, own_looks, label, [entry.seconds_per_epoch for entry in own])


def _draw_cost(
    axes: Axes,
    entries: Sequence[Entry],
    looks: Sequence[dict[str, Any]],
    label: str,
    costs: Sequence[float],
) -> None:
    """Accuracy by cost, with the standard deviation over seeds, and the Pareto front."""
    for entry, cost, look in zip(entries, costs, looks, strict=True):
        spread = 100 * statistics.stdev(entry.accuracies) if len(entry.accuracies) > 1 else 0
        mean = _percent(entry)
        line, _, _ = axes.errorbar(cost, mean, bars_of([mean], [spread]), **look)
        add_tooltips(line, [f"{_tooltip(entry)}, {cost:,.4g} {label}"])
    axes.set_xscale("log")
    axes.set_xlabel(label)
    _draw_front(axes, list(zip(costs, map(_percent, entries), strict=True)))
    _set_log_ticks(axes)
    if label == "parameters":
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))  # 500k: long numbers would overlap
    else:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _set_log_ticks(axes: Axes) -> None:
    """Ticks at 1, 2, 5, 10, ...; where fewer than two are in view, at other round numbers."""
    axes.xaxis.set_minor_formatter("")
    low, high = axes.get_xlim()
    ticks = LogLocator(subs=(1, 2, 5))
    if sum(low <= tick <= high for tick in ticks.tick_values(low, high)) > 1:
        axes.xaxis.set_major_locator(ticks)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_minor_locator(NullLocator())


def _tooltip(entry: Entry) -> str:
    return f"{entry.name}: {mean_text(entry.accuracies, '.2%')}"


def _percent(entry: Entry) -> float:
    return 100 * statistics.fmean(entry.accuracies)


def _draw_front(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    """The Pareto front: entries that no cheaper entry exceeds in accuracy."""
    front: list[tuple[float, float]] = []
    for cost, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or accuracy > front[-1][1]:
            front.append((cost, accuracy))
    steps = axes.step(*zip(*front, strict=True), where="post", color="#999999", zorder=0)
    if len(front) > 1:  # of one there is no line
        axes.legend(
            steps,
            ["no cheaper net is as accurate"],
            frameon=False,
            fontsize=8,
            loc="lower right",
            bbox_to_anchor=(1, 1),  # above the axes: in them it would cover entries
            borderaxespad=0,
        )
