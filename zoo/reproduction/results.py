"""Finished runs of the notebooks' nets, as stored in the results file of a reproduction."""

import dataclasses
import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import zoo
import zoo.config
import zoo.models
import zoo.training.history
from zoo.system import forms
from zoo.system.errors import ZooError
from zoo.training.history import History
from zoo.training.numerics import version_of

FORMAT = 1
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")  # packages with their version in the table
_OF_EPOCH = ("loss", "accuracy", "val_loss", "val_accuracy", "seconds")
PROTOCOLS = {
    "notebook": "as the notebook trained, validated and tested: the last epoch",
    "holdout": "20% of the training set held out, the best epoch on them tested once",
}


@dataclasses.dataclass(frozen=True)
class FinishedRun:
    """One net trained from one seed."""

    net: str
    protocol: str  # one of PROTOCOLS
    seed: int
    date: str  # when it ended, such as 2026-11-21
    config: dict[str, Any]
    environment: dict[str, Any]
    earlier_environments: list[dict[str, Any]]  # if it was resumed elsewhere, as in a history
    data: dict[str, Any]
    epochs: dict[str, list[float]]  # accuracy, loss, ... by epoch, as in a history
    test: dict[str, Any]


def from_history(protocol: str, workdir: Path) -> list[FinishedRun]:
    """The finished runs in workdir: one for each seed, of those that were trained together.

    Then an epoch's seconds are each seed's share of them, and `environment.seeds_together` tells
    how many seeds there were: on a GPU its numbers are those of a single seed up to rounding.
    """
    history = zoo.training.history.read(workdir)
    if not history.is_complete or history.test is None:
        raise ZooError(f"{workdir} is not complete: finish its training first")
    modified = (workdir / zoo.training.history.FILENAME).stat().st_mtime
    date = datetime.datetime.fromtimestamp(modified).date().isoformat()
    return [_of_seed(history, index, protocol, date) for index in range(history.num_seeds)]


def _of_seed(history: History, index: int, protocol: str, date: str) -> FinishedRun:
    """The seed of that place among those of the run."""
    count, seed = history.num_seeds, history.seeds[index]
    together = {"seeds_together": count} if count > 1 else {}
    config = {key: value for key, value in history.config.items() if not key.endswith("_dir")}
    own = [zoo.training.history.of_seed(each, index) for each in history.epochs]
    epochs = {key: [each[key] for each in own] for key in _OF_EPOCH}
    epochs["seconds"] = [seconds / count for seconds in epochs["seconds"]]
    return FinishedRun(
        net=config["model"],
        protocol=protocol,
        seed=seed,
        date=date,
        config=config | {"seed": seed, "num_seeds": 1},
        environment=history.environment | together,
        earlier_environments=[each | together for each in history.earlier_environments],
        data=history.data,
        epochs=epochs,
        test=zoo.training.history.of_seed(history.test or {}, index),
    )


def is_mnist(run: FinishedRun | History) -> bool:
    """Whether it used all of MNIST, not a part of it or another dataset."""
    sizes = run.data["num_train"], run.data["num_test"]
    return run.config["dataset"] == "mnist" and sizes in ((60_000, 10_000), (48_000, 10_000))


def by_notebook(runs: Sequence[FinishedRun], net: str) -> list[FinishedRun]:
    """The net's runs on MNIST with its notebook's protocol: the basis of its results."""
    return [run for run in runs if (run.net, run.protocol) == (net, "notebook") and is_mnist(run)]


def merged(runs: Sequence[FinishedRun], new: Sequence[FinishedRun]) -> list[FinishedRun]:
    """All runs, sorted; new ones replace those with the same net, protocol and seed."""
    names = list(zoo.models.MODELS)
    by_key = {(run.net, run.protocol, run.seed): run for run in (*runs, *new)}
    order = {protocol: index for index, protocol in enumerate(PROTOCOLS)}
    return sorted(
        by_key.values(), key=lambda run: (names.index(run.net), order[run.protocol], run.seed)
    )


def committed() -> Path:
    """The results file that this version of the zoo came with, in a checkout or in a wheel."""
    in_checkout = Path(zoo.__file__).parents[1] / "docs/results/reproduction.json"
    in_wheel = Path(__file__).with_name("committed") / in_checkout.name
    return in_wheel if in_wheel.exists() else in_checkout


def read(path: Path) -> list[FinishedRun]:
    """The runs of a results file; none if there is no file.

    Raises:
        ZooError: it is damaged, or has another format.
    """
    try:
        content = forms.read_json(path)
        found = content["format"]
        if path.name == zoo.training.history.FILENAME:
            raise ZooError(f"{path} is the history of a run: name its directory, {path.parent}")
        if found != FORMAT:
            raise ZooError(
                f"{path} is of format {found!r:.20}, and this version of the zoo reads format "
                f"{FORMAT} of results: use the version that wrote it, or another directory or file"
            )
        runs = [FinishedRun(**run) for run in content["runs"]]
        for run in runs:
            _check_form(run)
        return runs
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ZooError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ZooError(
            f"{path} is damaged or is not a results file: if it should be one, move it away and "
            f"zoo reproduce writes it again from the existing runs"
        ) from None


def _check_form(run: FinishedRun) -> None:
    """Raises a built-in exception unless the run has the form that readers rely on."""
    if run.net not in zoo.models.MODELS or run.protocol not in PROTOCOLS:
        raise ValueError(run.net)
    zoo.config.check_values(run.config, but=("data_dir", "manual_dir"))
    forms.check(run.seed, forms.whole(0))
    datetime.date.fromisoformat(run.date)
    forms.check(run.data, {"num_train": forms.whole(1), "num_test": forms.whole(1)})
    accuracy, number = forms.number(0, 1), forms.number(0)
    test = {"num_examples": forms.whole(1), "accuracy": accuracy, "loss": number}
    forms.check(run.test, test)
    epochs = {"seconds": [number], "accuracy": [accuracy], "val_accuracy": [accuracy]}
    forms.check(run.epochs, epochs)
    if {len(run.epochs[key]) for key in epochs} != {run.config["num_epochs"]}:
        raise ValueError("epochs")
    environment = {key: forms.text for key in ("platform", "device", "python", *PACKAGES)} | {
        "cpu_count": forms.optional(forms.whole(1)),
        "git_commit": forms.optional(forms.text),
    }
    for each in (*run.earlier_environments, run.environment):
        forms.check(each, environment)
        for count in ("device_count", "seeds_together"):
            forms.check(each.get(count, 1), forms.whole(1))
        forms.check(version_of(each), forms.whole(1))
