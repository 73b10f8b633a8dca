"""A net's list of layers as JSON: [{"kind": "Conv", "features": 32, "kernel_size": 3}, ...]."""

import dataclasses
from typing import Any

from zoo.models.layers import (
    INITIALIZERS,
    BatchNorm,
    Conv,
    Crop,
    Dense,
    Dropout,
    Flatten,
    Head,
    MaxPool,
    Net,
)

_KINDS = {
    kind.__name__: kind for kind in (Crop, Conv, MaxPool, Dropout, BatchNorm, Flatten, Dense, Head)
}
# Far above what is trained here; a stranger's list must not take minutes to trace.
_MOST_LAYERS = 200
_MOST_FEATURES = 100_000
_MOST_PIXELS = 100  # of a window's side


def to_content(net: Net) -> list[dict[str, Any]]:
    """The list as JSON; what has its default is left out.

    Raises:
        ValueError: a layer is not one of `zoo.models.layers`, or has an initializer without a name.
    """
    content = []
    for layer in net:
        if _KINDS.get(type(layer).__name__) is not type(layer):
            raise ValueError(
                f"{type(layer).__name__} is not a layer of zoo.models.layers: only those are saved"
            )
        values: dict[str, Any] = {"kind": type(layer).__name__}
        for field in dataclasses.fields(layer):
            value = getattr(layer, field.name)
            if value != field.default:
                values[field.name] = value
        if not isinstance(values.get("kernel_init", ""), str):
            raise ValueError(
                f"the initializer of {layer!r} is a function, which cannot be saved: use one of "
                f"the names {', '.join(INITIALIZERS)}"
            )
        content.append(values)
    return content


def from_content(content: Any) -> Net:
    """The net of what `to_content` gave.

    Raises:
        ValueError: it is something else; the text says what.
    """
    if not isinstance(content, list) or not 0 < len(content) <= _MOST_LAYERS:
        raise ValueError(f"layers must be a list of 1 to {_MOST_LAYERS} layers")
    net = tuple(_layer(number, each) for number, each in enumerate(content, start=1))
    kinds = [type(layer) for layer in net]
    flat = kinds.index(Flatten) if Flatten in kinds else len(net)
    of_images, of_vectors = {Crop, Conv, MaxPool, Flatten}, {Dense, Head}
    if of_images & {*kinds[flat + 1 :]} or of_vectors & {*kinds[:flat]} or Head in kinds[:-1]:
        raise ValueError(
            "layers must be crops, convolutions and pools, then one Flatten, then dense layers, "
            "then at most one Head"
        )
    return net


def _layer(number: int, content: Any) -> Any:
    values = dict(content) if isinstance(content, dict) else {}
    kind = _KINDS.get(str(values.pop("kind", None)))
    if kind is None:
        raise ValueError(f"layer {number} has no known kind: known are {', '.join(_KINDS)}")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for name, value in values.items():
        if name not in fields or not _is_valid(name, value):
            raise ValueError(f"layer {number}, {kind.__name__}, has {name}={value!r:.40}")
    missing = [
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and name not in values
    ]
    if missing:
        raise ValueError(f"layer {number}, {kind.__name__}, has no {missing[0]}")
    return kind(**values)


def _is_valid(name: str, value: Any) -> bool:
    match name:
        case "features":
            return type(value) is int and 1 <= value <= _MOST_FEATURES
        case "kernel_size" | "window" | "border":
            return type(value) is int and 1 <= value <= _MOST_PIXELS
        case "stride":
            return value is None or (type(value) is int and 1 <= value <= _MOST_PIXELS)
        case "padding":
            return value in ("SAME", "VALID")
        case "kernel_init":
            return isinstance(value, str) and value in INITIALIZERS
        case "rate" | "momentum":
            return type(value) in (int, float) and 0 <= value < 1
        case "epsilon":
            return type(value) in (int, float) and 0 < value <= 1
    return False
