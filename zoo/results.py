"""Finished runs of the notebooks' nets, as the results file of a reproduction holds them."""

import dataclasses
import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import zoo.history
import zoo.models
from zoo.errors import ZooError

FORMAT = 1
PROTOCOLS = {
    "notebook": "as the notebook trained, validated and tested: the last epoch",
    "holdout": "20% of the training set held out, their best epoch tested once",
}


@dataclasses.dataclass(frozen=True)
class Run:
    """One net trained from one seed."""

    net: str
    protocol: str  # one of PROTOCOLS
    seed: int
    date: str  # of its end, such as 2026-11-21
    config: dict[str, Any]
    environment: dict[str, Any]
    data: dict[str, Any]
    epochs: dict[str, list[float]]  # accuracy, loss, ... by epoch, as in a history
    test: dict[str, Any]


def from_history(protocol: str, workdir: Path) -> Run:
    """The finished run of a single seed that workdir holds."""
    history = zoo.history.read(workdir)
    if not history.is_complete or history.test is None:
        raise ZooError(f"{workdir} is not complete")
    modified = (workdir / zoo.history.FILENAME).stat().st_mtime
    keys = ("loss", "accuracy", "val_loss", "val_accuracy", "seconds")
    return Run(
        net=history.config["model"],
        protocol=protocol,
        seed=history.config["seed"],
        date=datetime.datetime.fromtimestamp(modified).date().isoformat(),
        config={key: value for key, value in history.config.items() if not key.endswith("_dir")},
        environment=history.environment,
        data=history.data,
        epochs={key: [record[key] for record in history.epochs] for key in keys},
        test=history.test,
    )


def merged(runs: Sequence[Run], new: Sequence[Run]) -> list[Run]:
    """All of them, where two are of the same net, protocol and seed the new one; sorted."""
    names = list(zoo.models.MODELS)
    by_key = {(run.net, run.protocol, run.seed): run for run in (*runs, *new)}
    order = {protocol: index for index, protocol in enumerate(PROTOCOLS)}
    return sorted(
        by_key.values(), key=lambda run: (names.index(run.net), order[run.protocol], run.seed)
    )


def read(path: Path) -> list[Run]:
    """The runs of a results file; none if there is no file.

    Raises:
        ZooError: it is damaged, or of another format.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        found = content["format"]
        if found != FORMAT:
            raise ZooError(
                f"{path} is of format {found}, and this version of the zoo reads format {FORMAT}: "
                f"use the version that wrote it, or another --output"
            )
        runs = [Run(**run) for run in content["runs"]]
        for run in runs:
            _check_form(run)
        return runs
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ZooError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ZooError(
            f"{path} is damaged: move it away, and the table is made again from the runs that are "
            f"there"
        ) from None


def _check_form(run: Run) -> None:
    """Raises KeyError, TypeError or ValueError unless it has the form that readers rely on."""
    if run.net not in zoo.models.MODELS or run.protocol not in PROTOCOLS:
        raise ValueError
    numbers = [run.seed, run.test["accuracy"], run.test["loss"], run.test["num_examples"]]
    numbers += [run.data["num_train"], *run.epochs["accuracy"], *run.epochs["seconds"]]
    if not all(isinstance(number, int | float) for number in numbers) or not run.epochs["seconds"]:
        raise TypeError
    for key in ("platform", "device", "cpu_count", "git_commit", "jax"):
        run.environment[key]
