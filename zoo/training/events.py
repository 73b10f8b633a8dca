"""A run's numbers as TensorBoard's event files, without TensorFlow."""

from pathlib import Path
from typing import Self

from tensorboardX import SummaryWriter

FOLDER = "tensorboard"


class EventLog:
    """Writes numbers as scalars into workdir/tensorboard; a log of `zoo.training`.

    The files are made anew at each start: as a log is given the whole run, they then hold each
    epoch once, wherever the run was stopped.
    """

    def __init__(self, workdir: Path) -> None:
        """Removes the event files that are there."""
        folder = workdir / FOLDER
        if folder.is_symlink():  # what it leads to is not this run's to remove
            folder.unlink()
        folder.mkdir(exist_ok=True)
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._writer = SummaryWriter(str(folder), max_queue=0)

    def __call__(self, numbers: dict[str, float], step: int) -> None:
        """Adds a scalar for each number, under its name."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.close()
