"""Every data source, every kind of damage, every missing file."""

import contextlib
import gzip
import importlib.metadata
import json
import re
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from conftest import REAL_MNIST_DIR, write_idx, write_idx_dataset
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo.data
from zoo.data import load, mnist_tfds, split_validation
from zoo.data.idx import FILES, read_idx
from zoo.system.errors import ZooError


def idx_files(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {
        split: (read_idx(folder / images, 3), read_idx(folder / labels, 1))
        for split, (images, labels) in FILES.items()
    }


@pytest.fixture(scope="session")
def published(mnist_manual_dir: Path) -> Any:
    """Makes TFDS accept the small stand-in files for MNIST if ZOO_MNIST_DIR is not set."""
    with pytest.MonkeyPatch.context() as patch:
        if not REAL_MNIST_DIR:
            stock = mnist_tfds._STOCK_BUILDERS["mnist"]
            infos = {
                stock.URL + name: mnist_tfds.compute_url_info(mnist_manual_dir / name)
                for pair in FILES.values()
                for name in pair
            }
            infos = {**mnist_tfds.get_all_url_infos(), **infos}
            patch.setattr(mnist_tfds, "get_all_url_infos", lambda: infos)
            patch.setattr(
                "tensorflow_datasets.core.download.checksums.get_all_url_infos", lambda: infos
            )
        yield


@pytest.fixture(scope="session")
def prepared_dir(
    published: None,
    mnist_manual_dir: Path,
    mnist_data_dir: Path | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A data_dir in which MNIST, or what stands for it, is prepared and cached."""
    if mnist_data_dir:
        return mnist_data_dir
    data_dir = tmp_path_factory.mktemp("tfds")
    load("mnist", data_dir=data_dir, manual_dir=mnist_manual_dir)
    return data_dir


@pytest.fixture
def own_copy(prepared_dir: Path, tmp_path: Path) -> Path:
    """A copy of the prepared data that a test may damage."""
    shutil.copytree(prepared_dir, tmp_path / "tfds")
    return tmp_path / "tfds"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise requests.ConnectionError("no network in this test")

    monkeypatch.setattr(requests, "head", refuse)


def assert_equals_idx(dataset: zoo.data.Dataset, folder: Path) -> None:
    for name, (images, labels) in idx_files(folder).items():
        split = getattr(dataset, name)
        np.testing.assert_array_equal(split.images[..., 0], images)
        np.testing.assert_array_equal(split.labels, labels)
        assert (split.images.dtype, split.labels.dtype) == (np.uint8, np.int32)


def test_digits_are_real_fixed_and_stratified() -> None:
    first, second = load("digits"), load("digits")
    assert first.train.images.shape == (1442, 28, 28, 1)
    assert first.test.images.shape == (355, 28, 28, 1)
    assert first.train.images.dtype == np.uint8
    assert first.train.images.max() == 255
    np.testing.assert_array_equal(first.train.images, second.train.images)
    train, val = split_validation(first, "holdout")
    for split in (train, val, first.test):
        shares = np.bincount(split.labels, minlength=10) / len(split)
        assert shares.min() > 0.09
        assert shares.max() < 0.11
    pixels = {image.tobytes() for image in first.train.images}
    assert sum(image.tobytes() in pixels for image in first.test.images) < 3


def test_mnist_is_read_in_the_order_of_its_files(
    prepared_dir: Path, mnist_manual_dir: Path
) -> None:
    assert_equals_idx(load("mnist", data_dir=prepared_dir), mnist_manual_dir)


def test_what_is_prepared_is_tfds_own_dataset(prepared_dir: Path, mnist_manual_dir: Path) -> None:
    import tensorflow_datasets as tfds

    builder = tfds.builder("mnist", data_dir=prepared_dir)  # the stock builder finds it
    assert builder.is_prepared()
    examples = sorted(
        (example["image"].tobytes(), int(example["label"]))
        for example in builder.as_data_source("test")
    )
    images, labels = idx_files(mnist_manual_dir)["test"]
    assert examples == sorted(
        (image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True)
    )


def test_a_dataset_prepared_as_tfrecord_is_read(
    small_records: Path, idx_dir: Path, tmp_path: Path
) -> None:
    import tensorflow_datasets as tfds
    from array_record.python import array_record_module

    own_copy = shutil.copytree(
        small_records, tmp_path / "tfds", ignore=shutil.ignore_patterns("decoded")
    )
    version_dir = own_copy / "mnist/3.0.1"
    for path in version_dir.glob("*.array_record-*"):
        reader = array_record_module.ArrayRecordReader(str(path))
        frames = [
            struct.pack("<QI", len(record), 0) + record + b"crc?" for record in reader.read_all()
        ]
        Path(str(path).replace("array_record", "tfrecord")).write_bytes(b"".join(frames))
        path.unlink()
    info = version_dir / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    assert tfds.builder_from_directory(version_dir).info.file_format.value == "tfrecord"
    assert_equals_idx(load("mnist", data_dir=own_copy), idx_dir)  # the same 92 images


def test_tensorflow_is_neither_required_nor_imported(prepared_dir: Path) -> None:
    assert "tensorflow" not in sys.modules

    required, to_visit = set(), ["jax-cnn-zoo"]
    while to_visit:
        name = to_visit.pop()
        if name in required:
            continue
        required.add(name)
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # for other systems
            for requirement in importlib.metadata.requires(name) or []:
                if "extra ==" not in requirement:
                    to_visit.append(re.split(r"[^\w.-]", requirement)[0].lower())
    assert {"jax", "tensorflow-datasets", "numpy"} <= required
    assert not {name for name in required if re.fullmatch(r"tensorflow(-cpu|-gpu)?", name)}


def test_second_start_decodes_nothing(prepared_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(mnist_tfds, "read_prepared")
    monkeypatch.setenv("ZOO_MNIST_DIR", "/nowhere")  # what is cached needs no files
    assert isinstance(load("mnist", data_dir=prepared_dir).train.images, np.memmap)


@pytest.mark.parametrize(
    "damage",
    [
        lambda cache: (cache / "manifest.json").unlink(),
        lambda cache: (cache / "manifest.json").write_text('{"train_images.npy": '),
        lambda cache: (cache / "manifest.json").write_text("[]"),
        lambda cache: (cache / "test_labels.npy").unlink(),
        lambda cache: (cache / "test_labels.npy").write_bytes(b""),
        lambda cache: (cache / "test_images.npy").write_bytes(
            (cache / "test_images.npy").read_bytes()[:-1]
        ),
        lambda cache: flip_a_byte(cache / "train_images.npy"),
    ],
    ids=["no manifest", "cut manifest", "wrong manifest", "gone", "empty", "truncated", "flipped"],
)
def test_a_damaged_cache_is_rebuilt(
    own_copy: Path, damage: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = own_copy / "mnist/3.0.1/decoded"
    good = load("mnist", data_dir=own_copy)
    expected = {
        name: zoo.data.Split(np.array(split.images), np.array(split.labels))
        for name, split in (("train", good.train), ("test", good.test))
    }
    calls = []

    def decode(version_dir: Path) -> Any:  # decoding is tested above; here only that it is called
        calls.append(version_dir)
        return {name: (split.images, split.labels) for name, split in expected.items()}

    monkeypatch.setattr(mnist_tfds, "read_prepared", decode)
    damage(cache)
    if (cache / "manifest.json").exists():
        with pytest.warns(UserWarning, match="decoded is damaged: images are decoded again"):
            rebuilt = load("mnist", data_dir=own_copy)
    else:
        rebuilt = load("mnist", data_dir=own_copy)
    assert len(calls) == 1
    np.testing.assert_array_equal(rebuilt.train.images, expected["train"].images)
    load("mnist", data_dir=own_copy)
    assert len(calls) == 1  # the new cache is good
    assert not list(cache.glob("*.tmp"))


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def test_a_cache_of_another_shape_is_not_used(own_copy: Path) -> None:
    cache = own_copy / "mnist/3.0.1/decoded"
    split = np.zeros((4, 28, 28, 1), np.uint8), np.zeros(3, np.int32)
    zoo.data.cache.write(cache, {"train": split, "test": split})
    assert zoo.data.cache.read(cache) is None


def test_a_dataset_directory_that_cannot_be_written_is_still_usable(
    own_copy: Path, mnist_manual_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version_dir = own_copy / "mnist/3.0.1"
    shutil.rmtree(version_dir / "decoded")
    (version_dir / "decoded").write_text("a file where the directory should be")
    decoded = {
        split: (images[..., None], labels.astype(np.int32))
        for split, (images, labels) in idx_files(mnist_manual_dir).items()
    }
    monkeypatch.setattr(mnist_tfds, "read_prepared", lambda version_dir: decoded)
    with pytest.warns(UserWarning, match="decoded images are not cached"):
        dataset = load("mnist", data_dir=own_copy)
    assert_equals_idx(dataset, mnist_manual_dir)


def test_a_damaged_prepared_dataset_is_a_clear_error(own_copy: Path) -> None:
    version_dir = own_copy / "mnist/3.0.1"
    shutil.rmtree(version_dir / "decoded")
    path = next(version_dir.glob("mnist-train.array_record-*"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ZooError, match=r"3\.0\.1 is damaged .* delete this directory"):
        load("mnist", data_dir=own_copy)


def test_missing_without_network_names_three_solutions(tmp_path: Path, no_network: None) -> None:
    with pytest.raises(ZooError) as error:
        load("fashion_mnist", data_dir=tmp_path)
    sentence = str(error.value)
    assert "fashion_mnist is not prepared, no manual_dir was given, and http" in sentence
    assert "connect to the network;" in sentence
    assert "train-images-idx3-ubyte.gz" in sentence
    assert "--config.manual_dir=DIR" in sentence
    assert "--config.dataset=digits" in sentence
    assert "\n" not in sentence
    assert list(tmp_path.iterdir()) == []  # nothing incomplete


def test_a_file_missing_in_manual_dir_is_a_clear_error(
    tmp_path: Path, published: None, mnist_manual_dir: Path, no_network: None
) -> None:
    for path in mnist_manual_dir.iterdir():
        if "t10k-labels" not in path.name:
            (tmp_path / path.name).symlink_to(path)
    with pytest.raises(ZooError, match=r"does not have all its files, and http\S*t10k-labels"):
        load("mnist", data_dir=tmp_path / "tfds", manual_dir=tmp_path)


def test_files_that_are_not_the_published_ones_are_refused(
    tmp_path: Path, no_network: None
) -> None:
    write_idx_dataset(tmp_path, num_train=20, num_test=10, seed=99)
    with pytest.raises(ZooError, match=r"is not the file that kmnist was published with"):
        load("kmnist", data_dir=tmp_path / "tfds", manual_dir=tmp_path)


def test_environment_variable_names_the_mnist_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_MNIST_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(ZooError, match=r"manual_dir is not a directory: .*nowhere: name the one"):
        load("mnist", data_dir=tmp_path)


def test_unknown_dataset_names_near_matches() -> None:
    with pytest.raises(ZooError, match=r"unknown dataset 'mnits': did you mean mnist"):
        load("mnits")


def test_own_idx_files(idx_dir: Path) -> None:
    dataset = load("idx", manual_dir=idx_dir)
    assert_equals_idx(dataset, idx_dir)
    assert dataset.num_classes == 10
    with pytest.raises(ZooError, match=r"dataset idx needs --config\.manual_dir=DIR"):
        load("idx")


def test_idx_files_need_not_be_gzipped(tmp_path: Path) -> None:
    write_idx_dataset(tmp_path, num_train=20, num_test=10)
    expected = load("idx", manual_dir=tmp_path)
    for path in tmp_path.glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    np.testing.assert_array_equal(
        load("idx", manual_dir=tmp_path).train.images, expected.train.images
    )


def test_idx_with_images_of_two_sizes_is_a_clear_error(tmp_path: Path) -> None:
    write_idx_dataset(tmp_path, num_train=20, num_test=10)
    write_idx(tmp_path / FILES["test"][0], np.zeros((10, 32, 32)))
    with pytest.raises(ZooError, match=r"training images of 28x28 and test images of 32x32"):
        load("idx", manual_dir=tmp_path)


def test_too_few_images_to_hold_out_any_is_a_clear_error(tmp_path: Path) -> None:
    write_idx_dataset(tmp_path, num_train=1, num_test=1)
    dataset = load("idx", manual_dir=tmp_path)
    with pytest.raises(ZooError, match=r"only 1 training image, too few to hold out any"):
        split_validation(dataset, "holdout")


def test_idx_with_more_images_than_labels_is_a_clear_error(tmp_path: Path) -> None:
    write_idx_dataset(tmp_path, num_train=20, num_test=10)
    write_idx(tmp_path / FILES["train"][1], np.zeros(19))
    with pytest.raises(ZooError, match=r"20 images and .* 19 labels"):
        load("idx", manual_dir=tmp_path)


def test_truncated_idx_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "images.gz"
    write_idx(path, np.zeros((3, 4, 4)))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ZooError, match=r"images\.gz is truncated: get it again"):
        read_idx(path, 3)
    plain = tmp_path / "images"
    plain.write_bytes(struct.pack(">HBB3I", 0, 8, 3, 3, 4, 4) + bytes(47))
    with pytest.raises(ZooError, match=r"is truncated: it has 63 bytes, .* declares 64"):
        read_idx(plain, 3)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            b"<html>404</html>",
            r"it is text, as of a web page or a Git LFS pointer: get the file itself",
        ),
        (b"", r"is empty: get it again"),
    ],
)
def test_a_file_that_is_not_gzip_is_a_clear_error(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    (tmp_path / "labels.gz").write_bytes(content)
    with pytest.raises(ZooError, match=sentence):
        read_idx(tmp_path / "labels.gz", 1)


def test_wrong_magic_is_a_clear_error(tmp_path: Path) -> None:
    write_idx(tmp_path / "labels.gz", np.zeros(5))
    with pytest.raises(ZooError, match=r"starts with 0x00000801, not 0x00000803"):
        read_idx(tmp_path / "labels.gz", 3)


@settings(max_examples=200, deadline=None)
@given(
    content=st.binary(max_size=64),
    num_axes=st.integers(1, 3),
    good_magic=st.booleans(),
    form=st.sampled_from(["plain", "gzipped", "cut", "not gzipped"]),
)
def test_any_bytes_are_an_array_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory,
    content: bytes,
    num_axes: int,
    good_magic: bool,
    form: str,
) -> None:
    path = tmp_path_factory.getbasetemp() / ("fuzzed" if form == "plain" else "fuzzed.gz")
    content = (bytes([0, 0, 8, num_axes]) if good_magic else b"") + content
    if form in ("gzipped", "cut"):
        content = gzip.compress(content)[: -5 if form == "cut" else None]
    path.write_bytes(content)
    with contextlib.suppress(ZooError):
        assert read_idx(path, num_axes).ndim == num_axes


def test_holdout_is_the_last_fifth_in_file_order() -> None:
    labels = np.arange(60_000, dtype=np.int32)
    split = zoo.data.Split(labels[:, None, None, None], labels)
    dataset = zoo.data.Dataset("numbers", split, split[:10], 10)
    train, val = split_validation(dataset, "holdout")
    assert (len(train), len(val)) == (48_000, 12_000)
    assert val.labels[0] == 48_000
    assert split_validation(dataset, "test") == (dataset.train, dataset.test)


def test_manifest_holds_a_checksum_of_every_array(prepared_dir: Path) -> None:
    manifest = json.loads((prepared_dir / "mnist/3.0.1/decoded/manifest.json").read_text())
    assert sorted(manifest) == [
        "test_images.npy",
        "test_labels.npy",
        "train_images.npy",
        "train_labels.npy",
    ]
