"""Images that stay on disk are those that would be decoded into memory, and so are their facts."""

import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_tfds_files import write_emnist

from zoo.data import Dataset, Options, find, fitting, load, readers
from zoo.data.stored import StoredImages
from zoo.data.windows import Part, Place, Windows
from zoo.system.errors import ZooError

SMALL = Options(image_size=20, channels=3)


def assert_same(stored: Dataset, loaded: Dataset) -> None:
    for one, other in ((stored.train, loaded.train), (stored.test, loaded.test)):
        assert isinstance(one.images, StoredImages)
        np.testing.assert_array_equal(np.asarray(one.images), other.images)
        np.testing.assert_array_equal(one.labels, other.labels)
    assert stored.facts == loaded.facts
    assert (stored.pictures, stored.options) == (loaded.pictures, loaded.options)


@pytest.fixture
def records(small_records: Path, tmp_path: Path) -> Path:
    """A copy of the records, which a test may damage, and in which it may decode."""
    without = shutil.ignore_patterns("decoded")
    return Path(shutil.copytree(small_records, tmp_path / "tfds", ignore=without))


def write_pictures(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("fern", "moss"):
        (folder / name).mkdir(parents=True)
        for index in range(8):
            picture = Image.fromarray(rng.integers(0, 256, (9, 7, 3), np.uint8))
            picture.save(folder / name / f"{index}.png")
    return folder


@pytest.mark.parametrize("options", [Options(), SMALL], ids=["as they are", "resized"])
def test_records_of_mnist_are_read_in_the_order_of_its_files(
    records: Path, options: Options
) -> None:
    stored = load("mnist", data_dir=records, options=options, stream=True)
    assert {path.name for path in (records / "mnist/3.0.1/decoded").iterdir()} == {
        *("streamed.json", "streamed_labels.bin")
    }
    loaded = load("mnist", data_dir=records, options=options)
    assert_same(stored, loaded)
    assert_same(load("mnist", data_dir=records, options=options, stream=True), loaded)  # decoded


def test_other_datasets_of_tfds_and_pictures(tmp_path: Path) -> None:
    """EMNIST's are turned upright; a share of the pictures is for testing."""
    write_emnist(tmp_path / "gzip")
    emnist = {"name": "tfds:emnist/letters", "data_dir": tmp_path, "manual_dir": tmp_path / "gzip"}
    pictures = {"name": f"images:{write_pictures(tmp_path / 'pictures')}"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for where in (emnist, pictures):
            assert_same(load(**where, stream=True), load(**where))


def test_all_is_read_once_unless_a_file_changes(
    records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load("mnist", data_dir=records, stream=True)
    read, calls = readers.Records.labels, []
    monkeypatch.setattr(readers.Records, "labels", lambda *args: calls.append(args) or read(*args))
    again = load("mnist", data_dir=records, stream=True)
    assert (again.sha256, calls) == (first.sha256, [])
    for damage in ("streamed.json", "streamed_labels.bin"):
        (records / "mnist/3.0.1/decoded" / damage).write_text("{}")
        assert load("mnist", data_dir=records, stream=True).sha256 == first.sha256
    next((records / "mnist/3.0.1").glob("*train*record*")).touch()
    assert load("mnist", data_dir=records, stream=True).sha256 == first.sha256
    assert len(calls) == 6  # of two splits each


def test_damaged_records_are_one_sentence(records: Path) -> None:
    dataset = load("mnist", data_dir=records, stream=True)
    path = next((records / "mnist/3.0.1").glob("*train*record*"))
    content = path.read_bytes()
    readers._opened.cache_clear()
    path.write_bytes(content[:1000] + bytes(len(content) - 1000))
    with pytest.raises(ZooError, match=r"of mnist \(train\) cannot be read .*: delete .*/3\.0\.1"):
        np.asarray(dataset.train.images)
    readers._opened.cache_clear()
    path.unlink()
    with pytest.raises(ZooError, match=r"of mnist \(train\) cannot be read .*: delete"):
        dataset.train.images.read(np.array([0]))
    with pytest.raises(ZooError, match="cannot be read"):
        load("mnist", data_dir=records, stream=True)
    info = records / "mnist/3.0.1/dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(ZooError, match=r"prepared as tfrecord.*leave out --config\.data\.stream"):
        load("mnist", data_dir=records, stream=True)


def test_a_picture_that_goes_bad_is_named(tmp_path: Path) -> None:
    folder = write_pictures(tmp_path / "pictures")
    dataset = load(f"images:{folder}", stream=True)
    (folder / "fern/3.png").write_bytes(b"not an image")
    Image.new("RGB", (9, 9)).save(folder / "moss/3.png")
    images = dataset.train.images[np.arange(len(dataset.train))], dataset.test.images
    said = []
    for each in images:
        for place in range(len(each)):
            try:
                each.read(np.array([place]))
            except ZooError as error:
                said.append(str(error))
    assert len(said) == 2
    assert any("fern/3.png is not an image" in text for text in said)
    assert any("first image has 7x9 pixels" in text and "moss/3.png 9x9" in text for text in said)


def test_windows_hold_the_batches_of_each_epoch_then_what_is_scored(tmp_path: Path) -> None:
    """Of 7 images in batches of 2, two of them a window; 5 and 3 are scored, 4 a step."""
    train, validation, test = (
        np.arange(first, first + count, dtype=np.uint8)[:, None, None, None]
        for first, count in ((10, 7), (20, 5), (30, 3))
    )
    parts = {
        "train": Part(train, 2, 2),
        "validation": Part(validation, 4, 2),
        "test": Part(test, 4, 2),
    }
    windows = Windows(parts, 2, tmp_path)
    orders = {1: [[6, 0], [1, 2], [3, 4], [5, -1]], 2: [[0, 1], [2, 3], [4, 5], [6, -1]]}
    for epoch, order in orders.items():
        np.save(tmp_path / f"{epoch}.npy", np.array(order, np.int32))
    wanted = [
        *([[16, 10], [11, 12]], [[13, 14], [15, 10]], [[20, 21, 22, 23], [24, 20, 20, 20]]),
        *([[10, 11], [12, 13]], [[14, 15], [16, 10]], [[20, 21, 22, 23], [24, 20, 20, 20]]),
        [[30, 31, 32, 30], [30, 30, 30, 30]],
    ]
    assert len(windows) == len(wanted)
    for number, expected in enumerate(wanted):
        item = windows[number]
        assert item["number"] == number == windows.number(windows.place(number))
        assert item["image"][..., 0, 0, 0].tolist() == expected
        padding = np.isin(expected, (10, 20, 30)) & (windows.indices(number) != 0)
        assert ((windows.indices(number) < 0) == padding).all()
    rest = windows.from_number(windows.number(Place("train", 2, 3)))
    assert (len(rest), rest[0]["image"][..., 0, 0, 0].tolist()) == (3, wanted[4])
    own = {"train": Part(train, 2, 2, (slice(0, 2), slice(1, 2)))}  # of two processes
    second = Windows(parts | own, 2, tmp_path)[0]["image"]
    assert second[..., 0, 0, 0].tolist() == [[10], [12]]


def test_a_decoded_copy_that_another_command_replaced_is_not_read(tmp_path: Path) -> None:
    """It may have other images in other places: of the test, that were trained on."""
    name = f"images:{write_pictures(tmp_path / 'plants')}"
    load(name, options=Options(split_seed=0))
    stored = load(name, options=Options(split_seed=0), stream=True)
    first = stored.train.images.read(np.arange(3))
    load(name, options=Options(split_seed=1))  # as of another run, which has its own split
    np.testing.assert_array_equal(stored.train.images.read(np.arange(3)), first)  # it is open
    with pytest.raises(
        ZooError, match=r"test_images\.npy was replaced while it was read, by a com"
    ):
        stored.test.images.read(np.arange(3))
    again = load(name, options=Options(split_seed=1), stream=True)
    loaded = load(name, options=Options(split_seed=1))
    np.testing.assert_array_equal(np.asarray(again.train.images), loaded.train.images)


def test_what_was_streamed_is_found_without_memory_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"images:{write_pictures(tmp_path / 'plants')}"
    expected = load(name).sha256
    shutil.rmtree(tmp_path / "plants/.decoded")
    monkeypatch.setattr(fitting, "available_bytes", lambda: 1000)
    with pytest.raises(ZooError, match=r"data\.stream"):
        find(name)
    assert find(name, sha256=expected, stream=True).sha256 == expected
