"""The learning rate that a configuration asks for, also for another size of the batch.

With k times the images in a batch, SGD takes k times the rate (Goyal et al., arXiv 1706.02677,
section 2.1), and an optimizer that divides by the root of the gradients' mean square takes sqrt(k)
times the rate (Malladi et al., arXiv 2205.10287, section 4).
"""

from collections.abc import Mapping
from typing import Any

from zoo.system.errors import ZooError

_POWERS = {"sgd": 1.0, "adam": 0.5, "adamw": 0.5, "rmsprop": 0.5}  # of k


def check(values: Mapping[str, Any]) -> None:
    """Raises ZooError if a flat configuration asks for a rate that cannot be had."""
    if values["optimizer.schedule"] == "one_cycle" and values["optimizer.warmup_epochs"]:
        raise ZooError(
            "config.optimizer.warmup_epochs must be 0 with the one_cycle schedule, which warms up "
            f"by itself, not {values['optimizer.warmup_epochs']!r}"
        )
    name = values["optimizer.name"]
    if values["optimizer.rate_for_batch"] and name not in _POWERS:
        raise ZooError(
            f"config.optimizer.rate_for_batch has no rule for {name}, only for "
            f"{', '.join(_POWERS)}: make it 0, and choose config.optimizer.learning_rate for the "
            f"batch"
        )


def check_updates(config: Any, num_train: int, steps_per_epoch: int) -> None:
    """Raises ZooError if with so many training images no update is as the configuration has it."""
    optimizer, batch_size = config.optimizer, config.batch_size
    if optimizer.rate_for_batch and batch_size > num_train:
        raise ZooError(
            f"config.optimizer.rate_for_batch would count {batch_size:,} images in a batch, but "
            f"there are {num_train:,} training images: use a config.batch_size of at most as many"
        )
    steps = steps_per_epoch * config.num_epochs
    if optimizer.accumulate_steps > steps:
        raise ZooError(
            f"config.optimizer.accumulate_steps ({optimizer.accumulate_steps:,}) is more than the "
            f"{steps:,} steps of the run, so nothing would be trained: use fewer, or more epochs"
        )


def peak(config: Any) -> float:
    """The peak learning rate of a whole configuration, or of one as a history keeps it."""
    optimizer = config["optimizer"]
    rate, size = optimizer["learning_rate"], optimizer.get("rate_for_batch", 0)
    return rate * (_images(config) / size) ** _POWERS[optimizer["name"]] if size else rate


def resolved(config: Any) -> Any:
    """The optimizer's part of a configuration, with the peak rate in place of the given one."""
    if not config.optimizer.rate_for_batch:
        return config.optimizer
    optimizer = config.optimizer.copy_and_resolve_references()
    optimizer.learning_rate = peak(config)
    return optimizer


def text(config: Mapping[str, Any]) -> str:
    """Such as "learning rate 0.004: 0.001 for batches of 32, times sqrt(512 / 32)", or ""."""
    optimizer = config["optimizer"]
    size = optimizer.get("rate_for_batch", 0)
    if not size:
        return ""
    ratio = f"{_images(config):,} / {size:,}"
    factor = f"sqrt({ratio})" if _POWERS[optimizer["name"]] == 0.5 else ratio
    given = f"{optimizer['learning_rate']:g} for batches of {size:,}"
    return f"learning rate {peak(config):.4g}: {given}, times {factor}"


def _images(config: Any) -> int:
    """The images of an update."""
    return config["batch_size"] * config["optimizer"]["accumulate_steps"]
