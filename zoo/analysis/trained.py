"""Loads a trained net: from the directory of its run, by name, or from saved weights."""

import sys
from pathlib import Path
from typing import Any, get_args

import flax.linen as nn
import jax
import numpy as np
from tqdm import tqdm

import zoo.config
import zoo.data.framing
import zoo.models
import zoo.training.history
import zoo.training.nets
import zoo.training.parameters
from zoo.analysis.net import TrainedNet, TrainingData, softmax
from zoo.data import NOWHERE, DataDirs, Validation
from zoo.models.net import variable_shapes
from zoo.models.pretrained import CONFIG, Pretrained, is_weights, read_packaged
from zoo.models.pretrained import read as read_pretrained
from zoo.system import forms
from zoo.system.errors import DamagedError, ZooError
from zoo.system.files import expanded
from zoo.system.settings import check_devices, usual_settings
from zoo.training.history import History

__all__ = ["TrainedNet", "TrainingData", "load", "load_packaged", "softmax"]


@usual_settings()
def load(
    source: str | Path,
    seed: int | None = None,
    given: DataDirs = NOWHERE,
    model: nn.Module | None = None,
) -> TrainedNet:
    """Loads a trained net.

    Args:
        source: the directory of a run, which may still be in progress: the net of its newest
            checkpoint, or of its best epoch so far with holdout; a name of
            `zoo.models.list_models(pretrained=True)`; or whatever else
            `zoo.models.from_pretrained` takes.
        seed: one of the run's seeds; None: the first.
        given: where its data lies on this machine; none: as `zoo.data.find` finds it.
        model: the Flax module that the run was given in code, which it does not hold.

    Raises:
        ZooError: there is no run, no checkpoint, no such seed, or no such net; its weights cannot
            be read; JAX has no device.
    """
    check_devices()
    path = expanded(source)
    is_run = (path / zoo.training.history.FILENAME).exists()
    if not is_run and is_weights(source):
        try:
            net = _of_weights(read_pretrained(source), given)
        except ValueError as error:
            raise ZooError(str(error)) from None
        if seed not in (None, net.seed):
            raise ZooError(f"{net.source} has the weights of seed {net.seed}, not {seed}: omit it")
        return net
    return _of_run(path, seed, given, model)


@usual_settings()
def load_packaged(name: str, given: DataDirs = NOWHERE) -> TrainedNet:
    """The net whose weights the package holds, whatever has its name in the working directory.

    Raises:
        ValueError: the package holds none of that net.
        DamagedError: the file is not the one that the package came with.
    """
    return _of_weights(read_packaged(name), given)


def _of_run(
    workdir: Path, seed: int | None, given: DataDirs, module: nn.Module | None
) -> TrainedNet:
    zoo.training.history.read(workdir)  # raises an error if there is no run
    try:
        found = zoo.training.parameters.read(workdir)
    except ZooError:  # a run in progress may have replaced it by a newer one
        found = zoo.training.parameters.read(workdir)
    for note in found.notes:
        tqdm.write(f"note: {note}", file=sys.stderr)  # above whatever moves on the terminal
    # A run in progress writes it before each checkpoint.
    history = zoo.training.history.read(workdir)
    seed = history.seeds[0] if seed is None else seed
    if seed not in history.seeds:
        only = zoo.training.history.seeds_text(history.seeds)
        raise ZooError(f"{workdir} has no seed {seed}, only {only}")
    epochs = [record["epoch"] for record in history.epochs if record["step"] == found.step]
    count, index = history.num_seeds, seed - history.seeds[0]
    epoch = np.full(count, epochs[0] if epochs else 0)
    if found.best_epoch is not None:
        epoch = np.atleast_1d(found.best_epoch)
    variables = found.variables
    axes = {leaf.shape[:1] for leaf in jax.tree.leaves(variables)} if count > 1 else {(1,)}
    if axes != {(count,)} or len(epoch) != count:  # the history was edited
        raise ZooError(_mismatch(workdir))
    if count > 1:
        variables = jax.tree.map(lambda leaf: leaf[index], variables)
    try:
        model = zoo.training.nets.of_history(history, module)
    except ValueError as error:
        raise ZooError(f"{workdir}: {error}") from None
    data = _data_of(history, workdir)
    chosen = int(epoch[index])
    name = history.config["model"]
    net = TrainedNet(str(workdir), name, model, variables, data, seed, chosen, given)
    _check_shapes(net)
    return net


