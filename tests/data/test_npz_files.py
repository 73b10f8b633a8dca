"""Arrays in .npz and .npy files, under the usual names or given ones; nothing is executed."""

import io
import os
import struct
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from zoo.data import Options, load
from zoo.system.errors import ZooError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (12, 6, 6), np.uint8)
LABELS = np.arange(12) % 3
KERAS = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[:4], "y_test": LABELS[:4]}


def test_keras_layout(tmp_path: Path) -> None:
    np.savez(tmp_path / "mnist.npz", **KERAS)
    dataset = load(f"npz:{tmp_path / 'mnist.npz'}")
    np.testing.assert_array_equal(dataset.train.images[..., 0], IMAGES)
    np.testing.assert_array_equal(dataset.test.labels, LABELS[:4])
    assert dataset.pictures == "ink"


def test_medmnist_layout_has_its_validation_images_last(tmp_path: Path) -> None:
    colour = RNG.integers(0, 256, (12, 6, 6, 3), np.uint8)
    parts = {"train": slice(0, 6), "val": slice(6, 9), "test": slice(9, 12)}
    arrays = {f"{name}_images": colour[part] for name, part in parts.items()}
    arrays |= {
        f"{name}_labels": LABELS[part, None].astype(np.uint8) for name, part in parts.items()
    }
    np.savez_compressed(tmp_path / "med.npz", **arrays)
    with pytest.warns(
        UserWarning, match=r"^val_images of .* \(3 images\) come after those of train"
    ):
        dataset = load(f"npz:{tmp_path / 'med.npz'}")
    np.testing.assert_array_equal(dataset.train.images, colour[:9])
    np.testing.assert_array_equal(dataset.train.labels, LABELS[:9])
    assert len(dataset.test) == 3


@pytest.mark.parametrize("more", [{}, {"x_test": IMAGES[:2]}], ids=["alone", "without labels"])
def test_training_arrays_alone_are_split(tmp_path: Path, more: dict[str, np.ndarray]) -> None:
    np.savez(tmp_path / "x.npz", x_train=IMAGES, y_train=LABELS, **more)
    with pytest.warns(UserWarning, match="no use: x_test") if more else nullcontext():
        dataset = load(f"npz:{tmp_path / 'x.npz'}")
    assert (len(dataset.train), np.bincount(dataset.test.labels).tolist()) == (9, [1, 1, 1])


def test_validation_arrays_are_for_testing_where_there_are_no_others(tmp_path: Path) -> None:
    validation = {"x_val": IMAGES[8:], "y_val": LABELS[8:]}
    np.savez(tmp_path / "x.npz", x_train=IMAGES[:8], y_train=LABELS[:8], **validation)
    sentence = r"^x_val of .*x\.npz \(4 images\) are for testing: there are no test images"
    with pytest.warns(UserWarning, match=sentence):
        dataset = load(f"npz:{tmp_path / 'x.npz'}")
    np.testing.assert_array_equal(dataset.train.images[..., 0], IMAGES[:8])
    np.testing.assert_array_equal(dataset.test.images[..., 0], IMAGES[8:])
    texts = np.array(["a", "b", "c"])[LABELS[8:]]
    arrays = {"x_train": IMAGES[:8], "y_train": LABELS[:8], "x_test": IMAGES, "y_test": LABELS}
    np.savez(tmp_path / "x.npz", **arrays, x_val=IMAGES[8:], y_val=texts)
    with (
        pytest.warns(UserWarning, match="come after those of training"),
        pytest.raises(ZooError, match=r"y_train and y_val of .* are int64 .* do not fit together"),
    ):
        load(f"npz:{tmp_path / 'x.npz'}")


def test_arrays_without_a_test_split_and_with_other_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", pictures=IMAGES, kinds=LABELS, more=LABELS)
    options = Options(fields="pictures, kinds")
    with pytest.warns(UserWarning, match="has arrays of no use: more"):
        dataset = load(f"npz:{tmp_path / 'mine.npz'}", options=options)
    assert (len(dataset.train), len(dataset.test)) == (9, 3)
    with pytest.raises(ZooError, match="has no array 'other': it has kinds, more, pictures"):
        load(f"npz:{tmp_path / 'mine.npz'}", options=Options(fields="pictures,other"))
    with pytest.raises(
        ZooError, match=r"fields must name two or four arrays of .*, not 'pictures'"
    ):
        load(f"npz:{tmp_path / 'mine.npz'}", options=Options(fields="pictures"))
    with pytest.raises(
        ZooError, match=r"no arrays x_train and y_train, .*data\.fields=IMAGES,LABE"
    ):
        load(f"npz:{tmp_path / 'mine.npz'}")


