"""How well trained nets read pictures that people make: photographs, scans, drawings.

    python benchmarks/pictures.py RUN... [--images N]

Prints a table: the test images of each run's dataset altered in 25 ways, then 500 digits drawn with
pens and fonts in 25 ways, for nets of ten classes. Intervals are Wilson's, of 95%.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from alterations import ALTERATIONS
from drawings import write_many

import zoo.data.images
from zoo.analysis import trained
from zoo.analysis.evaluation import wilson
from zoo.data.preparation import prepare


def scores(net: trained.TrainedNet, num_images: int) -> dict[str, np.ndarray]:
    """Which of the pictures of each kind the net knows, [pictures] bool."""
    test = net.split("test")
    chosen = np.random.default_rng(0).permutation(len(test))[:num_images]
    images, labels = test.images[chosen, ..., 0], test.labels[chosen]
    found = {"the images themselves": _right(net, list(test.images[chosen]), labels)}
    for name, alter in ALTERATIONS.items():
        rng = np.random.default_rng(1)
        pictures = [alter(image, rng) for image in images]
        pixels = [prepare(each, net.image_shape, net.framing, name).pixels for each in pictures]
        found[name] = _right(net, pixels, labels)
    with tempfile.TemporaryDirectory() as folder:
        written = write_many(Path(folder))
        pixels = [
            prepare(zoo.data.images.read(path), net.image_shape, net.framing, path).pixels
            for path, _, _ in written
        ]
    right = _right(net, pixels, np.array([digit for _, _, digit in written]))
    kinds = np.array([kind for _, kind, _ in written])
    for kind in dict.fromkeys(kinds):
        found[f"drawn: {kind}"] = right[kinds == kind]
    return found | {"drawn: all": right}


def _right(net: trained.TrainedNet, pixels: list[np.ndarray], labels: np.ndarray) -> np.ndarray:
    return net.logits(np.stack(pixels)).argmax(axis=1) == labels


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--images", type=int, default=1000, help="test images; default: 1000")
    arguments = parser.parse_args()
    nets = [trained.load(run) for run in arguments.runs]
    found = [scores(net, arguments.images) for net in nets]
    names = [f"`{net.name}`, {net.history.config['dataset']}" for net in nets]
    print("| pictures |", " | ".join(names), "|")
    print("|" + "---|" * (1 + len(nets)))
    for kind in found[0]:
        cells = []
        for each in found:
            found_right = wilson(int(each[kind].sum()), len(each[kind]))
            cells.append(
                f"{found_right.value:.1%} ({found_right.low:.1%} to {found_right.high:.1%})"
            )
        print(f"| {kind} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
