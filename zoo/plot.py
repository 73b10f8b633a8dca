"""Curves of loss and accuracy, from history files alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

import zoo.history
from zoo.errors import ZooError
from zoo.figures import COLORS, check_suffix, plain, save
from zoo.history import History


def plot_histories(histories: Mapping[str, History], path: Path) -> None:
    """Draws loss and accuracy by epoch: training dashed, validation solid, one colour a run.

    Of a run with many seeds it draws the mean, and a band of a standard deviation to either side.

    Args:
        histories: by the name that the legend shows.
        path: a .png, .svg or .pdf file, replaced if there.

    Raises:
        ZooError: the file's ending is another, or no history has an epoch.
    """
    check_suffix(path)
    histories = {name: history for name, history in histories.items() if history.epochs}
    if not histories:
        raise ZooError("nothing to draw: no epoch is finished yet")
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    loss_axes, accuracy_axes = figure.subplots(1, 2)
    for index, (name, history) in enumerate(histories.items()):
        color = COLORS[index % len(COLORS)]
        name = plain(name)
        if history.num_seeds > 1:
            name += f" (mean ± std of {history.num_seeds})"
        on = "test set" if history.config["validation"] == "test" else "held out"
        for axes, metric, scale in ((loss_axes, "loss", 1), (accuracy_axes, "accuracy", 100)):
            for key, style, data in ((metric, "--", "training"), (f"val_{metric}", "-", on)):
                _draw_curve(axes, history, key, scale, style, color, f"{name}, {data}")
    loss_axes.set_ylabel("loss (nats per image)")
    accuracy_axes.set_ylabel("accuracy (%)")
    for axes in (loss_axes, accuracy_axes):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = loss_axes.get_legend_handles_labels()  # training, validation, training, ...
    figure.legend(  # filled column by column: training left, validation right
        [*handles[::2], *handles[1::2]],
        [*labels[::2], *labels[1::2]],
        loc="outside lower center",
        ncols=2,
        frameon=False,
    )
    save(figure, path)


def _draw_curve(
    axes: Axes, history: History, key: str, scale: float, style: str, color: str, label: str
) -> None:
    epochs = [record["epoch"] for record in history.epochs]
    values = scale * np.array([np.atleast_1d(record[key]) for record in history.epochs])
    mean = values.mean(axis=1)  # [epochs] of [epochs, seeds]
    marker = "o" if len(epochs) == 1 else None
    axes.plot(epochs, mean, style, color=color, marker=marker, label=label)
    if values.shape[1] > 1:
        std = values.std(axis=1, ddof=1)
        axes.fill_between(epochs, mean - std, mean + std, color=color, alpha=0.2, linewidth=0)


def plot_runs(runs: Sequence[Path], path: Path) -> None:
    """Draws the curves of the runs in these folders, under the folders' names.

    Raises:
        ZooError: as `plot_histories`; a folder holds no run.
    """
    names = [run.resolve().name for run in runs]
    if len(set(names)) < len(names):
        names = [str(run) for run in runs]
    histories = {name: zoo.history.read(run) for name, run in zip(names, runs, strict=True)}
    plot_histories(histories, path)
