"""What a configuration may hold: types, ranges, near matches for a mistyped key.

The keys, with their units and defaults, stand in `configs/default.py`.
"""

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

import zoo.models
from zoo import config_hints, config_rates
from zoo.data import DATASETS, FORMS, Options
from zoo.data.names import absolute, is_known, is_place, kind_of
from zoo.models import hub, net_files, paths
from zoo.system.errors import ZooError
from zoo.system.files import as_text

OPTIMIZERS = ("adam", "adamw", "adadelta", "sgd", "rmsprop", "lion", "muon")
SCHEDULES = ("constant", "cosine", "one_cycle")
DTYPES = ("float32", "bfloat16", "float16")


class _Key(NamedTuple):
    """A key, but for its default and its unit."""

    type: type
    allowed: Callable[[Any], bool]
    text: str  # completes "must be ..."
    is_free: bool = False  # may change when a run goes on: a choice of how, not of what is computed
    before: Any = None  # what the first runs did, which did not have the key

    def allows(self, value: Any) -> bool:
        """Whether it can have that value."""
        if isinstance(value, bool) or self.type is bool:  # to Python a bool is a whole number
            return self.type is bool and isinstance(value, bool)
        types = (int, float) if self.type is float else self.type
        return isinstance(value, types) and self.allowed(value)


def _one_of(*choices: str, **more: Any) -> _Key:
    return _Key(str, choices.__contains__, "one of " + ", ".join(choices), **more)


def _whole(low: int, high: int = 2**31 - 1, **more: Any) -> _Key:
    text = f"a whole number from {low} to {high:,}"
    return _Key(int, lambda value: low <= value <= high, text, **more)


def _devices(text: str = "-1, or a number of devices") -> _Key:
    return _Key(int, lambda value: value == -1 or 0 < value < 2**16, text, is_free=True, before=1)


def _positive() -> _Key:
    return _Key(float, lambda value: 0 < value < _LARGEST, "a finite number above 0")


def _not_negative(**more: Any) -> _Key:
    text = "a finite number, 0 or more"
    return _Key(float, lambda value: 0 <= value < _LARGEST, text, **more)


def _decay(**more: Any) -> _Key:
    return _Key(float, lambda value: 0 <= value < 1, "at least 0 and below 1", **more)


def _text(**more: Any) -> _Key:
    return _Key(str, lambda value: True, "text", **more)


def _line(**more: Any) -> _Key:
    return _Key(str, str.isprintable, "text in one line", **more)


def _bool(**more: Any) -> _Key:
    return _Key(bool, lambda value: True, "True or False", **more)


