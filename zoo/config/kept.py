"""A configuration as a run's history keeps it, and whether the run goes on with another."""

import os
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

import zoo.models
from zoo.config.keys import BEFORE, KEYS, flatten
from zoo.data.names import absolute, is_place, kind_of
from zoo.models import hub, net_files
from zoo.system.errors import ZooError
from zoo.system.files import as_text


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


def check_same_run(old: Mapping[str, Any], new: Mapping[str, Any], where: str) -> None:
    """Checks that a run that was started with `old` can go on with `new`.

    Raises:
        ZooError: naming the keys that differ.
    """
    before, now = BEFORE | flatten(old), flatten(new)
    if net_files.is_reference(before["model"]) and net_files.is_reference(now["model"]):
        before["model"] = now["model"]  # what counts are its layers, which the history holds
    datasets = before["dataset"], now["dataset"]
    if all(map(is_place, datasets)) and len({*map(kind_of, datasets)}) == 1:
        now["dataset"] = before["dataset"]  # its place may be another: its content is compared
    if _last_part(before["init_from"]) == _last_part(now["init_from"]):
        now["init_from"] = before["init_from"]  # it moved: where it is read, its content counts
    free = {name for name, key in KEYS.items() if key.is_free}
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
            f"use the same configuration, or another directory, such as --workdir runs/second"
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
            f"{reason}; use another directory, such as --workdir runs/second"
        )
