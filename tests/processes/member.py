"""One process of several: `member.py PORT COUNT NUMBER DIRECTORY CASE`, for tests/training/."""

import functools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zoo.training.joining
from zoo.configs import default
from zoo.models.layers import BatchNorm, Conv, Dropout, Flatten, Head, MaxPool
from zoo.system.errors import ZooError
from zoo.system.processes import Processes
from zoo.training import distributed, train_and_evaluate

NET = (Conv(8, 3), BatchNorm(), MaxPool(2), Dropout(0.25), Flatten(), Head())
RUNS: dict[str, dict[str, Any]] = {
    "whole": {},
    "again": {},
    "seeds": {"num_seeds": 2, "validation": "holdout", "num_epochs": 1},
}


def run(directory: Path, name: str, **changes: Any) -> dict[str, Any]:
    """The content of the history of a run on the data in DIRECTORY/data."""
    config = default.get_config()
    config.update(dataset="idx", manual_dir=str(directory / "data"), batch_size=16, num_epochs=2)
    config.update_from_flattened_dict(changes)
    history = train_and_evaluate(config, directory / name, model=NET, quiet=True)
    return json.loads(json.dumps(history.to_content()))


def raised(function: Callable[[], object]) -> str:
    """What a function raises."""
    try:
        function()
    except ZooError as error:
        return str(error)
    return ""


def agree(directory: Path) -> dict[str, Any]:
    """What the processes learn from each other."""
    own = distributed.number()
    order: list[str] = []

    def fail(which: int) -> None:
        with distributed.together():
            if own == which:
                raise ZooError("its disk is full")

    def one_after_another() -> None:
        with distributed.first_before_others():
            path = directory / "written"
            order.append("found" if path.exists() else "not there")
            path.touch()

    one_after_another()
    different = functools.partial(distributed.check_same, "configuration", {"a": 1, "b": own})
    return {
        "largest": distributed.largest(7 * own + 1),
        "any": [distributed.any_of(own == 1), distributed.any_of(False)],
        "texts": distributed.texts(f"of {own}, with an ü"),
        "of first": raised(lambda: fail(0)),
        "of last": raised(lambda: fail(distributed.count() - 1)),
        "order": order,
        "different": raised(different),
        "same": raised(lambda: distributed.check_same("configuration", {"a": [1, "x" * 5000]})),
        "shared": raised(lambda: distributed.check_shared(directory)),
        "not shared": raised(lambda: distributed.check_shared(directory / f"own-{own}")),
    }


def train(directory: Path) -> dict[str, Any]:
    """Runs over the devices of all processes."""
    return {name: run(directory, name, **changes) for name, changes in RUNS.items()}


def diverge(directory: Path) -> str:
    """What a run says whose loss leaves the numbers."""
    changes = {"optimizer.name": "sgd", "optimizer.learning_rate": 1e30}
    return raised(lambda: run(directory, "diverges", **changes))


def main() -> None:
    """Does what is asked for and writes what it found to DIRECTORY/CASE-NUMBER.json."""
    port, count, number, directory, case = sys.argv[1:]
    directory = Path(directory)
    zoo.training.joining._SECONDS_TO_JOIN = 60.0
    distributed._SECONDS_TO_APPEAR = 0.5
    processes = Processes(f"127.0.0.1:{port}", int(count), int(number))
    with zoo.training.joining.joined(processes, directory, quiet=True):
        found = {name: globals()[name](directory) for name in case.split(",")}
    (directory / f"found-{number}.json").write_text(json.dumps(found))
    os._exit(0)


if __name__ == "__main__":
    main()
