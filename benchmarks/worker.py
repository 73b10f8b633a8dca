"""One contender in a separate process: builds a net, then trains or answers on request.

For `peers.py` it reads lines of the form `run NUM_STEPS`, and with --inference, for `inference.py`,
`logits SIZE` and `time SIZE SECONDS`; with --exported, for `export.py`, `test` and
`time SIZE SECONDS`. It answers each with a JSON object on one line. The contender
`matmul` multiplies matrices instead: the peak of arithmetic on this machine.
"""

import argparse
import importlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import environment
from data import NUM_CLASSES, random_images

from zoo.system.memory import use_one_arena

MATMUL_SIZE = 2048
NUM_IMAGES = 2048
_NEEDS_JAX = ("zoo", "flax", "keras-jax", "matmul")


def reading_bytes(contender: str) -> int:
    """Memory of what reads the nets, for a contender that does without: JAX and Flax."""
    if contender in _NEEDS_JAX:
        return 0
    before = environment.memory()["resident"]
    importlib.import_module("zoo.models")
    return environment.memory()["resident"] - before


def make_runner(contender: str, config: Any) -> Callable[[int], float]:
    """The contender's run(num_steps) -> mean loss."""
    if contender == "matmul":
        return make_matmul_runner()
    import zoo.models

    net = zoo.models.MODELS[config.model]
    data = (net, config, *random_images(NUM_IMAGES), NUM_CLASSES)
    if contender in ("zoo", "flax"):
        import nets_jax

        return nets_jax.make_runner(*data, stock=contender == "flax")
    if contender.startswith("torch"):
        import nets_torch
        import torch

        torch.set_num_threads(environment.num_cores())
        return nets_torch.make_runner(*data, compiled=contender == "torch-compile")
    import nets_keras

    return nets_keras.make_runner(*data)


def make_matmul_runner() -> Callable[[int], float]:
    """run(num_products) -> 0.0: multiplies two square float32 matrices `num_products` times."""
    import jax
    import jax.numpy as jnp

    keys = jax.random.split(jax.random.key(0))
    left, right = (jax.random.normal(key, (MATMUL_SIZE, MATMUL_SIZE)) for key in keys)
    product = jax.jit(jnp.matmul)

    def run(num_products: int) -> float:
        for _ in range(num_products):
            jax.block_until_ready(product(left, right))
        return 0.0

    return run


def _training(args: argparse.Namespace) -> tuple[dict[str, Any], Callable[..., dict[str, Any]]]:
    """What is known of the net, and the answer to the words of a request."""
    config = importlib.import_module(f"zoo.configs.{args.net}").get_config()
    if args.batch_size:
        config.batch_size = args.batch_size
    run = make_runner(args.contender, config)

    def answer(_: str, num_steps: str) -> dict[str, Any]:
        start = time.perf_counter()
        loss = run(int(num_steps))
        return {"seconds": time.perf_counter() - start, "loss": loss}

    return {"batch_size": config.batch_size}, answer


def _inference(args: argparse.Namespace) -> tuple[dict[str, Any], Callable[..., dict[str, Any]]]:
    """As `_training`, of a net that answers."""
    import answers

    contender = answers.Answers(args.contender, args.net)
    return {"weights": contender.weights}, contender.answer


def _exported(args: argparse.Namespace) -> tuple[dict[str, Any], Callable[..., dict[str, Any]]]:
    """As `_training`, of a net in a file for other programs."""
    import exported

    contender = exported.Exported(args.contender, args.net)
    return {"bytes": contender.num_bytes}, contender.answer


def main() -> None:
    """Answers the parent until its input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contender")
    parser.add_argument("net")
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--inference", action="store_true")
    parser.add_argument("--exported", action="store_true")
    args = parser.parse_args()
    if args.contender.startswith("keras-"):
        os.environ["KERAS_BACKEND"] = args.contender.removeprefix("keras-")
    if args.contender == "zoo":  # as its commands do
        use_one_arena()
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # output of libraries must not mix with the replies
    kind = _inference if args.inference else _exported if args.exported else _training
    foreign = reading_bytes(args.contender) if kind is _training else 0
    hello, answer = kind(args)
    print(json.dumps(hello), file=replies)
    for line in sys.stdin:
        found = answer(*line.split())
        own = {name: used - foreign for name, used in environment.memory().items()}
        print(json.dumps(found | own), file=replies)


if __name__ == "__main__":
    main()
