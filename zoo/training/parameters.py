"""The parameters that a run's newest checkpoint holds, for whoever uses its net."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from zoo.system.errors import DamagedError, ZooError
from zoo.training import arrays
from zoo.training.checkpoint import check_whole, checkpoints_in, directory_of, is_of_format_1


@dataclasses.dataclass(frozen=True)
class Parameters:
    """What a net needs of a checkpoint, as NumPy arrays; of many seeds, with an axis of seeds."""

    step: int  # of the checkpoint
    variables: dict[str, Any]  # {"params": ..., "batch_stats": ... if the net has any}
    best_epoch: np.ndarray | None  # [] or [seeds], of a run that chooses: the epoch they are of
    notes: list[str]  # of newer checkpoints that are damaged


def read(workdir: Path) -> Parameters:
    """Those of the newest good checkpoint of a whole epoch; of a run that chooses, the best so far.

    Nothing in the directory is changed, so it may be that of a run in progress.

    Raises:
        ZooError: there is no good checkpoint, or it cannot be read.
    """
    directory = directory_of(workdir)
    if not directory.is_dir():
        raise ZooError(
            f"{workdir} holds no checkpoints: name the directory of a run that keeps them"
        )
    notes: list[str] = []
    for checkpoint in reversed(checkpoints_in(directory)):
        if not checkpoint.name.isdecimal():
            continue
        try:
            return _read(checkpoint, notes)
        except DamagedError as error:
            if checkpoint.exists():  # else a run in progress has deleted it for a newer one
                notes.append(str(error))
    if notes:
        raise ZooError(f"{workdir} holds no good checkpoint: {notes[0]}")
    raise ZooError(
        f"{workdir} holds no checkpoint: wait for its first epoch, or train with "
        f"--config.checkpoint.every_epochs=1"
    )


def newest_step(workdir: Path) -> int:
    """The step of the newest checkpoint of a whole epoch, by the names alone; -1: there is none."""
    names = [path.name for path in directory_of(workdir).glob("*")]
    return max((int(name) for name in names if name.isdecimal()), default=-1)


def _read(checkpoint: Path, notes: list[str]) -> Parameters:
    if not is_of_format_1(checkpoint):
        check_whole(checkpoint)
    try:
        parts = ("params", "batch_stats", "best")  # up to format 2 the state held the best epoch
        variables = arrays.read_parts(checkpoint / "state", parts)
        best = variables.pop("best", None)
        if (checkpoint / "best").is_dir():
            best = arrays.read_parts(checkpoint / "best", ("epoch", "params", "batch_stats"))
    except arrays.ERRORS as error:
        raise DamagedError(
            f"the checkpoint {checkpoint} cannot be read ({arrays.reason(error)})"
        ) from None
    if best:
        variables = {key: best[key] for key in ("params", "batch_stats") if best.get(key)}
    return Parameters(int(checkpoint.name), variables, best["epoch"] if best else None, notes)
