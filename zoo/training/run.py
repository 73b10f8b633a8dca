"""One process's part of a run: epoch after epoch, from where it stands to its end."""

import contextlib
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np

import zoo.training.divergence
import zoo.training.history
from zoo.system.errors import DivergedError, StoppedError, ZooError
from zoo.system.files import as_sentence
from zoo.training.checkpoint import Checkpoints, Snapshot
from zoo.training.history import History
from zoo.training.loop import Trainer
from zoo.training.resume import starting_point
from zoo.training.step import Progress, TrainState, all_finite, num_steps
from zoo.training.terminal import Terminal

Log = Callable[[dict[str, float], int], object]  # takes an epoch's numbers, and its last step


class Run:
    """One process's part of a run, from a snapshot to the end."""

    def __init__(
        self, workdir: Path, terminal: Terminal, trainer: Trainer, should_stop: Callable[[], bool]
    ) -> None:
        """Opens the run's checkpoints."""
        settings = trainer.config.checkpoint
        self._workdir, self._terminal, self._trainer = workdir, terminal, trainer
        self._should_stop = should_stop
        self._every_epochs = settings.every_epochs
        self._every_seconds = 60 * settings.every_minutes or float("inf")
        with as_sentence(workdir):
            for left in workdir.glob(".history.*.tmp"):  # by a process that was killed
                left.unlink()
            self._checkpoints = Checkpoints(
                workdir,
                keep_last=settings.keep_last,
                keep_best=settings.keep_best,
                best_metric=settings.best_metric,
            )
        self._saved_at = time.monotonic()
        self._saved_step = -1  # of the last checkpoint within an epoch
        self._num_good = 0  # steps known to have finite gradients

    def go(self, first: Snapshot, write: Log) -> History:
        """Goes on where the run stands, from `first` if it stands nowhere."""
        trainer, num_epochs = self._trainer, self._trainer.config.num_epochs
        with as_sentence(self._workdir):
            start, notes = starting_point(
                self._workdir, self._checkpoints, first, trainer.steps_per_epoch
            )
        if start is not first:
            for leaf in jax.tree.leaves(first.state):
                leaf.delete()  # the memory is needed for the one that goes on
        state, history, progress = start.state, start.history, start.progress
        self._terminal.say(_header(history, trainer, self._workdir))
        for note in notes:
            self._terminal.note(note)
        if history.epochs or progress:
            self._terminal.say(f"going on {self._place(num_steps(state), bool(progress))}")
        log_whole(history, write)
        if len(history.epochs) < num_epochs:
            trainer.compile(state)
        self._num_good = num_steps(state)
        after_piece = functools.partial(self._after_piece, history)
        for epoch in range(len(history.epochs) + 1, num_epochs + 1):
            state, record = trainer.run_epoch(state, epoch, progress, after_piece)
            progress = None
            self._check_finite(record)
            history.epochs.append(record)
            # History first: a checkpoint holds its own, so dying in between loses nothing.
            self._write(history)
            every = self._every_epochs
            stop = self._should_stop()
            if every and (epoch % every == 0 or epoch == num_epochs or stop):
                self._save(Snapshot(state, history))
            self._terminal.epoch(record, num_epochs)
            if record.get("skipped"):
                self._terminal.note(
                    f"{record['skipped']:,} images were left out: the loss or the gradients of "
                    f"their batches were not finite"
                )
            write(zoo.training.history.numbers(history, record), record["step"])
            if stop:
                self._stop(self._place(record["step"], False))
        test = trainer.test(state, history.epochs[-1], self._after_piece_of_test)
        if not np.all(np.isfinite(test["loss"])):
            raise DivergedError(
                f"the loss on the test images is not finite; use a lower "
                f"config.optimizer.learning_rate and another folder; what was saved before stays "
                f"in {self._workdir}"
            )
        history.test = test
        self._write(history)
        _log_test(history, write)
        return history

    def _after_piece(self, history: History, state: TrainState, progress: Progress) -> None:
        """Between two pieces of an epoch: looks whether to stop or to save.

        Raises:
            DivergedError: a loss is not finite.
            StoppedError: a stop was asked for.
        """
        step = num_steps(state)
        if not np.all(np.isfinite(progress.sums.loss_sum)):
            raise self._diverged("loss", step)
        stop = self._should_stop()
        if stop or time.monotonic() - self._saved_at >= self._every_seconds:
            if not all_finite(state.params):  # by the last step, which the next loss would show
                raise self._diverged("sum of parameters", step)
            if self._every_epochs and self._saved_step != step:  # once in a validation
                self._save(Snapshot(state, history, progress))
                self._saved_step = step
        if stop:
            self._stop(self._place(step, True))
        self._num_good = step - 1  # what the last one's gradient did, the next loss will show

    def _after_piece_of_test(self) -> None:
        if self._should_stop():
            config = self._trainer.config
            self._stop(self._place(config.num_epochs * self._trainer.steps_per_epoch, False))

    def _save(self, snapshot: Snapshot) -> None:
        self._checkpoints.save(snapshot)
        self._saved_at = time.monotonic()

    def _write(self, history: History) -> None:
        with as_sentence(self._workdir):
            history.write(self._workdir)

    def _stop(self, place: str) -> NoReturn:
        if self._every_epochs:
            raise StoppedError(
                f"stopped {place}, saved in {self._workdir}: the same command goes on"
            )
        raise StoppedError(
            f"stopped {place}; as it was told, it kept no checkpoint: the same command begins anew"
        )

    def _place(self, step: int, within: bool) -> str:
        """Such as "after epoch 2 of 30", or within an epoch "after batch 17 of 37 of epoch 3"."""
        epoch, batch = divmod(step, self._trainer.steps_per_epoch)
        if batch:
            return f"after batch {batch} of {self._trainer.steps_per_epoch} of epoch {epoch + 1}"
        if within:
            return f"in the validation of epoch {epoch}"
        return f"after epoch {epoch} of {self._trainer.config.num_epochs}"

    def _check_finite(self, record: dict[str, Any]) -> None:
        for name in ("loss", "val_loss"):
            if not np.all(np.isfinite(record[name])):
                raise self._diverged(name, record["step"])

    def _diverged(self, name: str, step: int) -> DivergedError:
        """The error that says where the numbers went, which takes training again to find out."""
        trainer = self._trainer
        epoch = (step - 1) // trainer.steps_per_epoch + 1
        what = f"the {name} is not finite in epoch {epoch}"
        if trainer.config.on_nan == "skip":  # and still it is not: all batches, or validation
            advice = "use a lower config.optimizer.learning_rate and another folder"
        else:
            self._terminal.say(
                f"{what}: training again from the last checkpoint, or the beginning, to see why"
            )
            with contextlib.suppress(ZooError):  # no room for another state, say: then without
                state = trainer.init()
                good, notes = self._checkpoints.newest(like=state)
                for note in notes:
                    self._terminal.note(note)
                if found := zoo.training.divergence.find(
                    trainer, good.state if good else state, self._num_good, step, self._should_stop
                ):
                    what += f": {found}"
            advice = (
                "use a lower config.optimizer.learning_rate, or config.optimizer.clip_norm, and "
                "another folder, or go on here with --config.on_nan=skip"
            )
        return DivergedError(f"{what}; {advice}; what was saved before stays in {self._workdir}")


