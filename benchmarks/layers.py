"""GFLOP/s of every convolution of the nets: its output and both gradients, here and in stock XLA.

    python benchmarks/layers.py
    python benchmarks/layers.py --nets 'pairs*' --batch-size 128

Each value is the median of several runs of a loop over three batches, so that memory is allocated
once. Products with padding are counted: compare the two formulations of a layer, not two layers.
"""

import argparse
import fnmatch
import functools
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from data import IMAGE_SHAPE

import zoo.models
import zoo.ops
from zoo.models import layers
from zoo.models.net import named_layers

BATCHES = 3


def convolutions(pattern: str) -> Iterator[tuple[layers.Shape, layers.Conv, str]]:
    """(input shape, layer, first net with this layer), without duplicates."""
    seen = set()
    for name in fnmatch.filter(zoo.models.list_models(), pattern):
        shape: layers.Shape = IMAGE_SHAPE
        for _, layer in named_layers(zoo.models.MODELS[name]):
            if isinstance(layer, layers.Conv):
                key = (shape, layer.features, layer.kernel_size, layer.padding)
                if key not in seen:
                    seen.add(key)
                    yield shape, layer, name
            shape = layer.output_shape(shape)


def stock_conv(x: jax.Array, kernel: jax.Array, padding: str) -> jax.Array:
    """The XLA operation that `flax.linen.Conv` uses."""
    dimensions = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=dimensions)


def products(conv: Callable[..., jax.Array]) -> dict[str, Callable[..., jax.Array]]:
    """The three products of a layer as functions of (x, kernel, dy)."""
    return {
        "output": lambda x, kernel, dy: conv(x, kernel),
        "kernel gradient": lambda x, kernel, dy: jax.vjp(lambda k: conv(x, k), kernel)[1](dy)[0],
        "input gradient": lambda x, kernel, dy: jax.vjp(lambda x: conv(x, kernel), x)[1](dy)[0],
    }


def seconds(product: Callable[..., jax.Array], *arrays: Any) -> float:
    """Median seconds of one batch."""

    @jax.jit
    def loop(x: jax.Array, kernel: jax.Array, dy: jax.Array) -> jax.Array:
        # Only a few elements are returned, but XLA must still compute all of them.
        return jax.lax.map(lambda batch: product(batch[0], kernel, batch[1]).ravel()[::97], (x, dy))

    loop(*arrays).block_until_ready()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        loop(*arrays).block_until_ready()
        times.append(time.perf_counter() - start)
    return statistics.median(times) / BATCHES


def measure(shape: layers.Shape, layer: layers.Conv, batch_size: int) -> str:
    """The columns of one layer: GFLOP/s here (in stock XLA) for each product."""
    rng = np.random.default_rng(0)
    side = layer.kernel_size
    x = jnp.asarray(rng.normal(size=(BATCHES, batch_size, *shape)), "float32")
    kernel = jnp.asarray(rng.normal(size=(side, side, shape[-1], layer.features)), "float32")
    out = layer.output_shape(shape)
    dy = jnp.asarray(rng.normal(size=(BATCHES, batch_size, *out)), "float32")
    gflop = 2 * batch_size * np.prod(out) * side**2 * shape[-1] / 1e9
    own = products(functools.partial(zoo.ops.conv, padding=layer.padding))
    stock = products(functools.partial(stock_conv, padding=layer.padding))
    columns = []
    for name in own:
        here, there = (gflop / seconds(table[name], x, kernel, dy) for table in (own, stock))
        columns.append(f"{here:5.0f} ({there:4.0f})")
    return "  ".join(columns)


def main() -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nets", default="*", help="a name pattern; custom7 takes minutes")
    parser.add_argument("--batch-size", type=int, default=128)
    args = parser.parse_args()
    print(f"{'GFLOP/s here (in stock XLA)':36}  output        dkernel       dinput")
    for shape, layer, name in convolutions(args.nets):
        if name == "custom7" and args.nets == "*":
            continue
        height, width, channels = shape
        title = f"{height}x{width} {channels}->{layer.features} k{layer.kernel_size} "
        title += f"{layer.padding} ({name})"
        print(f"{title:36}  {measure(shape, layer, args.batch_size)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
