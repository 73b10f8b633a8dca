"""Which net a run trains: one of the zoo by name, layers of one's own, or any Flax module."""

import dataclasses
import difflib
import math
from typing import Any, NamedTuple

import flax.errors
import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

import zoo.config
import zoo.models
from zoo.data import Dataset
from zoo.data.names import short
from zoo.models import layer_lists, net_files
from zoo.models.layers import Head, Layer, Net
from zoo.system.errors import ZooError
from zoo.training.history import MOST_VALUES, History

_GIVEN = " (given in code)"


class ChosenNet(NamedTuple):
    """The net of a run, as far as it is known without data."""

    net: str | Net | nn.Module
    name: str
    about: dict[str, Any]  # what the history holds of it, besides its name and size

    @property
    def is_of_our_layers(self) -> bool:
        """Whether all that it computes is known, as not of modules and layers of one's own."""
        return self.about.get("layers", ()) is not None


def choose(
    config: ml_collections.ConfigDict, given: Net | nn.Module | None
) -> tuple[ml_collections.ConfigDict, ChosenNet]:
    """The configuration, with the net's name, and the net that is given or that it names.

    Raises:
        ZooError: the configuration does not do; what is given is no net.
    """
    zoo.config.validate(config, with_model=given is None)
    if given is None:
        layers = net_files.find(config.model)
        is_ours = not net_files.is_reference(config.model)
        net: str | Net = config.model if is_ours else layers
        about = {} if is_ours else {"layers": layer_lists.to_content(layers)}
        return config, ChosenNet(net, net_files.short_name(config.model), about)
    if isinstance(given, zoo.models.ConvNet):
        dtype = jnp.dtype(given.dtype).name
        if dtype != config.dtype:
            raise ZooError(
                f"the model that is given computes in {dtype}, and config.dtype is "
                f"{config.dtype}: make them the same"
            )
    name = f"{type(given).__name__ if isinstance(given, nn.Module) else 'layers'}{_GIVEN}"
    config = config.copy_and_resolve_references()
    config.model = name
    return config, ChosenNet(given, name, _about(given))


def _about(given: Net | nn.Module) -> dict[str, Any]:
    """What a history holds of a net that is given in code."""
    is_module = isinstance(given, nn.Module)
    if is_module and type(given) is not zoo.models.ConvNet:
        return {"layers": None, "module": _described(given)}
    layers: Any = given.net if isinstance(given, zoo.models.ConvNet) else given
    try:
        layer_lists.check(layers)
        return {"layers": layer_lists.to_content(layers)}
    except ValueError as error:
        if is_module:  # it has layers of the user's own
            return {"layers": None, "module": _described(given)}
        raise ZooError(f"the model that is given cannot be trained: {error}") from None


