"""What a configuration may hold: types, ranges, near matches for a mistyped key.

The keys, with their units and defaults, stand in `configs/default.py`.
"""

import difflib
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

import zoo.models
from zoo.data import DATASETS
from zoo.system.errors import ZooError

OPTIMIZERS = ("adam", "adamw", "adadelta", "sgd", "rmsprop", "lion", "muon")
SCHEDULES = ("constant", "cosine", "one_cycle")
DTYPES = ("float32", "bfloat16", "float16")

# Keys that may change when a run goes on: they do not change its numbers. (For the dataset idx,
# manual_dir says which dataset it is.)
_FREE_ON_RESUME = (
    "data_dir",
    "manual_dir",
    "eval_batch_size",
    "num_epochs",
    "checkpoint.",
    "on_nan",
    "tensorboard",
)


class _Rule(NamedTuple):
    type: type
    allowed: Callable[[Any], bool]
    text: str  # completes "must be ..."


def _one_of(*choices: str) -> _Rule:
    return _Rule(str, choices.__contains__, "one of " + ", ".join(choices))


def _whole(low: int, high: int = 2**31 - 1) -> _Rule:
    return _Rule(int, lambda value: low <= value <= high, f"a whole number from {low} to {high:,}")


def _decay() -> _Rule:
    return _Rule(float, lambda value: 0 <= value < 1, "at least 0 and below 1")


_ANY_TEXT = _Rule(str, lambda value: True, "text")
_ANY_BOOL = _Rule(bool, lambda value: True, "True or False")
_LARGEST = 1e38  # nearly the largest float32
_POSITIVE = _Rule(float, lambda value: 0 < value < _LARGEST, "a finite number above 0")
_NOT_NEGATIVE = _Rule(float, lambda value: 0 <= value < _LARGEST, "a finite number, 0 or more")

_RULES = {
    "model": _Rule(str, str.isprintable, "the name of a net"),  # zoo.models knows them
    "dtype": _one_of(*DTYPES),
    "seed": _whole(0, 2**32 - 1),
    "num_seeds": _whole(1, 10_000),
    "dataset": _one_of(*DATASETS),
    "data_dir": _ANY_TEXT,
    "manual_dir": _ANY_TEXT,
    "validation": _one_of("holdout", "holdout_last", "test"),
    "num_epochs": _whole(1),
    "batch_size": _whole(1),
    "eval_batch_size": _whole(1),
    "optimizer.name": _one_of(*OPTIMIZERS),
    "optimizer.learning_rate": _POSITIVE,
    "optimizer.schedule": _one_of(*SCHEDULES),
    "optimizer.warmup_epochs": _NOT_NEGATIVE,
    "optimizer.b1": _decay(),
    "optimizer.b2": _decay(),
    "optimizer.rho": _decay(),
    "optimizer.momentum": _decay(),
    "optimizer.nesterov": _ANY_BOOL,
    "optimizer.eps": _POSITIVE,
    "optimizer.keras_eps": _ANY_BOOL,
    "optimizer.weight_decay": _NOT_NEGATIVE,
    "optimizer.clip_norm": _NOT_NEGATIVE,
    "optimizer.accumulate_steps": _whole(1),
    "checkpoint.every_epochs": _whole(0),
    "checkpoint.every_minutes": _NOT_NEGATIVE,
    "checkpoint.keep_last": _whole(1),
    "checkpoint.keep_best": _whole(0),
    "checkpoint.best_metric": _one_of("val_accuracy", "val_loss"),
    "on_nan": _one_of("stop", "skip"),
    "deterministic": _ANY_BOOL,
    "tensorboard": _ANY_BOOL,
}

# Keys that the first runs did not have, with what was done then.
_LATER = {
    "tensorboard": False,
    "checkpoint.every_minutes": 0.0,
    "on_nan": "stop",
    "deterministic": False,
}


def load(net: str) -> ConfigDict:
    """The configuration of configs/NET.py: its notebook's training.

    Raises:
        ZooError: the name is unknown, or this is no checkout, which alone has the folder.
    """
    try:
        zoo.models.create_model(net)
    except ValueError as error:
        raise ZooError(str(error)) from None
    checkout = Path(__file__).parents[1]
    if not (checkout / "configs" / f"{net}.py").is_file():
        raise ZooError(
            f"configs/{net}.py is not there: this needs the project's folder, not only its package"
        )
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    return importlib.import_module(f"configs.{net}").get_config()


