"""What a training run says: a header, a bar within each epoch, a line after it, the result.

The bar goes to standard error and only to a terminal; lines go to standard output.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from zoo.config import rates
from zoo.data.names import short
from zoo.system.text import counted, metric_text
from zoo.system.waiting import bar_width, columns, waiting
from zoo.training import distributed, mesh
from zoo.training.history import History, seeds_text
from zoo.training.step import Metrics

# tqdm sets the comma before the postfix itself.
_BAR = "{desc} {bar} {n_fmt}/{total_fmt}{postfix}, {rate_fmt}, {remaining} left"
_FEWEST_CELLS = 10  # of a bar, before its text is shortened


class Terminal:
    """Prints for a person; with quiet=True only the result.

    Of several processes (`zoo.training.distributed`) the first prints.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._is_silent = not distributed.is_first()
        self._quiet = quiet or self._is_silent

    def say(self, text: str) -> None:
        """A line that --quiet omits."""
        if not self._quiet:
            print(text, flush=True)

    def note(self, text: str) -> None:
        """What a person should know even with --quiet, on standard error."""
        if not self._is_silent:
            print(f"note: {text}", file=sys.stderr, flush=True)

    def result(self, text: str) -> None:
        """A line that is always printed."""
        if not self._is_silent:
            print(text, flush=True)

    @contextlib.contextmanager
    def waiting(self, what: str, plainly: bool = True) -> Iterator[None]:
        """Shows what is being done, and for how long, where a bar would not move.

        Where there is no terminal, it is a plain line, or nothing if not `plainly`.
        """
        if plainly and not (sys.stderr and sys.stderr.isatty()):
            self.say(f"{what} …")
        with waiting(what, quiet=self._quiet, plainly=False):
            yield

    @contextlib.contextmanager
    def progress(self, title: str, num_images: int) -> Iterator[Callable[[int, Metrics], None]]:
        """A bar; call what it yields with the images just done and the sums so far.

        It is drawn ten times a second at most.
        """
        with tqdm(
            total=num_images,
            desc=title,
            unit=" images",
            bar_format=_BAR,
            leave=False,
            mininterval=0.0,  # update() itself keeps to ten times a second
            **bar_width(),
            disable=True if self._quiet else None,  # None: where there is no terminal
        ) as bar:
            done, shown_at = 0, time.monotonic()

            def update(num_new: int, metrics: Metrics) -> None:
                nonlocal done, shown_at
                done = min(done + num_new, num_images)  # the last batch is padded
                if not bar.disable and time.monotonic() - shown_at > 0.1:
                    bar.set_postfix_str(_beside_bar(title, num_images, metrics), refresh=False)
                    bar.update(done - bar.n)
                    shown_at = time.monotonic()

            yield update

    def epoch(self, record: dict[str, Any], num_epochs: int) -> None:
        """The line of a finished epoch, `record` being its entry in the history."""
        self.say(_epoch_text(record, num_epochs, columns(sys.stdout)))


def _epoch_text(record: dict[str, Any], num_epochs: int, room: int | None) -> str:
    """The line in `room` columns if it can be; None: in as many as it takes.

    All lines of a run leave out the same, for each has room for accuracies of 100%.
    """
    metrics = {key: record[key] for key in ("loss", "accuracy", "val_loss", "val_accuracy")}
    texts = _epoch_texts(record, num_epochs, metrics)
    if room is None:
        return texts[0]
    full = {key: np.ones_like(metrics[key]).tolist() for key in ("accuracy", "val_accuracy")}
    widest = map(len, _epoch_texts(record, num_epochs, metrics | full))
    fitting = (text for text, width in zip(texts, widest, strict=True) if width <= room)
    return next(fitting, texts[-1])


def _epoch_texts(
    record: dict[str, Any], num_epochs: int, metrics: dict[str, Any]
) -> tuple[str, ...]:
    """A finished epoch, each text shorter than the one before."""
    epoch = f"epoch {record['epoch']:{len(str(num_epochs))}}/{num_epochs}"
    seconds = f"{record['seconds']:6.1f} s"
    rate = f"{record['images_per_second']:7,.0f} images/s"
    measured = _metrics_text(metrics)
    short = measured.replace("accuracy", "acc")
    accuracies = {key: metrics[key] for key in ("accuracy", "val_accuracy")}
    parts = (
        (epoch, seconds, rate, measured),
        (epoch, seconds, measured),
        (epoch, f"{record['seconds']:4.1f} s", short),
        (epoch, short),
        (epoch, _metrics_text(accuracies).replace("accuracy", "acc")),
    )
    return tuple(map("  ".join, parts))


