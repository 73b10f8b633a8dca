"""What a training run says: a header, a bar within each epoch, a line after it, the result.

The bar goes to standard error and only to a terminal; lines go to standard output.
"""

import contextlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tqdm import tqdm

from zoo.training.step import Metrics

# tqdm sets the comma before the postfix itself.
_BAR = "{desc} {bar} {n_fmt}/{total_fmt}{postfix}, {rate_fmt}, {remaining} left"


class Terminal:
    """Prints for a person; with quiet=True only the result."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet

    def say(self, text: str) -> None:
        """A line that --quiet leaves away."""
        if not self._quiet:
            print(text, flush=True)

    def note(self, text: str) -> None:
        """What a person should know even with --quiet, on standard error."""
        print(f"note: {text}", file=sys.stderr, flush=True)

    def result(self, text: str) -> None:
        """A line that is always printed."""
        print(text, flush=True)

    @contextlib.contextmanager
    def progress(self, title: str, num_images: int) -> Iterator[Callable[[int, Metrics], None]]:
        """A bar; call what it yields with the images just done and the sums so far.

        It is drawn ten times a second at most.
        """
        with tqdm(
            total=num_images,
            desc=title,
            unit=" img",
            bar_format=_BAR,
            leave=False,
            mininterval=0.0,  # update() itself keeps to ten times a second
            dynamic_ncols=True,
            disable=True if self._quiet else None,  # None: where there is no terminal
        ) as bar:
            done, shown_at = 0, time.monotonic()

            def update(num_new: int, metrics: Metrics) -> None:
                nonlocal done, shown_at
                done = min(done + num_new, num_images)  # the last batch is padded
                if not bar.disable and time.monotonic() - shown_at > 0.1:
                    bar.set_postfix_str(_metrics_text(metrics.means(), ", "), refresh=False)
                    bar.update(done - bar.n)
                    shown_at = time.monotonic()

            yield update

    def epoch(self, record: dict[str, Any], num_epochs: int) -> None:
        """The line of a finished epoch, `record` being its entry in the history."""
        width = len(str(num_epochs))
        metrics = {key: record[key] for key in ("loss", "accuracy", "val_loss", "val_accuracy")}
        self.say(
            f"epoch {record['epoch']:{width}}/{num_epochs}  {record['seconds']:6.1f} s  "
            f"{record['images_per_second']:7,.0f} images/s  {_metrics_text(metrics)}"
        )


def metric_text(name: str, value: float | Sequence[float]) -> str:
    """Such as "loss 0.0492" or "accuracy 98.62%"; of many seeds, mean ± standard deviation."""
    return f"{name} {mean_text(value, '.2%' if name.endswith('accuracy') else '.4f')}"


def mean_text(value: float | Sequence[float], form: str) -> str:
    """A value, or of several the mean ± their standard deviation; `form` such as ".2%"."""
    values = value if isinstance(value, Sequence) else [value]
    spread = f" ± {statistics.stdev(values):{form}}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):{form}}{spread}"


def table_text(rows: Sequence[Sequence[str]], left: Sequence[int]) -> str:
    """Rows of cells in columns two blanks apart; the columns of these numbers begin at the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _metrics_text(metrics: dict[str, Any], separator: str = "  ") -> str:
    return separator.join(metric_text(name, value) for name, value in metrics.items())
