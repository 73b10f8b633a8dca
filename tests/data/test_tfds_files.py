"""Datasets that TFDS prepared, and EMNIST and CIFAR-10 from files of their published form.

The files are small ones that the tests write: the genuine ones have not been tried.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from conftest import ROOT, write_idx
from PIL import Image

from zoo.data import DataDirs, Options, find, load
from zoo.data.mnist_tfds import download_and_prepare
from zoo.system.errors import ZooError

RNG = np.random.default_rng(0)


def write_emnist(folder: Path, part: str = "letters", classes: int = 27) -> dict[str, np.ndarray]:
    """Four files as EMNIST's gzip.zip has them; gives the images as they are stored."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = {}
    for split, count in (("train", 30), ("test", 10)):
        stored[split] = RNG.integers(0, 256, (count, 28, 28), np.uint8)
        labels = 1 + np.arange(count) % (classes - 1)
        write_idx(folder / f"emnist-{part}-{split}-images-idx3-ubyte.gz", stored[split])
        write_idx(folder / f"emnist-{part}-{split}-labels-idx1-ubyte.gz", labels)
    return stored


def write_cifar(folder: Path) -> np.ndarray:
    """CIFAR-10's binary files with 4 images each; gives those of training."""
    folder.mkdir()
    names = [f"data_batch_{number}.bin" for number in range(1, 6)]
    images = RNG.integers(0, 256, (20, 32, 32, 3), np.uint8)
    for index, name in enumerate([*names, "test_batch.bin"]):
        own = images[4 * index % 20 :][:4]
        labels = (np.arange(4, dtype=np.uint8) + 4 * index)[:, None] % 10
        planes = own.transpose(0, 3, 1, 2).reshape(4, -1)
        (folder / name).write_bytes(np.concatenate([labels, planes], axis=1).tobytes())
    classes = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship"]
    (folder / "batches.meta.txt").write_text("\n".join([*classes, "truck", ""]))
    return images


def as_set(images: np.ndarray) -> set[bytes]:
    return {np.ascontiguousarray(image).tobytes() for image in images}


def test_emnist_is_prepared_read_again_and_turned_upright(tmp_path: Path) -> None:
    stored = write_emnist(tmp_path / "gzip")
    where = {"data_dir": tmp_path / "tfds", "manual_dir": tmp_path / "gzip"}
    with (
        pytest.warns(UserWarning, match="EMNIST has rows and columns of its images exchanged"),
        pytest.warns(UserWarning, match="11 classes of tfds:emnist/letters, such as 0, have no"),
    ):
        dataset = load("tfds:emnist/letters", **where)
    assert (dataset.num_classes, len(dataset.train), len(dataset.test)) == (37, 30, 10)
    assert as_set(dataset.train.images[..., 0]) == as_set(stored["train"].transpose(0, 2, 1))
    found = find("tfds:emnist/letters:3.1.0", DataDirs(str(tmp_path / "tfds")))
    assert isinstance(found.train.images, np.memmap)
    assert found.sha256 == dataset.sha256
    builder = tfds.builder("emnist/letters", data_dir=tmp_path / "tfds")  # TFDS's own finds it
    assert as_set(np.stack([e["image"] for e in builder.as_data_source("test")])[..., 0]) == as_set(
        stored["test"]
    )


def test_cifar10_is_prepared_with_the_names_of_its_classes(tmp_path: Path) -> None:
    images = write_cifar(tmp_path / "cifar-10-batches-bin")
    dataset = load("tfds:cifar10", data_dir=tmp_path / "tfds", manual_dir=tmp_path)
    assert dataset.class_names[:2] == ("airplane", "automobile")
    assert dataset.train.images.shape == (20, 32, 32, 3)
    assert as_set(dataset.train.images) == as_set(images)
    assert dataset.pictures == "resized"
    small = load("tfds:cifar10", data_dir=tmp_path / "tfds", options=Options(8, 1))
    assert small.train.images.shape == (20, 8, 8, 1)


