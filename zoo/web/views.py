"""The content of pages about a run, read from its directory: facts, tables, pictures."""

import dataclasses
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

import zoo.config
import zoo.models
import zoo.reproduction.published
import zoo.training.history
from zoo.analysis import evaluation, pictures, summary, trained
from zoo.analysis.evaluation import Evaluation
from zoo.analysis.significance import binomial_error, distance
from zoo.data import NOWHERE, DataDirs
from zoo.data.names import short
from zoo.reproduction.results import is_mnist
from zoo.system import figures
from zoo.system.errors import ZooError
from zoo.system.files import as_text
from zoo.system.text import mean_text
from zoo.training.curves import METRICS, draw_histories
from zoo.training.history import History
from zoo.training.nets import layers_of

Facts = list[tuple[str, str]]  # (name, value)

KINDS = {
    "confusion": "Confusion matrix",
    "mistakes": "The worst mistakes",
    "calibration": "Calibration of its probabilities",
    "weights": "Weights before and after training",
    "filters": "Filters of the first convolution",
}


@dataclasses.dataclass(frozen=True)
class PublishedResult:
    """A number of the notebook and the same number of a run."""

    name: str
    published: str
    ours: str
    place: str  # standard deviations by which the published one exceeds ours; "" if not known


@dataclasses.dataclass(frozen=True)
class RunView:
    """The content of a run's history."""

    name: str  # of its directory
    history: History
    dataset: str  # its name, without the directories of a path
    status: str
    facts: Facts
    curves: tuple[Markup, ...]  # loss, accuracy; none before the first epoch
    published: tuple[PublishedResult, ...]
    published_note: str
    layers: summary.Summary | None  # None: an older version's run, or a module's
    config: Facts
    environment: Facts


@dataclasses.dataclass(frozen=True)
class NetView:
    """Scores and pictures of a run's trained net on its test set."""

    about: str
    evaluation: Evaluation
    class_names: tuple[str, ...]  # by label; empty: classes are known by their numbers
    pictures: dict[str, Markup | str]  # by kind; text if there is no picture


def view_run(workdir: Path, name: str, prefix: str) -> RunView:
    """Reads a run's history; the run may still be in progress.

    Args:
        workdir: directory of the run.
        name: name of the run.
        prefix: letters and digits, prefix of the ids of its pictures.

    Raises:
        ZooError: no run, a damaged history, or a net that is unknown to this version.
    """
    history = zoo.training.history.read(workdir)
    layers = _layers(history)  # first, because it checks that the net is known
    curves: list[Markup] = []
    if history.epochs:
        for metric in METRICS:
            figure = draw_histories({name: history}, [metric])
            label = f"{name}: {metric} by epoch"
            curves.append(Markup(figures.to_svg(figure, f"{prefix}-{metric}", label)))
    return RunView(
        name=name,
        history=history,
        dataset=short(history.config["dataset"]),
        status=_status(history),
        facts=_facts(history),
        curves=tuple(curves),
        **_published(history),
        layers=layers,
        config=_texts(zoo.config.flatten(history.config)),
        environment=_texts(history.environment),
    )


def view_net(workdir: Path, prefix: str, given: DataDirs = NOWHERE) -> NetView:
    """Scores the run's net (of its first seed) on its test set and draws it.

    Args:
        workdir, prefix: as for `view_run`.
        given: where its data lies, as for `zoo.data.find`.

    Raises:
        ZooError: no checkpoint, or no data.
    """
    net = trained.load(workdir, given=given)
    split = net.split("test")
    logits = net.logits(split.images)
    probabilities = trained.softmax(logits)
    drawn: dict[str, Markup | str] = {}
    for kind in KINDS:
        try:
            if kind in pictures.OF_NET:
                figure = pictures.OF_NET[kind](net)
            else:
                figure = pictures.OF_SPLIT[kind](net, split, probabilities)
            label = f"{net.name}: {KINDS[kind].lower()}"
            drawn[kind] = Markup(figures.to_svg(figure, f"{prefix}-{kind}", label))
        except ZooError as error:  # a net without mistakes
            drawn[kind] = as_text(str(error))
    about = f"After epoch {net.epoch}, seed {net.seed}, on {len(split):,} test images."
    scores = evaluation.evaluate(logits, split.labels)
    return NetView(about, scores, net.data.class_names, drawn)


