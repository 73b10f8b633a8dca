"""A whole run: epochs, validation, history, checkpoints, and going on where it stopped."""

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import ml_collections
import numpy as np

import zoo.config
import zoo.data
import zoo.history
from zoo.checkpoint import Checkpoints
from zoo.epochs import Trainer
from zoo.errors import DivergedError, ZooError
from zoo.history import History
from zoo.lock import locked
from zoo.steps import (
    Metrics,
    TrainState,
    create_train_state,
    make_eval_step,
    make_train_step,
)
from zoo.terminal import Terminal, metric_text

__all__ = [
    "Metrics",
    "TrainState",
    "create_train_state",
    "make_eval_step",
    "make_train_step",
    "train_and_evaluate",
]


BEST_METRICS = ("val_loss", "val_accuracy")  # by which the best checkpoint can be chosen
Log = Callable[[dict[str, float], int], object]  # takes an epoch's numbers, and its last step


def train_and_evaluate(
    config: ml_collections.ConfigDict,
    workdir: str | Path,
    *,
    quiet: bool = False,
    log: Log | None = None,
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

    Raises:
        ZooError: the configuration, the data or the workdir is not usable, or the loss diverged.
        OSError: something cannot be written.
    """
    zoo.config.validate(config)
    workdir, terminal = Path(workdir).expanduser(), Terminal(quiet)
    _check_workdir(workdir)
    history = _past_history(config, workdir)
    if history and history.is_complete:
        with _log_of(config, workdir, log) as write:
            _log_whole(history, write)
        terminal.say(f"{workdir} is complete ({len(history.epochs)} epochs): nothing to do")
        terminal.result(_result_line(history))
        return history

    dataset = zoo.data.load(config.dataset, data_dir=config.data_dir, manual_dir=config.manual_dir)
    trainer = Trainer(config, dataset, terminal)
    state = trainer.init()
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ZooError(
            f"the run's folder {workdir} cannot be made ({error.strerror}): name another"
        ) from None
    with locked(workdir):
        history = _run(config, workdir, terminal, trainer, state, log)
    terminal.result(_result_line(history))
    return history


def _run(
    config: ml_collections.ConfigDict,
    workdir: Path,
    terminal: Terminal,
    trainer: Trainer,
    state: TrainState,
    log: Log | None,
) -> History:
    """Goes from `state`, or from the newest checkpoint, to the end."""
    history = _past_history(config, workdir) or History(
        config=config.to_dict(),
        environment=zoo.history.environment(),
        model={"name": config.model, "num_params": _num_params(state) // config.num_seeds},
        data=trainer.data_sizes,
    )
    if history.data != trainer.data_sizes:
        raise ZooError(
            f"{workdir} holds a run on other data ({history.data} there, {trainer.data_sizes} "
            f"here): give the same data, or use another folder"
        )
    with (
        Checkpoints(
            workdir,
            keep_last=config.checkpoint.keep_last,
            keep_best=config.checkpoint.keep_best,
            best_metric=config.checkpoint.best_metric,
        ) as checkpoints,
        _log_of(config, workdir, log) as write,
    ):
        steps = checkpoints.steps()
        if steps:
            state = checkpoints.restore(steps[-1], like=state)
        note = _rewind(history, trainer.epochs_done(state), workdir)
        terminal.say(_header(history, trainer, workdir) + note)
        _log_whole(history, write)
        every = config.checkpoint.every_epochs
        for epoch in range(len(history.epochs) + 1, config.num_epochs + 1):
            state, record = trainer.run_epoch(state, epoch)
            _check_finite(record, workdir)
            history.epochs.append(record)
            # History first: it is cut to the checkpoint on resume, so dying in between loses
            # nothing.
            history.write(workdir)
            if every and (epoch % every == 0 or epoch == config.num_epochs):
                metrics = {name: np.mean(record[name]).item() for name in BEST_METRICS}
                checkpoints.save(record["step"], state, metrics, history.config)
            terminal.epoch(record, config.num_epochs)
            write(zoo.history.numbers(history, record), record["step"])
        history.test = trainer.test(state, history.epochs[-1])
        history.write(workdir)
        _log_test(history, write)

    from zoo import figures, plot  # only now: matplotlib takes half a second to import

    (name,) = zoo.history.names([workdir])
    figures.save(plot.draw_histories({name: history}), workdir / "history.png")
    written = "history.json, history.png" + (" and checkpoints" if every else "")
    terminal.say(f"wrote {written} to {workdir}")
    return history


@contextlib.contextmanager
def _log_of(config: ml_collections.ConfigDict, workdir: Path, log: Log | None) -> Iterator[Log]:
    """One log for whoever listens."""
    with contextlib.ExitStack() as stack:
        logs = [log] if log else []
        if config.tensorboard:
            from zoo.events import EventLog  # only where it is asked for

            logs.append(stack.enter_context(EventLog(workdir)))

        def write(numbers: dict[str, float], step: int) -> None:
            for each in logs:
                each(numbers, step)

        yield write


def _log_whole(history: History, write: Log) -> None:
    """Logs what the history holds."""
    for record in history.epochs:
        write(zoo.history.numbers(history, record), record["step"])
    _log_test(history, write)


def _log_test(history: History, write: Log) -> None:
    if history.test is not None:
        tested = {f"test_{name}": history.test[name] for name in ("loss", "accuracy")}
        write(zoo.history.numbers(history, tested), history.epochs[-1]["step"])


def _num_params(state: TrainState) -> int:
    """Parameters with the moving statistics, as Keras counts them, of all seeds."""
    return sum(leaf.size for leaf in jax.tree.leaves((state.params, state.batch_stats)))


def _check_workdir(workdir: Path) -> None:
    """Says at once what would only show after the data is loaded."""
    if re.match(r"\w{2,}:/", str(workdir)):  # Path has made gs:/ of gs://
        raise ZooError(f"a run's folder must be one of this machine, not {str(workdir)!r}")
    existing = next(path for path in (workdir, *workdir.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        state = "cannot be written" if existing.is_dir() else "is no folder"
        raise ZooError(
            f"the run's folder {workdir} cannot be used ({existing} {state}): name another"
        )


def _past_history(config: ml_collections.ConfigDict, workdir: Path) -> History | None:
    """The history of the run that workdir holds, None if it holds none.

    Raises:
        ZooError: it holds a run that cannot go on with this configuration.
    """
    if (workdir / zoo.history.FILENAME).exists():
        history = zoo.history.read(workdir)
        zoo.config.check_same_run(history.config, config.to_dict(), str(workdir))
        history.config = config.to_dict()  # num_epochs may have grown
        return history
    if (workdir / "checkpoints").exists() and any((workdir / "checkpoints").iterdir()):
        raise ZooError(
            f"{workdir} holds checkpoints but no {zoo.history.FILENAME}: use another folder"
        )
    return None


def _rewind(history: History, epochs_done: int, workdir: Path) -> str:
    """Cuts the history to what the state has seen; gives what is to be said of it, or "".

    Raises:
        ZooError: the history lacks epochs that the state has seen.
    """
    if len(history.epochs) < epochs_done:
        raise ZooError(
            f"{workdir / zoo.history.FILENAME} lacks epochs that the checkpoint has seen "
            f"({len(history.epochs)} of {epochs_done}): use another folder"
        )
    if history.test is not None and not epochs_done:
        raise ZooError(
            f"{workdir} holds a complete run but no checkpoint from which it could go on: use "
            f"another folder"
        )
    note = ""
    if epochs_done:
        note = f"\ngoing on after epoch {epochs_done} of {history.config['num_epochs']}"
    elif history.epochs:
        note = "\nnote: the run that was here left no checkpoint, so it starts from its beginning"
    history.epochs = history.epochs[:epochs_done]  # what came after is done again
    history.test = None

    now = zoo.history.environment()
    changed = [key for key, value in now.items() if history.environment.get(key) != value]
    if epochs_done and changed:
        history.earlier_environments.append({**history.environment, "until_epoch": epochs_done})
        note += f"\nnote: not as before: {', '.join(changed)}; the numbers may differ in a last bit"
    history.environment = now
    return note


def _check_finite(record: dict[str, Any], workdir: Path) -> None:
    for name in ("loss", "val_loss"):
        if not np.all(np.isfinite(record[name])):
            raise DivergedError(
                f"{name} is {record[name]} in epoch {record['epoch']} at learning rate "
                f"{record['learning_rate']:g}: use a lower config.optimizer.learning_rate, or "
                f"config.optimizer.clip_norm, and another folder; what was saved before stays "
                f"in {workdir}"
            )


def _header(history: History, trainer: Trainer, workdir: Path) -> str:
    config, environment = history.config, history.environment
    on_test = config["validation"] == "test"
    validated = "validated on the test set" if on_test else f"{trainer.num_val:,} held out"
    lines = [
        f"{config['model']}: {history.model['num_params']:,} parameters, "
        f"{zoo.history.seeds_text(history)}",
        f"{config['dataset']}: {trainer.num_train:,} training images, {validated}, "
        f"{len(trainer.dataset.test):,} test images",
        f"{environment['platform']} ({environment['device']}), jax {environment['jax']}, "
        f"writing to {workdir}",
    ]
    if on_test and config["checkpoint"]["every_epochs"] and config["checkpoint"]["keep_best"]:
        lines.append("note: the best checkpoint is chosen by test data (validation=test)")
    return "\n".join(lines)


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
