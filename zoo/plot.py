"""Curves of loss and accuracy, from history files alone.

python -m zoo.plot runs/vgg5-mnist-0 runs/lenet3-mnist-0 -o curves.png
"""

import argparse
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

import zoo.history
from zoo.errors import ZooError
from zoo.history import History

# Okabe & Ito (2008): told apart with any colour vision.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_SUFFIXES = (".png", ".svg", ".pdf")


def plot_histories(histories: Mapping[str, History], path: Path) -> None:
    """Draws loss and accuracy by epoch: training dashed, validation solid, one colour a run.

    Args:
        histories: by the name that the legend shows.
        path: a .png, .svg or .pdf file, replaced if there.

    Raises:
        ZooError: the file's ending is another, or no history has an epoch.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise ZooError(f"cannot draw {path}: its name must end in {', '.join(_SUFFIXES)}")
    histories = {name: history for name, history in histories.items() if history.epochs}
    if not histories:
        raise ZooError("nothing to draw: no epoch is finished yet")
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    loss_axes, accuracy_axes = figure.subplots(1, 2)
    for index, (name, history) in enumerate(histories.items()):
        color = _COLORS[index % len(_COLORS)]
        epochs = [record["epoch"] for record in history.epochs]
        marker = "o" if len(epochs) == 1 else None
        on = "test set" if history.config["validation"] == "test" else "held out"
        for axes, metric, scale in ((loss_axes, "loss", 1), (accuracy_axes, "accuracy", 100)):
            name = name.replace("$", r"\$")  # no formula
            train = [scale * record[metric] for record in history.epochs]
            val = [scale * record[f"val_{metric}"] for record in history.epochs]
            axes.plot(epochs, train, "--", color=color, marker=marker, label=f"{name}, training")
            axes.plot(epochs, val, "-", color=color, marker=marker, label=f"{name}, {on}")
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
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # 日本: a box
        figure.savefig(path, dpi=150)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; gives the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m zoo.plot", description="Draw the curves of one or several runs."
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder of a run")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="the picture: .png, .svg or .pdf"
    )
    options = parser.parse_args(arguments)
    try:
        names = [run.resolve().name for run in options.runs]
        if len(set(names)) < len(names):
            names = [str(run) for run in options.runs]
        histories = {
            name: zoo.history.read(run) for name, run in zip(names, options.runs, strict=True)
        }
        plot_histories(histories, options.output)
    except ZooError as error:
        print(f"zoo.plot: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"zoo.plot: cannot write {options.output}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
