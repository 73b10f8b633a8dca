"""A whole run: epochs, validation, history, checkpoints, and going on where it stopped."""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import flax.linen as nn
import jax
import numpy as np
from ml_collections import ConfigDict

import zoo.training.divergence
import zoo.training.workdir
from zoo.models.layers import Net
from zoo.system.errors import DivergedError, StoppedError, ZooError
from zoo.system.files import as_sentence, expanded
from zoo.system.memory import shortage_as_sentence
from zoo.system.settings import usual_settings
from zoo.training import distributed
from zoo.training.beginning import begun, check_agreed, load, opened
from zoo.training.best import Best, better_of
from zoo.training.checkpoint import Checkpoints
from zoo.training.ending import draw, say_complete, tell
from zoo.training.events import Log, log_test, log_whole
from zoo.training.history import History, numbers
from zoo.training.loop import Trainer
from zoo.training.nets import choose
from zoo.training.resume import first_snapshot, past_history, starting_point
from zoo.training.snapshot import Snapshot
from zoo.training.step import Progress, TrainState, all_finite, num_steps
from zoo.training.terminal import Terminal, header_text, left_out_notes

_LESS = (
    "use a smaller config.batch_size or config.eval_batch_size, and the same command goes on from "
    "the last checkpoint, if there is one"
)
_LOWER_RATE = "use a lower config.optimizer.learning_rate and another directory"


