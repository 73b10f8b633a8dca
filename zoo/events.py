"""A run's numbers as TensorBoard's event files, without TensorFlow."""

from pathlib import Path
from typing import Self

from tensorboardX import SummaryWriter

import zoo.history
from zoo.history import History

FOLDER = "tensorboard"


class EventLog:
    """Writes each epoch's numbers as scalars into workdir/tensorboard; a log of `zoo.training`.

    The files are made anew at each start, from the history, so that they hold each epoch once
    wherever the run was stopped.
    """

    def __init__(self, workdir: Path, history: History) -> None:
        """Replaces the event files that are there by those of the history's epochs."""
        folder = workdir / FOLDER
        folder.mkdir(exist_ok=True)
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._writer = SummaryWriter(str(folder), max_queue=0)
        for record in history.epochs:
            self(zoo.history.numbers(history, record), record["step"])

    def __call__(self, numbers: dict[str, float], step: int) -> None:
        """Adds a scalar for each number, under its name."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.close()
