"""Untrusted files cannot run code, escape from the run directory or fill the memory."""

import gzip
import hashlib
import io
import json
import os
import pickle
import re
import shutil
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorstore
from ml_collections import ConfigDict
from PIL import Image
from test_checkpoint import each_file, rewrite
from test_training import files_of

import zoo.analysis.trained
import zoo.data
import zoo.data.images
import zoo.data.preparation
import zoo.training.history
import zoo.training.parameters
from zoo.data.framing import MNIST
from zoo.data.idx import read_idx
from zoo.system.errors import DamagedError, ZooError
from zoo.training import train_and_evaluate


class Bomb:
    """It creates a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return open, (str(self.marker), "w")


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """A file that exists if untrusted code was run."""
    path = tmp_path / "code-was-run"
    pickle.loads(pickle.dumps(Bomb(path))).close()
    assert path.exists(), "the bomb is none"
    path.unlink()
    return path


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory outside of the run's; its content must not change."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "precious").write_text("precious")
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the module's run."""
    return tmp_path_factory.mktemp("trained")


@pytest.fixture
def run(tiny_config: ConfigDict, trained: Path, tmp_path: Path) -> Path:
    """A copy of a finished run's directory."""
    if not (trained / "run").exists():
        train_and_evaluate(tiny_config, trained / "run", quiet=True)
    return Path(shutil.copytree(trained / "run", tmp_path / "run"))


def told(error: BaseException | str) -> None:
    """Prints the message about a hostile file; see it with pytest -s."""
    print("   ", str(error)[:200])


def pickled_npy(marker: Path) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([Bomb(marker)], dtype=object), allow_pickle=True)
    return file.getvalue()


def test_a_pickled_array_in_the_data_cache_is_not_unpickled(tmp_path: Path, marker: Path) -> None:
    cache = tmp_path / "decoded"
    split = np.zeros((3, 4, 4, 1), np.uint8), np.zeros(3, np.int32)
    zoo.data.cache.write(cache, {"train": split, "test": split})
    assert zoo.data.cache.read(cache) is not None
    content = pickled_npy(marker)
    (cache / "test_labels.npy").write_bytes(content)
    manifest = json.loads((cache / "manifest.json").read_text())
    manifest["test_labels.npy"] = hashlib.sha256(content).hexdigest()
    (cache / "manifest.json").write_text(json.dumps(manifest))
    assert zoo.data.cache.read(cache) is None
    assert not marker.exists()


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '|u1', 'fortran_order': False, 'shape': (10**15,), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (" + "9" * 5000 + ",), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (3,), }",
        "{'descr': __import__('os').system('x'), 'fortran_order': False, 'shape': (3,), }",
        "(" * 5000,
    ],
    ids=["huge", "endless number", "objects", "code", "deep"],
)
def test_an_array_file_with_a_hostile_header_is_decoded_again(tmp_path: Path, header: str) -> None:
    cache = tmp_path / "decoded"
    split = np.zeros((3, 4, 4, 1), np.uint8), np.zeros(3, np.int32)
    zoo.data.cache.write(cache, {"train": split, "test": split})
    text = header.encode().ljust(118 if len(header) < 118 else len(header)) + b"\n"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(100)
    (cache / "test_images.npy").write_bytes(content)
    manifest = json.loads((cache / "manifest.json").read_text())
    manifest["test_images.npy"] = hashlib.sha256(content).hexdigest()
    (cache / "manifest.json").write_text(json.dumps(manifest))
    assert zoo.data.cache.read(cache) is None


@pytest.mark.parametrize("manifest", ["[" * 100_000, "null", '{"../../x": 1}', "9" * 10_000])
def test_a_hostile_manifest_is_not_a_cache(tmp_path: Path, manifest: str) -> None:
    cache = tmp_path / "decoded"
    split = np.zeros((3, 4, 4, 1), np.uint8), np.zeros(3, np.int32)
    zoo.data.cache.write(cache, {"train": split, "test": split})
    (cache / "manifest.json").write_text(manifest)
    assert zoo.data.cache.read(cache) is None


def test_a_pickle_in_place_of_an_idx_file_is_one_sentence(tmp_path: Path, marker: Path) -> None:
    for content in (pickle.dumps(Bomb(marker)), pickled_npy(marker)):
        (tmp_path / "labels").write_bytes(content)
        with pytest.raises(ZooError, match="is not an IDX file") as caught:
            read_idx(tmp_path / "labels", 1)
        told(caught.value)
    assert not marker.exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Orbax's own
