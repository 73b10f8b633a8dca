"""The table of a reproduction: one row per net, with the place of the published result."""

import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import zoo.analysis.summary
import zoo.models
import zoo.reproduction.published
from zoo.analysis.significance import binomial_error, distance
from zoo.reproduction.results import PROTOCOLS, FinishedRun, is_mnist

_IMAGE_SHAPE = (28, 28, 1)
_HELD_OUT = 0.2
_FLOP_PER_HOUR = 150e9 * 3600  # approximate, of training on two cores of a server
_NEEDS_GPU_HOURS = 1.5


@dataclasses.dataclass(frozen=True)
class Row:
    """One net with one protocol. Accuracies are fractions, losses nats per image."""

    net: str
    notebook: str
    protocol: str
    parameters: int
    epochs: int
    seeds: tuple[int, ...]
    published_accuracy: float
    accuracy: float | None  # mean over the seeds
    accuracy_std: float | None
    accuracy_distance: float | None  # standard deviations by which the published one exceeds ours
    verdict: str
    published_loss: float
    loss: float | None
    loss_std: float | None
    loss_distance: float | None
    published_seconds_per_epoch: float
    seconds_per_epoch: float | None  # on a CPU, median over epochs and seeds
    seconds_per_epoch_elsewhere: float | None  # on other devices, of which each seed has its share
    hardware: str
    versions: str
    commits: str


def training_flop(net: str) -> int:
    """FLOP of a training as in the notebook: three products, two FLOP per multiply-add."""
    macs = sum(zoo.models.layer_macs(zoo.models.MODELS[net], _IMAGE_SHAPE).values())
    published = zoo.reproduction.published.load()[net]
    num_images = 60_000 * (1 - _HELD_OUT if published.notebook == "003" else 1)
    return round(2 * 3 * macs * num_images * published.num_epochs)


def training_hours(net: str) -> float:
    """Approximate duration of a training on two CPU cores."""
    return training_flop(net) / _FLOP_PER_HOUR


def make_rows(runs: Iterable[FinishedRun]) -> list[Row]:
    """A row for each net with its notebook's protocol, and one for each other that was run."""
    by_row: dict[tuple[str, str], list[FinishedRun]] = {
        (net, "notebook"): [] for net in zoo.reproduction.published.load()
    }
    for run in runs:
        by_row.setdefault((run.net, run.protocol), []).append(run)
    order = list(PROTOCOLS)
    keys = sorted(by_row, key=lambda key: order.index(key[1]))
    return [_row(*key, by_row[key]) for key in keys]


def _row(net: str, protocol: str, runs: Sequence[FinishedRun]) -> Row:
    published = zoo.reproduction.published.load()[net]
    accuracies = [run.test["accuracy"] for run in runs]
    losses = [run.test["loss"] for run in runs]
    place, loss_place, verdict = None, None, _not_run(net)
    if runs:
        num_images = min(run.test["num_examples"] for run in runs)
        error = binomial_error(statistics.fmean(accuracies), num_images)
        place = distance(published.accuracy, accuracies, error)
        loss_place = (
            distance(published.loss, losses) if len(runs) > 2 else None
        )  # s of 2 is unreliable
        verdict = _verdict(place)
        if not all(map(is_mnist, runs)):
            place, loss_place, verdict = None, None, "not on MNIST: no verdict"
    return Row(
        net=net,
        notebook=published.notebook,
        protocol=protocol,
        parameters=zoo.analysis.summary.summarize(net).parameters,
        epochs=runs[0].config["num_epochs"] if runs else published.num_epochs,
        seeds=tuple(run.seed for run in runs),
        published_accuracy=published.accuracy,
        accuracy=_mean(accuracies),
        accuracy_std=_std(accuracies),
        accuracy_distance=place,
        verdict=verdict,
        published_loss=published.loss,
        loss=_mean(losses),
        loss_std=_std(losses),
        loss_distance=loss_place,
        published_seconds_per_epoch=published.seconds_per_epoch,
        seconds_per_epoch=_median_seconds([run for run in runs if is_of_cpu(run)]),
        seconds_per_epoch_elsewhere=_median_seconds([run for run in runs if not is_of_cpu(run)]),
        hardware=_all(hardware_text(run.environment) for run in runs),
        versions=_all(f"jax {run.environment['jax']}" for run in runs),
        commits=_all(commit_text(run.environment) for run in runs),
    )


def _not_run(net: str) -> str:
    return "not run: needs a GPU" if training_hours(net) > _NEEDS_GPU_HOURS else "not run"


def _verdict(place: float | None) -> str:
    if place is None:
        return "no verdict"
    if abs(place) <= 2:
        return "inside"
    return f"{'above' if place > 0 else 'below'} ours"


def is_of_cpu(run: FinishedRun) -> bool:
    """Whether it ended on a CPU."""
    return bool(run.environment["platform"] == "cpu")


def _median_seconds(runs: Sequence[FinishedRun]) -> float | None:
    return statistics.median(s for run in runs for s in run.epochs["seconds"]) if runs else None


def _mean(values: Sequence[float]) -> float | None:
    return statistics.fmean(values) if values else None


def _std(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None


def _all(texts: Iterable[str]) -> str:
    """The distinct texts, joined."""
    return "; ".join(dict.fromkeys(texts))


def hardware_text(environment: Mapping[str, Any]) -> str:
    """Such as "AMD EPYC, 2 cores"."""
    if environment["platform"] == "cpu":
        return f"{environment['device']}, {environment['cpu_count']} cores"
    count = environment.get("device_count", 1)
    return environment["device"] + (f" x {count}" if count > 1 else "")


def commit_text(environment: Mapping[str, Any]) -> str:
    """The first 12 digits of the source's commit, with "+" if files were modified."""
    commit = environment["git_commit"]
    if not commit:
        return "unknown"
    return commit[:12] + ("+" if commit.endswith("+") else "")
