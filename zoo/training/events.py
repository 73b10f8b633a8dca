"""A run's numbers for whoever logs them: a function of the user's, TensorBoard's event files."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from zoo.training.history import History, numbers

Log = Callable[[dict[str, float], int], object]  # takes an epoch's numbers, and its last step
DIRECTORY = "tensorboard"


@contextlib.contextmanager
def open_log(workdir: Path, log: Log | None, tensorboard: bool) -> Iterator[Log]:
    """One log that writes to all that are asked for."""
    with contextlib.ExitStack() as stack:
        logs = [log] if log else []
        if tensorboard:
            logs.append(stack.enter_context(EventLog(workdir)))

        def write(values: dict[str, float], step: int) -> None:
            for each in logs:
                each(values, step)

        yield write


def log_whole(history: History, write: Log) -> None:
    """Logs all that the history holds."""
    for record in history.epochs:
        write(numbers(history, record), record["step"])
    log_test(history, write)


def log_test(history: History, write: Log) -> None:
    """Logs the scores on the test set, if there are any."""
    if history.test is not None:
        tested = {f"test_{name}": history.test[name] for name in ("loss", "accuracy")}
        write(numbers(history, tested), history.epochs[-1]["step"])


class EventLog:
    """Writes numbers as scalars into workdir/tensorboard, without TensorFlow.

    The files are written from the beginning at each start: as a log is given the whole run, they
    then hold each epoch once, wherever the run was stopped.
    """

    def __init__(self, workdir: Path) -> None:
        """Removes the event files that are there."""
        from tensorboardX import SummaryWriter  # only where it is asked for

        directory = workdir / DIRECTORY
        if directory.is_symlink():  # what it points to is not this run's to remove
            directory.unlink()
        directory.mkdir(exist_ok=True)
        for old in directory.glob("events.out.tfevents.*"):
            old.unlink()
        self._writer = SummaryWriter(str(directory), max_queue=0)

    def __call__(self, values: dict[str, float], step: int) -> None:
        """Adds a scalar for each number, under its name."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.close()
