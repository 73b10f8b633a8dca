"""What is fuzzed: for each reader, a function of any bytes, and good inputs to start from.

A reader must give a value or raise ZooError; any other exception is a fault, and so is a hang.
"""

import contextlib
import gzip
import io
import json
import struct
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ml_collections import ConfigDict
from PIL import Image

import zoo.cli.arguments
import zoo.config
import zoo.data
import zoo.data.framing
import zoo.data.images
import zoo.data.preparation
import zoo.training.checkpoint
import zoo.training.history
import zoo.training.snapshot
from zoo.configs import default
from zoo.data.idx import read_idx
from zoo.system.errors import ZooError
from zoo.training.history import History

_FOLDER = tempfile.TemporaryDirectory(
    prefix="zoo-fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None
)
_PATH = Path(_FOLDER.name)
_SAID: list[str] = []  # by the ZooErrors of one input
_FRAMING = zoo.data.framing.learn(zoo.data.load("digits").train.images)


def idx(content: bytes) -> None:
    """The first byte says whether it is gzipped, and how many axes are expected."""
    kind = content[0] if content else 0
    path = _PATH / ("images.gz" if kind & 4 else "images")
    path.write_bytes(content[1:])
    read_idx(path, num_axes=1 + min(kind & 3, 2))


def history(content: bytes) -> None:
    """history.json."""
    (_PATH / zoo.training.history.FILENAME).write_bytes(content)
    found = zoo.training.history.read(_PATH)
    assert found.num_seeds >= 1
    for record in found.epochs:
        zoo.training.history.numbers(found, record)
    zoo.training.history.seeds_text(found.seeds)


def config(content: bytes) -> None:
    """Arguments of train.py: each line one of --config.KEY=VALUE."""
    lines = content.decode(errors="replace").split("\n")
    arguments = [f"--config.{line}" for line in lines[:4]]
    found = zoo.cli.arguments.parse(["--config=configs/default.py", *arguments]).config
    assert isinstance(found, ConfigDict)
    zoo.config.validate(found)


def image(content: bytes) -> None:
    """An image file, brought into the form of a net's images."""
    found = zoo.data.images.decode(io.BytesIO(content), "image", max_pixels=1_000_000)
    for shape, framing in (((28, 28, 1), _FRAMING), ((28, 28, 1), None), ((32, 32, 3), None)):
        pixels = zoo.data.preparation.prepare(found, shape, framing, "image").pixels
        assert pixels.shape == shape


def checkpoint(content: bytes) -> None:
    """run.json and sha256sums.txt of a checkpoint, one after the other."""
    folder = _PATH / "5"
    folder.mkdir(exist_ok=True)
    run, _, sums = content.partition(b"\0")
    (folder / "run.json").write_bytes(run)
    (folder / "sha256sums.txt").write_bytes(sums)
    with _heard():
        zoo.training.checkpoint.check_whole(folder)
    rest = zoo.training.snapshot.read_rest(folder, step=5)
    assert rest.progress is None or rest.progress.seconds >= 0


def npz(content: bytes) -> None:
    """An .npz file, or one in which that is the array x_train."""
    _load("npz", content)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x_train.npy", content)
        archive.writestr("y_train.npy", _npy(np.arange(4) % 2))
    _load("npz", file.getvalue())


def csv(content: bytes) -> None:
    """A CSV file, gzipped or not."""
    _load("csv", content)


def parquet(content: bytes) -> None:
    """A Parquet file."""
    _load("parquet", content)


def _load(kind: str, content: bytes) -> None:
    path = _PATH / f"data.{kind}"
    path.write_bytes(content)
    with warnings.catch_warnings(), _heard():
        warnings.simplefilter("ignore", UserWarning)
        dataset = zoo.data.load(f"{kind}:{path}")
        zoo.data.check(dataset)
        assert len(dataset.sha256) == 64


