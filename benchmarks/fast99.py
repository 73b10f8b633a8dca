"""Seconds of training to 99% of MNIST's test images on this CPU, over many seeds.

    python benchmarks/fast99.py --seeds 50 --output docs/results/fast99.json
    python benchmarks/fast99.py --holdout --set optimizer.learning_rate=0.1
    python benchmarks/fast99.py --peers torch,torch-compile  # the same recipe in PyTorch

Each seed trains configs/fast99.py from nothing. Its seconds hold the draw of parameters and order
and all steps; not reading the files, nor compiling, which is told beside it. `--holdout` trains
without the last 10,000 training images and scores those: everything is chosen by them. Peers take
turns with the zoo, seed by seed.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import environment
import jax
import jax.numpy as jnp
import numpy as np
import results

import zoo.config
import zoo.data
import zoo.models
import zoo.training.optim
from zoo.training import programs, scoring, step

NUM_HELD_OUT = 10_000
CONTENDERS = ("zoo", "torch", "torch-compile")


class Contender(NamedTuple):
    """Who trains the recipe."""

    run: Callable[[int], Any]  # of the seed: what is trained, from nothing
    score: Callable[[Any], float]  # the share of right answers


def make_run(config: Any, train: Any, num_classes: int) -> Any:
    """A function of the seed: the trained state."""
    num_images, image_shape = len(train[1]), train[0].shape[1:]
    steps = -(-num_images // config.batch_size)
    schedule = zoo.training.optim.make_schedule(config.optimizer, steps, config.num_epochs)
    tx = zoo.training.optim.make_optimizer(config.optimizer, schedule)
    model = zoo.models.create_model(config.model, num_classes)
    train_step = step.make_train_step(model, tx, label_smoothing=config.label_smoothing)
    program = programs.make_train_program(train_step)

    def run(seed: int) -> step.TrainState:
        state = step.create_train_state(model, tx, seed, image_shape)
        for epoch in range(1, config.num_epochs + 1):
            order = programs.epoch_order(jnp.uint32(seed), epoch, num_images, config.batch_size)
            state, _ = program(state, step.Metrics.zeros(), train, order, 0, steps)
        return jax.block_until_ready(state)

    return run


def make_score(config: Any, split: Any, num_classes: int) -> Any:
    """A function of the state: the share of the split that it gets right."""
    model = zoo.models.create_model(config.model, num_classes)
    program = scoring.make_eval_program(step.make_eval_step(model))
    batches = programs.padded_order(jnp.arange(len(split[1])), config.eval_batch_size)

    def score(state: step.TrainState) -> float:
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        sums = program(variables, step.Metrics.zeros(), split, batches, 0, len(batches))
        return float(sums.means()["accuracy"])

    return score


def make_contender(name: str, config: Any, train: Any, test: Any, num_classes: int) -> Contender:
    """The zoo, or its recipe in PyTorch.

    Args:
        name: one of CONTENDERS.
        config: as in configs/fast99.py.
        train: what is trained on.
        test: what is scored.
        num_classes: of the labels.
    """
    splits = [(part.images, part.labels) for part in (train, test)]
    if name == "zoo":
        on_device = [tuple(map(jnp.asarray, split)) for split in splits]
        run = make_run(config, on_device[0], num_classes)
        return Contender(run, make_score(config, on_device[1], num_classes))
    import fast99_torch

    is_compiled = name == "torch-compile"
    return Contender(*fast99_torch.make_run(config, *splits, compiled=is_compiled))


def measure(
    config: Any,
    dataset: zoo.data.Dataset,
    num_seeds: int,
    held_out: int = 0,
    contenders: Sequence[str] = ("zoo",),
) -> dict[str, Any]:
    """{"contenders": {"zoo": {"seeds": [{"seed", "seconds", "accuracy"}], "first_seconds"}}, ...}.

    Args:
        config: as in configs/fast99.py.
        dataset: what is trained on.
        num_seeds: seeds 1 to num_seeds are measured, after seed 0, which compiles.
        held_out: so many of the last training images are scored, and not trained on; 0: the test
            images.
        contenders: of CONTENDERS; they take turns.
    """
    train, test = dataset.train, dataset.test
    if held_out:
        train, test = train[:-held_out], train[-held_out:]
    made, found = {}, {}
    for name in contenders:
        made[name] = make_contender(name, config, train, test, dataset.num_classes)
        began = time.perf_counter()
        made[name].run(0)
        found[name] = {"first_seconds": time.perf_counter() - began, "seeds": []}
    for seed in range(1, num_seeds + 1):
        for name, contender in made.items():
            began = time.perf_counter()
            trained = contender.run(seed)
            seconds = time.perf_counter() - began
            accuracy = contender.score(trained)
            found[name]["seeds"].append({"seed": seed, "seconds": seconds, "accuracy": accuracy})
            print(f"{name:14} seed {seed:3}  {seconds:5.2f} s  {accuracy:.2%}", flush=True)
    return {"contenders": found, "images_seen": config.num_epochs * len(train)}


def summary(name: str, found: dict[str, Any], images_seen: int) -> str:
    """A few lines of text."""
    accuracies = [each["accuracy"] for each in found["seeds"]]
    seconds = [each["seconds"] for each in found["seeds"]]
    spread = np.std(accuracies, ddof=1) if len(accuracies) > 1 else 0.0
    return (
        f"{name}: {len(accuracies)} seeds, {images_seen:,} images seen: "
        f"{np.mean(accuracies):.3%} ± {spread:.3%}, {min(accuracies):.2%} to "
        f"{max(accuracies):.2%}; {np.mean(np.array(accuracies) >= 0.99):.0%} reach 99%\n"
        f"{statistics.median(seconds):.2f} s of training (median; {min(seconds):.2f} to "
        f"{max(seconds):.2f}), the first with compilation {found['first_seconds']:.1f} s"
    )


def page(result: dict[str, Any]) -> str:
    """The numbers as a page in Markdown."""
    contenders = result["contenders"]
    text = [
        summary(name, found, result["images_seen"]).replace("\n", "\n\n")
        for name, found in contenders.items()
    ]
    scored = "held-out training images" if result["options"]["holdout"] else "test images"
    names = "".join(f" {name}, s | right of the {scored} |" for name in contenders)
    rows = []
    for each in zip(*(found["seeds"] for found in contenders.values()), strict=True):
        cells = "".join(f" {own['seconds']:.2f} | {own['accuracy']:.2%} |" for own in each)
        rows.append(f"| {each[0]['seed']} |{cells}")
    head = f"| seed |{names}\n| ---: |{' ---: | ---: |' * len(contenders)}"
    return "\n".join([results.head_text(result), "", "\n\n".join(text), "", head, *rows, ""])


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints seconds and accuracy of each seed, and their means."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=10, help="how many (default: 10)")
    parser.add_argument("--holdout", action="store_true", help="score held-out training images")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--peers", default="", help="torch, torch-compile; by comma")
    parser.add_argument("--dataset", default="mnist", help="default: mnist")
    parser.add_argument("--output", type=Path, help="JSON file to write, with a page beside it")
    options = parser.parse_args(arguments)
    config = zoo.config.load("fast99")
    for change in options.set:
        name, _, value = change.partition("=")
        config.update_from_flattened_dict({name: type(zoo.config.flatten(config)[name])(value)})
    zoo.config.validate(config)
    contenders = ["zoo", *filter(None, options.peers.split(","))]
    if unknown := set(contenders) - set(CONTENDERS):
        parser.error(f"--peers knows {', '.join(CONTENDERS[1:])}, not {', '.join(unknown)}")
    told = {key: getattr(options, key) for key in ("seeds", "holdout", "set", "peers")}
    result = results.new("fast99.py", "99% of MNIST in the fewest seconds", told)
    held_out = NUM_HELD_OUT if options.holdout else 0
    dataset = zoo.data.load(options.dataset)
    result |= measure(config, dataset, options.seeds, held_out, contenders)
    result["config"] = config.to_dict()
    for name, found in result["contenders"].items():
        print(summary(name, found, result["images_seen"]))
    print(environment.hardware_text(result["environment"]["hardware"]))
    if options.output:
        results.write(result, options.output)
        options.output.with_suffix(".md").write_text(page(result), encoding="utf-8")


if __name__ == "__main__":
    main()
