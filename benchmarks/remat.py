"""Memory and time of a training step, with activations kept and computed again (config.remat).

    python benchmarks/remat.py
    python benchmarks/remat.py --dtype bfloat16 vgg5:512

Each net with its batch size; "residual12" has twelve residual connections of two convolutions of 32
features. The memory is what XLA reports that a step needs besides state, images and labels. It
prints a table.
"""

import argparse
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import zoo.models
from zoo.models import ConvNet
from zoo.models.layers import BatchNorm, Conv, GlobalAvgPool, Head, Net, Residual
from zoo.training.history import processor_name
from zoo.training.step import create_train_state, make_train_step

BLOCK = Residual(
    (
        Conv(32, 3, "SAME", activation=None),
        BatchNorm(),
        Conv(32, 3, "SAME", activation=None),
        BatchNorm(),
    )
)
OWN: dict[str, Net] = {
    "residual12": (Conv(32, 3, "SAME"), *(BLOCK,) * 12, GlobalAvgPool(), Head()),
}
ROUNDS = 5


def step_of(model: ConvNet, batch_size: int) -> tuple[float, Any]:
    """(bytes that a step needs, a function that does one and returns its seconds)."""
    tx = optax.sgd(0.01)
    state = create_train_state(model, tx, 0, (28, 28, 1))
    rng = np.random.default_rng(0)
    batch = {
        "image": jnp.asarray(rng.integers(0, 256, (batch_size, 28, 28, 1), np.uint8)),
        "label": jnp.asarray(rng.integers(0, 10, batch_size), jnp.int32),
        "mask": jnp.ones(batch_size, bool),
    }
    program = jax.jit(make_train_step(model, tx)).lower(state, batch).compile()

    def timed() -> float:
        start = time.perf_counter()
        jax.block_until_ready(program(state, batch))
        return time.perf_counter() - start

    return program.memory_analysis().temp_size_in_bytes, timed


def row(name: str, batch_size: int, dtype: Any) -> str:
    """A line of the table; rounds alternate between the two."""
    net = OWN.get(name) or zoo.models.NETS[name]
    kept, again = (
        step_of(ConvNet(net, dtype=dtype, remat=remat), batch_size) for remat in (False, True)
    )
    seconds: list[list[float]] = [[], []]
    for _ in range(1 + ROUNDS):
        for own, (_, timed) in zip(seconds, (kept, again), strict=True):
            own.append(timed())
    slower = statistics.median(seconds[1][1:]) / statistics.median(seconds[0][1:])
    return (
        f"| `{name}` | {batch_size} | {kept[0] / 1e6:,.0f} MB | {again[0] / 1e6:,.0f} MB | "
        f"{again[0] / kept[0]:.2f} | {slower:.2f} |"
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("nets", nargs="*", default=["residual12:64", "custom7:64", "vgg5:256"])
    parser.add_argument("--dtype", default="float32")
    arguments = parser.parse_args()
    device = jax.devices()[0]
    kind = processor_name() if device.platform == "cpu" else device.device_kind
    print(f"{device.platform} ({kind}), jax {jax.__version__}, {arguments.dtype}\n", flush=True)
    print("| net | batch | kept | computed again | memory | time |\n|---|---:|---:|---:|---:|---:|")
    for text in arguments.nets:
        name, _, batch_size = text.partition(":")
        print(row(name, int(batch_size or 64), jnp.dtype(arguments.dtype)), flush=True)


if __name__ == "__main__":
    main()
