"""Training on MNIST in memory against streamed MNIST, from PNG records and from decoded images.

    python benchmarks/streaming.py
    python benchmarks/streaming.py --images 12000 pooling_cnn3

One process trains the same net on all three; rounds alternate. Of each round two epochs are trained
and the second is counted: what was read ahead meanwhile is used up by then. Needs Grain.
"""

import argparse
import dataclasses
import multiprocessing
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import environment
import psutil

import zoo.config
import zoo.data
import zoo.models
from zoo.training.loop import Trainer
from zoo.training.terminal import Terminal

NETS = ("lenet3", "pooling_cnn3")
WAYS = ("in memory", "PNG records", "decoded")


def datasets(folder: Path, num_images: int) -> list[zoo.data.Dataset]:
    """MNIST, or its first images, in memory, in PNG records, and decoded on disk."""
    memory = zoo.data.load("mnist")  # prepares and decodes it, if that was not done before
    version_dir = Path(str(memory.train.images.filename)).parent.parent
    shutil.copytree(
        version_dir, folder / "mnist" / version_dir.name, ignore=shutil.ignore_patterns("decoded")
    )
    records = zoo.data.load("mnist", data_dir=folder, stream=True)
    return [
        dataclasses.replace(
            each,
            train=each.train[:num_images],
            test=each.test[: num_images // 5],
            known_sha256="a part",
        )
        for each in (memory, records, zoo.data.load("mnist", stream=True))
    ]


class Runner:
    """Trains a net on one of the datasets, an epoch at a time."""

    def __init__(
        self, net: str, dataset: zoo.data.Dataset, stream: bool, num_epochs: int, workers: int
    ) -> None:
        """Compiles it."""
        config = zoo.config.load(net)
        config.data.workers = workers
        config.update(num_epochs=num_epochs, validation="test")
        config.data.stream = stream
        before = {*multiprocessing.active_children()}
        self._trainer = Trainer(config, dataset, Terminal(quiet=True))
        self._trainer.prepare()
        self._state: Any = self._trainer.init()
        self._trainer.compile()
        self._epoch = 0
        self.run()
        self._workers = [
            psutil.Process(child.pid)
            for child in multiprocessing.active_children()
            if child not in before
        ]

    def run(self) -> float:
        """Trains an epoch; gives its images/s."""
        self._epoch += 1
        self._state, record = self._trainer.run_epoch(self._state, self._epoch)
        self.loss = record["loss"]
        return record["images_per_second"]

    def measure(self) -> tuple[float, float]:
        """(images/s, processor time in µs per image) of the second of two epochs."""
        self.run()
        began = self._processor_seconds()
        images_per_second = self.run()
        images = self._trainer.num_train
        return images_per_second, (self._processor_seconds() - began) / images * 1e6

    def close(self) -> None:
        """Ends what reads."""
        self._trainer.feed.close()

    def _processor_seconds(self) -> float:
        times = [worker.cpu_times() for worker in self._workers]
        return time.process_time() + sum(each.user + each.system for each in times)


def rounds_of(
    net: str, data: Sequence[zoo.data.Dataset], rounds: int, workers: int
) -> list[list[tuple[float, float]]]:
    """For each round what `Runner.measure` gives for each of WAYS."""
    ways = zip(data, (False, True, True), strict=True)
    num_epochs = 2 * rounds + 20  # so that there is something to read until the end
    runners = [Runner(net, dataset, stream, num_epochs, workers) for dataset, stream in ways]
    found = [[runner.measure() for runner in runners] for _ in range(rounds)]
    assert len({runner.loss for runner in runners}) == 1  # the same numbers, bit for bit
    for runner in runners:
        runner.close()
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("nets", nargs="*", default=NETS, metavar="NET")
    parser.add_argument("--images", type=int, default=60_000, help="of an epoch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=-1, help="processes that read, as the key")
    options = parser.parse_args(arguments)
    for net in options.nets:
        if net not in zoo.models.MODELS:
            parser.error(f"unknown net {net!r}")
    print(
        f"{environment.where()}; epochs of "
        f"{options.images:,} images, median of {options.rounds} rounds; ratios to images in memory "
        f"are medians of those of each round\n"
    )
    cells = [f"{way}{what}" for way in WAYS for what in (", images/s", ", µs of a core per image")]
    print(f"| net | {' | '.join(cells)} | PNG records, ratio | decoded, ratio |")
    print("|---" + "|---:" * (len(cells) + 2) + "|")
    with tempfile.TemporaryDirectory() as folder:
        data = datasets(Path(folder), options.images)
        for net in options.nets:
            found = rounds_of(net, data, options.rounds, options.workers)
            columns = [*zip(*found, strict=True)]  # by way
            texts = [
                f"{statistics.median(value[what] for value in column):,.0f}"
                for column in columns
                for what in (0, 1)
            ]
            texts += [
                f"{statistics.median(one[way][0] / one[0][0] for one in found):.2f}"
                for way in (1, 2)
            ]
            print(f"| `{net}` | {' | '.join(texts)} |", flush=True)


if __name__ == "__main__":
    main()
