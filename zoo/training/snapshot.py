"""A run at one moment, and what of it is not an array: `run.json` in a checkpoint."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import zoo.training.history
from zoo.system import forms
from zoo.system.errors import DamagedError, ZooError
from zoo.training import distributed
from zoo.training.best import Best
from zoo.training.history import History
from zoo.training.step import Metrics, Progress, TrainState, num_steps

_FORMAT = 3
_FORMATS_READ = (2, 3)
_FILENAME = "run.json"


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A run at one moment: all that going on from there needs."""

    state: TrainState
    history: History  # of the epochs that are done
    best: Best | None = None  # of a run that chooses an epoch
    progress: Progress | None = None  # of the epoch after these; None: not begun

    def at_hand(self) -> "Snapshot":
        """The same with arrays that this process has whole; all processes must call it."""
        state, best = distributed.at_hand((self.state, self.best))
        return dataclasses.replace(self, state=state, best=best)


@dataclasses.dataclass(frozen=True)
class Rest:
    """What a checkpoint holds besides arrays."""

    format: int
    step: int
    history: History
    progress: Progress | None


def write_rest(directory: Path, snapshot: Snapshot) -> None:
    """Writes `run.json` of a checkpoint.

    Raises:
        OSError: it cannot be written.
    """
    progress = None
    if snapshot.progress:
        sums = jax.device_get(snapshot.progress.sums)
        progress = {name: np.asarray(value).tolist() for name, value in vars(sums).items()}
        progress["seconds"] = snapshot.progress.seconds
    content = {
        "format": _FORMAT,
        "step": num_steps(snapshot.state),
        "history": snapshot.history.to_content(),
        "progress": progress,
    }
    (directory / _FILENAME).write_text(json.dumps(content, allow_nan=False))


def read_rest(directory: Path, step: int) -> Rest:
    """What `run.json` of the checkpoint of that step holds.

    Raises:
        DamagedError: it is not such a file, or it is of another step.
        ZooError: it is of another version.
    """
    path = directory / _FILENAME
    try:
        content = forms.read_json(path)
        if content["format"] not in _FORMATS_READ:
            raise ZooError(
                f"{path} is of format {content['format']!r}, and this version of the zoo reads the "
                f"formats {' and '.join(map(str, _FORMATS_READ))} of checkpoints: use the version "
                f"that wrote it, or another directory"
            )
        if content["step"] != step:
            raise ValueError(content["step"])
        history = zoo.training.history.from_content(content["history"], path)
        progress = _progress(content["progress"], history.num_seeds)
        return Rest(content["format"], step, history, progress)
    except (ValueError, KeyError, TypeError, OSError):
        raise DamagedError(
            f"the checkpoint {directory} is damaged ({_FILENAME} does not hold what it should)"
        ) from None


def _progress(content: Any, num_seeds: int) -> Progress | None:
    if content is None:
        return None
    count = forms.per_seed(forms.whole(0, 2**31 - 1), num_seeds)
    loss = forms.per_seed(forms.number(0, 1e39), num_seeds)
    forms.check(
        content,
        {
            "loss_sum": loss,
            "num_correct": count,
            "num_examples": count,
            "seconds": forms.number(0),
        },
    )
    sums = Metrics(
        loss_sum=jnp.asarray(content["loss_sum"], jnp.float32),  # JSON keeps all digits
        num_correct=jnp.asarray(content["num_correct"], jnp.int32),
        num_examples=jnp.asarray(content["num_examples"], jnp.int32),
    )
    return Progress(sums, content["seconds"])