def validate(config: ConfigDict) -> None:
    """Checks that the configuration has just the known keys, each in its range.

    Raises:
        ZooError: naming the first key that is wrong, its value and what is allowed.
    """
    values = flatten(config)
    for key in values:
        if key not in _RULES:
            raise ZooError(unknown_key(key))
    for key, rule in _RULES.items():
        if key not in values:
            raise ZooError(f"config.{key} is missing: start from configs/default.py")
        if not _has_type(values[key], rule.type) or not rule.allowed(values[key]):
            raise ZooError(wrong_value(key, values[key]))
    try:
        zoo.models.create_model(values["model"])
    except ValueError as error:
        raise ZooError(f"config.model: {error}") from None
    if values["seed"] + values["num_seeds"] > 2**32:
        raise ZooError(f"config.seed + config.num_seeds must be at most {2**32:,}")
    if values["optimizer.schedule"] == "one_cycle" and values["optimizer.warmup_epochs"]:
        raise ZooError(
            "config.optimizer.warmup_epochs must be 0 with the one_cycle schedule, which warms up "
            f"by itself, not {values['optimizer.warmup_epochs']!r}"
        )


def check_values(config: Mapping[str, Any], but: Sequence[str] = ()) -> None:
    """Raises ValueError unless a run's configuration, as it was kept, has values in their ranges.

    Its net may be unknown; keys of `but`, and those that came later, may be missing.
    """
    values = flatten(config)
    for key, rule in _RULES.items():
        if key not in values:
            if key not in (*_LATER, *but):
                raise ValueError(key)
        elif not _has_type(values[key], rule.type) or not rule.allowed(values[key]):
            raise ValueError(key)


def _has_type(value: Any, wanted: type) -> bool:
    if isinstance(value, bool) or wanted is bool:  # to Python a bool is a whole number
        return wanted is bool and isinstance(value, bool)
    return isinstance(value, (int, float) if wanted is float else wanted)


def is_key(key: str) -> bool:
    """Whether a configuration has that key, as in "optimizer.name"."""
    return key in _RULES


def wrong_value(key: str, value: Any) -> str:
    """The sentence for a value that a known key cannot have."""
    return f"config.{key} must be {_RULES[key].text}, not {value!r}"


def unknown_key(key: str) -> str:
    """The sentence for a key that does not exist, with near matches."""
    if group := [known for known in _RULES if known.startswith(key + ".")]:
        return f"config.{key} is a group of keys: did you mean {group[0]} or {group[1]}?"
    tail = "." + key.rsplit(".", 1)[-1]
    near = [known for known in _RULES if known.endswith(tail)]  # learning_rate without optimizer.
    near = near or difflib.get_close_matches(key, _RULES, n=2)
    hint = f"did you mean {' or '.join(near)}?" if near else "the keys are in configs/default.py"
    return f"unknown key config.{key}: {hint}"


def flatten(config: ConfigDict | Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"optimizer.name": "adam", ...}"""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, (Mapping, ConfigDict)):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def changes_result(key: str) -> bool:
    """Whether a setting, such as "optimizer.name", is of what is computed, its seeds apart."""
    return not key.startswith((*_FREE_ON_RESUME, "seed", "num_seeds")) or key == "num_epochs"


def check_same_run(old: Mapping[str, Any], new: Mapping[str, Any], where: str) -> None:
    """Checks that a run that was started with `old` can go on with `new`.

    Raises:
        ZooError: naming the keys that differ.
    """
    before, now = _LATER | flatten(old), flatten(new)
    is_idx = now["dataset"] == "idx"
    chooses = now["validation"] == "holdout"  # by the best metric, which so decides what is tested
    free = tuple(key for key in _FREE_ON_RESUME if not (is_idx and key == "manual_dir"))
    differing = [
        f"{key} ({before.get(key)!r} there, {now.get(key)!r} here)"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key)
        and (not key.startswith(free) or (chooses and key == "checkpoint.best_metric"))
    ]
    if differing:
        raise ZooError(
            f"{where} holds a run with another configuration, {', '.join(differing)}: "
            f"use the same configuration or another folder"
        )
    epochs = before["num_epochs"], now["num_epochs"]
    if epochs[0] == epochs[1]:
        return
    if epochs[1] < epochs[0]:
        raise ZooError(
            f"{where} holds a run of {epochs[0]} epochs, which cannot become {epochs[1]}: "
            f"num_epochs may only grow; use another folder"
        )
    if now["optimizer.schedule"] != "constant":
        raise ZooError(
            f"{where} holds a run of {epochs[0]} epochs, which cannot become {epochs[1]}: its "
            f"{now['optimizer.schedule']} schedule was made for {epochs[0]}; use another folder"
        )