_LARGEST = 1e38  # nearly the largest float32
_KEYS = {
    "model": _Key(str, str.isprintable, "the name of a net or FILE.py:NAME"),
    "dtype": _one_of(*DTYPES),
    "remat": _bool(is_free=True, before=False),
    "seed": _whole(0, 2**32 - 1),
    "num_seeds": _whole(1, 10_000),
    "init_from": _line(before=""),
    "freeze": _line(before=""),
    "dataset": _Key(str, is_known, "one of " + ", ".join((*DATASETS, *FORMS))),
    "data_dir": _text(is_free=True),
    "manual_dir": _text(is_free=True),
    "data.image_size": _whole(0, 10_000, before=0),
    "data.channels": _Key(int, (0, 1, 3).__contains__, "0, 1 or 3", before=0),
    "data.test_share": _Key(float, lambda value: 0 < value < 1, "above 0 and below 1", before=0.2),
    "data.split_seed": _whole(0, 2**32 - 1, before=0),
    "data.fields": _text(before=""),
    "data.transposed": _one_of("auto", "yes", "no", before="auto"),
    "data.pictures": _one_of("auto", "ink", "resized", before="auto"),
    "data.stream": _bool(is_free=True, before=False),
    "data.workers": _whole(-1, 1000, is_free=True, before=-1),
    "validation": _one_of("holdout", "holdout_last", "test"),
    "num_epochs": _whole(1, is_free=True),  # may grow
    "batch_size": _whole(1),
    "eval_batch_size": _whole(1, is_free=True),
    "label_smoothing": _decay(before=0.0),
    "optimizer.name": _one_of(*OPTIMIZERS),
    "optimizer.learning_rate": _positive(),
    "optimizer.rate_for_batch": _whole(0, before=0),
    "optimizer.schedule": _one_of(*SCHEDULES),
    "optimizer.warmup_epochs": _not_negative(),
    "optimizer.b1": _decay(),
    "optimizer.b2": _decay(),
    "optimizer.rho": _decay(),
    "optimizer.momentum": _decay(),
    "optimizer.nesterov": _bool(),
    "optimizer.ns_steps": _whole(1, 100, before=5),
    "optimizer.eps": _positive(),
    "optimizer.keras_eps": _bool(),
    "optimizer.weight_decay": _not_negative(),
    "optimizer.clip_norm": _not_negative(),
    "optimizer.rates": _line(before=""),
    "optimizer.accumulate_steps": _whole(1),
    "checkpoint.every_epochs": _whole(0, is_free=True),
    "checkpoint.every_minutes": _not_negative(is_free=True, before=0.0),
    "checkpoint.keep_last": _whole(1, is_free=True),
    "checkpoint.keep_best": _whole(0, is_free=True),
    "checkpoint.best_metric": _one_of("val_accuracy", "val_loss", is_free=True),  # but with holdout
    "mesh.data": _devices(),
    "mesh.seed": _devices(),
    "mesh.model": _whole(1, 2**16, is_free=True, before=1),
    "mesh.seeds_at_once": _devices("-1, or a number of seeds"),
    "on_nan": _one_of("stop", "skip", is_free=True, before="stop"),
    "deterministic": _bool(before=False),
    "tensorboard": _bool(is_free=True, before=False),
}
_BEFORE = {name: key.before for name, key in _KEYS.items() if key.before is not None}


def load(net: str) -> ConfigDict:
    """The configuration in configs/NET.py: its notebook's training.

    Raises:
        ZooError: the name is unknown.
    """
    try:
        zoo.models.create_model(net)
    except ValueError as error:
        raise ZooError(str(error)) from None
    return importlib.import_module(f"zoo.configs.{net}").get_config()


def validate(config: ConfigDict, *, with_model: bool = True) -> None:
    """Checks that the configuration has just the known keys, each in its range.

    Args:
        config: as in configs/default.py.
        with_model: whether its net is used; a net in a file is executed for that.

    Raises:
        ZooError: naming the first key that is wrong, its value and what is allowed.
    """
    values = flatten(config)
    for name in values:
        if name not in _KEYS:
            raise ZooError(unknown_key(name))
    for name, key in _KEYS.items():
        if name not in values:
            raise ZooError(f"config.{name} is missing: start from configs/default.py")
        if not key.allows(values[name]):
            raise ZooError(wrong_value(name, values[name]))
    if with_model:
        try:
            net_files.find(values["model"])
        except ValueError as error:
            raise ZooError(f"config.model: {error}") from None
    try:
        paths.freeze_patterns(values["freeze"])
        paths.rate_patterns(values["optimizer.rates"])
    except paths.PatternError as error:
        raise ZooError(wrong_patterns(error)) from None
    if values["seed"] + values["num_seeds"] > 2**32:
        raise ZooError(f"config.seed + config.num_seeds must be at most {2**32:,}")
    config_rates.check(values)


def check_values(config: Mapping[str, Any], but: Sequence[str] = ()) -> None:
    """Raises ValueError unless a run's configuration, as it was kept, has values in their ranges.

    Its net may be unknown; keys of `but`, and those that came later, may be missing.
    """
    values = flatten(config)
    for name, key in _KEYS.items():
        if name not in values:
            if name not in (*_BEFORE, *but):
                raise ValueError(name)
        elif not key.allows(values[name]):
            raise ValueError(name)


def is_key(key: str) -> bool:
    """Whether a configuration has that key, as in "optimizer.name"."""
    return key in _KEYS