def _status(history: History) -> str:
    done, of = len(history.epochs), history.config["num_epochs"]
    state = "complete" if history.is_complete else "not complete"
    return f"{state}: {done} of {of} epochs, {zoo.training.history.seeds_text(history.seeds)}"


def _facts(history: History) -> Facts:
    facts = []
    if history.test is not None and history.is_complete:
        for name, form in (("accuracy", ".2%"), ("loss", ".4f")):
            facts.append((f"test {name}", mean_text(history.test[name], form)))
    elif history.epochs:
        for name, form in (("val_accuracy", ".2%"), ("val_loss", ".4f")):
            text = mean_text(history.epochs[-1][name], form)
            facts.append((f"{name.replace('val_', 'validation ')} so far", text))
    facts.append(("parameters", f"{history.model['num_params']:,}"))
    if "num_trained" in history.model:
        facts.append(("of them trained", f"{history.model['num_trained']:,}"))
    if "init_from" in history.model:
        facts.append(("started from", history.model["init_from"]["source"]))
    if history.epochs:
        facts.append(("seconds per epoch and seed", f"{history.seconds_per_epoch:.1f}"))
    facts.append(("training images", f"{history.data['num_train']:,}"))
    if "classes" in history.data:
        facts.append(("classes", str(history.data["num_classes"])))
    return facts


def _published(history: History) -> dict[str, Any]:
    """The notebook's numbers and those of a complete run on all of MNIST."""
    published = zoo.reproduction.published.load().get(history.config["model"])
    if not (published and history.test and history.is_complete and is_mnist(history)):
        return {"published": (), "published_note": ""}
    accuracies = np.atleast_1d(history.test["accuracy"]).tolist()
    losses = np.atleast_1d(history.test["loss"]).tolist()
    differing = _unlike_the_notebook(history)
    place, loss_place = "", ""
    if differing:
        note = f"This run was not trained as in the notebook: {', '.join(differing)}."
    else:
        error = binomial_error(statistics.fmean(accuracies), history.test["num_examples"])
        place = _signed(distance(published.accuracy, accuracies, error))
        if len(losses) > 2:  # s of 2 is unreliable
            loss_place = _signed(distance(published.loss, losses))
        note = (
            "The place is how many standard deviations its value lies above (+) or below (-) ours; "
            "for an accuracy this includes the binomial error of the test images."
        )
    seconds = history.seconds_per_epoch
    return {
        "published": (
            PublishedResult(
                "test accuracy", f"{published.accuracy:.2%}", mean_text(accuracies, ".2%"), place
            ),
            PublishedResult(
                "test loss", f"{published.loss:.4f}", mean_text(losses, ".4f"), loss_place
            ),
            PublishedResult("epochs", str(published.num_epochs), str(len(history.epochs)), ""),
            PublishedResult(
                "seconds per epoch", f"{published.seconds_per_epoch:.1f}", f"{seconds:.1f}", ""
            ),
        ),
        "published_note": f"Notebook {published.notebook} ran once, without a seed, on unknown "
        f"hardware. {note}",
    }


def _unlike_the_notebook(history: History) -> list[str]:
    """Settings that differ from configs/NET.py, such as "num_epochs 3, not 10"."""
    try:
        theirs = zoo.config.flatten(zoo.config.load(history.config["model"]))
    except ZooError:  # only the package is installed, without the configs
        return []
    ours = zoo.config.flatten(history.config)
    return [
        f"{key} {_shown(ours[key])}, not {_shown(value)}"
        for key, value in theirs.items()
        if zoo.config.changes_result(key) and key in ours and ours[key] != value
    ]


def _shown(value: Any) -> str:
    return "none" if value == "" else str(value)


def _signed(place: float | None) -> str:
    return "" if place is None else f"{place:+.1f}"


def _layers(history: History) -> summary.Summary | None:
    net = layers_of(history)
    if isinstance(net, str) and net not in zoo.models.NETS:
        raise ZooError(f"the net {net} is unknown to this version")
    if net is None or "image_shape" not in history.data:
        return None
    height, width, channels = history.data["image_shape"]
    return summary.summarize(
        net,
        (height, width, channels),
        history.data["num_classes"],
        history.config["batch_size"],
        history.model["name"],
    )


def _texts(values: Mapping[str, Any]) -> Facts:
    return [(name, "" if value is None else str(value)) for name, value in values.items()]
