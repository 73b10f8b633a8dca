"""What the runs of a grid came to: a table, a CSV file, and a picture."""

import csv
import io
import itertools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from zoo.system.figures import (
    COLORS,
    add_legend,
    add_tooltips,
    bars_of,
    light_frame,
    name_ticks,
    plain,
    save,
    spread_accuracies,
)
from zoo.system.files import write_whole
from zoo.system.text import mean_text, table_text
from zoo.training.ending import try_to_draw
from zoo.training.sweep import SEED, Outcome, name_of, short_names
from zoo.training.terminal import Terminal

T = TypeVar("T")
_MOST_LINES = 12
_MOST_TICKS = 8  # for which there is room


class Row(NamedTuple):
    """A run of the grid, or all that differ in their seed alone; one number for each seed."""

    settings: Mapping[str, str]
    directories: tuple[str, ...]
    val_accuracies: tuple[float, ...]  # of the epoch that was tested
    test_accuracies: tuple[float, ...]
    test_losses: tuple[float, ...]  # in nats per image
    seconds_per_epoch: float  # median over epochs; of several runs their mean
    num_diverged: int


def row_of(outcome: Outcome) -> Row:
    """The row of one run."""
    history, directory = outcome.history, outcome.cell.workdir.name
    settings = outcome.cell.settings
    if history is None or history.test is None:
        return Row(settings, (directory,), (), (), (), float("nan"), 1)
    test = {name: np.atleast_1d(value) for name, value in history.test.items()}
    tested = np.broadcast_to(test["epoch"], test["accuracy"].shape)
    by_epoch = [np.atleast_1d(epoch["val_accuracy"]) for epoch in history.epochs]
    val = [float(by_epoch[epoch - 1][seed]) for seed, epoch in enumerate(tested.tolist())]
    return Row(
        settings,
        (directory,),
        tuple(val),
        tuple(test["accuracy"].tolist()),
        tuple(test["loss"].tolist()),
        history.seconds_per_epoch,
        0,
    )


def grouped(rows: Sequence[Row]) -> list[Row]:
    """A row for all runs that differ in their seed alone; the best in validation first."""
    groups: dict[tuple[tuple[str, str], ...], list[Row]] = {}
    for row in rows:
        key = tuple((name, value) for name, value in row.settings.items() if name != SEED)
        groups.setdefault(key, []).append(row)
    found = []
    for key, own in groups.items():
        seconds = [row.seconds_per_epoch for row in own if not row.num_diverged]
        found.append(
            Row(
                dict(key),
                _joined(row.directories for row in own),
                _joined(row.val_accuracies for row in own),
                _joined(row.test_accuracies for row in own),
                _joined(row.test_losses for row in own),
                statistics.fmean(seconds) if seconds else float("nan"),
                sum(row.num_diverged for row in own),
            )
        )
    return sorted(found, key=lambda row: -statistics.fmean(row.val_accuracies or [-1]))


def _joined(parts: Iterable[tuple[T, ...]]) -> tuple[T, ...]:
    return tuple(itertools.chain.from_iterable(parts))


def to_text(rows: Sequence[Row]) -> str:
    """A table for the terminal."""
    keys = [*rows[0].settings]
    names = ("runs", "val accuracy", "test accuracy", "test loss", "s/epoch")
    lines: list[tuple[str, ...]] = [(*short_names(keys), *names)]
    for row in rows:
        diverged = f" ({row.num_diverged} diverged)" if row.num_diverged else ""
        count = f"{len(row.directories)}{diverged}"
        if not row.test_accuracies:
            lines.append((*row.settings.values(), count, "-", "-", "-", "-"))
            continue
        numbers = (
            mean_text(row.val_accuracies, ".2%"),
            mean_text(row.test_accuracies, ".2%"),
            mean_text(row.test_losses, ".4f"),
            f"{row.seconds_per_epoch:.1f}",
        )
        lines.append((*row.settings.values(), count, *numbers))
    return table_text(lines, left=range(len(keys)))