def wrong_value(key: str, value: Any) -> str:
    """The sentence for a value that a known key cannot have."""
    return f"config.{key} must be {_KEYS[key].text}, not {value!r}"


def wrong_patterns(error: paths.PatternError) -> str:
    """The sentence for patterns in `freeze` or `optimizer.rates` that do not do."""
    group = "optimizer." if str(error).startswith("rates") else ""
    return f"config.{group}{error}"


def unknown_key(key: str) -> str:
    """The sentence for a key that does not exist: why, or the keys that may be meant."""
    return config_hints.unknown_key(key, _KEYS)


def flatten(config: ConfigDict | Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"optimizer.name": "adam", ...}"""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, (Mapping, ConfigDict)):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def data_options(config: ConfigDict | Mapping[str, Any]) -> Options:
    """The options of the data that a configuration holds; the defaults for those it lacks."""
    return Options.of(
        {
            key.removeprefix("data."): value
            for key, value in flatten(config).items()
            if key.startswith("data.") and is_key(key) and _KEYS[key].allows(value)
        }
    )


def to_keep(config: ConfigDict) -> dict[str, Any]:
    """The configuration as a history keeps it: no directory is relative to the current one."""
    kept = config.to_dict()
    for key in ("data_dir", "manual_dir"):
        if kept[key] and not kept[key].startswith("~"):
            kept[key] = as_text(os.path.abspath(kept[key]))
    path = os.path.abspath(kept["init_from"])
    if _is_path(kept["init_from"]) and path.isprintable():  # the current directory may not be
        kept["init_from"] = path
    kept["dataset"] = absolute(kept["dataset"])
    return kept


def _is_path(source: str) -> bool:
    """Whether `init_from` names a directory relative to the current one, or from the root."""
    return not (source in ("", *zoo.models.NETS) or source.startswith((hub.PREFIX, "~")))


def _last_part(source: str) -> str:
    """The name of the directory that `init_from` names; all of it, if it names none."""
    return os.path.basename(os.path.abspath(source)) if _is_path(source) else source


def changes_result(key: str) -> bool:
    """Whether a setting, such as "optimizer.name", is of what is computed, its seeds apart."""
    return key == "num_epochs" or not (key in ("seed", "num_seeds") or _KEYS[key].is_free)


def check_same_run(old: Mapping[str, Any], new: Mapping[str, Any], where: str) -> None:
    """Checks that a run that was started with `old` can go on with `new`.

    Raises:
        ZooError: naming the keys that differ.
    """
    before, now = _BEFORE | flatten(old), flatten(new)
    if net_files.is_reference(before["model"]) and net_files.is_reference(now["model"]):
        before["model"] = now["model"]  # what counts are its layers, which the history holds
    datasets = before["dataset"], now["dataset"]
    if all(map(is_place, datasets)) and len({*map(kind_of, datasets)}) == 1:
        now["dataset"] = before["dataset"]  # its place may be another: its content is compared
    if _last_part(before["init_from"]) == _last_part(now["init_from"]):
        now["init_from"] = before["init_from"]  # it moved: where it is read, its content counts
    free = {name for name, key in _KEYS.items() if key.is_free}
    if now["validation"] == "holdout":
        free.remove("checkpoint.best_metric")  # it decides which epoch is tested
    differing = [
        f"{key} ({before.get(key)!r} there, {now.get(key)!r} here)"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key) and key not in free
    ]
    if differing:
        raise ZooError(
            f"{where} holds a run with another configuration, {', '.join(differing)}: "
            f"use the same configuration or another directory"
        )
    epochs, schedule = (before["num_epochs"], now["num_epochs"]), now["optimizer.schedule"]
    reason = ""
    if epochs[1] < epochs[0]:
        reason = "num_epochs may only grow"
    elif epochs[1] > epochs[0] and schedule != "constant":
        reason = f"its {schedule} schedule was made for {epochs[0]}"
    if reason:
        raise ZooError(
            f"{where} holds a run of {epochs[0]} epochs, which cannot become {epochs[1]}: "
            f"{reason}; use another directory"
        )