@pytest.mark.filterwarnings("ignore:Orbax:UserWarning")  # a file that it can do without
def test_a_pickle_in_a_checkpoint_is_not_unpickled(
    run: Path, marker: Path, tiny_config: ConfigDict
) -> None:
    """In place of each file, with correct checksums: the state is read, or refused."""
    newest = run / "checkpoints/10"
    for path in each_file(newest / "state"):
        good = path.read_bytes()
        path.write_bytes(pickle.dumps(Bomb(marker)))
        rewrite(newest, lambda content: None)
        try:
            zoo.analysis.trained.load(run)
        except ZooError as error:
            told(error)
        path.write_bytes(good)
    assert not marker.exists()


def test_names_that_lead_out_of_a_checkpoint_are_damage(
    run: Path, outside: Path, tiny_config: ConfigDict
) -> None:
    sums = run / "checkpoints/10/sha256sums.txt"
    digest = hashlib.sha256(b"precious").hexdigest()
    sums.write_text(sums.read_text() + f"{digest}  ../../../outside/precious\n")
    found = zoo.training.parameters.read(run)
    assert found.step == 5
    assert "../../../outside/precious is not as it was written" in found.notes[0]
    told(found.notes[0])


def test_links_in_a_checkpoint_are_damage(run: Path, outside: Path) -> None:
    """Even to a file with the right content."""
    path = max(each_file(run / "checkpoints/10/state"), key=lambda path: path.stat().st_size)
    (outside / "copy").write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(outside / "copy")
    found = zoo.training.parameters.read(run)
    assert found.step == 5
    assert "is not a file)" in found.notes[0]
    told(found.notes[0])


def test_a_pipe_in_a_checkpoint_is_not_waited_for(run: Path) -> None:
    os.mkfifo(run / "checkpoints/10/state/pipe")
    found = zoo.training.parameters.read(run)
    assert found.step == 5
    told(found.notes[0])


def test_links_out_of_the_workdir_are_neither_followed_nor_emptied(
    run: Path, outside: Path, tiny_config: ConfigDict
) -> None:
    before = files_of(outside)
    checkpoints = run / "checkpoints"
    for name in ("7", "99-partial", ".saving-15", ".deleted-1", ".saving-11-partial"):
        (checkpoints / name).symlink_to(outside)
    for name in ("history.png", f".history.json.{os.getpid()}.tmp"):
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(outside / "precious")
    (outside / "events.out.tfevents.1").write_text("precious, too")
    (run / "tensorboard").symlink_to(outside)
    tiny_config.tensorboard = True
    real = (run / "history.json").rename(outside / "history.json")
    before = files_of(outside)
    (run / "history.json").symlink_to(real)
    tiny_config.update(num_epochs=4)
    tiny_config.checkpoint.every_minutes = 1e-9
    history = train_and_evaluate(tiny_config, run, quiet=True)
    assert history.is_complete
    assert files_of(outside) == before
    assert not (run / "history.json").is_symlink()
    assert not (run / "history.png").is_symlink()


DEEP = "[" * 100_000
CONTENTS = {
    "deep": lambda text: DEEP,
    "deep inside": lambda text: text.replace('"environment": {', f'"environment": {{"x": {DEEP},'),
    "huge number": lambda text: text.replace('"step": 5', '"step": ' + "9" * 5000),
    "NaN": lambda text: text.replace('"loss": ', '"loss": NaN, "x": ', 1),
    "other type": lambda text: "3",
    "half a character": lambda text: text.replace("pooling_cnn3", "\\ud800"),
    "not UTF-8": lambda text: text.encode() + b"\xff",
    "another seed count": lambda text: text.replace('"num_seeds": 1', '"num_seeds": 9999'),
    "terminal codes": lambda text: text.replace("pooling_cnn3", "\\u001b[2Jpooling_cnn3"),
    "negative step": lambda text: text.replace('"step": 5', '"step": -5'),
}


@pytest.mark.parametrize("kind", CONTENTS)
def test_a_hostile_history_is_damage(run: Path, kind: str, tiny_config: ConfigDict) -> None:
    path = run / "history.json"
    hostile = CONTENTS[kind](path.read_text())
    assert hostile != path.read_text()
    path.write_bytes(hostile if isinstance(hostile, bytes) else hostile.encode())
    with pytest.raises(DamagedError) as caught:
        zoo.training.history.read(run)
    told(caught.value)


@pytest.mark.parametrize("kind", CONTENTS)
def test_a_hostile_record_in_a_checkpoint_is_damage(
    run: Path, kind: str, tiny_config: ConfigDict, capsys: pytest.CaptureFixture[str]
) -> None:
    """With correct checksums: the previous one is used, and the run ends normally."""
    newest = run / "checkpoints/10"
    path = newest / "run.json"
    text = json.dumps(json.loads(path.read_text()))
    hostile = CONTENTS[kind](text)
    assert hostile != text
    (run / "history.json").unlink()
    rewrite(newest, lambda content: None)
    sums = newest / "sha256sums.txt"
    old = hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(hostile if isinstance(hostile, bytes) else hostile.encode())
    sums.write_text(sums.read_text().replace(old, hashlib.sha256(path.read_bytes()).hexdigest()))
    capsys.readouterr()
    assert train_and_evaluate(tiny_config, run, quiet=True).is_complete
    error = capsys.readouterr().err
    assert "note: the checkpoint " in error
    assert "\x1b" not in error
    told(error)


