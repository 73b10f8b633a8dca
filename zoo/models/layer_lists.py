"""A net's list of layers as JSON: [{"kind": "Conv", "features": 32, "kernel_size": 3}, ...]."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from zoo.models import layers
from zoo.models.layers import ACTIVATIONS, INITIALIZERS, ActivationName, Head, Layer, Net, Shape
from zoo.models.net import places

_KINDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in vars(layers).values()
    if isinstance(kind, type) and (kind is Head or issubclass(kind, Layer)) and kind is not Layer
}
# Far above what is trained here; a stranger's list must not take minutes to trace.
_MOST_LAYERS = 200
_MOST_IN_ALL = 1000  # with those in residual connections
_MOST_NESTED = 10  # residual connections in one another
_MOST_FEATURES = 100_000
_MOST_PIXELS = 100  # of a window's side
_LARGE = (2**16, 2**16, 1)  # an image on which no layer that is allowed here has an empty output


class _Setting(NamedTuple):
    """What a layer may have in a field, besides None where that is its default."""

    allows: Callable[[Any], bool]
    text: str  # completes "must be ..."


def _whole(high: int) -> _Setting:
    text = f"a whole number from 1 to {high:,}"
    return _Setting(lambda value: type(value) is int and 1 <= value <= high, text)


def _number(allows: Callable[[float], bool], text: str) -> _Setting:
    return _Setting(lambda value: type(value) in (int, float) and allows(value), text)


def _is_body(value: Any) -> bool:
    return isinstance(value, tuple) and not any(isinstance(each, Head) for each in value)


def _name(*names: str) -> _Setting:
    text = f"one of {', '.join(map(repr, names))}"
    return _Setting(lambda value: isinstance(value, str) and value in names, text)


_COUNT, _PIXELS = _whole(_MOST_FEATURES), _whole(_MOST_PIXELS)
_SHARE = _number(lambda value: 0 <= value < 1, "a number from 0 to below 1")
_SETTINGS = {
    **dict.fromkeys(("features", "groups"), _COUNT),
    **dict.fromkeys(("kernel_size", "window", "border", "stride"), _PIXELS),
    **dict.fromkeys(("rate", "momentum"), _SHARE),
    "epsilon": _number(lambda value: 0 < value <= 1, "a number above 0, and at most 1"),
    "padding": _name("SAME", "VALID"),
    "activation": _name(*ACTIVATIONS),
    "kernel_init": _Setting(
        lambda value: callable(value) or _name(*INITIALIZERS).allows(value),
        f"{_name(*INITIALIZERS).text}, or a function",
    ),
    "use_bias": _Setting(lambda value: type(value) is bool, "True or False"),
    "layers": _Setting(
        lambda value: _is_body(value) and bool(value), "a tuple of one or more layers but Head"
    ),
    "shortcut": _Setting(_is_body, "a tuple of layers but Head"),
}


def to_content(net: Sequence[Layer | Head]) -> list[dict[str, Any]]:
    """The list as JSON, for `from_content`; what has its default is left out.

    Raises:
        ValueError: a layer is not one of `zoo.models.layers`, or has an initializer without a name;
            there are too many layers, or too many in one another.
    """
    return _content(net, 1, itertools.count(1))


def _content(net: Sequence[Layer | Head], depth: int, total: Iterator[int]) -> list[dict[str, Any]]:
    _check_limits(net, depth, total)
    content = []
    for layer in net:
        if not layers.is_of_the_zoo(layer):
            raise ValueError(
                f"{type(layer).__name__} is not a layer of zoo.models.layers: only those are saved"
            )
        values: dict[str, Any] = {"kind": type(layer).__name__}
        for field in dataclasses.fields(layer):  # type: ignore[arg-type]  # each is a dataclass
            value = getattr(layer, field.name)
            if value != field.default:
                inner = _is_list(field.name)
                values[field.name] = _content(value, depth + 1, total) if inner else value
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
    net = _layers(content, 1, itertools.count(1))
    check(net)
    return net


def check(net: Net) -> None:
    """Checks that a list of layers is a net, whatever the images.

    Raises:
        ValueError: naming the layer, its value and what is allowed; or what follows what.
    """
    _check_values(net)
    if any(isinstance(layer, Head) for layer in net[:-1]):
        raise ValueError("Head must be the last layer, and there may be only one")
    shape: Shape = _LARGE
    for place in places(net, _LARGE):
        shape = place.output_shape if "/" not in place.path else shape
    if isinstance(net[-1], Head) and len(shape) == 3:
        raise ValueError("Head needs vectors, not images: put Flatten or GlobalAvgPool before it")


def _layers(content: Any, depth: int, total: Iterator[int]) -> tuple[Any, ...]:
    if not isinstance(content, list) or not content:
        raise ValueError(
            f"layers must be a list of 1 to {_MOST_LAYERS} layers, not {content!r:.40}"
        )
    _check_limits(content, depth, total)
    return tuple(_layer(number, each, depth, total) for number, each in enumerate(content, start=1))


def _check_limits(layers: Sequence[Any], depth: int, total: Iterator[int]) -> None:
    """Raises ValueError if a list is too long, or too deep, or there are too many layers in all.

    Args:
        layers: the list.
        depth: 1 for that of the net, 2 for one in a residual connection in it, ...
        total: counts the layers of all lists.
    """
    if len(layers) > _MOST_LAYERS:
        raise ValueError(
            f"layers must be a list of 1 to {_MOST_LAYERS} layers, not {len(layers):,}"
        )
    if depth > _MOST_NESTED:
        raise ValueError(
            f"more than {_MOST_NESTED} residual connections are in one another: use fewer"
        )
    if max(itertools.islice(total, len(layers))) > _MOST_IN_ALL:
        raise ValueError(f"there are more than {_MOST_IN_ALL:,} layers in all: use fewer")


def _layer(number: int, content: Any, depth: int, total: Iterator[int]) -> Any:
    values = dict(content) if isinstance(content, dict) else {}
    kind = _KINDS.get(str(values.pop("kind", None)))
    if kind is None:
        raise ValueError(f"layer {number} has no known kind: known are {', '.join(_KINDS)}")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    for name, value in values.items():
        if _is_list(name) and name in fields:
            values[name] = _layers(value, depth + 1, total)
        elif name not in fields:
            raise ValueError(f"layer {number}, {kind.__name__}, has {name}={value!r:.40}")
        else:
            _check_setting(number, kind, fields[name], value)
    missing = [
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and name not in values
    ]
    if missing:
        raise ValueError(f"layer {number}, {kind.__name__}, has no {missing[0]}")
    return kind(**values)


def _check_values(net: Any) -> None:
    """Raises ValueError unless it is a tuple of layers, each setting in its range."""
    if not isinstance(net, tuple) or not net:
        raise ValueError(f"a net must be a tuple of layers, not {net!r:.40}")
    for number, layer in enumerate(net, start=1):
        if not isinstance(layer, Layer | Head):
            raise ValueError(f"layer {number} is not a layer of a net but {layer!r:.40}")
        if not layers.is_of_the_zoo(layer):
            continue  # one of the user's own
        for field in dataclasses.fields(layer):  # type: ignore[arg-type]  # each is a dataclass
            value = getattr(layer, field.name)
            _check_setting(number, type(layer), field, value)
            if _is_list(field.name) and value:
                _check_values(value)


def _is_list(name: str) -> bool:
    """Whether a field of that name holds layers."""
    return name in ("layers", "shortcut")


def _check_setting(number: int, kind: type, field: Any, value: Any) -> None:
    """Raises ValueError unless a layer can have that value in that field."""
    setting = _SETTINGS[field.name]
    takes_none = field.default is None or field.type == ActivationName  # no stride, no activation
    if not (value is None and takes_none) and not setting.allows(value):
        text = f"{setting.text}, or None" if takes_none else setting.text
        raise ValueError(
            f"layer {number}, {kind.__name__}, has {field.name}={value!r:.40}, which must be {text}"
        )
