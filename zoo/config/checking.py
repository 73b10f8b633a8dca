"""Whether a configuration holds just the known keys, each in its range."""

from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from zoo.config import rates
from zoo.config.keys import BEFORE, KEYS, flatten, unknown_key, wrong_value
from zoo.models import net_files, paths
from zoo.system.errors import ZooError


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
        if name not in KEYS:
            raise ZooError(unknown_key(name))
    for name, key in KEYS.items():
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
    rates.check(values)


def check_values(config: Mapping[str, Any], but: Sequence[str] = ()) -> None:
    """Raises ValueError unless a run's configuration, as it was kept, has values in their ranges.

    Its net may be unknown; keys of `but`, and those that came later, may be missing.
    """
    values = flatten(config)
    for name, key in KEYS.items():
        if name not in values:
            if name not in (*BEFORE, *but):
                raise ValueError(name)
        elif not key.allows(values[name]):
            raise ValueError(name)


def wrong_patterns(error: paths.PatternError) -> str:
    """The sentence for patterns in `freeze` or `optimizer.rates` that do not do."""
    group = "optimizer." if str(error).startswith("rates") else ""
    return f"config.{group}{error}"