def log_whole(history: History, write: Log) -> None:
    """Logs what the history holds."""
    for record in history.epochs:
        write(zoo.training.history.numbers(history, record), record["step"])
    _log_test(history, write)


def _log_test(history: History, write: Log) -> None:
    if history.test is not None:
        tested = {f"test_{name}": history.test[name] for name in ("loss", "accuracy")}
        write(zoo.training.history.numbers(history, tested), history.epochs[-1]["step"])


def _header(history: History, trainer: Trainer, workdir: Path) -> str:
    config, environment = history.config, history.environment
    on_test = config["validation"] == "test"
    validated = "validated on the test set" if on_test else f"{trainer.num_val:,} held out"
    lines = [
        f"{config['model']}: {history.model['num_params']:,} parameters, "
        f"{zoo.training.history.seeds_text(history)}",
        f"{config['dataset']}: {trainer.num_train:,} training images, {validated}, "
        f"{len(trainer.dataset.test):,} test images",
        f"{environment['platform']} ({environment['device']}), jax {environment['jax']}, "
        f"writing to {workdir}",
    ]
    if on_test and config["checkpoint"]["every_epochs"] and config["checkpoint"]["keep_best"]:
        lines.append("note: the best checkpoint is chosen by test data (validation=test)")
    return "\n".join(lines)
