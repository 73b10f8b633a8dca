"""One run's model, optimizer, data and compiled programs: an epoch at a time."""

import math
import time
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

import zoo.data
import zoo.models
import zoo.optim
from zoo.errors import ZooError
from zoo.steps import (
    Best,
    Metrics,
    Stream,
    TrainState,
    better_of,
    create_train_state,
    make_eval_program,
    make_eval_step,
    make_train_program,
    make_train_step,
    padded_order,
    random_key,
    stack_seeds,
    take_seed,
)
from zoo.terminal import Terminal

SECONDS_PER_PIECE = 0.5


class Trainer:
    """One run's model, optimizer, compiled programs, and data on the device."""

    def __init__(
        self, config: ml_collections.ConfigDict, dataset: zoo.data.Dataset, terminal: Terminal
    ) -> None:
        """Builds the model and the optimizer and moves the data to the device."""
        train_split, val_split = zoo.data.split_validation(dataset, config.validation)
        self.config = config
        self.seeds = range(config.seed, config.seed + config.num_seeds)
        self.dataset = dataset
        self.num_train, self.num_val = len(train_split), len(val_split)
        self._terminal = terminal
        self._train_split = _on_device(train_split)
        self._val_split = _on_device(val_split)

        self.data_sizes = {
            "num_train": self.num_train,
            "num_val": self.num_val,
            "num_test": len(dataset.test),
            "num_classes": dataset.num_classes,
            "image_shape": list(dataset.train.images.shape[1:]),  # height, width, channels
        }
        self._batch_size = min(config.batch_size, self.num_train)
        self._steps_per_epoch = math.ceil(self.num_train / self._batch_size)
        self._schedule = zoo.optim.make_schedule(
            config.optimizer, self._steps_per_epoch, config.num_epochs
        )
        self._tx = zoo.optim.make_optimizer(config.optimizer, self._schedule)
        self._model = zoo.models.create_model(
            config.model, num_classes=dataset.num_classes, dtype=jnp.dtype(config.dtype)
        )
        self._train = make_train_program(make_train_step(self._model, self._tx), config.num_seeds)
        self._evaluate = make_eval_program(make_eval_step(self._model))

    def init(self) -> TrainState:
        """The state at step 0; of many seeds, with an axis of seeds in front of each array.

        Raises:
            ZooError: the dataset's images are too small for the net.
        """
        image_shape = self.dataset.train.images.shape[1:]
        try:
            state = stack_seeds(
                [
                    create_train_state(self._model, self._tx, seed, image_shape)
                    for seed in self.seeds
                ]
            )
        except zoo.models.ImageTooSmallError as error:
            raise ZooError(f"{self.config.model} on {self.config.dataset}: {error}") from None
        if self.config.validation == "holdout":
            none_yet = Best(
                score=jnp.full(state.step.shape, -jnp.inf),
                epoch=jnp.zeros_like(state.step),
                params=state.params,
                batch_stats=state.batch_stats,
            )
            state = state.replace(best=jax.tree.map(jnp.copy, none_yet))  # buffers of its own
        return state

    def epochs_done(self, state: TrainState) -> int:
        """How many whole epochs the state has seen."""
        return _step(state) // self._steps_per_epoch

    def run_epoch(self, state: TrainState, epoch: int) -> tuple[TrainState, dict[str, Any]]:
        """Trains one epoch and validates; `state` is used up. Gives the history's record too."""
        start = time.perf_counter()
        title = f"epoch {epoch}/{self.config.num_epochs}"
        best = state.best
        state, train = self._train_epoch(state.replace(best=None), epoch, title)
        train_seconds = time.perf_counter() - start
        val = self._evaluate_split(state, self._val_split, "validation").means()
        if best is not None:
            best = better_of(best, self._candidate(state, epoch, val))
        step = _step(state)
        updates_done = step // self.config.optimizer.accumulate_steps
        return state.replace(best=best), {
            "epoch": epoch,
            "step": step,
            **train.means(),
            **{f"val_{name}": value for name, value in val.items()},
            "learning_rate": float(self._schedule(max(0, updates_done - 1))),
            "seconds": time.perf_counter() - start,
            "images_per_second": len(self.seeds) * self.num_train / train_seconds,
        }

    def test(self, state: TrainState, last_record: dict[str, Any]) -> dict[str, Any]:
        """The test set's loss and accuracy, and the epoch whose parameters are scored.

        That is the best on the held-out images with validation=holdout, and else the last.
        """
        epochs = jnp.full_like(state.step, last_record["epoch"])  # [] or [seeds]
        if self.config.validation == "test":  # scored already
            means = {name: last_record[f"val_{name}"] for name in ("loss", "accuracy")}
        else:
            if state.best is not None:
                best = state.best
                state = state.replace(params=best.params, batch_stats=best.batch_stats)
                epochs = best.epoch
            means = self._evaluate_split(state, _on_device(self.dataset.test), "test").means()
        return {**means, "num_examples": len(self.dataset.test), "epoch": epochs.tolist()}

    def _candidate(self, state: TrainState, epoch: int, val: dict[str, Any]) -> Best:
        """The state after that epoch, as one that may be the best."""
        metric = self.config.checkpoint.best_metric.removeprefix("val_")
        value = jnp.asarray(val[metric], jnp.float32)
        return Best(
            score=value if metric == "accuracy" else -value,
            epoch=jnp.full(value.shape, epoch, jnp.int32),
            params=state.params,
            batch_stats=state.batch_stats,
        )

    def _train_epoch(self, state: TrainState, epoch: int, title: str) -> tuple[TrainState, Metrics]:
        orders = stack_seeds([self._order(seed, epoch) for seed in self.seeds])
        metrics = stack_seeds([Metrics.zeros() for _ in self.seeds])
        num_seeds = len(self.seeds)
        with self._terminal.progress(title, num_seeds * self.num_train) as progress:
            for start, stop in _pieces(self._steps_per_epoch):
                state, metrics = self._train(state, metrics, self._train_split, orders, start, stop)
                jax.block_until_ready(metrics)
                progress(num_seeds * (stop - start) * self._batch_size, metrics)
        return state, metrics

    def _order(self, seed: int, epoch: int) -> jax.Array:
        """The epoch's batches of indices: [steps, batch]."""
        key = random_key(jnp.uint32(seed), Stream.ORDER, epoch)
        return padded_order(jax.random.permutation(key, self.num_train), self._batch_size)

    def _evaluate_split(self, state: TrainState, split: Any, title: str) -> Metrics:
        num_examples = len(split[1])
        batch_size = min(self.config.eval_batch_size, num_examples)
        batches = padded_order(jnp.arange(num_examples), batch_size)
        each = []
        with self._terminal.progress(title, len(self.seeds) * num_examples) as progress:
            for index in range(len(self.seeds)):
                own = take_seed(state, index) if len(self.seeds) > 1 else state
                variables = {"params": own.params, "batch_stats": own.batch_stats}
                metrics = Metrics.zeros()
                for start, stop in _pieces(len(batches)):
                    metrics = self._evaluate(variables, metrics, split, batches, start, stop)
                    jax.block_until_ready(metrics)
                    progress((stop - start) * batch_size, metrics)
                each.append(metrics)
        return stack_seeds(each)


def _step(state: TrainState) -> int:
    """The steps done, which are the same for all seeds."""
    return int(state.step.ravel()[0])


def _pieces(num_steps: int) -> Iterator[tuple[int, int]]:
    """Cuts an epoch into (start, stop): pieces that run as one call each, and are waited for.

    They grow until a piece takes half a second, so that a progress bar moves and yet the device
    seldom waits for the host. Where the cuts are does not change the result.
    """
    start, length = 0, 1
    while start < num_steps:
        began = time.perf_counter()
        stop = min(start + length, num_steps)
        yield start, stop
        seconds = time.perf_counter() - began
        length = max(1, min(4 * length, int(length * SECONDS_PER_PIECE / seconds)))
        start = stop


def _on_device(split: zoo.data.Split) -> tuple[jax.Array, jax.Array]:
    return jnp.asarray(split.images), jnp.asarray(split.labels)