@contextlib.contextmanager
def _heard() -> Iterator[None]:
    """Leaves out a ZooError after which a target goes on, for `run` to check what it says."""
    try:
        yield
    except ZooError as error:
        _SAID.append(str(error))


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _history(num_seeds: int = 1) -> History:
    settings = default.get_config()
    settings.num_seeds = num_seeds
    each = (lambda value: value) if num_seeds == 1 else (lambda value: [value] * num_seeds)
    record = {"epoch": 1, "step": 5, "learning_rate": 0.1, "seconds": 1.5, "images_per_second": 9.0}
    scores = {key: each(0.5) for key in ("loss", "accuracy", "val_loss", "val_accuracy")}
    return History(
        config=settings.to_dict(),
        environment={"jax": "0.10", "device": "x"},
        model={"name": "vgg5", "num_params": 7},
        data={"num_train": 9, "num_val": 1, "num_test": 2, "num_classes": 10},
        epochs=[{**record, **scores}],
        test={"loss": each(0.5), "accuracy": each(0.5), "num_examples": 2, "epoch": each(1)},
    )


def _image(kind: str, mode: str) -> bytes:
    file = io.BytesIO()
    picture = Image.new("L", (20, 20))
    picture.paste(200, (5, 5, 9, 15))
    picture = picture.convert("I;16" if mode == "I;16" else mode)
    picture.save(file, kind)
    return file.getvalue()


def _seeds() -> dict[str, list[bytes]]:
    labels = struct.pack(">HBBI", 0, 8, 1, 5) + bytes(5)
    images = struct.pack(">HBB3I", 0, 8, 3, 2, 3, 3) + bytes(18)
    flat = zoo.config.flatten(default.get_config())
    progress = {"loss_sum": 1.0, "num_correct": 1, "num_examples": 2, "seconds": 1.0}
    run = {"format": 2, "step": 5, "history": _history().to_content(), "progress": progress}
    pixels = np.arange(8 * 9, dtype=np.uint8).reshape(8, 3, 3)
    names = ("x_train", "y_train", "x_test", "y_test")
    pair = pixels, np.arange(8) % 2
    arrays = io.BytesIO()
    np.savez(arrays, **dict(zip(names, (*pair, *pair), strict=True)))
    rows = "\n".join(f"{k % 2}," + ",".join(map(str, each.flat)) for k, each in enumerate(pixels))
    names_of_pixels = ",".join(["label", *(f"p{number}" for number in range(9))])
    tables = []
    for stored in ([_image("PNG", "L")] * 8, pixels.tolist()):
        file = io.BytesIO()
        pq.write_table(pa.table({"image": stored, "label": pair[1]}), file)
        tables.append(file.getvalue())
    return {
        "npz": [arrays.getvalue(), _npy(pixels[:4])],
        "csv": [rows.encode(), gzip.compress(rows.encode()), f"{names_of_pixels}\n{rows}".encode()],
        "parquet": tables,
        "idx": [
            b"\0" + labels,
            b"\2" + images,
            b"\4" + gzip.compress(labels),
            b"\6" + gzip.compress(images),
        ],
        "history": [json.dumps(_history(number).to_content()).encode() for number in (1, 2)],
        "config": [f"{key}={value}".encode() for key, value in flat.items()]
        + [b"model=vgg5\nnum_epochs=3\nseed=1", b"optimizer.name=sgd", b"seed=10"],
        "image": [
            _image(kind, mode)
            for kind, mode in (
                ("PNG", "L"),
                ("PNG", "RGBA"),
                ("PNG", "P"),
                ("PNG", "I;16"),
                ("JPEG", "RGB"),
                ("GIF", "P"),
                ("BMP", "RGB"),
                ("WEBP", "RGB"),
                ("PNG", "1"),
            )
        ],
        "checkpoint": [
            json.dumps(run).encode() + b"\0" + b"0" * 64 + b"  run.json\n",
            json.dumps({**run, "progress": None}).encode() + b"\0",
        ],
    }


TARGETS: dict[str, Callable[[bytes], None]] = {
    "idx": idx,
    "npz": npz,
    "csv": csv,
    "parquet": parquet,
    "history": history,
    "config": config,
    "image": image,
    "checkpoint": checkpoint,
}
SEEDS = _seeds()


def run(name: str, content: bytes) -> list[str]:
    """Gives the reader that input, and gives what its errors say."""
    _SAID.clear()
    with _heard():
        TARGETS[name](content)
    assert all(said and "\n" not in said for said in _SAID), "an error is one line"
    return [*_SAID]