@usual_settings()
@distributed.loss_as_sentence()
def train_and_evaluate(
    config: ConfigDict,
    workdir: str | Path,
    *,
    model: Net | nn.Module | None = None,
    quiet: bool = False,
    dataset: zoo.data.Dataset | None = None,
    log: Log | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> History:
    """Trains a net as the configuration says, or goes on with the run that `workdir` holds.

    Writes `history.json`, `checkpoints/` and `history.png`. A complete run is left as it is.

    Args:
        config: as in configs/default.py.
        workdir: the run's directory.
        model: in place of config.model, a tuple of layers or a Flax module that is called as ours;
            to go on with a module's run, or to evaluate it, give the module again.
        quiet: print nothing but the result.
        dataset: in place of config.dataset, such as `zoo.data.from_arrays` gives; to go on, too.
        log: called as log(numbers, step) after each epoch, `numbers` being its entry in the history
            (of many seeds the means, and each as "seed_3/loss"), and at the end with "test_loss"
            and "test_accuracy"; of a run that goes on, for its earlier epochs first. wandb's
            `run.log` and `mlflow.log_metrics` will do. Its errors end the run, which can go on.
        should_stop: asked every half second or so; True saves the run and ends it.

    Raises:
        DivergedError: a loss is not finite any more.
        StoppedError: should_stop said so.
        ZooError: the configuration, net, data, memory, workdir or disk does not do.
    """
    config, net = choose(_on(dataset, config), model)
    workdir, terminal = expanded(workdir), Terminal(quiet)
    check_agreed(config, workdir)
    with distributed.first_before_others():
        zoo.training.workdir.check(workdir)
        history = past_history(config, workdir, net, dataset)
    if history and history.is_complete:
        distributed.on_first(say_complete, history, workdir, terminal, log)
        return history
    trainer, first = load(config, net, dataset, workdir, history, terminal)
    with (
        contextlib.closing(trainer.feed),
        opened(workdir, config, log) as write,
        shortage_as_sentence(f"{config.model} with batches of {config.batch_size:,}", _LESS),
    ):
        history = Run(workdir, terminal, trainer, should_stop, history).go(first, write)
        distributed.on_first(draw, history, workdir, terminal)
    tell(history, workdir, terminal)
    return history


def _on(dataset: zoo.data.Dataset | None, config: ConfigDict) -> ConfigDict:
    """The configuration as it is kept of a run on that dataset."""
    if dataset is None:
        return config
    config = config.copy_and_resolve_references()
    config.update(dataset=dataset.name, data=dataclasses.asdict(dataset.options))
    return config


class Run:
    """One process's part of a run: epoch after epoch, from where it stands to its end."""

    def __init__(
        self,
        workdir: Path,
        terminal: Terminal,
        trainer: Trainer,
        should_stop: Callable[[], bool],
        past: History | None,
    ) -> None:
        """Opens the run's checkpoints; `past` is the history in workdir, if any."""
        settings = trainer.config.checkpoint
        self._workdir, self._terminal, self._trainer = workdir, terminal, trainer
        self._should_stop = lambda: distributed.any_of(should_stop())
        self._past = past
        self._every_epochs = settings.every_epochs
        self._every_seconds = 60 * settings.every_minutes or float("inf")
        with distributed.first_before_others(), as_sentence(workdir):
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
        start = self._start(first)
        state, history, best, progress = start.state, start.history, start.best, start.progress
        log_whole(history, write)
        if len(history.epochs) < num_epochs:
            trainer.compile(num_steps(state))
        self._num_good = num_steps(state)
        for epoch in range(len(history.epochs) + 1, num_epochs + 1):
            after_piece = functools.partial(self._after_piece, history, best)
            state, record = trainer.run_epoch(state, epoch, progress, after_piece)
            progress = None
            self._check_finite(record)
            if best is not None:
                best = better_of(best, state, record, trainer.config.checkpoint.best_metric)
            history.epochs.append(record)
            self._finish_epoch(Snapshot(state, history, best), write)
        test = trainer.test(state, best, history.epochs[-1], self._after_piece_of_test)
        if not np.all(np.isfinite(test["loss"])):
            raise self._divergence("the loss on the test images is not finite", _LOWER_RATE)
        history.test = test
        self._write(history)
        log_test(history, write)
        return history

    def _start(self, first: Snapshot) -> Snapshot:
        """Where the run goes on; says so."""
        with distributed.first_before_others(), as_sentence(self._workdir):
            start, notes = starting_point(
                self._workdir, self._checkpoints, first, self._trainer.steps_per_epoch
            )
        if start is first:
            start = begun(self._trainer, first, self._workdir, self._past)
        if start is not first:
            for leaf in jax.tree.leaves((first.state, first.best)):
                leaf.delete()  # the memory is needed for the one that goes on
        self._terminal.say(header_text(start.history, self._workdir))
        for note in notes:
            self._terminal.note(note)
        if step := num_steps(start.state):
            self._terminal.say(f"going on {self._place(step, bool(start.progress))}")
        return start

    def _finish_epoch(self, snapshot: Snapshot, write: Log) -> None:
        """Writes and tells what an epoch came to; ends the run if a stop was asked for."""
        history, record = snapshot.history, snapshot.history.epochs[-1]
        num_epochs = self._trainer.config.num_epochs
        # History first: a checkpoint holds its own, so dying in between loses nothing.
        self._write(history)
        every, epoch = self._every_epochs, record["epoch"]
        stop = self._should_stop()
        if every and (epoch % every == 0 or epoch == num_epochs or stop):
            self._save(snapshot)
        self._terminal.epoch(record, num_epochs)
        for note in left_out_notes(history):
            self._terminal.note(note)
        write(numbers(history, record), record["step"])
        if stop:
            self._stop(self._place(record["step"], False))

    def _after_piece(
        self, history: History, best: Best | None, state: TrainState, progress: Progress
    ) -> None:
        """Between two pieces of an epoch: saves or stops, if it is time to."""
        step = num_steps(state)
        if not np.all(np.isfinite(progress.sums.loss_sum)):
            raise self._diverged("loss", step)
        stop = self._should_stop()
        can_save = bool(self._every_epochs) and self._saved_step != step  # once in a validation
        is_due = can_save and time.monotonic() - self._saved_at >= self._every_seconds
        if stop or distributed.any_of(is_due):
            if not all_finite(state.params):  # by the last step, which the next loss would show
                raise self._diverged("sum of parameters", step)
            if can_save:
                self._save(Snapshot(state, history, best, progress))
                self._saved_step = step
        if stop:
            self._stop(self._place(step, True))
        self._num_good = step - 1  # what the last one's gradient did, the next loss will show

    def _after_piece_of_test(self) -> None:
        if self._should_stop():
            epochs = self._trainer.config.num_epochs
            self._stop(self._place(epochs * self._trainer.steps_per_epoch, False))

    def _save(self, snapshot: Snapshot) -> None:
        distributed.on_first(self._checkpoints.save, snapshot.at_hand())
        self._saved_at = time.monotonic()

    def _write(self, history: History) -> None:
        with distributed.together(), as_sentence(self._workdir):
            if distributed.is_first():
                history.write(self._workdir)

    def _stop(self, place: str) -> NoReturn:
        if self._every_epochs:
            outcome = f", saved in {self._workdir}: the same command goes on"
        else:
            kept = "no checkpoint was kept (checkpoint.every_epochs=0)"
            outcome = f"; {kept}: the same command starts over"
        raise StoppedError(f"stopped {place}{outcome}")

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
            advice = _LOWER_RATE
        else:
            self._terminal.say(
                f"{what}: training again from the last checkpoint, or the beginning, to see why"
            )
            with contextlib.suppress(ZooError):  # no room for another state, say: then without
                good = self._last_good()
                if found := zoo.training.divergence.find(
                    trainer, good, self._num_good, step, self._should_stop
                ):
                    what += f": {found}"
            advice = (
                "use a lower config.optimizer.learning_rate, or config.optimizer.clip_norm, and "
                "another directory, or go on here with --config.on_nan=skip"
            )
        return self._divergence(what, advice)

    def _divergence(self, what: str, advice: str) -> DivergedError:
        return DivergedError(f"{what}; {advice}; what was saved before stays in {self._workdir}")

    def _last_good(self) -> TrainState:
        """The state of the newest good checkpoint, or the one at step 0."""
        first = first_snapshot(self._trainer)
        with distributed.first_before_others():
            found, notes = self._checkpoints.newest(like=first)
        for note in notes:
            self._terminal.note(note)
        return (found or begun(self._trainer, first, self._workdir, self._past)).state
