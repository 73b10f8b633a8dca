"""Saves the net of a run as weights that travel without it."""

from pathlib import Path
from typing import Any

import zoo.config
import zoo.training.history
from zoo.analysis import trained
from zoo.analysis.net import TrainedNet
from zoo.data.names import short
from zoo.models import net_files, save_pretrained
from zoo.system.files import as_sentence
from zoo.training.history import History
from zoo.training.numerics import version_of

_POLARITY = {True: "light drawings on a dark ground", False: "dark drawings on a light ground"}
_VERSIONS = ("zoo", "python", "jax", "jaxlib", "flax", "optax", "numpy")


def export(workdir: Path, directory: Path, seed: int | None = None) -> TrainedNet:
    """Writes the net of the run in `workdir` to a directory, as `zoo.models.save_pretrained` does.

    Args:
        workdir, seed: as for `zoo.analysis.trained.load`.
        directory: for `config.json`, `model.safetensors` and the model card.

    Raises:
        ZooError: as `zoo.analysis.trained.load`; the directory cannot be written.
    """
    history = zoo.training.history.read(workdir)
    net = trained.load(workdir, seed)
    with as_sentence(directory):
        save_pretrained(
            directory,
            net.model,
            net.variables,
            image_shape=net.image_shape,
            about=about(net, history),
        )
    return net


def about(net: TrainedNet, history: History) -> dict[str, Any]:
    """What is known of a run's net: data, framing, test and training, for its `config.json`."""
    index, environment = net.seed - history.config["seed"], history.environment
    found: dict[str, Any] = {
        "dataset": short(net.data.dataset),
        "data": history.data,
        "framing": history.framing,
        "input": {"range": "uint8 in 0..255, or float in [0, 1]", **_polarity(history.framing)},
    }
    if history.test is not None:
        own = zoo.training.history.of_seed(history.test, index)
        if own["epoch"] == net.epoch:  # else the newest checkpoint was damaged
            found["test"] = {key: own[key] for key in ("accuracy", "loss", "num_examples")}
    config = zoo.config.flatten(history.config) | {  # without their places
        "dataset": short(net.data.dataset),
        "model": net_files.short_name(history.config["model"]),
    }
    hardware = environment.get("device", ""), environment.get("cpu_count")
    found["training"] = {
        "seed": net.seed,
        "epochs": net.epoch,
        "validation": net.data.validation,
        "config": {key: value for key, value in config.items() if not _is_place(key)},
        "numerics": version_of(environment),
        "commit": environment.get("git_commit") or "",
        "hardware": hardware[0] + (f", {hardware[1]} CPU cores" if hardware[1] else ""),
        "versions": {name: environment[name] for name in _VERSIONS if name in environment},
        "seconds": round(sum(each["seconds"] for each in history.epochs) / history.num_seeds, 1),
    }
    if source := history.model.get("init_from"):  # without its place
        facts = {key: value for key, value in source.items() if key != "source"}
        found["training"]["init_from"] = facts
    return found


def _is_place(key: str) -> bool:
    """Whether a key names a place on the machine of the training."""
    return key == "init_from" or key.endswith("_dir")


def _polarity(framing: dict[str, Any] | None) -> dict[str, str]:
    """Empty where the training images are not drawings, or that is not known."""
    return {"polarity": _POLARITY[framing["ink"] > framing["ground"]]} if framing else {}
