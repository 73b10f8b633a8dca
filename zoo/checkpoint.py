"""Checkpoints of a run, in the folder `checkpoints` of its workdir. Nothing else imports Orbax.

A checkpoint holds the whole train state, the metrics of its epoch and the configuration. Orbax
writes into a temporary folder and renames it, so a killed run leaves the last one whole.
"""

import logging
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import absl.logging
import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from zoo.errors import ZooError

State = TypeVar("State")


class Checkpoints:
    """The checkpoints of one run; use it in a `with` statement."""

    def __init__(self, workdir: Path, keep_last: int, keep_best: int, best_metric: str) -> None:
        """Opens the folder, or makes it.

        Args:
            workdir: the run's folder.
            keep_last: how many of the newest are kept.
            keep_best: how many of the best are kept beside them.
            best_metric: the metric that says which are best: largest if it ends in "accuracy",
                smallest otherwise.

        Raises:
            ZooError: a checkpoint that is there is damaged.
        """
        _quieten()
        best_mode = "max" if best_metric.endswith("accuracy") else "min"

        def metric_of(metrics: dict[str, float]) -> float:
            return metrics[best_metric]

        policy = checkpoint_managers.AnyPreservationPolicy(
            [
                checkpoint_managers.LatestN(keep_last),
                checkpoint_managers.BestN(
                    get_metric_fn=metric_of,
                    reverse=best_mode == "min",  # the best come last
                    n=keep_best,
                    keep_checkpoints_without_metrics=False,
                ),
            ]
        )
        self._folder = (workdir / "checkpoints").absolute()
        options = ocp.CheckpointManagerOptions(
            preservation_policy=policy,
            best_fn=metric_of,  # has no say in what is kept, but makes Orbax save the metrics
            best_mode=best_mode,
            enable_async_checkpointing=False,
            cleanup_tmp_directories=True,
        )
        try:
            self._manager = ocp.CheckpointManager(self._folder, options=options)
        except (ValueError, KeyError) as error:
            raise ZooError(
                f"a checkpoint in {self._folder} is damaged ({_first_line(error)}): move the "
                f"damaged one away, and the run goes on from the newest that is left"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._manager.close()

    def steps(self) -> list[int]:
        """The steps of which there are checkpoints, oldest first."""
        return sorted(self._manager.all_steps())

    def save(
        self, step: int, state: Any, metrics: dict[str, float], config: dict[str, Any]
    ) -> None:
        """Saves, and deletes what need not be kept; returns when all is on disk.

        Raises:
            ZooError: it cannot be written; the checkpoints before stay as they are.
        """
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(state), config=ocp.args.JsonSave(config)
        )
        try:
            self._manager.save(step, args=items, metrics=metrics)
            self._manager.wait_until_finished()
        except (ValueError, OSError) as error:  # a full disk is a ValueError of TensorStore's
            raise ZooError(
                f"cannot save a checkpoint in {self._folder} ({_first_line(error)}): make room, "
                f"and the same command goes on from the one before"
            ) from None

    def restore(self, step: int, like: State) -> State:
        """The state of that step, with the structure, types and placement of `like`.

        Raises:
            ZooError: the checkpoint cannot be read.
        """
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, like)
        try:
            restored = self._manager.restore(
                step, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
            )
        except (ValueError, KeyError, OSError) as error:
            others = [str(other) for other in self.steps() if other != step]
            rest = f"from that of step {others[-1]}" if others else "from its beginning"
            raise ZooError(
                f"the checkpoint {self._folder / str(step)} cannot be read "
                f"({_first_line(error)}): move it away, and the run goes on {rest}"
            ) from None
        return restored["state"]


def newest_step(workdir: Path) -> int:
    """The step of a run's newest checkpoint, by the folders' names alone; -1 if there is none."""
    names = [path.name for path in (workdir / "checkpoints").glob("*")]
    return max((int(name) for name in names if name.isdecimal()), default=-1)


def read_parameters(workdir: Path) -> tuple[int, dict[str, Any]]:
    """(step, {"params", "batch_stats", "best"}) of a run's newest checkpoint, as NumPy arrays.

    Nothing in the folder is changed, so it may be that of a run in progress. What the state does
    not hold is left out.

    Raises:
        ZooError: there is no checkpoint, or it cannot be read.
    """
    _quieten()
    folder = (workdir / "checkpoints").absolute()
    if not folder.is_dir():
        raise ZooError(f"{workdir} holds no checkpoints: name the folder of a run that keeps them")
    try:
        with ocp.CheckpointManager(
            folder,
            options=ocp.CheckpointManagerOptions(read_only=True),
            item_handlers={"state": ocp.PyTreeCheckpointHandler()},
        ) as manager:
            step = manager.latest_step()
            if step is None:
                raise ZooError(
                    f"{workdir} holds no checkpoint: wait for its first epoch, or train with "
                    f"--config.checkpoint.every_epochs=1"
                )
            tree = manager.item_metadata(step)["state"].tree
            wanted = {key: tree[key] for key in ("params", "batch_stats", "best") if tree.get(key)}
            as_arrays = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
            item = ocp.args.PyTreeRestore(wanted, restore_args=as_arrays, partial_restore=True)
            return step, manager.restore(step, args=ocp.args.Composite(state=item))["state"]
    except (ValueError, KeyError, OSError, AttributeError, TypeError) as error:
        raise ZooError(
            f"the newest checkpoint in {folder} cannot be read ({_first_line(error)}): move it "
            f"away, and the one before is taken"
        ) from None


def _quieten() -> None:
    absl.logging.set_verbosity(absl.logging.ERROR)
    for name in ("absl", "asyncio"):  # asyncio tells again of errors that are raised here
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