class Odd(tfds.core.GeneratorBasedBuilder):
    """Photographs of several sizes, without a split test."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> Any:
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(names=["fern", "moss"]),
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), supervised_keys=None
        )

    def _split_generators(self, _: Any) -> dict[str, Any]:
        return {"train": self._of(6), "validation": self._of(4), "extra": self._of(2)}

    def _of(self, count: int) -> Any:
        for index in range(count):
            image = Image.fromarray(RNG.integers(0, 256, (9 + index, 9, 3), np.uint8))
            yield index, {"image": image, "label": index % 2}

    def _generate_examples(self) -> Any:
        raise NotImplementedError


def test_any_image_classification_dataset_is_read(tmp_path: Path) -> None:
    download_and_prepare(Odd, tmp_path)
    with (
        pytest.warns(UserWarning, match="validation images of tfds:odd are for testing: there are"),
        pytest.warns(UserWarning, match="the splits extra are left out"),
    ):
        dataset = load("tfds:odd", data_dir=tmp_path, options=Options(image_size=8))
    assert (len(dataset.train), len(dataset.test)) == (6, 4)
    assert dataset.class_names == ("fern", "moss")
    with (
        pytest.warns(UserWarning, match="validation images of tfds:odd are for testing"),
        pytest.raises(ZooError, match=r"train image 0 of tfds:odd has 9x.*data\.image_size=32"),
        pytest.warns(UserWarning, match="the splits extra are left out"),
    ):
        load("tfds:odd", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "tfds:svhn_cropped",
            r"TFDS has not prepared svhn_cropped in .*, with tfds build svhn_cro",
        ),
        ("tfds:emnist/letters", r"or unpack its published files and name their directory, --confi"),
        ("tfds:cifar10:9.9.9", r"TFDS has not prepared cifar10:9\.9\.9 in"),
        ("tfds:../etc", r"'tfds:\.\./etc' is no dataset of TFDS: name it as in tfds:cifar10"),
    ],
)
def test_what_is_not_prepared_is_one_sentence(tmp_path: Path, name: str, sentence: str) -> None:
    with pytest.raises(ZooError, match=sentence):
        load(name, data_dir=tmp_path)


def test_published_files_that_are_missing_or_damaged_are_one_sentence(tmp_path: Path) -> None:
    write_cifar(tmp_path / "cifar")
    write_emnist(tmp_path / "gzip", "balanced")
    where: dict[str, Any] = {"data_dir": tmp_path / "tfds"}
    with pytest.raises(ZooError, match=r"gzip has no emnist-letters-train-images-idx3-ubyte\.gz"):
        load("tfds:emnist/letters", **where, manual_dir=tmp_path / "gzip")
    (tmp_path / "cifar/data_batch_3.bin").write_bytes(b"x" * 5000)
    with pytest.raises(ZooError, match=r"data_batch_3\.bin has 5,000 bytes, not records of 3,073"):
        load("tfds:cifar10", **where, manual_dir=tmp_path / "cifar")
    (tmp_path / "cifar/data_batch_3.bin").unlink()
    with pytest.raises(ZooError, match=r"cifar has no data_batch_3\.bin: .*tar\.gz was unpacked"):
        load("tfds:cifar10", **where, manual_dir=tmp_path / "cifar")


def test_idx_takes_emnists_files_and_turns_their_images(tmp_path: Path) -> None:
    stored = write_emnist(tmp_path, "digits", classes=11)
    with (
        pytest.warns(UserWarning, match="EMNIST stores rows and columns of its images exchanged"),
        pytest.warns(UserWarning, match="start at 1"),
    ):
        dataset = load("idx", manual_dir=tmp_path)
    np.testing.assert_array_equal(dataset.train.images[..., 0], stored["train"].transpose(0, 2, 1))
    with pytest.warns(UserWarning, match="start at 1"):
        left = load("idx", manual_dir=tmp_path, options=Options(transposed="no"))
    np.testing.assert_array_equal(left.train.images[..., 0], stored["train"])
    write_emnist(tmp_path, "letters")
    with pytest.raises(
        ZooError, match=r"the files of emnist-digits and of emnist-letters: name one"
    ):
        load("idx", manual_dir=tmp_path)
    one = tmp_path / "emnist-digits-train-images-idx3-ubyte.gz"
    with pytest.warns(UserWarning, match="start at 1"):
        chosen = load("idx", manual_dir=one, options=Options(transposed="yes"))
    assert chosen.sha256 == dataset.sha256


def test_idx_takes_images_in_colour_with_four_axes(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (6, 8, 9, 3), np.uint8)
    for split in ("train", "t10k"):
        write_idx(tmp_path / f"{split}-images-idx4-ubyte.gz", images)
        write_idx(tmp_path / f"{split}-labels-idx1-ubyte.gz", np.arange(6) % 2)
    np.testing.assert_array_equal(load("idx", manual_dir=tmp_path).train.images, images)
    write_idx(tmp_path / "train-images-idx4-ubyte.gz", images[..., :2])
    with pytest.raises(
        ZooError, match=r"shape \(6, 8, 9, 2\): write them with 4 axes as \[N, height"
    ):
        load("idx", manual_dir=tmp_path)


def test_tensorflow_is_not_imported(tmp_path: Path) -> None:
    write_cifar(tmp_path / "cifar")
    code = (
        f"import sys, zoo.data; zoo.data.load('tfds:cifar10', data_dir={str(tmp_path / 'tfds')!r}, "
        f"manual_dir={str(tmp_path / 'cifar')!r}); assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
