"""Summary of a net, layer by layer, from its definition: nothing is trained or run."""

import dataclasses
import functools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax

import zoo.models
from zoo.models import layers
from zoo.models.net import places, variable_shapes
from zoo.system.errors import ZooError
from zoo.system.settings import usual_settings
from zoo.system.text import table_text

_FLOAT_BYTES = 4


@dataclasses.dataclass(frozen=True)
class LayerSummary:
    """One layer, for one image."""

    name: str  # such as conv_1, or in a residual connection residual_1/conv_1
    settings: str  # such as "64 of 3x3, same"
    output_shape: tuple[int, ...]
    parameters: int  # including moving statistics, as in Keras
    macs: int  # multiply-adds, forward; every position of a kernel counts
    without_gradient: int  # weights that only overlap padding
    rates: dict[str, float] = dataclasses.field(default_factory=dict)  # see `num_trained`


@dataclasses.dataclass(frozen=True)
class Summary:
    """A net for one size of image."""

    net: str
    image_shape: tuple[int, int, int]
    num_classes: int
    layers: tuple[LayerSummary, ...]
    parameters: int
    non_trainable: int  # moving statistics
    macs: int
    training_bytes: int  # approximate, for a training step: see `training_bytes`
    batch_size: int  # of that step
    # Parameters that are trained; then each layer tells of each of its own the factor of the
    # learning rate, 0 if it is frozen. None: all are, at the same rate.
    num_trained: int | None = None


@functools.cache
@usual_settings()
def summarize(
    net: str | layers.Net,
    image_shape: tuple[int, int, int] = (28, 28, 1),
    num_classes: int = 10,
    batch_size: int = 128,
    name: str = "",
) -> Summary:
    """Returns the summary of a net.

    Args:
        net: its name or its layers.
        image_shape: (height, width, channels) of the images.
        num_classes: the number of logits.
        batch_size: of the training step whose memory is told.
        name: what the summary calls it; empty: its name.

    Raises:
        ZooError: unknown net; images too small for it, or with channels that it cannot have.
    """
    try:
        model = zoo.models.create_model(net, num_classes=num_classes)
        zoo.models.layer_shapes(model.net, image_shape)
    except ValueError as error:
        raise ZooError(str(error)) from None
    variables = variable_shapes(model.net, image_shape, num_classes)
    macs = zoo.models.layer_macs(model.net, image_shape, num_classes)
    rows = [
        LayerSummary(
            name=place.path,
            settings=place.layer.settings(),
            output_shape=place.output_shape,
            parameters=sum(
                math.prod(shape)
                for shapes in place.layer.variables(place.input_shape).values()
                for shape in shapes.values()
            ),
            macs=macs.get(place.path, 0),
            without_gradient=_without_gradient(place.layer, place.input_shape),
        )
        for place in places(model.net, image_shape)
    ]
    if isinstance(model.net[-1], layers.Head):
        rows.append(
            LayerSummary(
                name="head",
                settings=f"{num_classes} logits",
                output_shape=(num_classes,),
                parameters=_size(variables["params"]["head"]),
                macs=macs["head"],
                without_gradient=0,
            )
        )
    params, statistics = _size(variables["params"]), _size(variables.get("batch_stats", {}))
    return Summary(
        net=name or str(net),
        image_shape=image_shape,
        num_classes=num_classes,
        layers=tuple(rows),
        parameters=params + statistics,
        non_trainable=statistics,
        macs=sum(macs.values()),
        training_bytes=training_bytes(params, [row.output_shape for row in rows], batch_size),
        batch_size=batch_size,
    )


def training_bytes(
    num_params: int,
    output_shapes: Sequence[Sequence[int]],
    batch_size: int,
    num_trained: int | None = None,
) -> int:
    """Approximate memory of a training step in float32, of all parameters or so many of them.

    It counts parameters, gradients, two optimizer values per parameter (Adam, Adadelta), and each
    layer's output twice: for the backward pass, and its gradient. It does not include savings by
    operator fusion or workspaces of the compiler.
    """
    outputs = batch_size * sum(map(math.prod, output_shapes))
    trained = num_params if num_trained is None else num_trained
    return _FLOAT_BYTES * (num_params + 3 * trained + 2 * outputs)


def _without_gradient(layer: layers.Layer, input_shape: tuple[int, ...]) -> int:
    """Number of weights of a convolution that overlap padding at every position."""
    if not isinstance(layer, layers.Conv | layers.DepthwiseConv) or layer.padding != "SAME":
        return 0
    side = layer.kernel_size
    rows, columns = (_live_taps(size, side, layer.stride) for size in input_shape[:2])
    weights = math.prod(layer.variables(input_shape)["params"]["kernel"])
    return (side**2 - rows * columns) * weights // side**2


def _live_taps(size: int, window: int, stride: int) -> int:
    """Taps of a window, along one axis, that overlap a pixel at some position (SAME)."""
    count = -(-size // stride)
    before = max(0, (count - 1) * stride + window - size) // 2  # padding, as in TensorFlow
    return sum(
        any(0 <= place + stride * index - before < size for index in range(count))
        for place in range(window)
    )


def _size(tree: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def to_json(summary: Summary) -> str:
    """The summary as a JSON object with its fields."""
    content = dataclasses.asdict(summary)
    if summary.num_trained is None:
        del content["num_trained"]
        for layer in content["layers"]:
            del layer["rates"]
    return json.dumps(content, indent=1)


def to_text(summary: Summary) -> str:
    """A table for the terminal."""
    names = ["layer", "settings", "output", "parameters", "multiply-adds"]
    rows = [
        [
            layer.name,
            layer.settings,
            "x".join(map(str, layer.output_shape)),
            f"{layer.parameters:,}" if layer.parameters else "",
            f"{layer.macs:,}" if layer.macs else "",
        ]
        for layer in summary.layers
    ]
    total = ["total", "", "", f"{summary.parameters:,}", f"{summary.macs:,}"]
    if summary.num_trained is not None:
        names.append("learning rate")
        total.append("")
        for row, layer in zip(rows, summary.layers, strict=True):
            row.append(_rates_text(layer.rates))
    head, *body, last = table_text([names, *rows, total], left=(0, 1, 2, 5)).splitlines()
    rule = "-" * max(map(len, (head, *body)))

    height, width, channels = summary.image_shape
    trainable = f"trainable {summary.parameters - summary.non_trainable:,}"
    if summary.num_trained is not None:
        trainable += f", of which {summary.num_trained:,} are trained"
    dead = {layer.name: layer.without_gradient for layer in summary.layers}
    dead_text = ", ".join(f"{count:,} of {name}" for name, count in dead.items() if count)
    return "\n".join(
        [
            f"{summary.net}, images of {height}x{width}x{channels}, {summary.num_classes} classes",
            "",
            head,
            rule,
            *body,
            rule,
            last,
            "",
            f"{trainable}, moving statistics {summary.non_trainable:,}",
            f"memory of a training step with batches of {summary.batch_size}: about "
            f"{summary.training_bytes / 1e6:,.0f} MB in float32",
            f"weights that never get a gradient: {dead_text or 'none'}"
            + (" (they only meet padding)" if dead_text else ""),
        ]
    )


def _rates_text(rates: Mapping[str, float]) -> str:
    """Such as "frozen", "x 0.1" or, where they differ, "bias frozen, kernel x 0.1"."""
    texts = {name: f"x {rate:g}" if rate else "frozen" for name, rate in rates.items()}
    if len(set(texts.values())) > 1:
        return ", ".join(f"{name} {text}" for name, text in texts.items())
    return next(iter(texts.values()), "")
