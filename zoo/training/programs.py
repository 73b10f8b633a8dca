"""Many steps as one compiled program: batches by their indices, loops on the device, seeds."""

import functools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import ml_collections
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from zoo.system.settings import usual_settings
from zoo.training import distributed
from zoo.training import mesh as meshes
from zoo.training.step import Batch, Metrics, Stream, TrainState, random_key

Tree = TypeVar("Tree")
Carry = TypeVar("Carry")
SECONDS_PER_PIECE = 0.5
STEPS_AT_ONCE = 16  # on a GPU, between two looks at whether the loop is done


def padded_order(order: jax.Array, batch_size: int) -> jax.Array:
    """Indices [N] as batches [ceil(N / batch_size), batch_size]; -1 pads the last."""
    num_batches = -(-len(order) // batch_size)
    padding = num_batches * batch_size - len(order)
    return jnp.pad(order, (0, padding), constant_values=-1).reshape(num_batches, batch_size)


@functools.partial(jax.jit, static_argnums=(2, 3))
def epoch_order(seed: jax.Array, epoch: jax.Array, num_examples: int, batch_size: int) -> jax.Array:
    """The batches of indices in which a seed sees the training images: [steps, batch]."""
    key = random_key(seed, Stream.ORDER, epoch)
    return padded_order(jax.random.permutation(key, num_examples), batch_size)


def take_batch(split: Any, indices: jax.Array) -> Batch:
    """The batch of those indices; an index of -1 gives a masked example.

    Args:
        split: (images [N, H, W, C], labels [N]) on the device.
        indices: [B] int32.
    """
    images, labels = split
    safe = jnp.maximum(indices, 0)
    return {"image": images[safe], "label": labels[safe], "mask": indices >= 0}


def batch_at(split: Any, batches: Any, index: jax.Array | int) -> Batch:
    """The batch of that number.

    Args:
        split: as in `take_batch`; None: the batches are given themselves.
        batches: indices [steps, batch] of the split, or {"image": [steps, batch, H, W, C], ...}.
        index: of the step.
    """
    own = jax.tree.map(lambda each: each[index], batches)
    return own if split is None else take_batch(split, own)


def stack_seeds(trees: Sequence[Tree]) -> Tree:
    """One tree of the same kind with an axis of seeds in front of each leaf; of one, as it is."""
    if len(trees) == 1:
        return trees[0]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def seeds_shapes(tree: Any, num_seeds: int) -> Any:
    """The shapes of `stack_seeds` of so many trees like this one, of arrays or shapes."""
    axis = (num_seeds,) if num_seeds > 1 else ()
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(axis + leaf.shape, leaf.dtype), tree)


def take_seed(tree: Tree, index: int | slice) -> Tree:
    """The tree of one of many seeds, or of some."""
    return jax.tree.map(lambda leaf: leaf[index], tree)


def pieces(start: int, num_steps: int, window: int = sys.maxsize) -> Iterator[tuple[int, int]]:
    """Cuts the rest of an epoch into (start, stop): pieces of one call each, which is waited for.

    They grow until a piece takes half a second, so that a progress bar moves and yet the device
    seldom waits for the host; none reaches beyond a multiple of `window`. Where the cuts are does
    not change the result.
    """
    length = 1
    while start < num_steps:
        began = time.perf_counter()
        stop = min(start + length, num_steps, start - start % window + window)
        yield start, stop
        seconds = time.perf_counter() - began
        length = max(1, min(4 * length, int((stop - start) * SECONDS_PER_PIECE / seconds)))
        length = distributed.largest(length)
        start = stop


def over_batches(
    one: Callable[[Carry, Batch], Carry],
    carry: Carry,
    split: Any,
    batches: Any,
    start: jax.Array | int,
    stop: jax.Array | int,
) -> Carry:
    """one(carry, batch) for the batches `start` to `stop - 1` of `batch_at`, in one loop.

    A GPU runs a loop to `stop`, which is not known when it is compiled, with the host: before each
    turn, the host waits for the condition. A loop with a fixed number of turns needs no condition.
    So there it does `STEPS_AT_ONCE` in such a loop, as often as they fit, and single ones at the
    end. A CPU and a TPU look at the condition themselves.
    """

    def body(index: jax.Array, carry: Carry) -> Carry:
        return one(carry, batch_at(split, batches, index))

    def several(first: jax.Array, carry: Carry) -> Carry:
        return jax.lax.fori_loop(
            0, STEPS_AT_ONCE, lambda index, carry: body(first + index, carry), carry
        )

    if _host_decides():
        times = (stop - start) // STEPS_AT_ONCE
        carry = jax.lax.fori_loop(
            0, times, lambda count, carry: several(start + count * STEPS_AT_ONCE, carry), carry
        )
        start = start + times * STEPS_AT_ONCE
    return jax.lax.fori_loop(start, stop, body, carry)


def _host_decides() -> bool:
    """Whether a compiled loop waits for the host to know if it goes on."""
    return jax.default_backend() not in ("cpu", "tpu")


def seeds_at_once(config: ml_collections.ConfigDict) -> int:
    """The seeds that a device trains at once, by a configuration."""
    return max(1, config.mesh.seeds_at_once)


