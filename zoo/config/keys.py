"""The keys of a configuration: types, ranges, and what follows from a change.

Their units and defaults stand in `configs/default.py`.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from zoo.config import hints
from zoo.data import DATASETS, FORMS
from zoo.data.names import is_known

OPTIMIZERS = ("adam", "adamw", "adadelta", "sgd", "rmsprop", "lion", "muon")
SCHEDULES = ("constant", "cosine", "one_cycle")
DTYPES = ("float32", "bfloat16", "float16")


class Key(NamedTuple):
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


def _one_of(*choices: str, **more: Any) -> Key:
    return Key(str, choices.__contains__, "one of " + ", ".join(choices), **more)


def _whole(low: int, high: int = 2**31 - 1, **more: Any) -> Key:
    text = f"a whole number from {low} to {high:,}"
    return Key(int, lambda value: low <= value <= high, text, **more)


def _devices(text: str = "-1, or a number of devices") -> Key:
    return Key(int, lambda value: value == -1 or 0 < value < 2**16, text, is_free=True, before=1)


def _positive() -> Key:
    return Key(float, lambda value: 0 < value < _LARGEST, "a finite number above 0")


def _not_negative(**more: Any) -> Key:
    text = "a finite number, 0 or more"
    return Key(float, lambda value: 0 <= value < _LARGEST, text, **more)


def _decay(**more: Any) -> Key:
    return Key(float, lambda value: 0 <= value < 1, "at least 0 and below 1", **more)


def _text(**more: Any) -> Key:
    return Key(str, lambda value: True, "text", **more)


def _line(**more: Any) -> Key:
    return Key(str, str.isprintable, "text in one line", **more)


def _bool(**more: Any) -> Key:
    return Key(bool, lambda value: True, "True or False", **more)


_LARGEST = 1e38  # nearly the largest float32
KEYS = {
    "model": Key(str, str.isprintable, "the name of a net or FILE.py:NAME"),
    "dtype": _one_of(*DTYPES),
    "remat": _bool(is_free=True, before=False),
    "seed": _whole(0, 2**32 - 1),
    "num_seeds": _whole(1, 10_000),
    "init_from": _line(before=""),
    "freeze": _line(before=""),
    "dataset": Key(str, is_known, "one of " + ", ".join((*DATASETS, *FORMS))),
    "data_dir": _text(is_free=True),
    "manual_dir": _text(is_free=True),
    "data.image_size": _whole(0, 10_000, before=0),
    "data.channels": Key(int, (0, 1, 3).__contains__, "0, 1 or 3", before=0),
    "data.test_share": Key(float, lambda value: 0 < value < 1, "above 0 and below 1", before=0.2),
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
BEFORE = {name: key.before for name, key in KEYS.items() if key.before is not None}


def is_key(key: str) -> bool:
    """Whether a configuration has that key, as in "optimizer.name"."""
    return key in KEYS


def wrong_value(key: str, value: Any) -> str:
    """The sentence for a value that a known key cannot have."""
    return f"config.{key} must be {KEYS[key].text}, not {value!r}"


def unknown_key(key: str) -> str:
    """The sentence for a key that does not exist: why, or the keys that may be meant."""
    return hints.unknown_key(key, KEYS)


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
    return key == "num_epochs" or not (key in ("seed", "num_seeds") or KEYS[key].is_free)
