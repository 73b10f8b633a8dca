"""A net's loss and accuracy on a split of the data, in a loop on the device."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
from jax.sharding import Mesh

from zoo.training import distributed
from zoo.training import mesh as meshes
from zoo.training.feeding import Data, Phase
from zoo.training.programs import (
    compiled,
    over_batches,
    pieces,
    seeds_shapes,
    stack_seeds,
    take_seed,
)
from zoo.training.step import Batch, Metrics, TrainState
from zoo.training.terminal import Terminal


class Evaluator:
    """Scores a run's net, with the parameters of each seed, on splits of its data."""

    def __init__(
        self,
        eval_step: Callable[[Any, Batch], Metrics],
        config: ml_collections.ConfigDict,
        mesh: Mesh | None,
        terminal: Terminal,
    ) -> None:
        """The step is from `zoo.training.step.make_eval_step`, the rest the run's."""
        self._num_seeds = config.num_seeds
        self._mesh, self._terminal = mesh, terminal
        self._num_groups = meshes.count(mesh, meshes.SEED)  # of devices: as many seeds at once
        self._of_groups = meshes.SEEDS if self._num_groups > 1 else meshes.WHOLE
        self.program = make_eval_program(eval_step, config.deterministic, mesh)
        self._compiled: tuple[Any, Future[Any]] | None = None

    def shapes(self, one: TrainState, data: Data) -> tuple[Any, ...]:
        """What the program is called with, to compile it for data, of arrays their shapes.

        Args:
            one: the shapes of one seed's state.
            data: that it is for, or its shapes.
        """
        variables = seeds_shapes(_variables(one), self._num_groups)
        variables = meshes.shapes_of(self._mesh, variables, self._of_groups)
        return variables, jax.eval_shape(self._zeros), *data.piece(0, 0)

    def use(self, data: Data, program: Future[Any]) -> None:
        """Makes data of those shapes be scored with a program that is compiled for it."""
        self._compiled = _shapes(data), program

    def __call__(
        self, state: TrainState, phase: Phase, title: str, after_piece: Callable[[], None]
    ) -> Metrics:
        """The sums over a split; of many seeds, a sum for each.

        Args:
            state: of all seeds.
            phase: what is scored.
            title: of the progress bar.
            after_piece: called after each piece of half a second or so.
        """
        rounds = self._num_seeds // self._num_groups  # of as many seeds as there are groups
        each = [self._zeros() for _ in range(rounds)]
        images_per_step = self._num_groups * -(-phase.num_images // phase.num_steps)
        with self._terminal.progress(title, self._num_seeds * phase.num_images) as show:
            for first in range(0, phase.num_steps, phase.window):
                data, end = phase.at(first), min(first + phase.window, phase.num_steps)
                program = self._program_for(data)
                for index, variables in enumerate(self._each_variables(state)):
                    for start, stop in pieces(first, end):
                        sums = meshes.place(self._mesh, each[index], self._of_groups)
                        sums = program(variables, sums, *data.piece(start, stop))
                        each[index] = distributed.at_hand(jax.block_until_ready(sums))
                        show((stop - start) * images_per_step, each[index])
                        after_piece()
        if len(each) == 1:
            return each[0]
        return jax.tree.map(lambda *sums: jnp.stack(sums, axis=-1).ravel(), *each)

    def _each_variables(self, state: TrainState) -> Iterator[dict[str, Any]]:
        """What the program is called with, one after another: a seed, or one of each group."""
        variables, groups = _variables(state), self._num_groups
        if self._num_seeds == groups:
            yield variables
            return
        if groups == 1:
            for index in range(self._num_seeds):
                yield meshes.place(self._mesh, take_seed(variables, index), meshes.WHOLE)
            return
        each = self._num_seeds // groups  # seeds of a group, which come one after another
        for index in range(each):
            own = take_seed(variables, slice(index, None, each))
            yield meshes.place(self._mesh, own, meshes.SEEDS)

    def _zeros(self) -> Metrics:
        return stack_seeds([Metrics.zeros()] * self._num_groups)

    def _program_for(self, data: Data) -> Any:
        """The program that is compiled for such data, or one that is compiled when it is called."""
        if self._compiled and self._compiled[0] == _shapes(data):
            return self._compiled[1].result()
        return self.program


def _shapes(data: Data) -> Any:
    """The shapes of the arrays in data."""
    return [leaf.shape for leaf in jax.tree.leaves((data.split, data.batches))]


def make_eval_program(
    eval_step: Callable[[Any, Batch], Metrics],
    deterministic: bool = False,
    mesh: Mesh | None = None,
) -> Callable[..., Metrics]:
    """Compiles run(variables, metrics, split, batches, start, stop) -> metrics.

    It scores the batches `start` to `stop - 1`, as `make_train_program` trains on them. On a mesh
    with several groups of devices for the seeds, variables and metrics have an axis of seeds in
    front, one for each group; else they are of one seed.
    """
    spreads_seeds = meshes.count(mesh, meshes.SEED) > 1

    def run(variables: Any, metrics: Metrics, split: Any, batches: Any, *piece: Any) -> Metrics:
        def one(metrics: Metrics, batch: Batch) -> Metrics:
            return metrics + eval_step(variables, batch)

        if meshes.count(mesh, meshes.DATA) == 1:
            return over_batches(one, metrics, split, batches, *piece)
        own = over_batches(one, Metrics.zeros(), split, batches, *piece)
        return metrics + jax.lax.psum(own, meshes.DATA)

    def run_seed(variables: Any, metrics: Metrics, *others: Any) -> Metrics:
        own = take_seed((variables, metrics), 0)
        return jax.tree.map(lambda leaf: leaf[None], run(*own, *others))

    whole = meshes.WHOLE
    each = meshes.SEEDS if spreads_seeds else whole
    return compiled(
        run_seed if spreads_seeds else run,
        mesh,
        (each, each, whole, meshes.BATCHES, whole, whole),
        each,
        donate_argnums=(1,),
        deterministic=deterministic,
    )


def _variables(state: TrainState) -> dict[str, Any]:
    """What a net is applied with."""
    return {"params": state.params, "batch_stats": state.batch_stats}
