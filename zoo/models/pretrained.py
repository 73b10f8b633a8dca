"""Nets with trained weights: by name, from a directory, or from the Hugging Face Hub.

A directory of saved weights has the layout of the Hub: `config.json`, `model.safetensors` and a
`README.md` for people, the model card. `config.json` holds::

    {"format": 1, "net": "vgg5" or null, "layers": [...] if it is not one of ours,
     "num_classes": 10, "image_shape": [28, 28, 1], "dtype": "float32" of the computation,
     "dataset", "data", "framing", "test", "training", "license": what is known besides}

The weights in the package are such files too, with one index for all of them.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from zoo.models import hub, layer_lists, net_files, weight_files
from zoo.models.catalogue import MODELS, create_model, list_models
from zoo.models.layers import Head, initializer
from zoo.models.model_card import model_card
from zoo.models.net import ConvNet, ImageTooSmallError, variable_shapes
from zoo.models.packaged import WEIGHTS, packaged_weights
from zoo.system import forms
from zoo.system.errors import DamagedError, ZooError
from zoo.system.files import expanded, shown, write_whole

FORMAT = 1
CONFIG = "config.json"
FILE = "model.safetensors"
CARD = "README.md"
_FORM: forms.Form = {
    "net": forms.optional(forms.text),
    "num_classes": forms.whole(0, 1_000_000),
    "image_shape": [forms.whole(1, 10_000)],
    "dtype": ("float32", "float64", "bfloat16", "float16").__contains__,  # of the computation
}


class Pretrained(NamedTuple):
    """A net with trained weights, and what is known of them."""

    model: ConvNet
    variables: dict[str, Any]  # float32
    config: dict[str, Any]  # the content of config.json
    source: str  # its name or its directory, for messages


def load_pretrained(name: str, dataset: str = "mnist") -> dict[str, Any]:
    """The trained weights of a net that the package holds.

    Args:
        name: one of `list_models(pretrained=True)`.
        dataset: that of its training.

    Returns:
        {"params": ..., "batch_stats": ... if the net has any}, float32, as `model.init` gives them:
        `zoo.models.create_model(name).apply(variables, images, train=False)`.

    Raises:
        ValueError: unknown net, or the package has no weights of it for that dataset.
        DamagedError: the file is not the one that the package came with.
    """
    return _on_device(read_packaged(name, dataset).variables)


def from_pretrained(
    source: str | PathLike[str],
    *,
    dataset: str = "mnist",
    num_classes: int | None = None,
    dtype: Any = None,
    key: jax.Array | None = None,
) -> tuple[ConvNet, dict[str, Any]]:
    """A net with its trained weights.

    Args:
        source: a net's name; a directory that `save_pretrained` wrote; or "hf://OWNER/NAME", with
            "@REVISION" if wanted, which needs the extra `hub` (`pip install "jax-cnn-zoo[hub]"`).
        dataset: that of the training; only for a net's name.
        num_classes: of another task: the body stays and the head is new, of which a warning tells;
            0: without a head. None: as trained.
        dtype: the type of the computation; None: as trained. Parameters are float32.
        key: for the new head's initial weights; None: `jax.random.key(0)`.

    Returns:
        (model, variables): `model.apply(variables, images, train=False)` gives logits [B, classes].

    Raises:
        ValueError: unknown net, or the package has no weights of it; num_classes is negative.
        ZooError: the directory cannot be found or downloaded; its files are damaged, or are not of
            a net of this zoo.
    """
    return adapt(read(source, dataset), num_classes, dtype, key)


def adapt(
    found: Pretrained, num_classes: int | None, dtype: Any, key: jax.Array | None
) -> tuple[ConvNet, dict[str, Any]]:
    """The last part of `from_pretrained`: what was read, for another task or type."""
    variables = _on_device(found.variables)
    model = found.model if dtype is None else found.model.clone(dtype=dtype)
    if num_classes is None or num_classes == model.num_classes:
        return model, variables
    if num_classes < 0:
        raise ValueError(f"num_classes must be 0 (features) or more, not {num_classes}")
    model = model.clone(num_classes=num_classes)
    params = {name: leaf for name, leaf in variables["params"].items() if name != "head"}
    if num_classes and isinstance(head := model.net[-1], Head):
        shapes = _shapes(model, found.config["image_shape"])["params"]["head"]
        params["head"] = _initial(head, shapes, jax.random.key(0) if key is None else key)
        warnings.warn(
            f"the head for {num_classes} classes is new: {found.source} was trained on "
            f"{found.config['num_classes']} classes, and only the layers before it are trained",
            stacklevel=3,  # who called from_pretrained
        )
    return model, {**variables, "params": params}


def _initial(head: Head, shapes: dict[str, Any], key: jax.Array) -> dict[str, jax.Array]:
    kernel = initializer(head.kernel_init)(key, shapes["kernel"].shape)
    return {"kernel": kernel, "bias": jnp.zeros(shapes["bias"].shape)}


def save_pretrained(
    directory: str | PathLike[str],
    model: ConvNet,
    variables: Mapping[str, Any],
    *,
    image_shape: Sequence[int] = (28, 28, 1),
    dtype: str = "float32",
    about: Mapping[str, Any] | None = None,
) -> None:
    """Writes a net and its weights to a directory in the layout of the Hugging Face Hub.

    `from_pretrained` reads it, on any machine, and other tools read `model.safetensors`, whose keys
    are such as "params/conv_1/kernel". Files of these names in the directory are replaced.

    Args:
        directory: is made if it does not exist.
        model: from `create_model`, or a `ConvNet` of your own layers.
        variables: {"params": ..., "batch_stats": ... if the net has any}.
        image_shape: (height, width, channels) of the images.
        dtype: of the arrays in the file, one of "float16", "float32", "float64".
        about: what else is known, for `config.json` and the model card: `dataset`, `data`,
            `framing`, `test`, `training`, `license`, ...; it must be JSON.

    Raises:
        ValueError: the variables do not match the net; a layer is not one of `zoo.models.layers`;
            no such dtype; `about` is not JSON.
        ZooError, OSError: it cannot be written.
    """
    if dtype not in weight_files.DTYPES:
        raise ValueError(f"dtype must be {', '.join(weight_files.DTYPES)}, not {dtype!r}")
    config = make_config(model, image_shape, about or {})
    kept = checked(model, variables, image_shape)
    try:
        text = json.dumps(config, indent=1, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ValueError(f"about cannot be written as JSON: {error}") from None
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    weight_files.write(folder / FILE, kept, dtype)
    write_whole(folder / CARD, model_card(model, config, dtype))
    write_whole(folder / CONFIG, text)


def checked(
    model: ConvNet, variables: Mapping[str, Any], image_shape: Sequence[int]
) -> dict[str, Any]:
    """The parameters and batch statistics of a net for images of that shape.

    Raises:
        ImageTooSmallError: images of that shape are too small for the net.
        ValueError: the variables are not those of the net; it says which.
    """
    wanted = weight_files.flatten(_shapes(model, image_shape))
    kept = {part: variables[part] for part in ("params", "batch_stats") if variables.get(part)}
    given = weight_files.flatten(kept)
    for name in sorted({*wanted, *given}):
        shapes = [leaves[name].shape if name in leaves else None for leaves in (wanted, given)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"{name} has shape {shapes[1]}, but this net for images of {tuple(image_shape)} "
                f"has {shapes[0]}"
            )
    return kept


def read(source: str | PathLike[str], dataset: str = "mnist") -> Pretrained:
    """As `from_pretrained`, and what is known of the weights."""
    text = str(source)
    if text.startswith(hub.PREFIX):
        return read_directory(hub.download(text), text)
    directory = expanded(source)
    if _is_name(source) and not (directory / CONFIG).is_file():
        return read_packaged(text, dataset)
    return read_directory(directory)


def is_weights(source: str | PathLike[str]) -> bool:
    """Whether it names weights, rather than the directory of a run or of nothing."""
    is_address = str(source).startswith(hub.PREFIX)
    return is_address or _is_name(source) or (expanded(source) / CONFIG).exists()


def _is_name(source: str | PathLike[str]) -> bool:
    """Whether it is a net's name, perhaps a mistyped one, which is not even a path."""
    text = str(source)
    is_mistyped = isinstance(source, str) and "/" not in text and not Path(text).exists()
    return text in MODELS or is_mistyped or net_files.is_reference(text)


