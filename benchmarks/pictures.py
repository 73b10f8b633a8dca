"""How well trained nets read pictures that people make: photographs, scans, drawings.

    python benchmarks/pictures.py NET|RUN... [--images N]

A NET is one with weights in the package, such as lenet3. Prints a table: the test images of each
net's dataset altered in 25 ways, then 500 digits drawn with pens and fonts in 25 ways, for nets of
ten classes. Intervals are Wilson's, of 95%.
"""

import argparse
import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from alterations import ALTERATIONS
from drawings import write_many
from environment import num_cores

import zoo.data.images
from zoo.analysis import trained
from zoo.analysis.evaluation import wilson
from zoo.data.framing import Framing
from zoo.data.preparation import prepare

AS_THEY_ARE = "the images themselves"
DRAWN = "drawn: "
Pictures = dict[str, tuple[np.ndarray, np.ndarray]]  # by kind: pixels [N, H, W, C], labels [N]
_PREPARED: dict[tuple[object, ...], Pictures] = {}


def for_net(net: trained.TrainedNet, num_images: int) -> Pictures:
    """The pictures of each kind as the net sees them; made once for all nets of the same data."""
    key = (net.data.dataset, net.data.sha256, net.image_shape, net.framing, num_images)
    if key not in _PREPARED:
        _PREPARED[key] = _altered(net, num_images) | _drawn(net)
    return _PREPARED[key]


def _altered(net: trained.TrainedNet, num_images: int) -> Pictures:
    test = net.split("test")
    chosen = np.random.default_rng(0).permutation(len(test))[:num_images]
    images, labels = test.images[chosen], test.labels[chosen]
    with ProcessPoolExecutor(num_cores(), multiprocessing.get_context("spawn")) as pool:
        tasks = [
            pool.submit(_alter, kind, images[..., 0], net.image_shape, net.framing)
            for kind in ALTERATIONS
        ]
        pixels = [task.result() for task in tasks]
    found = {kind: (one, labels) for kind, one in zip(ALTERATIONS, pixels, strict=True)}
    return {AS_THEY_ARE: (images, labels)} | found


def _alter(
    kind: str, images: np.ndarray, shape: tuple[int, int, int], framing: Framing | None
) -> np.ndarray:
    rng = np.random.default_rng(1)
    altered = [ALTERATIONS[kind](image, rng) for image in images]
    return np.stack([prepare(picture, shape, framing, kind).pixels for picture in altered])


def _drawn(net: trained.TrainedNet) -> Pictures:
    pixels: dict[str, list[np.ndarray]] = {}
    labels: dict[str, list[int]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for path, kind, digit in write_many(Path(folder)):
            picture = zoo.data.images.read(path)
            prepared = prepare(picture, net.image_shape, net.framing, path)
            pixels.setdefault(f"{DRAWN}{kind}", []).append(prepared.pixels)
            labels.setdefault(f"{DRAWN}{kind}", []).append(digit)
    return {kind: (np.stack(pixels[kind]), np.array(labels[kind])) for kind in pixels}


def scores(net: trained.TrainedNet, pictures: Pictures) -> dict[str, np.ndarray]:
    """Which of the pictures of each kind the net knows, [pictures] bool."""
    pixels, labels = (np.concatenate(part) for part in zip(*pictures.values(), strict=True))
    right = net.logits(pixels).argmax(axis=1) == labels
    ends = np.cumsum([len(own) for _, own in pictures.values()])[:-1]
    return dict(zip(pictures, np.split(right, ends), strict=True))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("nets", nargs="+", metavar="NET|RUN")
    parser.add_argument("--images", type=int, default=1000, help="test images; default: 1000")
    arguments = parser.parse_args()
    nets = [trained.load(source) for source in arguments.nets]
    found = [scores(net, for_net(net, arguments.images)) for net in nets]
    for each in found:
        drawn = [right for kind, right in each.items() if kind.startswith(DRAWN)]
        each[f"{DRAWN}all"] = np.concatenate(drawn)
    names = [f"`{net.name}`, {net.data.dataset}" for net in nets]
    print("| pictures |", " | ".join(names), "|")
    print("|" + "---|" * (1 + len(nets)))
    for kind in found[0]:
        cells = []
        for each in found:
            right = wilson(int(each[kind].sum()), len(each[kind]))
            cells.append(f"{right.value:.1%} ({right.low:.1%} to {right.high:.1%})")
        print(f"| {kind} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
