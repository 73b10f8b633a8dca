"""One run's model, optimizer, data and compiled programs: an epoch at a time."""

import functools
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

import zoo.config
import zoo.data
import zoo.data.framing
import zoo.system.memory
import zoo.training.optim
from zoo.config import rates
from zoo.data.dataset import note_untrained_classes
from zoo.models.paths import PatternError
from zoo.system.errors import ZooError
from zoo.training import distributed, init_from, loss_scale, mesh, nets, programs
from zoo.training.best import Best
from zoo.training.scoring import Evaluator
from zoo.training.step import (
    Metrics,
    Progress,
    TrainState,
    create_train_state,
    make_eval_step,
    make_gradients,
    make_train_step,
    num_steps,
)
from zoo.training.streaming import make_feed
from zoo.training.terminal import Terminal

AfterPiece = Callable[[TrainState, Progress], None]  # may save them, may raise to end the run


class Trainer:
    """One run's model, optimizer, compiled programs, and data on the device."""

    _compiler: programs.Compiler  # of training and validation, once they are prepared

    def __init__(
        self,
        config: ml_collections.ConfigDict,
        dataset: zoo.data.Dataset,
        terminal: Terminal,
        net: nets.ChosenNet | None = None,  # None: that of the configuration
    ) -> None:
        """Builds the model and the optimizer and moves the data to the device.

        Raises:
            ZooError: the data is not fit for training.
        """
        zoo.data.check(dataset)
        train_split, val_split = zoo.data.split_validation(dataset, config.validation)
        if config.validation != "test":
            note_untrained_classes(dataset, train_split, val_split)
        self.config = config
        self.seeds = range(config.seed, config.seed + config.num_seeds)
        self.dataset = dataset
        self.num_train, self.num_val = len(train_split), len(val_split)
        self._terminal = terminal

        sizes = {"num_train": self.num_train, "num_val": self.num_val}
        self.data_sizes = sizes | dataset.facts
        is_ink = dataset.pictures == "ink"
        self.framing = zoo.data.framing.learn(train_split.images) if is_ink else None
        self._batch_size = min(config.batch_size, self.num_train)
        self.net = net or nets.choose(config, None)[1]
        self.model = nets.make(self.net, dataset.num_classes, config.dtype, config.remat)
        self.mesh = mesh.make(config, self._batch_size, can_spread=self.net.is_of_our_layers)
        self._of_state, _ = mesh.of_state_and_orders(config.num_seeds)
        self.steps_per_epoch = math.ceil(self.num_train / self._batch_size)
        rates.check_updates(config, self.num_train, self.steps_per_epoch)
        splits = {"train": train_split, "validation": val_split}
        if config.validation != "test":
            splits["test"] = dataset.test
        self.feed = make_feed(config, splits, self._batch_size, self.mesh, self._orders)
        optimizer = rates.resolved(config)
        self._schedule = zoo.training.optim.make_schedule(
            optimizer, self.steps_per_epoch, config.num_epochs
        )
        self._tx = zoo.training.optim.make_optimizer(optimizer, self._schedule)
        self.source: init_from.Source | None = None  # that `init` starts from
        skips, smoothing, freeze = config.on_nan == "skip", config.label_smoothing, config.freeze
        tx, self._rate = zoo.training.optim.with_arguments(optimizer, self._tx)
        axis = mesh.DATA if mesh.count(self.mesh, mesh.DATA) > 1 else None
        train_step = make_train_step(self.model, tx, skips, smoothing, freeze, axis)
        self._train = programs.make_train_program(
            train_step,
            config.num_seeds,
            config.deterministic,
            self.mesh,
            programs.seeds_at_once(config),
        )
        self.gradients = jax.jit(make_gradients(self.model, smoothing, freeze))  # of a batch
        self._evaluate = Evaluator(make_eval_step(self.model), config, self.mesh, terminal)

    def init(self) -> TrainState:
        """The state at step 0; of many seeds, with an axis of seeds in front of each array.

        Raises:
            ZooError: the dataset's images are too small for the net; `freeze` or `optimizer.rates`
                do not suit it.
        """
        self.state_shapes()
        state = programs.stack_seeds([self._draw(seed) for seed in self.seeds])
        return mesh.place(self.mesh, state, self._of_state)

    def _draw(self, seed: int) -> TrainState:
        shape = self.dataset.train.images.shape[1:]
        given = self.source.variables if self.source else None
        return create_train_state(
            self.model, self._tx, seed, shape, variables=given, freeze=self.config.freeze
        )

    def state_shapes(self) -> TrainState:
        """The shapes of one seed's state, which fits into the memory; raises ZooError as `init`."""
        nets.check_logits(self.model, self.dataset, self.config)
        try:
            one = jax.eval_shape(lambda: self._draw(self.seeds[0]))
        except PatternError as error:
            raise ZooError(zoo.config.wrong_patterns(error)) from None
        mesh.check_spreads(self.mesh, one, self.config.model)
        copies = len(self.seeds) * (2 if self.config.validation == "holdout" else 1)
        seeds = f" of {len(self.seeds):,} seeds" if len(self.seeds) > 1 else ""
        zoo.system.memory.check_fits(
            copies * mesh.part_of_bytes(self.mesh, one, mesh.WHOLE),
            f"the state of {self.config.model}{seeds}",
            "use a smaller net or fewer seeds" if seeds else "use a smaller net",
        )
        return one

    def prepare(self) -> None:
        """Starts to trace training and validation in another thread, for `compile`.

        Raises:
            ZooError: as `init`.
        """
        one = self.state_shapes()
        sums = jax.eval_shape(Metrics.zeros)
        state, sums_of_all = programs.seeds_shapes((one, sums), len(self.seeds))
        state = mesh.shapes_of(self.mesh, state, self._of_state)
        training, validation = self.feed.shapes()
        self._compiler = programs.Compiler(
            (self._train, (state, sums_of_all, *training.piece(0, 0), self._rate)),
            (self._evaluate.program, self._evaluate.shapes(one, validation)),
            before=lambda: self._orders(1),  # so that it is compiled
        )

    def compile(self, done: int = 0) -> None:
        """Compiles training; validation goes on to be compiled beside the first epoch.

        Args:
            done: the steps that are done: data is read ahead from there, if it is streamed.

        Raises:
            ZooError: training needs more memory than the device has free.
        """
        epoch, step = divmod(done, self.steps_per_epoch)
        self.feed.begin(epoch + 1, step)
        with self._terminal.waiting("compiling"):
            training, validation = self._compiler.compile()
            self._evaluate.use(self.feed.shapes()[1], validation)
            compiled = training.result()
        zoo.system.memory.check_fits(
            zoo.system.memory.program_bytes(compiled),
            f"a training step of {self.config.model} with batches of {self._batch_size:,}",
            "use a smaller config.batch_size",
        )
        self._train = compiled

    def run_epoch(
        self,
        state: TrainState,
        epoch: int,
        progress: Progress | None = None,
        after_piece: AfterPiece = lambda state, progress: None,
    ) -> tuple[TrainState, dict[str, Any]]:
        """Trains one epoch, or the rest of it, and validates. Gives the history's record too.

        Args:
            state: is used up.
            epoch: its number, from 1.
            progress: how far it has come; None: it begins.
            after_piece: called every half second or so, validation included, with what going on
                from there needs; it must not keep the state.
        """
        title = f"epoch {epoch}/{self.config.num_epochs}"
        state, progress = self._train_epoch(state, epoch, title, progress, after_piece)
        start = time.perf_counter()
        pause = functools.partial(after_piece, state, progress)
        val = self._evaluate(
            state, self.feed.scoring("validation", epoch), "validation", pause
        ).means()
        step = num_steps(state)
        num_trained = int(np.sum(progress.sums.num_examples))  # of all seeds, less what was skipped
        skipped: dict[str, Any] = {}
        if self.config.on_nan == "skip":
            skipped["skipped"] = len(self.seeds) * self.num_train - num_trained
        if isinstance(scaled := state.opt_state, loss_scale.ScaledState):
            known = distributed.at_hand(
                {"skipped_steps": scaled.num_skipped, "loss_scale": scaled.factor}
            )
            skipped |= {name: np.asarray(value).tolist() for name, value in known.items()}
        return state, {
            "epoch": epoch,
            "step": step,
            **progress.sums.means(),
            **{f"val_{name}": value for name, value in val.items()},
            "learning_rate": self.learning_rate(step),
            "seconds": progress.seconds + time.perf_counter() - start,
            "images_per_second": num_trained / progress.seconds,
            **skipped,
        }

    def learning_rate(self, step: int) -> float:
        """The learning rate of the last update among that many steps, if none was skipped."""
        updates_done = step // self.config.optimizer.accumulate_steps
        return float(self._schedule(max(0, updates_done - 1)))

    def test(
        self,
        state: TrainState,
        best: Best | None,
        last_record: dict[str, Any],
        after_piece: Callable[[], None] = lambda: None,
    ) -> dict[str, Any]:
        """The test set's loss and accuracy, and the epoch whose parameters are scored.

        That is the best, if there is one, and else the last.
        """
        epochs = np.full(state.step.shape, last_record["epoch"])  # [] or [seeds]
        if self.config.validation == "test":  # scored already
            means = {name: last_record[f"val_{name}"] for name in ("loss", "accuracy")}
        else:
            if best is not None:
                state = state.replace(params=best.params, batch_stats=best.batch_stats)
                epochs = np.asarray(distributed.at_hand(best.epoch))
            phase = self.feed.scoring("test", last_record["epoch"])
            means = self._evaluate(state, phase, "test", after_piece).means()
        return {**means, "num_examples": len(self.dataset.test), "epoch": epochs.tolist()}

    def replay(self, state: TrainState, until: int) -> TrainState:
        """Trains until so many steps are done, without a look at metrics; `state` is used up."""
        while (done := num_steps(state)) < until:
            epoch, first = divmod(done, self.steps_per_epoch)
            phase = self.feed.training(epoch + 1)
            window = first - first % phase.window + phase.window
            stop = min(self.steps_per_epoch, first + until - done, window)
            piece = phase.at(first).piece(first, stop)
            zeros = mesh.place(self.mesh, self._zeros(), self._of_state)
            state, _ = self._train(state, zeros, *piece, self._rate)
        return state

    def _zeros(self) -> Metrics:
        return programs.stack_seeds([Metrics.zeros() for _ in self.seeds])

    def _train_epoch(
        self,
        state: TrainState,
        epoch: int,
        title: str,
        progress: Progress | None,
        after_piece: AfterPiece,
    ) -> tuple[TrainState, Progress]:
        began = time.perf_counter()
        phase = self.feed.training(epoch)
        known, seconds = progress or Progress(self._zeros(), 0.0)
        sums = mesh.place(self.mesh, known, self._of_state)
        began -= seconds
        first = num_steps(state) - (epoch - 1) * self.steps_per_epoch
        images_per_step = len(self.seeds) * self._batch_size
        with self._terminal.progress(title, len(self.seeds) * self.num_train) as show:
            show(first * images_per_step, known)
            for start, stop in programs.pieces(first, phase.num_steps, phase.window):
                piece = phase.at(start).piece(start, stop)
                state, sums = self._train(state, sums, *piece, self._rate)
                known = distributed.at_hand(jax.block_until_ready(sums))
                show((stop - start) * images_per_step, known)
                after_piece(state, Progress(known, time.perf_counter() - began))
        return state, Progress(known, time.perf_counter() - began)

    def _orders(self, epoch: int) -> jax.Array:
        """The epoch's batches: [steps, batch]; of many seeds, [seeds, steps, batch]."""
        return programs.stack_seeds([self._order(seed, epoch) for seed in self.seeds])

    def _order(self, seed: int, epoch: int) -> jax.Array:
        return programs.epoch_order(jnp.uint32(seed), epoch, self.num_train, self._batch_size)
