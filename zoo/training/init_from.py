"""The weights that a run starts from: those of a net by name, of another run, or saved ones."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import zoo.training.history
import zoo.training.parameters
from zoo.data.names import short
from zoo.models import hub, net_files
from zoo.models.pretrained import is_weights
from zoo.models.pretrained import read as read_pretrained
from zoo.models.weight_files import flatten
from zoo.system import forms
from zoo.system.errors import ZooError
from zoo.system.files import expanded
from zoo.training.fine_tuning import has_new_head
from zoo.training.step import TrainState


class Source(NamedTuple):
    """Trained weights, and what a history keeps of them."""

    variables: dict[str, Any]  # {"params": ..., "batch_stats": ... if there are any}, NumPy arrays
    facts: dict[str, Any]  # as `model.init_from` in a history (zoo.training.history)


def read(
    name: str, state: TrainState, net: str, dataset: str, image_shape: Sequence[int]
) -> Source:
    """The weights that `config.init_from` names; of a run of many seeds, those of the first.

    Args:
        name: of a net, a run's directory, a directory of weights, or "hf://OWNER/NAME".
        state: of the net that takes them, or its shapes.
        net: what it is called, for messages.
        dataset, image_shape: what it is trained on, for messages.

    Raises:
        ZooError: there are none, they cannot be read, they are not finite, or they do not fit.
    """
    try:
        path = Path(name) if name.startswith(hub.PREFIX) else expanded(name)
        if not (path / zoo.training.history.FILENAME).exists() and is_weights(name):
            found = read_pretrained(name)
            variables, config = found.variables, found.config
            facts = {"net": config["net"], "dataset": config.get("dataset")}
            their_shape = config["image_shape"]
        else:
            variables, facts, their_shape = _of_run(path)
    except (ZooError, ValueError) as error:
        raise ZooError(f"config.init_from: {error}") from None
    try:
        fresh = {"params": state.params, "batch_stats": state.batch_stats}
        new_head = has_new_head(variables, fresh)
    except ValueError as error:
        other = _other_net(facts["net"], net) or _other_form(their_shape, image_shape)
        raise ZooError(
            f"config.init_from: {name} does not fit {net} on {short(dataset)}: {other or error}"
        ) from None
    for key, leaf in flatten(variables).items():
        if not jnp.issubdtype(leaf.dtype, jnp.floating) or not np.isfinite(leaf).all():
            raise ZooError(
                f"config.init_from: {key} of {name} is not all finite numbers: name other weights"
            )
    known = {key: value if forms.text(value) else "" for key, value in facts.items()}
    checksum = _sha256(variables)
    return Source(variables, {"source": name, "sha256": checksum, **known, "new_head": new_head})


def _other_net(theirs: str | None, ours: str) -> str:
    """What differs and what to do; empty if they are the same net, or that is not known."""
    wanted = net_files.short_name(ours)
    if not theirs or theirs == wanted:
        return ""
    return f"it is of another net, {theirs}: name weights of {wanted}, or train {theirs}"


def _other_form(theirs: Sequence[int], ours: Sequence[int]) -> str:
    """What differs and what to do; empty if the images have the same height, width and channels."""
    if not theirs or [*theirs] == [*ours]:  # the first runs do not tell it
        return ""
    height, width, channels = theirs
    keys = [f"--config.data.image_size={height}"] if (height, width) != (*ours[:2],) else []
    keys += [f"--config.data.channels={channels}"] if channels != ours[2] else []
    can_be_made = height == width and channels in (1, 3)
    shapes = ["x".join(map(str, shape)) for shape in (theirs, ours)]
    way = f"add {' '.join(keys)}" if can_be_made else "name weights for images of the same form"
    return f"it was trained on images of {shapes[0]}, but these have {shapes[1]}: {way}"


def _of_run(workdir: Path) -> tuple[dict[str, Any], dict[str, Any], Sequence[int]]:
    history = zoo.training.history.read(workdir)
    variables = zoo.training.parameters.read(workdir).variables
    if history.num_seeds > 1:
        variables = jax.tree.map(lambda leaf: leaf[0], variables)
    facts = {"net": history.model["name"], "dataset": short(history.config["dataset"])}
    return variables, facts, history.data.get("image_shape", ())


def _sha256(variables: dict[str, Any]) -> str:
    """The checksum of their names and float32 values, wherever they are kept."""
    digest = hashlib.sha256()
    for key, leaf in flatten(variables).items():
        array = np.ascontiguousarray(leaf, "<f4")
        digest.update(f"{key} {array.shape}".encode())
        digest.update(array.reshape(-1).data)
    return digest.hexdigest()
