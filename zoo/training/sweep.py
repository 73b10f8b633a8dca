"""A grid of runs: one configuration, with some of its keys at several values each."""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ml_collections import ConfigDict

import zoo.config
import zoo.training.history
from zoo.system.errors import DivergedError, ZooError
from zoo.system.text import counted
from zoo.training.history import History
from zoo.training.run import train_and_evaluate
from zoo.training.terminal import Terminal

SEED = "seed"
MOST_CELLS = 10_000
_RANGE = re.compile(r"(\d{1,10}):(\d{1,10})")


class Axis(NamedTuple):
    """A key of the configuration, and its values as they are written."""

    key: str
    values: tuple[str, ...]


class Cell(NamedTuple):
    """A run of the grid."""

    settings: Mapping[str, str]  # {"optimizer.learning_rate": "1e-3", "seed": "0"}
    config: ConfigDict
    workdir: Path


class Outcome(NamedTuple):
    """What a run of the grid came to."""

    cell: Cell
    history: History | None  # None: it diverged


def parse_axis(text: str) -> Axis:
    """The axis of a text such as "optimizer.learning_rate=1e-4,1e-3" or "seed=0:4" (0, 1, 2, 3).

    Raises:
        ZooError: it has another form, the key is unknown, or a value stands twice.
    """
    key, equals, listed = text.removeprefix("--").removeprefix("config.").partition("=")
    example = "as in --over optimizer.learning_rate=1e-3,1e-2 or --over seed=0:4"
    if not equals:
        raise ZooError(f"--over {text} has no values: give a key and its values, {example}")
    if not zoo.config.is_key(key):
        raise ZooError(zoo.config.unknown_key(key))
    if found := _RANGE.fullmatch(listed):
        first, end = int(found[1]), int(found[2])
        if not 0 < end - first <= MOST_CELLS:
            raise ZooError(
                f"--over {text} has {counted(max(0, end - first), 'value')}, of at most "
                f"{MOST_CELLS:,}: the first counts and the last does not, {example}"
            )
        return Axis(key, tuple(map(str, range(first, end))))
    values = tuple(value.strip() for value in listed.split(","))
    if "" in values:
        raise ZooError(f"--over {text} has an empty value: separate values by commas, {example}")
    if len(set(values)) < len(values):
        raise ZooError(f"--over {text} has a value twice: leave one out")
    return Axis(key, values)


def grid(axes: Sequence[Axis]) -> list[dict[str, str]]:
    """The settings of each run: all combinations of the values, the last axis the fastest.

    Raises:
        ZooError: a key stands twice, there is none, or there are too many runs.
    """
    keys = [axis.key for axis in axes]
    if not keys:
        raise ZooError("--over is missing: try --over optimizer.learning_rate=1e-4,1e-3,1e-2")
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise ZooError(f"--over names {twice} twice: give all its values at once")
    found = [
        dict(zip(keys, values, strict=True))
        for values in itertools.islice(
            itertools.product(*(axis.values for axis in axes)), MOST_CELLS + 1
        )
    ]
    if len(found) > MOST_CELLS:
        raise ZooError(f"the grid has more than {MOST_CELLS:,} runs: give fewer values")
    return found


def short_names(keys: Sequence[str]) -> list[str]:
    """The last part of each key, such as "learning_rate", where no other has the same."""
    last = [key.rpartition(".")[2] for key in keys]
    return [name if last.count(name) == 1 else key for name, key in zip(last, keys, strict=True)]


def name_of(settings: Mapping[str, str]) -> str:
    """The name of a run's directory, such as "learning_rate=1e-3,seed=0"."""
    names = zip(short_names([*settings]), settings.values(), strict=True)
    parts = (f"{name}={value}" for name, value in names)
    return re.sub(r"[^\w.,=+-]", "-", ",".join(parts))


def check_seeds(cells: Sequence[Cell]) -> None:
    """Raises ZooError if two that differ in the seed alone, of many seeds each, share one."""
    groups: dict[tuple[tuple[str, str], ...], list[ConfigDict]] = {}
    for cell in cells:
        others = tuple((key, value) for key, value in cell.settings.items() if key != SEED)
        groups.setdefault(others, []).append(cell.config)
    for configs in groups.values():
        for one, other in itertools.pairwise(sorted(configs, key=lambda config: config.seed)):
            count = one.num_seeds
            if other.seed < one.seed + count:
                raise ZooError(
                    f"the runs from seeds {one.seed} and {other.seed} would both train seed "
                    f"{other.seed}, as each has num_seeds={count}: give seeds {count} apart, such "
                    f"as --over seed={one.seed},{one.seed + count}, or leave num_seeds out"
                )


def finished(cells: Sequence[Cell]) -> Iterator[Outcome]:
    """Those that were complete before, each with the number of epochs that it is to have."""
    for cell in cells:
        try:
            history = zoo.training.history.read(cell.workdir)
        except ZooError:  # there is none, or `run` will say what is wrong with it
            continue
        if history.is_complete and len(history.epochs) == cell.config.num_epochs:
            yield Outcome(cell, history)


def run(
    cells: Sequence[Cell], should_stop: Callable[[], bool] = lambda: False, *, quiet: bool = False
) -> Iterator[Outcome]:
    """Trains each, goes on with those that were interrupted, and takes complete ones as they are.

    A run that diverges is told, and the others go on. With `quiet`, only results are printed.

    Raises:
        StoppedError: should_stop said so.
        ZooError: as `train_and_evaluate`.
    """
    terminal = Terminal(quiet)
    for number, cell in enumerate(cells, 1):
        terminal.say(f"{number}/{len(cells)} {cell.workdir.name}")
        try:
            history = train_and_evaluate(
                cell.config, cell.workdir, quiet=True, should_stop=should_stop
            )
        except DivergedError as error:
            terminal.note(str(error))
            yield Outcome(cell, None)
        else:
            yield Outcome(cell, history)
