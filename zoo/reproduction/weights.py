"""The trained weights that the package holds, as `zoo reproduce --weights` writes them."""

import dataclasses
import hashlib
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import zoo.data
import zoo.models
import zoo.training.history
from zoo.analysis import evaluation, trained
from zoo.analysis.net import TrainedNet
from zoo.analysis.weights import about
from zoo.models import weight_files
from zoo.models.packaged import INDEX
from zoo.models.pretrained import make_config
from zoo.reproduction.results import FinishedRun, by_notebook
from zoo.system import forms
from zoo.system.errors import ZooError
from zoo.system.files import unreadable, write_whole

FORMAT = 1
LICENSE = "apache-2.0"  # of the weights that the package holds
_ENTRY: forms.Form = {
    "net": lambda value: forms.text(value) and value in zoo.models.MODELS,
    "dataset": forms.text,
    "file": forms.text,
}


def read(directory: Path) -> list[dict[str, Any]]:
    """The entries of the index in that directory; none if there is no index.

    Raises:
        ZooError: it is damaged, has another format, or cannot be read.
    """
    path = directory / INDEX
    try:
        content = forms.read_json(path)
        if (found := content["format"]) != FORMAT:
            raise ZooError(
                f"{path} is of format {found!r:.20}, and this version of the zoo reads format "
                f"{FORMAT} of weights: use the version that wrote it, or another directory"
            )
        forms.check(content["weights"], [_ENTRY])
        return content["weights"]
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        raise ZooError(f"{directory} is not a directory: name one for the weights") from None
    except OSError as error:
        raise ZooError(unreadable(path, error)) from None
    except (ValueError, KeyError, TypeError):
        raise ZooError(
            f"{path} is damaged or tells of no weights: move it away, or use another directory"
        ) from None


def keep(workdir: Path, directory: Path, seed: int | None = None) -> None:
    """Writes the net of a finished run to NET-DATASET.safetensors, and its entry of the index.

    Of a run of many seeds that is the first, or the one given.

    Its arrays are float16 where that changes the predicted class of no test image, else float32.
    Accuracy and loss in the index are those of the file.

    Raises:
        ZooError, OSError: the run or its data cannot be read; the files cannot be written.
    """
    history = zoo.training.history.read(workdir)
    net = trained.load(workdir, seed)
    test = net.split("test")
    logits = net.logits(test.images)
    half = dataclasses.replace(net, variables=jax.tree.map(_as_half, net.variables))
    of_half = half.logits(test.images)
    is_same = bool((of_half.argmax(axis=1) == logits.argmax(axis=1)).all())  # NaN has no class
    dtype, logits = ("float16", of_half) if is_same else ("float32", logits)
    found = evaluation.evaluate(logits, test.labels)
    path = directory / f"{net.name}-{net.data.dataset}.safetensors"
    directory.mkdir(parents=True, exist_ok=True)
    weight_files.write(path, net.variables, dtype)
    content = path.read_bytes()
    history.framing = net.framing.to_content() if net.framing else {}  # a run of before has none
    history.data["sha256"] = _sha256_of_data(net)
    facts = about(net, history)
    facts["test"] |= {"accuracy": found.accuracy.value, "loss": found.loss.value}
    which = f" --first-seed {net.seed}" if net.seed else ""
    facts["training"] |= {"protocol": "notebook", "command": f"zoo reproduce {net.name}{which}"}
    facts["license"] = LICENSE
    entry = make_config(net.model, net.image_shape, facts) | {
        "file": path.name,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "weights_dtype": dtype,
        "num_parameters": history.model["num_params"],
    }
    _write(directory, [*(each for each in read(directory) if each["file"] != path.name), entry])


def tell_seeds(directory: Path, runs: Sequence[FinishedRun]) -> None:
    """Writes into the index the mean and standard deviation of all seeds that were trained.

    Args:
        directory: with the index; if there is none, nothing is done.
        runs: the finished runs; those of the notebooks' protocol on MNIST count.

    Raises:
        ZooError: as `read`.
        OSError: it cannot be written.
    """
    entries = read(directory)
    for entry in entries:
        own = [run.test["accuracy"] for run in by_notebook(runs, entry["net"])]
        if own and entry["dataset"] == "mnist":
            deviation = statistics.stdev(own) if len(own) > 1 else None
            entry["seeds"] = {"count": len(own), "mean": statistics.fmean(own), "std": deviation}
    if entries:
        _write(directory, entries)


def _as_half(leaf: Any) -> np.ndarray:
    """As the file gives it back; what is too large for float16 becomes infinite."""
    with np.errstate(over="ignore"):
        return np.asarray(leaf).astype(np.float16).astype(np.float32)


def _sha256_of_data(net: TrainedNet) -> str:
    given, hint, workdir = net.given, net.data.hint, net.data.workdir
    return net.data.sha256 or zoo.data.find(net.data.dataset, given, hint, workdir).sha256


def _write(directory: Path, entries: Sequence[dict[str, Any]]) -> None:
    names = list(zoo.models.MODELS)
    by_name = sorted(entries, key=lambda entry: (names.index(entry["net"]), entry["dataset"]))
    content = {"format": FORMAT, "weights": by_name}
    write_whole(directory / INDEX, json.dumps(content, indent=1, allow_nan=False) + "\n")