def test_arrays_larger_than_the_memory_are_not_made(run: Path, tiny_config: ConfigDict) -> None:
    """An array without written chunks needs no space on disk, but all of it in memory."""
    newest = run / "checkpoints/10"
    tensorstore.open(
        {
            "driver": "zarr",
            "kvstore": {
                "driver": "ocdbt",
                "base": f"file://{newest / 'state'}/",
                "path": "params.conv_1.bias/",
            },
            "metadata": {"shape": [10**14], "chunks": [10**6], "dtype": "<f4"},
        },
        create=True,
        delete_existing=True,
    ).result()
    rewrite(newest, lambda content: None)
    with pytest.raises(ZooError, match=r"holds arrays of 400,000.* GB, more than") as caught:
        zoo.analysis.trained.load(run)
    told(caught.value)
    tiny_config.num_epochs = 3
    with pytest.raises(
        ZooError, match=r"cannot be read here .params/conv_1/bias differs"
    ) as caught:
        train_and_evaluate(tiny_config, run, quiet=True)
    told(caught.value)


def test_a_header_that_declares_too_much_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_bytes(struct.pack(">HBB3I", 0, 8, 3, 2**32 - 1, 2**32 - 1, 2**32 - 1))
    with pytest.raises(ZooError, match="more than the free memory of this machine") as caught:
        read_idx(path, 3)
    told(caught.value)
    path.write_bytes(struct.pack(">HBB3I", 0, 8, 3, 2**10, 2**10, 2**10))
    with pytest.raises(ZooError, match="is truncated") as caught:
        read_idx(path, 3)
    told(caught.value)


def test_a_gzip_bomb_is_not_decompressed(tmp_path: Path) -> None:
    """64 MB compressed to 64 kB; its header declares 16 bytes."""
    packer = zlib.compressobj(wbits=31)
    header = struct.pack(">HBB3I", 0, 8, 3, 1, 4, 4)
    zeros = bytes(2**20)
    parts = [packer.compress(header), *(packer.compress(zeros) for _ in range(64))]
    path = tmp_path / "images.gz"
    path.write_bytes(b"".join(parts) + packer.flush())
    tracemalloc.start()
    try:
        with pytest.raises(ZooError, match="is longer than its header declares") as caught:
            read_idx(path, 3)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    told(caught.value)
    assert most < 2**20
    with gzip.open(path) as file:
        assert file.read(4) == header[:4]


def png(width: int, height: int) -> bytes:
    """A PNG header for an image of that size, without any data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(2**31 - 1, 2**31 - 1), (100_000, 100_000), (8_000, 8_000)])
def test_an_image_too_large_is_not_decoded(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(png(*size))
    with pytest.raises(ZooError, match=r"more (pixels )?than the limit") as caught:
        zoo.data.images.read(path)
    told(caught.value)


@pytest.mark.parametrize("kind", ["TIFF", "EPS", "ICO", "PPM"])
def test_only_a_few_kinds_of_images_are_decoded(tmp_path: Path, kind: str) -> None:
    """Fewer decoders, fewer vulnerabilities; and none that runs a program, as for EPS."""
    path = tmp_path / "image.png"
    Image.new("L" if kind != "EPS" else "RGB", (16, 16)).save(path, kind)
    with pytest.raises(ZooError, match="is not an image of a known format") as caught:
        zoo.data.images.read(path)
    told(caught.value)


def test_an_image_with_not_a_number_in_it_is_one_sentence() -> None:
    values = np.zeros((9, 9), np.float32)
    values[3, 3] = np.nan
    with pytest.raises(ZooError, match="finite"):
        zoo.data.preparation.prepare(Image.fromarray(values), (28, 28, 1), MNIST, "image")


def test_no_module_of_the_zoo_unpickles_or_evaluates() -> None:
    """No such call in the whole source, but the one for a file that the user names as code."""
    words = r"pickle\.load|allow_pickle=True|(?<![\w.`])(?:eval|exec)\(|yaml\.load|marshal|shelve"
    root = Path(zoo.__file__).parent
    sources = [*root.rglob("*.py"), root.parent / "train.py"]
    assert len(sources) > 40
    found = {source.name: re.findall(words, source.read_text()) for source in sources}
    assert {name: calls for name, calls in found.items() if calls} == {"net_files.py": ["exec("]}
