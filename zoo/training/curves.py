"""Curves of loss and accuracy, from history files alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

import zoo.training.history
from zoo.system.errors import ZooError
from zoo.system.figures import COLORS, add_legend, add_tooltips, light_frame, plain, save
from zoo.training.history import History

METRICS = {"loss": (1, "", "loss (nats per image)"), "accuracy": (100, "%", "accuracy (%)")}


def draw_histories(
    histories: Mapping[str, History], metrics: Sequence[str] = ("loss", "accuracy")
) -> Figure:
    """Draws metrics by epoch: training dashed, validation solid, one colour a run.

    Of a run with many seeds it draws the mean, and a band of a standard deviation to either side.

    Args:
        histories: by the name that the legend shows, if there are several.
        metrics: of `METRICS`, side by side.

    Raises:
        ZooError: no history has an epoch.
    """
    histories = {name: history for name, history in histories.items() if history.epochs}
    if not histories:
        raise ZooError("nothing to draw: no epoch is finished yet")
    figure = Figure(figsize=(5 * len(metrics), 4.2), layout="constrained")
    grid = figure.subplots(1, len(metrics), squeeze=False)[0]
    labels: list[str] = []  # training, validation, training, ...
    lines: list[Line2D] = []  # the same
    for index, (name, history) in enumerate(histories.items()):
        color = COLORS[index % len(COLORS)]
        seeds = f" (mean ± std of {history.num_seeds})" if history.num_seeds > 1 else ""
        on = "test set" if history.config["validation"] == "test" else "held out"
        for data in ("training", on):
            own = f"{name}{seeds}, {data}"
            labels.append(own if len(histories) > 1 else f"{data}{seeds}")
        for axes, metric in zip(grid, metrics, strict=True):
            for key, style, data in ((metric, "--", "training"), (f"val_{metric}", "-", on)):
                values = np.array([np.atleast_1d(record[key]) for record in history.epochs])
                scale, unit, _ = METRICS[metric]
                label = f"{name}{seeds}, {data}"
                line = draw_curve(axes, scale * values, label, unit, linestyle=style, color=color)
                if axes is grid[0]:
                    lines.append(line)
    for axes, metric in zip(grid, metrics, strict=True):
        axes.set_ylabel(METRICS[metric][2])
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        light_frame(axes)
    in_columns = (slice(None, None, 2), slice(1, None, 2))  # training left, validation right
    add_legend(
        figure,
        [line for part in in_columns for line in lines[part]],
        [label for part in in_columns for label in labels[part]],
        num_columns=2,
    )
    return figure


def draw_curve(axes: Axes, values: np.ndarray, name: str, unit: str, **look: Any) -> Line2D:
    """Draws the mean of values [epochs, seeds] by epoch, and their standard deviation as a band.

    The band ends at 0 and, of a percentage, at 100.

    Returns:
        The line of the mean.
    """
    epochs = range(1, len(values) + 1)
    mean = values.mean(axis=1)  # [epochs]
    if len(values) == 1:
        look = {"marker": "o"} | look
    line: Line2D = axes.plot(epochs, mean, label=plain(name), **look)[0]
    std = values.std(axis=1, ddof=1) if values.shape[1] > 1 else None
    if std is not None:
        most = 100 if unit == "%" else np.inf
        band = np.clip((mean - std, mean + std), 0, most)
        axes.fill_between(epochs, *band, color=look["color"], alpha=0.2, linewidth=0)
    spread = [""] * len(mean) if std is None else [f" ± {own:.2g}{unit}" for own in std]
    add_tooltips(
        line,
        [
            f"{name}, epoch {epoch}: {value:.4g}{unit}{own}"
            for epoch, value, own in zip(epochs, mean, spread, strict=True)
        ],
    )
    return line


def save_run(history: History, workdir: Path) -> None:
    """Draws a run's curves into history.png in its directory.

    Raises:
        ZooError: as `draw_histories`.
        OSError: it cannot be written.
    """
    (name,) = zoo.training.history.names([workdir])
    save(draw_histories({name: history}), workdir / "history.png")


def draw_runs(runs: Sequence[Path]) -> Figure:
    """Draws the curves of the runs in these directories, under the directories' names.

    Raises:
        ZooError: as `draw_histories`; a directory holds no run.
    """
    names = zoo.training.history.names(runs)
    return draw_histories(
        {name: zoo.training.history.read(run) for name, run in zip(names, runs, strict=True)}
    )
