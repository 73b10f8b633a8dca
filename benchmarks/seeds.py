"""Several seeds of a net in one program, by a loop or `vmap`, compared with consecutive runs.

    python benchmarks/seeds.py
    python benchmarks/seeds.py --num-seeds 8 vgg5 lenet3

Training steps on random images, without loading or evaluation; rounds alternate between the three.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import data
import environment
import jax
import jax.numpy as jnp
import measure

import zoo.config
import zoo.models
import zoo.training.optim
from zoo.training import programs
from zoo.training import step as training_step

NETS = ("pooling_cnn3", "ablation_cnn3", "kernels_cnn5", "pooling_cnn5", "lenet3")
WAYS = ("one after another", "loop in one program", "vmap")
NUM_IMAGES = 2048


def make_timers(name: str, num_seeds: int) -> list[Callable[[int], float]]:
    """A function for each of WAYS: trains every seed for `num_steps` steps, returns the seconds."""
    config = zoo.config.load(name)
    tx = zoo.training.optim.make_optimizer(
        config.optimizer, zoo.training.optim.make_schedule(config.optimizer, 1, 1)
    )
    model = zoo.models.create_model(name)
    split = tuple(jnp.asarray(array) for array in data.random_images(NUM_IMAGES))
    steps_per_epoch = NUM_IMAGES // config.batch_size
    indices = jnp.arange(steps_per_epoch * config.batch_size, dtype=jnp.int32)
    order = indices.reshape(steps_per_epoch, config.batch_size)
    train_step = training_step.make_train_step(model, tx)

    def vmapped(
        states: Any, metrics: Any, split: Any, orders: jax.Array, start: Any, stop: Any
    ) -> tuple[Any, Any]:
        def body(step: jax.Array, carry: tuple[Any, Any]) -> tuple[Any, Any]:
            def of_seed(state: Any, metrics: Any, order: jax.Array) -> tuple[Any, Any]:
                state, new = train_step(state, programs.take_batch(split, order[step]))
                return state, metrics + new

            return jax.vmap(of_seed)(*carry, orders)

        return jax.lax.fori_loop(start, stop, body, (states, metrics))

    def timer(program: Callable[..., tuple[Any, Any]], count: int) -> Callable[[int], float]:
        """The timer of a program that trains `count` seeds per call."""
        groups = [
            programs.stack_seeds(
                [
                    training_step.create_train_state(model, tx, seed, data.IMAGE_SHAPE)
                    for seed in range(first, first + count)
                ]
            )
            for first in range(0, num_seeds, count)
        ]

        def timed(num_steps: int) -> float:
            start = time.perf_counter()
            for index, states in enumerate(groups):
                metrics = programs.stack_seeds([training_step.Metrics.zeros()] * count)
                orders = programs.stack_seeds([order] * count)
                for done in range(0, num_steps, steps_per_epoch):
                    stop = min(num_steps - done, steps_per_epoch)
                    states, metrics = program(states, metrics, split, orders, 0, stop)
                groups[index] = jax.block_until_ready(states)
            return time.perf_counter() - start

        return timed

    return [
        timer(programs.make_train_program(train_step), 1),
        timer(programs.make_train_program(train_step, num_seeds), num_seeds),
        timer(jax.jit(vmapped, donate_argnums=(0, 1)), num_seeds),
    ]


def images_per_second(name: str, num_seeds: int, rounds: int, seconds: float) -> list[float]:
    """The median for each of WAYS, for all seeds together."""
    timers = make_timers(name, num_seeds)
    _, num_steps = measure.calibrate(timers[0], seconds)
    for timed in timers:
        timed(num_steps)  # compiled and warm
    times = [[timed(num_steps) for timed in timers] for _ in range(rounds)]
    batch_size = zoo.config.load(name).batch_size
    images = num_seeds * num_steps * batch_size
    return [images / statistics.median(column) for column in zip(*times, strict=True)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("nets", nargs="*", default=NETS, metavar="NET")
    parser.add_argument("--num-seeds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="approximate length of a round")
    options = parser.parse_args(arguments)
    if options.num_seeds < 2:
        parser.error("--num-seeds must be at least 2")
    for net in options.nets:
        if net not in zoo.models.MODELS:
            parser.error(f"unknown net {net!r}")
    print(
        f"{environment.where()}; training images/s of "
        f"{options.num_seeds} seeds together, median of {options.rounds} rounds\n"
    )
    print(f"| net | {' | '.join(WAYS)} | loop / one after another | vmap / loop |")
    print("|---|---:|---:|---:|---:|---:|")
    for net in options.nets:
        rates = images_per_second(net, options.num_seeds, options.rounds, options.seconds)
        alone, loop, vmap = rates
        cells = [f"{rate:,.0f}" for rate in rates] + [f"{loop / alone:.2f}", f"{vmap / loop:.2f}"]
        print(f"| `{net}` | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