def make_train_program(
    train_step: Callable[..., tuple[TrainState, Metrics]],
    num_seeds: int = 1,
    deterministic: bool = False,
    mesh: Mesh | None = None,
    seeds_at_once: int = 1,
) -> Any:
    """Compiles `run(state, metrics, split, order, start, stop, numbers) -> (state, metrics)`.

    It does the steps `start` to `stop - 1` of an epoch, in one call and one loop on the device;
    one compiled program serves any piece of the epoch. `split` is (images, labels) on the device,
    `order` int32 [steps, batch] from `padded_order`; or None, and the batches themselves, of which
    each array has the axes [steps, batch] in front. The new metrics are added to those given.
    State and metrics are donated: their buffers are used up. What comes back is a function as
    `jax.jit` makes it.

    With many seeds, state, metrics and order have an axis of seeds in front (`stack_seeds`). They
    are trained one after another in a loop of the one program, each as it would be alone; or
    `seeds_at_once` of them by `vmap`, up to rounding: all but the convolutions, which are a loop.

    A step is `train_step(state, batch, *numbers)`. A program whose numbers are its arguments, and
    not constants in it, need not be compiled again for others, nor by the next process.

    On a mesh (`zoo.training.mesh`) each device has its part of each batch, and its seeds; then the
    step is one with the axis name "data".

    `deterministic` keeps a GPU from operations whose sums come in any order; a CPU has none.
    """

    def run(
        state: TrainState,
        metrics: Metrics,
        split: Any,
        order: jax.Array,
        start: Any,
        stop: Any,
        numbers: Sequence[jax.Array] = (),
    ) -> tuple[TrainState, Metrics]:
        def one(carry: tuple[TrainState, Metrics], batch: Batch) -> tuple[TrainState, Metrics]:
            state, metrics = carry
            state, new = train_step(state, batch, *numbers)
            return state, metrics + new

        return over_batches(one, (state, metrics), split, order, start, stop)

    def run_seeds(
        state: TrainState, metrics: Metrics, split: Any, order: jax.Array, *others: Any
    ) -> tuple[TrainState, Metrics]:
        each = (state, metrics, order)
        return jax.lax.map(
            lambda own: run(own[0], own[1], split, own[2], *others),
            each,
            batch_size=seeds_at_once if seeds_at_once > 1 else None,
        )

    state, order = meshes.of_state_and_orders(num_seeds)
    return compiled(
        run_seeds if num_seeds > 1 else run,
        mesh,
        (state, state, meshes.WHOLE, order, meshes.WHOLE, meshes.WHOLE, meshes.WHOLE),
        (state, state),
        donate_argnums=(0, 1),
        deterministic=deterministic,
    )


def compiled(
    run: Any,
    mesh: Mesh | None,
    in_specs: Any,
    out_specs: Any,
    donate_argnums: tuple[int, ...],
    deterministic: bool,
) -> Any:
    """The function as `jax.jit` makes it; on a mesh, run by each device on its part.

    Its first argument has the parameters, some of which may be spread over the axis "model".
    """
    options: dict[str, Any] = {
        "donate_argnums": donate_argnums,
        "compiler_options": {"xla_gpu_deterministic_ops": True} if deterministic else None,
    }
    if mesh is None:
        return jax.jit(run, **options)
    spread = jax.shard_map(
        run,
        mesh=mesh,
        in_specs=in_specs,
        out_specs=out_specs,
        check_vma=False,
        axis_names={meshes.SEED, meshes.DATA},
    )
    if meshes.MODEL in mesh.shape:

        def laid_out(*arguments: Any) -> Any:
            found = spread(*arguments)
            return jax.tree.map(
                lambda spec, tree: jax.lax.with_sharding_constraint(
                    tree, meshes.shardings_of(mesh, tree, spec)
                ),
                out_specs,
                found,
                is_leaf=lambda leaf: isinstance(leaf, P),
            )

        _, *others = meshes.shardings(mesh, in_specs)
        return jax.jit(laid_out, in_shardings=(None, *others), **options)  # None: as it lies
    return jax.jit(
        spread,
        in_shardings=meshes.shardings(mesh, in_specs),
        out_shardings=meshes.shardings(mesh, out_specs),
        **options,
    )


class Compiler:
    """Compiles programs one after another in a thread of its own.

    They are traced at once, but compiled on demand: small programs that are needed before would
    wait for a processor behind hundreds of pieces of the large ones.
    """

    def __init__(
        self, *calls: tuple[Any, tuple[Any, ...]], before: Callable[[], object] = lambda: None
    ) -> None:
        """Starts to trace.

        Args:
            calls: for each program a function of `jax.jit` and its arguments, or their shapes and
                types.
            before: what is done between tracing and compiling.
        """
        self._thread = ThreadPoolExecutor(1, "compiler")
        self._lowered = [self._thread.submit(self._lower, *call) for call in calls]
        self._thread.submit(usual_settings()(before))

    def compile(self) -> list[Future[Any]]:
        """Starts to compile; gives the programs to come."""
        return [self._thread.submit(self._compile, lowered) for lowered in self._lowered]

    @usual_settings()  # they are of one thread
    def _lower(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        return function.lower(*arguments)

    @usual_settings()
    def _compile(self, lowered: Future[Any]) -> Any:
        return lowered.result().compile()
