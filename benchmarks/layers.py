"""GFLOP/s of every convolution of the nets: its output and both gradients, here and in stock XLA.

    python benchmarks/layers.py
    python benchmarks/layers.py --nets 'pairs*' --batch-size 128
    python benchmarks/layers.py --others

With --others, milliseconds of layers that those nets do not have: strided, grouped and depthwise
convolutions, and average pools.

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

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from data import IMAGE_SHAPE

import zoo.models
import zoo.ops
from zoo.models import layers
from zoo.models.net import named_layers

BATCHES = 3
SECONDS = 2.0  # after which no more runs are timed


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


OTHERS: list[tuple[layers.Shape, Any]] = [
    ((28, 28, 1), layers.Conv(32, 3, "SAME", stride=2)),
    ((28, 28, 32), layers.Conv(64, 3, "SAME", stride=2)),
    ((14, 14, 64), layers.Conv(128, 3, "SAME", stride=2)),
    ((14, 14, 64), layers.Conv(128, 1, stride=2)),
    ((28, 28, 32), layers.Conv(64, 2, stride=2)),
    ((14, 14, 64), layers.Conv(64, 3, "SAME", groups=4)),
    ((28, 28, 32), layers.DepthwiseConv(3, "SAME")),
    ((14, 14, 64), layers.DepthwiseConv(3, "SAME")),
    ((14, 14, 64), layers.DepthwiseConv(3, "SAME", stride=2)),
    ((7, 7, 128), layers.DepthwiseConv(5, "SAME")),
    ((28, 28, 32), layers.AvgPool(2)),
    ((14, 14, 64), layers.AvgPool(2)),
    ((28, 28, 32), layers.AvgPool(3, 2, "SAME")),
    ((14, 14, 64), layers.AvgPool(3, 1, "SAME")),
]


def stock_conv(
    x: jax.Array, kernel: jax.Array, padding: str, stride: int = 1, groups: int = 1
) -> jax.Array:
    """The XLA operation that `flax.linen.Conv` uses."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def stock_avg_pool(x: jax.Array, window: int, stride: int, padding: str) -> jax.Array:
    """The mean of pixels in the image, as `flax.linen.avg_pool` computes it."""
    sizes, strides = (window, window), (stride, stride)
    return nn.avg_pool(x, sizes, strides, padding, count_include_pad=padding == "VALID")


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
        # All elements are returned: of some sums XLA would compute no others.
        return jax.lax.map(lambda batch: product(batch[0], kernel, batch[1]), (x, dy))

    loop(*arrays).block_until_ready()
    times: list[float] = []
    while len(times) < 3 and sum(times) < SECONDS:
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


def measure_other(shape: layers.Shape, layer: Any, batch_size: int) -> str:
    """The columns of one layer of `OTHERS`: milliseconds here (in stock XLA)."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(BATCHES, batch_size, *shape)), "float32")
    dy = jnp.asarray(rng.normal(size=(BATCHES, batch_size, *layer.output_shape(shape))), "float32")
    kernel, names = jnp.zeros(()), ["output", "kernel gradient", "input gradient"]
    if isinstance(layer, layers.AvgPool):
        names.remove("kernel gradient")
        options = {"stride": layer.stride or layer.window, "padding": layer.padding}
        own, stock = (
            products(lambda x, _, pool=pool: pool(x, layer.window, **options))
            for pool in (zoo.ops.avg_pool, stock_avg_pool)
        )
    else:
        kernel_shape = layer.variables(shape)["params"]["kernel"]
        kernel = jnp.asarray(rng.normal(size=kernel_shape), "float32")
        groups = shape[-1] // kernel_shape[2]
        options = {"stride": layer.stride, "padding": layer.padding, "groups": groups}
        own, stock = (
            products(functools.partial(conv, **options)) for conv in (zoo.ops.conv, stock_conv)
        )
    columns = []
    for name in ("output", "kernel gradient", "input gradient"):
        if name not in names:
            columns.append(" " * 16)
            continue
        here, there = (1e3 * seconds(table[name], x, kernel, dy) for table in (own, stock))
        columns.append(f"{here:6.1f} ({there:7.1f})")
    return "  ".join(columns)


def main() -> int:
    """Runs the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nets", default="*", help="a name pattern; custom7 takes minutes")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--others", action="store_true", help="layers that the nets do not have")
    args = parser.parse_args()
    if args.others:
        print(f"{'ms here (in stock XLA)':48}  output            dkernel           dinput")
        for shape, layer in OTHERS:
            title = f"{'x'.join(map(str, shape))} {layer!r}"
            print(f"{title:48}  {measure_other(shape, layer, args.batch_size)}", flush=True)
        return 0
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