def read_packaged(name: str, dataset: str = "mnist") -> Pretrained:
    """As `load_pretrained`, and what is known of the weights."""
    net_files.check_is_ours(name)
    for entry in packaged_weights():
        if (entry["net"], entry["dataset"]) == (name, dataset):
            model = _model(entry)
            expected = _shapes(model, entry["image_shape"])
            variables = weight_files.read(WEIGHTS / entry["file"], expected, entry["sha256"])
            return Pretrained(model, variables, entry, name)
    held = ", ".join(list_models(pretrained=True))
    raise ValueError(
        f"this version has no trained weights of {name} for {dataset!r}: it has those of {held} "
        f"for mnist; `zoo train {name}` trains it"
    )


def read_directory(directory: Path, name: str | None = None) -> Pretrained:
    """The net that `save_pretrained` wrote to a directory; `name` is what messages call it."""
    path = directory / CONFIG
    source = name or shown(directory)
    try:
        config = forms.read_json(path, most_bytes=10_000_000)
        if not isinstance(config, dict) or config.get("format") != FORMAT:
            raise ZooError(
                f"{shown(path)} is not of format {FORMAT} of the zoo's weights: name a directory "
                f"that zoo export-weights or save_pretrained wrote"
            )
        forms.check(config, _FORM)
        if len(config["image_shape"]) != 3:
            raise ValueError("image_shape must be [height, width, channels]")
        model = _model(config)
        expected = _shapes(model, config["image_shape"])
    except FileNotFoundError:
        raise ZooError(
            f"{shown(path)} does not exist: name a directory that zoo export-weights wrote, or a "
            f"net with weights, such as {', '.join(list_models(pretrained=True)[:3])}"
        ) from None
    except OSError as error:
        raise ZooError(
            f"cannot read {shown(path)} ({error.strerror}): name a directory of weights that you "
            f"may read"
        ) from None
    except ImageTooSmallError as error:
        raise ZooError(f"{shown(path)}: {error}") from None
    except ValueError as error:
        reason = " ".join(repr(str(error))[1:-1].split())[:200]
        raise DamagedError(
            f"{shown(path)} is damaged or edited ({reason}): save or download it again"
        ) from None
    return Pretrained(model, weight_files.read(directory / FILE, expected), config, source)


def make_config(
    model: ConvNet, image_shape: Sequence[int], about: Mapping[str, Any]
) -> dict[str, Any]:
    """The content of config.json."""
    name = next((name for name, net in MODELS.items() if net == model.net), None)
    own = {
        "format": FORMAT,
        "library_name": "jax-cnn-zoo",
        "net": name,
        **({} if name else {"layers": layer_lists.to_content(model.net)}),
        "num_classes": model.num_classes,
        "image_shape": [int(length) for length in image_shape],
        "dtype": jnp.dtype(model.dtype).name,
    }
    return own | {key: value for key, value in about.items() if key not in {*own, "layers"}}


def _model(config: dict[str, Any]) -> ConvNet:
    name, num_classes, dtype = config["net"], config["num_classes"], jnp.dtype(config["dtype"])
    if name is not None:
        return create_model(name, num_classes, dtype)
    return ConvNet(layer_lists.from_content(config.get("layers")), num_classes, dtype)


def _shapes(model: ConvNet, image_shape: Sequence[int]) -> dict[str, Any]:
    return variable_shapes(model.net, image_shape, model.num_classes)


def _on_device(variables: dict[str, Any]) -> dict[str, Any]:
    return jax.tree.map(jnp.asarray, variables)
