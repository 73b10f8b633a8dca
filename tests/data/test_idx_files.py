"""The content of IDX files decides, not their names, and what is ambiguous is asked for."""

import bz2
import gzip
import lzma
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from conftest import REAL_MNIST_DIR, write_idx, write_idx_dataset

from zoo.data import load, mnist_tfds
from zoo.data.idx import FILES, content_sha256
from zoo.system.errors import ZooError

NAMES = [name for pair in FILES.values() for name in pair]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    """The contents of four IDX files, gzipped, by their published names."""
    write_idx_dataset(tmp_path / "published", num_train=20, num_test=10)
    return {name: (tmp_path / "published" / name).read_bytes() for name in NAMES}


def place(directory: Path, files: dict[str, bytes], rename: Callable[[str], str]) -> Path:
    """Writes the files unpacked under other names, which may have directories."""
    for name, content in files.items():
        path = directory / rename(name.removesuffix(".gz"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.decompress(content))
    return directory


LAYOUTS: dict[str, Callable[[str], str]] = {
    "unpacked": lambda name: name,
    "dotted": lambda name: name.replace("-idx", ".idx"),
    "a directory each": lambda name: f"{name}/{name}",
    "a dotted directory each": lambda name: f"{name}/{name.replace('-idx', '.idx')}",
    "a plain directory each": lambda name: f"{name.replace('-idx', '.idx')}/{name}",
    "plain content in a .gz name": lambda name: f"{name}.gz",
    "upper case": str.upper,
    "test for t10k": lambda name: name.replace("t10k", "test"),
    "underscores": lambda name: name.replace("-", "_"),
    "without a form": lambda name: name.partition("-idx")[0],
    "torchvision's directory": lambda name: f"MNIST/raw/{name}",
    "one level too high": lambda name: f"archive/{name}",
    "one level too high, a directory each": lambda name: f"archive/{name}/{name}",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_are_recognised_under_any_of_their_names(
    files: dict[str, bytes], tmp_path: Path, layout: str
) -> None:
    expected = load("idx", manual_dir=tmp_path / "published")
    found = load("idx", manual_dir=place(tmp_path / "other", files, LAYOUTS[layout]))
    np.testing.assert_array_equal(found.train.images, expected.train.images)
    np.testing.assert_array_equal(found.test.labels, expected.test.labels)


def test_gzipped_content_needs_no_gz_in_its_name(files: dict[str, bytes], tmp_path: Path) -> None:
    for name in NAMES:
        (tmp_path / name.removesuffix(".gz")).write_bytes(files[name])
    assert len(load("idx", manual_dir=tmp_path).train) == 20


@pytest.mark.parametrize("given", [NAMES[0], NAMES[3]])
def test_one_of_the_files_names_its_directory(
    files: dict[str, bytes], tmp_path: Path, given: str
) -> None:
    assert len(load("idx", manual_dir=tmp_path / "published" / given).train) == 20
    kaggle = place(tmp_path / "kaggle", files, LAYOUTS["a directory each"])
    assert len(load("idx", manual_dir=kaggle / given.removesuffix(".gz")).train) == 20


def test_the_same_content_twice_is_taken(files: dict[str, bytes], tmp_path: Path) -> None:
    both = place(tmp_path / "published", files, LAYOUTS["dotted"])
    assert len(load("idx", manual_dir=both).train) == 20


def test_two_contents_of_one_file_are_asked_for_by_name(
    files: dict[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / "published/train-labels.idx1-ubyte").write_bytes(b"other")
    with pytest.raises(ZooError) as error:
        load("idx", manual_dir=tmp_path / "published")
    for part in (NAMES[1], "train-labels.idx1-ubyte", "differ", "rename or remove the wrong one"):
        assert part in str(error.value)


def test_datasets_in_two_directories_are_asked_for_by_name(
    files: dict[str, bytes], tmp_path: Path
) -> None:
    for name in ("MNIST", "KMNIST"):
        place(tmp_path / "root" / name / "raw", files, str)
    with pytest.raises(ZooError, match=r"has IDX files in .*KMNIST/raw and in .*/MNIST/raw: name"):
        load("idx", manual_dir=tmp_path / "root")


@pytest.mark.parametrize(
    ("suffix", "pack", "kind"),
    [
        (".bz2", bz2.compress, "a bzip2 file"),
        (".xz", lzma.compress, "an xz file"),
        (".gz", lambda data: gzip.compress(gzip.compress(data)), "gzipped twice: unpack it once"),
        (".gz", bz2.compress, "a bzip2 file"),
        ("", lzma.compress, "an xz file"),
        (".gz", lambda data: b"<html>404</html>", "it is text"),
    ],
)
def test_other_compression_is_one_sentence(
    files: dict[str, bytes],
    tmp_path: Path,
    suffix: str,
    pack: Callable[[bytes], bytes],
    kind: str,
) -> None:
    directory = tmp_path / "published"
    (directory / NAMES[0]).unlink()
    packed = pack(gzip.decompress(files[NAMES[0]]))
    (directory / NAMES[0].replace(".gz", suffix)).write_bytes(packed)
    with pytest.raises(ZooError, match=rf"{kind}"):
        load("idx", manual_dir=directory)


def test_an_archive_is_to_be_unpacked(files: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "download").mkdir()
    archive = tmp_path / "download/archive.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(NAMES[0], files[NAMES[0]])
    with pytest.raises(ZooError, match=r"archive\.zip there is a zip archive: unpack it"):
        load("idx", manual_dir=tmp_path / "download")
    with pytest.raises(ZooError, match=r"is a zip archive, not a directory: .*: unpack it, and"):
        load("idx", manual_dir=archive)
    place(tmp_path / "download", files, str)  # unpacked, it may stay
    assert len(load("idx", manual_dir=tmp_path / "download").train) == 20


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_named(files: dict[str, bytes], tmp_path: Path, name: str) -> None:
    (tmp_path / "published" / name).unlink()
    with pytest.raises(ZooError, match=rf"has no {name.removesuffix('.gz')}, with or without \.gz"):
        load("idx", manual_dir=tmp_path / "published")


@pytest.mark.parametrize(
    ("kind", "form", "text"),
    [(0x09, "b", "signed bytes"), (0x0C, ">i4", "32-bit integers"), (0x0D, ">f4", "32-bit floats")],
)
def test_another_type_of_element_is_one_sentence(
    files: dict[str, bytes], tmp_path: Path, kind: int, form: str, text: str
) -> None:
    content = struct.pack(">HBBI", 0, kind, 1, 20) + np.zeros(20, form).tobytes()
    (tmp_path / "published" / NAMES[1]).write_bytes(content)
    with pytest.raises(ZooError, match=rf"it holds {text}: write unsigned bytes"):
        load("idx", manual_dir=tmp_path / "published")


def test_files_under_each_others_names_are_one_sentence(
    files: dict[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / "published" / NAMES[0]).write_bytes(files[NAMES[1]])
    with pytest.raises(ZooError, match=r"it holds labels, not images: give it the other name"):
        load("idx", manual_dir=tmp_path / "published")


def test_axes_in_another_order_are_one_sentence(files: dict[str, bytes], tmp_path: Path) -> None:
    write_idx(tmp_path / "published" / NAMES[0], np.zeros((28, 28, 20)))
    with pytest.raises(ZooError, match=r"axes of images are \[images, height, width\]"):
        load("idx", manual_dir=tmp_path / "published")


def test_labels_from_1_are_noted_and_kept(files: dict[str, bytes], tmp_path: Path) -> None:
    for name, count in ((NAMES[1], 20), (NAMES[3], 10)):
        write_idx(tmp_path / "published" / name, 1 + np.arange(count) % 10)
    with pytest.warns(UserWarning, match="start at 1: class 0 has no image, and tables leave it"):
        found = load("idx", manual_dir=tmp_path / "published")
    assert (found.num_classes, found.train.labels.min(), found.test.labels.max()) == (11, 1, 10)


def test_a_class_that_only_the_test_lacks_is_not_noted(
    files: dict[str, bytes], tmp_path: Path
) -> None:
    write_idx(tmp_path / "published" / NAMES[3], 1 + np.arange(10) % 9)
    assert load("idx", manual_dir=tmp_path / "published").num_classes == 10  # and no warning


@pytest.fixture
def published(
    files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, bytes]:
    """Files that pass for those of MNIST, and no network."""
    url, folder = mnist_tfds._STOCK_BUILDERS["mnist"].URL, tmp_path / "published"
    infos = {url + name: mnist_tfds.compute_url_info(folder / name) for name in NAMES}
    sums = {name: content_sha256(folder / name) for name in NAMES}
    monkeypatch.setattr(mnist_tfds, "get_all_url_infos", lambda: infos)
    monkeypatch.setitem(mnist_tfds._UNPACKED, "mnist", sums)

    def refuse(*args: object, **kwargs: object) -> Any:
        raise requests.ConnectionError("no network in this test")

    monkeypatch.setattr(requests, "head", refuse)
    return files


@pytest.mark.parametrize("layout", ["unpacked", "a dotted directory each", "upper case"])
def test_mnist_is_prepared_from_unpacked_files(
    published: dict[str, bytes], tmp_path: Path, layout: str
) -> None:
    expected = load("idx", manual_dir=tmp_path / "published")
    directory = place(tmp_path / "other", published, LAYOUTS[layout])
    found = load("mnist", data_dir=tmp_path / "tfds", manual_dir=directory)
    np.testing.assert_array_equal(found.train.images, expected.train.images)
    np.testing.assert_array_equal(found.test.labels, expected.test.labels)


def test_of_the_same_content_twice_the_published_file_is_taken(
    published: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As torchvision leaves both; the sum of the unpacked one may not be known."""
    monkeypatch.delitem(mnist_tfds._UNPACKED, "mnist")
    both = place(tmp_path / "published", published, str)
    found = load("mnist", data_dir=tmp_path / "tfds", manual_dir=both)
    assert len(found.train) == 20
    for name in NAMES:
        (both / name).unlink()
    with pytest.raises(ZooError, match=r"of mnist only the \.gz as published is known\): get the"):
        load("mnist", data_dir=tmp_path / "other", manual_dir=both)


def test_another_content_is_not_mnist(published: dict[str, bytes], tmp_path: Path) -> None:
    write_idx_dataset(tmp_path / "other", num_train=20, num_test=10, seed=1)
    with pytest.raises(ZooError, match=r"is not the file that mnist was published with"):
        load("mnist", data_dir=tmp_path / "tfds", manual_dir=tmp_path / "other")
    assert not (tmp_path / "tfds").exists()


@pytest.mark.skipif(not REAL_MNIST_DIR, reason="needs the files of MNIST: ZOO_MNIST_DIR")
def test_the_sums_of_unpacked_files_are_those_of_mnist() -> None:
    found = {name: content_sha256(Path(str(REAL_MNIST_DIR), name)) for name in NAMES}
    assert found == mnist_tfds._UNPACKED["mnist"]