def _described(value: Any) -> str:
    """A module or a value in it, such as "Perceptron(features=16)", without what is default.

    In each process it is the same text, as that of `repr` with addresses is not.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, tuple | list):
        return f"({', '.join(map(_described, value))})"
    if isinstance(value, nn.Module | Layer | Head):
        texts = []
        for field in dataclasses.fields(value):  # type: ignore[arg-type]  # each is a dataclass
            text = _described(getattr(value, field.name))
            if field.name not in ("name", "parent") and text != _described(field.default):
                texts.append(f"{field.name}={text}")
        return f"{type(value).__name__}({', '.join(texts)})"
    return getattr(value, "__name__", type(value).__name__)  # a function; an array, ...


def make(chosen: ChosenNet, num_classes: int, dtype: str, remat: bool = False) -> Any:
    """The Flax module of a run.

    Raises:
        ZooError: `remat` is asked for of a module that is not of the zoo's layers.
    """
    model = chosen.net
    if not isinstance(model, nn.Module):
        model = zoo.models.create_model(model, num_classes, jnp.dtype(dtype))
    if remat and not isinstance(model, zoo.models.ConvNet):
        raise ZooError(
            f"config.remat is for nets of the zoo's layers, not for {type(model).__name__}: use "
            f"flax.linen.remat in the module"
        )
    return model.clone(remat=True) if remat else model


def check_logits(model: Any, dataset: Dataset, config: ml_collections.ConfigDict) -> None:
    """Checks, without computing anything, that a net gives a logit for each class of the dataset.

    Raises:
        ZooError: it does not, or cannot have such images.
    """
    name = f"{config.model} on {short(config.dataset)}"
    image_shape, num_classes = dataset.train.images.shape[1:], dataset.num_classes
    if (count := math.prod(image_shape)) > MOST_VALUES:
        raise ZooError(
            f"{name}: images of {'x'.join(map(str, image_shape))} have {count:,} values, and a run "
            f"takes at most {MOST_VALUES:,}: set config.data.image_size, or make them smaller"
        )
    images = np.zeros((1, *image_shape), np.uint8)
    init = {"params": jax.random.key(0), "dropout": jax.random.key(0)}
    try:
        if isinstance(model, zoo.models.ConvNet):
            zoo.models.layer_shapes(model.net, image_shape)
            if model.num_classes == num_classes and isinstance(model.net[-1], Head):
                return
        logits, variables = jax.eval_shape(
            lambda: model.init_with_output(init, images, train=False)
        )
    except (ValueError, TypeError, AttributeError, flax.errors.FlaxError) as error:
        text = " ".join(str(error).split())
        raise ZooError(f"{name}: {text:.300}") from None
    if getattr(logits, "shape", None) != (1, num_classes):
        found = getattr(logits, "shape", type(logits).__name__)
        raise ZooError(
            f"{name} must give logits [B, {num_classes}] for as many classes, not {found} for one "
            f"image"
        )
    if not jax.tree.leaves(variables.get("params")):
        raise ZooError(f"{name} has no parameters to train: give a net that has some")


def layers_of(history: History) -> str | Net | None:
    """The net of a run: a name, or layers; None: a module, which the run does not hold.

    The file that a net came from is not executed.
    """
    layers = history.model.get("layers", ())
    if layers is None:
        return None
    return layer_lists.from_content(layers) if layers else history.config["model"]


def of_history(history: History, given: nn.Module | None = None) -> Any:
    """The Flax module of a run.

    Args:
        history: that of the run.
        given: the run's module, if it was given in code.

    Raises:
        ZooError: the run's net was a module, which its history does not hold, and none is given.
        ValueError: the name of the net is unknown.
    """
    if given is not None:
        return given
    net = layers_of(history)
    if net is None:
        raise ZooError(
            f"the net of this run is {history.config['model']}, which the run does not hold: "
            f"evaluate it in code, with zoo.analysis.trained.load(workdir, model=...)"
        )
    dtype = jnp.dtype(history.config["dtype"])
    return zoo.models.create_model(net, history.data["num_classes"], dtype)


def check_same(old: dict[str, Any], new: dict[str, Any], where: str) -> None:
    """Checks that a run goes on with the net that it began with.

    Args:
        old: what the run's history holds of its net.
        new: what it would hold now.
        where: the run's directory.

    Raises:
        ZooError: it is another net, and how it differs.
    """
    before, now = old.get("layers"), new.get("layers")
    if before is None and "layers" in old:  # a module, of which earlier versions kept nothing
        there, here = old.get("module"), new.get("module")
        if there and here and there != here:
            raise ZooError(
                f"{where} holds a run of another module, {_from_first_difference(there, here)}: "
                f"give it as it was, or use another directory"
            )
    elif before != now:
        raise ZooError(
            f"{where} holds a run of another net, {_difference(before or [], now or [])}: put the "
            f"layers back as they were, or use another directory"
        )


def _from_first_difference(before: str, now: str) -> str:
    """Such as "features=16) there, features=17) here"."""
    pairs = enumerate(zip(before, now, strict=False))
    start = next((place for place, (old, new) in pairs if old != new), min(len(before), len(now)))
    start = max(before.rfind(sign, 0, start) + 1 for sign in "( ")
    return f"{before[start:]:.80} there, {now[start:]:.80} here"


def _difference(before: list[Any], now: list[Any]) -> str:
    """Such as "Conv(8, 3) there, Conv(16, 3) here", of the first layers that differ."""
    old, new = (
        [repr(layer) for layer in layer_lists.from_content(layers)] if layers else []
        for layers in (before, now)
    )
    for tag, *places in difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        if tag != "equal":
            first, last, begin, end = places
            there, here = ", ".join(old[first:last]), ", ".join(new[begin:end])
            return f"{there or 'no such layer':.120} there, {here or 'no such layer':.120} here"
    return "other layers"