def write(rows: Sequence[Row], folder: Path) -> None:
    """Writes sweep.csv: a line for each run, and of one with several seeds for each seed.

    Raises:
        OSError: it cannot be written.
    """
    keys = [*rows[0].settings]
    names = ("directory", "number", "val_accuracy", "test_accuracy", "test_loss")
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow((*keys, *names, "seconds_per_epoch"))
    for row in rows:
        each = [*zip(row.val_accuracies, row.test_accuracies, row.test_losses, strict=True)]
        for number, numbers in enumerate(each or [("", "", "")]):  # without numbers: it diverged
            values = (*row.settings.values(), row.directories[0], number, *numbers)
            writer.writerow((*values, f"{row.seconds_per_epoch:.3f}"))
    write_whole(folder / "sweep.csv", file.getvalue())


def draw(rows: Sequence[Row]) -> Figure:
    """Draws accuracy in validation and on the test set, by the key with the most values.

    There is a line for each combination of the other keys, of at most a dozen; a point is the mean
    over seeds, with their standard deviation.
    """
    groups = grouped(rows)
    keys = [*rows[0].settings]
    values = {key: list(dict.fromkeys(row.settings[key] for row in rows)) for key in keys}
    across = max(set(keys) - {SEED} or keys, key=lambda key: (len(values[key]), -keys.index(key)))
    groups = groups if across != SEED else list(rows)
    places, is_scale = _places(values[across])
    lines: dict[str, list[Row]] = {}
    for row in groups:
        others = {key: value for key, value in row.settings.items() if key not in (across, SEED)}
        lines.setdefault(name_of(others), []).append(row)
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    both = figure.subplots(1, 2, sharey=True)
    spread_accuracies(both[0])  # and the other, which shares its scale
    for axes, title in zip(both, ("validation", "test"), strict=True):
        for index, (name, own) in enumerate([*lines.items()][:_MOST_LINES]):
            _draw_line(axes, name, own, across, places, title == "test", index)
        axes.set(title=title, xlabel=across)
        light_frame(axes)
        if not is_scale:
            name_ticks(axes.xaxis, [*places])
            continue
        if 0 < 8 * min(places.values()) <= max(places.values()):
            axes.set_xscale("log")
        if len(places) <= _MOST_TICKS:
            axes.set_xticks([*places.values()], [*places])
            axes.set_xticks([], minor=True)
    both[0].set_ylabel("accuracy (%)")
    if len(lines) > 1:
        handles, names = both[0].get_legend_handles_labels()
        add_legend(figure, handles, names, num_columns=3)
    return figure


def _places(values: Sequence[str]) -> tuple[dict[str, float], bool]:
    """Where each value is drawn; whether they are numbers on a scale, or only one after another."""
    try:
        numbers = {value: float(value) for value in values}
    except ValueError:
        numbers = {}
    if numbers and all(map(math.isfinite, numbers.values())):
        return numbers, True
    return {value: float(place) for place, value in enumerate(values)}, False


def _draw_line(
    axes: Axes,
    name: str,
    rows: Sequence[Row],
    across: str,
    places: Mapping[str, float],
    of_test: bool,
    index: int,
) -> None:
    found = []
    for row in rows:
        accuracies = row.test_accuracies if of_test else row.val_accuracies
        if accuracies:
            percent = [100 * accuracy for accuracy in accuracies]
            spread = statistics.stdev(percent) if len(percent) > 1 else 0.0
            value = row.settings[across]
            tooltip = (
                f"{across} {value}{', ' if name else ''}{name}: {mean_text(accuracies, '.2%')}"
            )
            found.append((places[value], statistics.fmean(percent), spread, tooltip))
    if not found:
        return
    x, means, spreads, texts = zip(*sorted(found), strict=True)
    color, style = COLORS[index % len(COLORS)], ("-", "--")[index // len(COLORS) % 2]
    look: dict[str, Any] = {"color": color, "linestyle": style, "marker": "o", "capsize": 2}
    line, _, _ = axes.errorbar(x, means, bars_of(means, spreads), **look)
    line.set_label(plain(name))
    add_tooltips(line, texts)


def draw_or_tell(rows: Sequence[Row], folder: Path) -> bool:
    """Whether sweep.png was drawn; where that fails, it is told: the runs are as good without."""
    return try_to_draw("sweep.png", lambda: save(draw(rows), folder / "sweep.png"), Terminal())
