"""Arrays in memory become a dataset, or one sentence says why not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from zoo.data import Options, from_arrays, load, split_validation
from zoo.data.dataset import note_untrained_classes
from zoo.data.names import absolute, short
from zoo.data.splitting import mixed
from zoo.system.errors import ZooError

IMAGES = np.arange(12 * 6 * 5, dtype=np.int64).reshape(12, 6, 5) % 256
LABELS = np.arange(12) % 3


def test_arrays_of_any_whole_numbers_become_uint8_images_with_int32_labels() -> None:
    dataset = from_arrays(IMAGES, LABELS[:, None], IMAGES[:3], [0, 1, 2])
    assert dataset.name == "memory:arrays"
    assert (dataset.num_classes, dataset.class_names) == (3, ())
    np.testing.assert_array_equal(dataset.train.images[..., 0], IMAGES)
    np.testing.assert_array_equal(dataset.train.labels, LABELS)
    assert (dataset.train.images.dtype, dataset.train.labels.dtype) == (np.uint8, np.int32)
    assert dataset.test.images.shape == (3, 6, 5, 1)


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "stored",
    [
        lambda array: array.astype(">i4"),
        lambda array: array.astype("<u2"),
        lambda array: array.astype(np.uint64),
        np.asfortranarray,
        lambda array: np.repeat(array, 3, axis=0)[::3],  # strided
        lambda array: array[::-1].copy()[::-1],  # with a negative stride
        lambda array: np.stack([array, array], -1)[..., 0],
        read_only,
    ],
    ids=[
        "big-endian",
        "little-endian",
        "uint64",
        "Fortran",
        "strided",
        "backwards",
        "within",
        "read-only",
    ],
)
def test_however_arrays_are_stored_they_are_the_same_dataset(
    stored: Callable[[np.ndarray], np.ndarray],
) -> None:
    for each in (stored(IMAGES.astype(np.uint8)), stored(IMAGES)):
        dataset = from_arrays(each, stored(LABELS), each[:3], stored(LABELS)[:3])
        np.testing.assert_array_equal(dataset.train.images[..., 0], IMAGES)
        np.testing.assert_array_equal(dataset.train.labels, LABELS)
        assert (dataset.train.images.dtype, dataset.train.labels.dtype) == (np.uint8, np.int32)
        assert dataset.sha256 == from_arrays(IMAGES, LABELS, IMAGES[:3], LABELS[:3]).sha256


def test_texts_as_labels_are_the_names_of_the_classes() -> None:
    names = np.array(["pear", "apple", "fig"])
    dataset = from_arrays(IMAGES, names[LABELS], IMAGES, names[LABELS])
    assert dataset.class_names == ("apple", "fig", "pear")
    assert dataset.train.labels[:3].tolist() == [2, 0, 1]


def test_a_test_split_is_a_share_of_each_class_by_a_seed() -> None:
    labels = np.repeat([0, 1, 2], [50, 20, 5])
    images = np.arange(75, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    dataset, again = (from_arrays(images, labels) for _ in range(2))
    other = from_arrays(images, labels, options=Options(split_seed=1))
    assert np.bincount(dataset.test.labels).tolist() == [10, 4, 1]
    assert np.bincount(dataset.train.labels).tolist() == [40, 16, 4]
    assert dataset.sha256 == again.sha256 != other.sha256
    seen = np.concatenate([dataset.train.images, dataset.test.images])[:, 0, 0, 0]
    assert sorted(seen.tolist()) == list(range(75))
    half = from_arrays(images, labels, options=Options(test_share=0.5))
    assert np.bincount(half.test.labels).tolist() == [25, 10, 2]
    _, held_out = split_validation(dataset, "holdout")  # of a dataset that was sorted by class
    assert np.bincount(held_out.labels, minlength=3).tolist() == [8, 3, 1]


def test_training_images_sorted_by_class_are_mixed_by_a_seed() -> None:
    """As of a directory with train/ and test/: else the last ones, held out, would be one class."""
    labels = np.repeat([0, 1, 2], 4)
    dataset = from_arrays(IMAGES, labels, IMAGES, labels)
    for third in np.split(dataset.train.labels, 4):
        assert sorted(third.tolist()) == [0, 1, 2]
    pixels = IMAGES.astype(np.uint8)
    of_class = {image.tobytes(): label for image, label in zip(pixels, labels, strict=True)}
    for image, label in zip(dataset.train.images[..., 0], dataset.train.labels, strict=True):
        assert of_class[image.tobytes()] == label
    assert dataset.test.labels.tolist() == labels.tolist()
    other = from_arrays(IMAGES, labels, IMAGES, labels, options=Options(split_seed=1))
    assert other.sha256 != dataset.sha256
    unsorted = from_arrays(IMAGES, LABELS, IMAGES, labels)
    assert unsorted.train.labels.tolist() == LABELS.tolist()


def test_every_part_of_a_mixed_order_has_its_share_of_each_class() -> None:
    labels = np.repeat([0, 1], [300, 100])
    order = mixed(labels, seed=0)
    assert sorted(order.tolist()) == list(range(400))
    for start in range(0, 400, 40):
        assert 9 <= labels[order[start : start + 40]].sum() <= 11
    assert order.tolist() != mixed(labels, seed=1).tolist()


def test_images_are_resized_and_get_the_channels_that_are_asked_for() -> None:
    images = np.zeros((12, 4, 6), np.uint8)
    images[:, :, 3:] = 200
    dataset = from_arrays(images, LABELS, images, LABELS, options=Options(8, 3))
    assert dataset.train.images.shape == (12, 8, 8, 3)
    assert dataset.train.images[0, :, 0].max() == 0
    assert dataset.train.images[0, :, -1].min() == 200
    colour = np.stack([images, images * 0, images * 0], axis=-1)
    grey = from_arrays(colour, LABELS, colour, LABELS, options=Options(channels=1))
    assert grey.train.images.shape == (12, 4, 6, 1)
    assert grey.train.images.max() == 60  # 0.299 of red


def test_images_and_the_copy_that_a_split_makes_must_fit_into_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("zoo.data.fitting.available_bytes", lambda: 1.5 * 12 * 100**2)
    with pytest.raises(ZooError, match=r"12 images of 100x100x1 and their copy take 240 kB, more"):
        from_arrays(IMAGES, LABELS, options=Options(image_size=100))


def test_a_dataset_by_its_name_is_resized_as_well() -> None:
    digits = load("digits", options=Options(image_size=14, channels=3, pictures="resized"))
    assert digits.train.images.shape == (1442, 14, 14, 3)
    assert (digits.pictures, load("digits").pictures) == ("resized", "ink")
    assert load("digits", options=Options(split_seed=3)).sha256 == load("digits").sha256


@pytest.mark.parametrize(
    ("images", "labels", "sentence"),
    [
        (
            IMAGES / 255,
            LABELS,
            r"images of memory:arrays are float64, not whole .* 0 to 255: scale",
        ),
        (IMAGES > 5, LABELS, r"are bool, not whole numbers from 0 to 255: multiply"),
        (IMAGES + 1, LABELS, r"have values from 1 to 256, not from 0 to 255: scale them"),
        (IMAGES[:, None, None], LABELS, r"have shape \(12, 1, 1, 6, 5\), not \[N, height, width\]"),
        (np.zeros((12, 3, 6, 5), int), LABELS, r"use \.transpose\(0, 2, 3, 1\)"),
        (IMAGES[:0], LABELS[:0], r"there must be at least one"),
        ([np.zeros((2, 2)), np.zeros((3, 3))] * 6, LABELS, r"differ in size: bring them to one"),
        (
            IMAGES,
            LABELS.astype(float),
            r"labels of memory:arrays are float64, not whole numbers or",
        ),
        (IMAGES, LABELS - 1, r"have the number -1, not 0 to 65,535: number the classes from 0"),
        (IMAGES, LABELS + 70_000, r"have the number 70002, not 0 to 65,535"),
        (IMAGES, np.eye(3)[LABELS], r"have shape \(12, 3\), not \[N\]: use \.argmax\(axis=1\)"),
        (IMAGES, LABELS[1:], r"has 12 training images and 11 labels: the numbers must be equal"),
        (IMAGES, LABELS * 0, r"memory:arrays has 1 class: a net needs at least 2"),
        (IMAGES, np.arange(12), r"class 0 of memory:arrays has one image, which cannot be both"),
        (IMAGES, [None, "b", 3] * 4, r"are object, not whole numbers or texts"),
        (IMAGES, np.where(LABELS, LABELS, np.nan), r"are float64, .* from 0, without fractions"),
    ],
)
def test_what_is_wrong_is_one_sentence(images: Any, labels: Any, sentence: str) -> None:
    with pytest.raises(ZooError, match=sentence) as error:
        from_arrays(images, labels)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["a", "b"], r"training label 2 of image 2 of memory:arrays is out of range"),
        (["a", "b", "b"], r"3 classes and 2 different class names: give each class a name"),
        (["a", "b", ""], r"the class name '' of memory:arrays is not a line of text"),
        (["a", "b", "c\n"], r"is not a line of text: rename it"),
        (["a", "b", "c" * 300], r"has 300 characters, more than 200: rename it"),
    ],
)
def test_class_names_are_lines_of_text_one_for_each_class(names: list[str], sentence: str) -> None:
    with pytest.raises(ZooError, match=sentence):
        from_arrays(IMAGES, LABELS, IMAGES, LABELS, class_names=names)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("npz", r"dataset 'npz' names no place: give npz:FILE"),
        ("image:x", r"unknown dataset 'image:x': did you mean images:DIRECTORY\?"),
        ("mnits", r"unknown dataset 'mnits': did you mean mnist"),
        ("zzz:x", r"unknown dataset 'zzz:x': known: digits, .*images:DIRECTORY, .*tfds:NAME"),
        ("npz:\x1b[2J", r"the dataset's name 'npz:\\x1b\[2J' is not one line of text: rename"),
        ("npz:~nobody-has-this/x", r"in a home directory, which this user does not have"),
    ],
)
def test_a_wrong_name_is_one_sentence(name: str, sentence: str) -> None:
    with pytest.raises(ZooError, match=sentence):
        load(name)


def test_names_are_kept_with_an_absolute_path_if_that_is_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute("npz:a/b.npz") == f"npz:{tmp_path}/a/b.npz"
    assert [absolute(name) for name in ("mnist", "npz:~/b", "tfds:a")] == [
        "mnist",
        "npz:~/b",
        "tfds:a",
    ]
    (tmp_path / "line\nbreak").mkdir()
    monkeypatch.chdir("line\nbreak")
    assert absolute("npz:b.npz") == "npz:b.npz"
    assert short("images:/somewhere/flowers/") == "images:flowers"


def test_a_directory_is_called_by_its_name_however_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "flowers/roses").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "flowers/roses")
    assert [short(f"images:{place}") for place in (".", "./", "..", "../..")] == [
        *("images:roses", "images:roses", "images:flowers", f"images:{tmp_path.name}")
    ]
    assert short("images:/") == "images:/"


def test_test_images_need_their_labels() -> None:
    with pytest.raises(ZooError, match="test_images and test_labels need each other"):
        from_arrays(IMAGES, LABELS, test_images=IMAGES)


def test_a_class_of_the_test_images_alone_is_an_error() -> None:
    with pytest.raises(ZooError, match=r"have the class 'kiwi', which is not among apple, pear"):
        from_arrays(IMAGES[:2], ["apple", "pear"], IMAGES[:1], ["kiwi"])


def test_numbers_are_not_taken_for_the_indices_of_texts() -> None:
    texts = ["apple", "pear", "fig"] * 4
    for labels, test_labels in ((texts, [0, 1]), ([0, 1, 2] * 4, ["0", "1"])):
        with pytest.raises(ZooError, match=r"labels are .* and the test .*: write both as numbers"):
            from_arrays(IMAGES, labels, IMAGES[:2], test_labels)
    names = ["apple", "pear", "fig"]  # known, so each may be of either kind
    dataset = from_arrays(IMAGES, [0, 1, 2] * 4, IMAGES[:1], ["pear"], class_names=names)
    assert dataset.test.labels.tolist() == [1]


def test_a_class_without_training_images_is_said() -> None:
    several = r"^2 classes of memory:arrays, such as 0, have no training image: give them some, or"
    with pytest.warns(UserWarning, match=several):
        dataset = from_arrays(IMAGES[:3], [2, 3, 2], IMAGES[:1], [2])
    assert dataset.num_classes == 4
    with pytest.warns(UserWarning, match=r"^class 1 of .* has no training image: give it some"):
        from_arrays(IMAGES[:3], [0, 2, 2], IMAGES[:1], [2])


def test_held_out_classes_that_are_not_trained_are_said() -> None:
    labels = [1, *[0] * 5, *[1] * 3, *[2] * 3]
    dataset = from_arrays(IMAGES, labels, IMAGES, labels, class_names=["a", "b", "c"])
    with pytest.warns(UserWarning, match="all training images of class c of memory:arrays are"):
        note_untrained_classes(dataset, *split_validation(dataset, "holdout"))
    mixed_up = from_arrays(IMAGES, LABELS, IMAGES, labels)
    note_untrained_classes(mixed_up, *split_validation(mixed_up, "holdout"))  # not a word


def test_labels_of_several_lengths_are_one_sentence() -> None:
    images = np.zeros((4, 5, 5), np.uint8)
    with pytest.raises(
        ZooError, match=r"labels of .* differ in length: give one label for each im"
    ):
        from_arrays(images, [[1], [1, 2]] * 2)