def test_a_directory_of_npy_files_is_the_same_data(tmp_path: Path) -> None:
    np.savez(tmp_path / "mnist.npz", **KERAS)
    (tmp_path / "arrays").mkdir()
    for name, array in KERAS.items():
        np.save(tmp_path / "arrays" / name, array)
    dataset = load(f"npy:{tmp_path / 'arrays'}")
    assert dataset.sha256 == load(f"npz:{tmp_path / 'mnist.npz'}").sha256
    with pytest.raises(ZooError, match=r"arrays is a directory: .* use npy:DIRECTORY"):
        load(f"npz:{tmp_path / 'arrays'}")
    with pytest.raises(ZooError, match=r"mnist\.npz is not a directory: name the one with x_train"):
        load(f"npy:{tmp_path / 'mnist.npz'}")


def npz_with(content: bytes) -> bytes:
    """An .npz whose x_train has that content."""
    file = io.BytesIO()
    np.savez(file, **{name: array for name, array in KERAS.items() if name != "x_train"})
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("x_train.npy", content)
    return file.getvalue()


def npy_of(header: str, data: bytes = b"") -> bytes:
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


DAMAGED: dict[str, tuple[Callable[[], bytes], str]] = {
    "no zip": (lambda: b"not a zip", r"is not an \.npz file, or a damaged one .*: get it again"),
    "empty": (lambda: b"", r"is not an \.npz file"),
    "no array": (lambda: npz_with(b"hello"), r"array 'x_train', is damaged, or no array"),
    "truncated": (
        lambda: npz_with(npy_of("{'descr': '|u1', 'fortran_order': False, 'shape': (9, 6, 6)}\n")),
        r"declares .* and has .*: get it again",
    ),
    "larger than all memory": (
        lambda: npz_with(
            npy_of("{'descr': '|u1', 'fortran_order': False, 'shape': (10000000000000, 28, 28)}\n")
        ),
        r"array 'x_train', is damaged, or no array \(it declares ",
    ),
    "code": (
        lambda: npz_with(npy_of("__import__('os').system('true')\n")),
        r"array 'x_train', is damaged, or no array",
    ),
    "a quote too many": (  # NumPy reads the header once more, by tokens
        lambda: npz_with(
            npy_of("'{'descr': '|u1', 'fortran_order': False, 'shape': (4, 3, 3), }\n")
        ),
        r"array 'x_train', is damaged, or no array",
    ),
    "a bad checksum": (
        lambda: npz_with(b"\x93NUMPY\x01\x00").replace(
            b"\x93NUMPY\x01\x00PK", b"\x93NUMPX\x01\x00PK"
        ),
        r"is damaged, or no array",
    ),
}


@pytest.mark.parametrize("fault", DAMAGED)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, fault: str) -> None:
    make, sentence = DAMAGED[fault]
    (tmp_path / "data.npz").write_bytes(make())
    with pytest.raises(ZooError, match=sentence) as error:
        load(f"npz:{tmp_path / 'data.npz'}")
    assert "\n" not in str(error.value)


def test_a_name_of_an_array_that_is_not_text_is_one_sentence(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", é=np.zeros(1), **KERAS)
    content = (tmp_path / "data.npz").read_bytes()
    assert content.count("é".encode()) == 2  # before the array, and in the table of contents
    (tmp_path / "data.npz").write_bytes(content.replace("é".encode(), b"\xff\xfe"))
    with pytest.raises(ZooError, match=r"data\.npz is not an \.npz file, or a damaged one"):
        load(f"npz:{tmp_path / 'data.npz'}")


def test_python_objects_are_not_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", **{**KERAS, "y_train": np.array([{}] * 12, object)})
    with pytest.raises(ZooError, match=r"'y_train', holds Python objects, which are not read"):
        load(f"npz:{tmp_path / 'data.npz'}")


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    for place in (tmp_path / "pipe.npz", "/dev/zero"):
        with pytest.raises(ZooError, match=r"is not a file: put a file in its place, or name anot"):
            load(f"npz:{place}")
    np.save(tmp_path / "y_train.npy", LABELS)
    os.mkfifo(tmp_path / "x_train.npy")
    with pytest.raises(ZooError, match=r"x_train\.npy is not a file"):
        load(f"npy:{tmp_path}")


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        ZooError, match=r"nowhere\.npz cannot be read \(No such file or directory\)"
    ):
        load(f"npz:{tmp_path / 'nowhere.npz'}")
