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
from zoo.training.programs import (
    compiled,
    over_batches,
    padded_order,
    pieces,
    seeds_shapes,
    stack_seeds,
    take_seed,
)
from zoo.training.step import Batch, Metrics, TrainState
from zoo.training.terminal import Terminal

Split = tuple[jax.Array, jax.Array]  # images [N, H, W, C], labels [N], on the device


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
        self._num_seeds, self._batch_size = config.num_seeds, config.eval_batch_size
        self._mesh, self._terminal = mesh, terminal
        self._num_groups = meshes.count(mesh, meshes.SEED)  # of devices: as many seeds at once
        self._of_groups = meshes.SEEDS if self._num_groups > 1 else meshes.WHOLE
        self.program = make_eval_program(eval_step, config.deterministic, mesh)
        self._compiled: tuple[Split, Future[Any]] | None = None

    def shapes(self, one: TrainState, split: Split) -> tuple[Any, ...]:
        """What the program is called with, to compile it for a split, of arrays their shapes.

        Args:
            one: the shapes of one seed's state.
            split: that it is for.
        """
        variables = seeds_shapes(_variables(one), self._num_groups)
        zeros, batches = jax.eval_shape(lambda: (self._zeros(), self._batches(split)))
        return variables, zeros, split, batches, 0, 0

    def use(self, split: Split, program: Future[Any]) -> None:
        """Makes the split be scored with a program that is compiled for it."""
        self._compiled = split, program

    def __call__(
        self, state: TrainState, split: Split, title: str, after_piece: Callable[[], None]
    ) -> Metrics:
        """The sums over a split; of many seeds, a sum for each.

        Args:
            state: of all seeds.
            split: what is scored.
            title: of the progress bar.
            after_piece: called after each piece of half a second or so.
        """
        program = self.program
        if self._compiled and split is self._compiled[0]:
            program = self._compiled[1].result()
        batches = meshes.place(self._mesh, self._batches(split), meshes.BATCHES)
        each = []
        with self._terminal.progress(title, self._num_seeds * len(split[1])) as show:
            for variables in self._each_variables(state):
                sums = meshes.place(self._mesh, self._zeros(), self._of_groups)
                for start, stop in pieces(0, len(batches)):
                    sums = program(variables, sums, split, batches, start, stop)
                    known = distributed.at_hand(jax.block_until_ready(sums))
                    show((stop - start) * batches.shape[1] * known.num_examples.size, known)
                    after_piece()
                each.append(known)
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

    def _batches(self, split: Split) -> jax.Array:
        """The batches of indices in which a split is scored: [steps, batch].

        Their size does not change the result; it is a multiple of the devices that share one.
        """
        num_images, sharing = len(split[1]), meshes.count(self._mesh, meshes.DATA)
        size = min(self._batch_size, num_images)
        return padded_order(jnp.arange(num_images), -(-size // sharing) * sharing)


def make_eval_program(
    eval_step: Callable[[Any, Batch], Metrics],
    deterministic: bool = False,
    mesh: Mesh | None = None,
) -> Callable[..., Metrics]:
    """Compiles run(variables, metrics, split, order, start, stop) -> metrics.

    It scores the batches `start` to `stop - 1`, as `make_train_program` trains on them. On a mesh
    with several groups of devices for the seeds, variables and metrics have an axis of seeds in
    front, one for each group; else they are of one seed.
    """
    spreads_seeds = meshes.count(mesh, meshes.SEED) > 1

    def run(variables: Any, metrics: Metrics, split: Any, order: jax.Array, *piece: Any) -> Metrics:
        def one(metrics: Metrics, batch: Batch) -> Metrics:
            return metrics + eval_step(variables, batch)

        if meshes.count(mesh, meshes.DATA) == 1:
            return over_batches(one, metrics, split, order, *piece)
        own = over_batches(one, Metrics.zeros(), split, order, *piece)
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