def _data_of(history: History, workdir: Path) -> TrainingData:
    config, data = history.config, history.data
    if "image_shape" not in data:
        raise ZooError(f"{workdir} was trained by an older version: train it again")
    height, width, channels = data["image_shape"]
    return TrainingData(
        dataset=config["dataset"],
        num_classes=data["num_classes"],
        image_shape=(height, width, channels),
        num_test=data["num_test"],
        sha256=data.get("sha256"),
        framing=history.framing,
        validation=config["validation"],
        hint=DataDirs(config["data_dir"], config["manual_dir"]),
        stream=bool(zoo.config.flatten(config).get("data.stream", False)),
        workdir=workdir,
        is_from_seed="init_from" not in history.model,
        class_names=tuple(data.get("classes", ())),
        options=zoo.config.data_options(config),
    )


def _of_weights(found: Pretrained, given: DataDirs) -> TrainedNet:
    config = found.config
    try:
        data, training = config.get("data", {}), config.get("training", {})
        forms.check(config.get("dataset", ""), forms.text)
        forms.check(data.get("num_test"), forms.optional(forms.whole(1)))
        forms.check(data.get("sha256"), forms.optional(forms.text))
        forms.check(training.get("seed", 0), forms.whole(0))
        forms.check(training.get("epochs", 0), forms.whole(0))
        forms.check(training.get("validation", "test"), get_args(Validation).__contains__)
        zoo.training.history.check_classes(data | {"num_classes": config["num_classes"]})
        options = zoo.config.data_options(training.get("config", {}))
        if config.get("framing"):
            zoo.data.framing.from_content(config["framing"])
    except (ValueError, TypeError, AttributeError):
        raise DamagedError(
            f"the {CONFIG} of {found.source} is damaged or edited: save or download it again"
        ) from None
    height, width, channels = config["image_shape"]
    is_of_run = {"seed", "epochs"} <= training.keys()
    return TrainedNet(
        source=found.source,
        name=config["net"] or Path(found.source).name,
        model=found.model,
        variables=found.variables,
        data=TrainingData(
            dataset=config.get("dataset", ""),
            num_classes=config["num_classes"],
            image_shape=(height, width, channels),
            num_test=data.get("num_test"),
            sha256=data.get("sha256"),
            framing=config.get("framing"),
            validation=training.get("validation", "test"),
            is_from_seed=is_of_run and "init_from" not in training,
            class_names=tuple(data.get("classes", ())),
            options=options,
        ),
        seed=training.get("seed", 0),
        epoch=training.get("epochs", 0),
        given=given,
        is_of_run=is_of_run,
    )


def _check_shapes(net: TrainedNet) -> None:
    """Raises ZooError unless the checkpoint matches the net in the history."""
    try:
        if isinstance(net.model, zoo.models.ConvNet):
            wanted = variable_shapes(net.model.net, net.image_shape, net.model.num_classes)
        else:
            images = np.zeros((1, *net.image_shape), np.uint8)
            key = jax.random.key(0)
            wanted = jax.eval_shape(lambda: net.model.init(key, images, train=False))
    except zoo.models.ImageTooSmallError as error:
        raise ZooError(f"{net.source}: {error}") from None
    wanted = {part: wanted[part] for part in ("params", "batch_stats") if wanted.get(part)}
    found = {part: net.variables[part] for part in wanted if part in net.variables}
    if _shapes(found) != _shapes(wanted):
        raise ZooError(_mismatch(net.source))


def _mismatch(workdir: str | Path) -> str:
    return (
        f"the checkpoint in {workdir} does not match the net and the seeds in its history: they "
        f"belong to different runs, or the history was edited; without {workdir}/history.json the "
        f"command that started the run makes it again"
    )


def _shapes(variables: Any) -> Any:
    return jax.tree.map(lambda leaf: tuple(leaf.shape), dict(variables))
