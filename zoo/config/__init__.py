"""What a configuration may hold: its keys and their ranges; what a run keeps of it."""

from zoo.config.checking import check_values, validate, wrong_patterns
from zoo.config.kept import check_same_run, to_keep
from zoo.config.keys import (
    DTYPES,
    OPTIMIZERS,
    SCHEDULES,
    changes_result,
    flatten,
    is_key,
    unknown_key,
    wrong_value,
)
from zoo.config.reading import data_options, load

__all__ = [
    "DTYPES",
    "OPTIMIZERS",
    "SCHEDULES",
    "changes_result",
    "check_same_run",
    "check_values",
    "data_options",
    "flatten",
    "is_key",
    "load",
    "to_keep",
    "unknown_key",
    "validate",
    "wrong_patterns",
    "wrong_value",
]