def _beside_bar(title: str, num_images: int, metrics: Metrics) -> str:
    """As many of the metrics as leave a bar that is long enough."""
    means, room = metrics.means(), columns(sys.stderr) or 0
    room -= len(f"{title}  {num_images}/{num_images}, , 12345.00 images/s, 00:00 left")
    texts = (_metrics_text(means, ", "), _metrics_text({"loss": means["loss"]}))
    return next((text for text in texts if len(text) + _FEWEST_CELLS <= room), "")


def _metrics_text(metrics: dict[str, Any], separator: str = "  ") -> str:
    return separator.join(metric_text(name, value) for name, value in metrics.items())


def header_text(history: History, workdir: Path) -> str:
    """What a run says at its start: net, data, device."""
    config, data, environment = history.config, history.data, history.environment
    on_test = config["validation"] == "test"
    validated = "validated on the test set" if on_test else f"{data['num_val']:,} held out"
    lines = [
        f"{config['model']}: {_parameters_text(history)}, {seeds_text(history.seeds)}",
        *_source_lines(history),
        f"{short(config['dataset'])}: {counted(data['num_train'], 'training image')}, {validated}, "
        f"{counted(data['num_test'], 'test image')}",
        *filter(None, [rates.text(config)]),
        f"{environment['platform']} ({environment['device']}), {_spread_text(environment)}"
        f"jax {environment['jax']}, writing to {workdir}",
    ]
    if on_test and config["checkpoint"]["every_epochs"] and config["checkpoint"]["keep_best"]:
        lines.append("note: the best checkpoint is chosen by test data (validation=test)")
    return "\n".join(lines)


def _spread_text(environment: dict[str, Any]) -> str:
    return f"{mesh.text(environment)}, " if "mesh" in environment else ""


def _parameters_text(history: History) -> str:
    """Such as "87,914 parameters", or "87,914 parameters, 1,290 of them trained"."""
    model = history.model
    trained = f", {model['num_trained']:,} of them trained" if "num_trained" in model else ""
    return f"{model['num_params']:,} parameters{trained}"


def _source_lines(history: History) -> list[str]:
    """What is known of the weights that the run started from, if it did from any."""
    if "init_from" not in history.model:
        return []
    facts = history.model["init_from"]
    dataset = f", trained on {short(facts['dataset'])}" if facts["dataset"] else ""
    head = (
        f"a new head for {history.data['num_classes']} classes" if facts["new_head"] else "its head"
    )
    return [f"starts from {facts['source']}{dataset}, with {head} (sha256 {facts['sha256'][:12]}…)"]


def left_out_notes(history: History) -> list[str]:
    """What is told of the last epoch's images and steps that were left out, if any were."""
    before, last = [{}, *history.epochs][-2:]
    notes = []
    if images := last.get("skipped"):
        notes.append(
            f"{images:,} images were left out: the loss or the gradients of their batches were not "
            f"finite"
        )
    if steps := int(np.sum(last.get("skipped_steps", 0)) - np.sum(before.get("skipped_steps", 0))):
        notes.append(
            f"{counted(steps, 'step')} left out: gradients were too large for float16, and the "
            f"scale of the loss was lowered"
        )
    return notes


def result_text(history: History) -> str:
    """What a run says at its end; it must be complete."""
    test = history.test
    assert test is not None
    several = history.num_seeds > 1
    seeds = f", mean ± standard deviation of {history.num_seeds} seeds" if several else ""
    metrics = ", ".join(metric_text(name, test[name]) for name in ("loss", "accuracy"))
    epochs = f"after {len(history.epochs)} epoch{'s' if len(history.epochs) > 1 else ''}"
    if history.config["validation"] == "holdout":
        chosen = np.unique(test["epoch"])
        which = f"epoch {chosen[0]}" if len(chosen) == 1 else f"epochs {chosen[0]} to {chosen[-1]}"
        epochs = f"after {which}, best on the held-out images"
    return f"test: {metrics} of {test['num_examples']:,} images {epochs}{seeds}"
