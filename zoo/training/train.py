"""A whole run: epochs, validation, history, checkpoints, and going on where it stopped."""

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import ml_collections
import numpy as np

import zoo.config
import zoo.data
import zoo.training.history
from zoo.system.errors import ZooError
from zoo.system.files import as_sentence, expanded
from zoo.system.lock import locked
from zoo.training.history import History
from zoo.training.loop import Trainer
from zoo.training.resume import first_snapshot, past_history
from zoo.training.run import Log, Run, log_whole
from zoo.training.terminal import Terminal, metric_text


def train_and_evaluate(
    config: ml_collections.ConfigDict,
    workdir: str | Path,
    *,
    quiet: bool = False,
    log: Log | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> History:
    """Trains a net as the configuration says, or goes on with the run that `workdir` holds.

    Writes into workdir: `history.json` after each epoch, `checkpoints/`, and `history.png` at the
    end. A run that is complete is left as it is.

    Args:
        config: as in configs/default.py.
        workdir: the run's folder.
        quiet: print nothing but the result.
        log: called as log(numbers, step) after each epoch, `numbers` being its entry in the history
            (of many seeds the means, and each as "seed_3/loss"), and at the end with "test_loss"
            and "test_accuracy". Where the run goes on, the epochs done before come first, so that
            a log is always of the whole run. wandb's `run.log` and `mlflow.log_metrics` will do.
            An error of the log ends the training, which can go on.
        should_stop: asked every half second or so; once it says True, the run is saved as it is,
            within an epoch, too, and ends with StoppedError.

    Raises:
        DivergedError: a loss is not finite any more.
        StoppedError: should_stop said so.
        ZooError: the configuration, the data, the memory or the workdir does not do, or the disk
            is full.
    """
    zoo.config.validate(config)
    workdir, terminal = expanded(workdir), Terminal(quiet)
    _check_workdir(workdir)
    history = past_history(config, workdir)
    if history and history.is_complete:
        with _log_of(config, workdir, log) as write:
            log_whole(history, write)
        if not (workdir / "history.png").exists():  # killed just before its end
            _draw(history, workdir)
        terminal.say(f"{workdir} is complete ({len(history.epochs)} epochs): nothing to do")
        terminal.result(_result_line(history))
        return history

    dataset = zoo.data.load(config.dataset, data_dir=config.data_dir, manual_dir=config.manual_dir)
    trainer = Trainer(config, dataset, terminal)
    first = first_snapshot(config, trainer.init(), trainer.data_sizes)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ZooError(
            f"the run's folder {workdir} cannot be made ({error.strerror}): name another"
        ) from None
    try:
        with locked(workdir), _log_of(config, workdir, log) as write:
            history = Run(workdir, terminal, trainer, should_stop).go(first, write)
            _draw(history, workdir)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise ZooError(
            f"the device's memory does not suffice for {config.model} with batches of "
            f"{config.batch_size:,}: use a smaller config.batch_size or config.eval_batch_size, "
            f"and the same command goes on from the last checkpoint, if there is one"
        ) from None
    checkpoints = " and checkpoints" if config.checkpoint.every_epochs else ""
    written = f"history.json, history.png{checkpoints}"
    terminal.say(f"wrote {written} to {workdir}")
    terminal.result(_result_line(history))
    return history


@contextlib.contextmanager
def _log_of(config: ml_collections.ConfigDict, workdir: Path, log: Log | None) -> Iterator[Log]:
    """One log for whoever listens."""
    with contextlib.ExitStack() as stack:
        logs = [log] if log else []
        if config.tensorboard:
            from zoo.training.events import EventLog  # only where it is asked for

            logs.append(stack.enter_context(EventLog(workdir)))

        def write(numbers: dict[str, float], step: int) -> None:
            for each in logs:
                each(numbers, step)

        yield write


def _check_workdir(workdir: Path) -> None:
    """Says at once what would only show after the data is loaded."""
    if re.match(r"\w{2,}:/", str(workdir)):  # Path has made gs:/ of gs://
        raise ZooError(f"a run's folder must be one of this machine, not {str(workdir)!r}")
    if "\\" in str(workdir.absolute()):
        raise ZooError(
            f"the run's folder {workdir} cannot be used: Orbax reads no checkpoint in a folder "
            f"with a backslash in its name: name another"
        )
    try:
        existing = next(path for path in (workdir, *workdir.absolute().parents) if path.exists())
        is_folder, is_writable = existing.is_dir(), os.access(existing, os.W_OK)
    except OSError as error:
        raise ZooError(
            f"the run's folder {workdir} cannot be used ({error.strerror}): name another"
        ) from None
    if not is_folder or not is_writable:
        state = "cannot be written" if is_folder else "is no folder"
        raise ZooError(
            f"the run's folder {workdir} cannot be used ({existing} {state}): name another"
        )


def _result_line(history: History) -> str:
    test = history.test
    assert test is not None
    several = history.num_seeds > 1
    seeds = f", mean ± standard deviation of {history.num_seeds} seeds" if several else ""
    metrics = ", ".join(metric_text(name, test[name]) for name in ("loss", "accuracy"))
    epochs = f"after {len(history.epochs)} epochs"
    if history.config["validation"] == "holdout":
        chosen = np.unique(test["epoch"])
        which = f"epoch {chosen[0]}" if len(chosen) == 1 else f"epochs {chosen[0]} to {chosen[-1]}"
        epochs = f"after {which}, best on the held-out images"
    return f"test: {metrics} of {test['num_examples']:,} images {epochs}{seeds}"


def _draw(history: History, workdir: Path) -> None:
    from zoo.system import figures  # only now: matplotlib takes half a second to import
    from zoo.training.curves import draw_histories

    (name,) = zoo.training.history.names([workdir])
    with as_sentence(workdir):
        figures.save(draw_histories({name: history}), workdir / "history.png")
