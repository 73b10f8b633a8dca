"""CSV files of pixels, as Kaggle has them and as others do."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from zoo.data import Options, load
from zoo.system.errors import ZooError

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 4, 4), np.uint8)
LABELS = np.arange(12) % 3


def csv_text(
    labels: list[object] | np.ndarray, header: bool = True, images: np.ndarray = IMAGES
) -> str:
    """A label and its pixels in each row."""
    flat = images.reshape(len(images), -1)
    lines = [",".join(map(str, (label, *row))) for label, row in zip(labels, flat, strict=True)]
    names = ["label", *(f"pixel{number}" for number in range(flat.shape[1]))]
    return "\n".join(([",".join(names)] if header else []) + lines) + "\n"


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("packed", [True, False])
def test_a_file_with_or_without_header_gzipped_or_not(
    tmp_path: Path, header: bool, packed: bool
) -> None:
    content = csv_text(LABELS, header).encode()
    path = tmp_path / ("train.csv.gz" if packed else "train.csv")
    path.write_bytes(gzip.compress(content) if packed else content)
    dataset = load(f"csv:{path}")
    assert (len(dataset.train), len(dataset.test), dataset.num_classes) == (9, 3, 3)
    rows = {image.tobytes() for image in (*dataset.train.images, *dataset.test.images)}
    assert rows == {image.tobytes() for image in IMAGES}


def test_a_directory_has_files_for_training_and_testing(tmp_path: Path) -> None:
    (tmp_path / "mnist_train.csv").write_text(csv_text(LABELS, header=False))
    (tmp_path / "mnist_test.csv").write_text(csv_text(LABELS[:5], False, IMAGES[:5]))
    dataset = load(f"csv:{tmp_path}")
    np.testing.assert_array_equal(dataset.train.images[..., 0], IMAGES)
    np.testing.assert_array_equal(dataset.test.labels, LABELS[:5])
    assert dataset.test.labels.dtype == np.int32


def test_labels_may_be_texts_in_any_column(tmp_path: Path) -> None:
    names = np.array(["owl", "cat", "dog"])[LABELS]
    lines = csv_text(names).splitlines()
    moved = [",".join([*line.split(",")[1:], line.split(",")[0]]) for line in lines]
    moved[0] = moved[0].replace("label", "Class")
    (tmp_path / "x.csv").write_text("\r\n".join(moved))
    dataset = load(f"csv:{tmp_path / 'x.csv'}")
    assert dataset.class_names == ("cat", "dog", "owl")
    moved[0] = moved[0].replace("Class", "kind")
    (tmp_path / "x.csv").write_text("\n".join(moved))
    with pytest.raises(ZooError, match=r"no column named label: .*--config\.data\.fields=NAME"):
        load(f"csv:{tmp_path / 'x.csv'}")
    chosen = load(f"csv:{tmp_path / 'x.csv'}", options=Options(fields="kind"))
    assert chosen.sha256 == dataset.sha256
    with pytest.raises(ZooError, match=r"has no column 'none': name the column of labels"):
        load(f"csv:{tmp_path / 'x.csv'}", options=Options(fields="none"))


def test_a_row_that_counts_up_is_a_header_only_if_it_is_long(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("cat,1,2,3,4\nowl,4,3,2,1\n" * 2)
    dataset = load(f"csv:{tmp_path / 'x.csv'}")
    assert (dataset.class_names, len(dataset.train)) == (("cat", "owl"), 2)


def test_labels_are_the_texts_that_the_file_has(tmp_path: Path) -> None:
    """Not what a reader may take them for: missing values, truth values, dates."""
    for names in (["NA", "EU", "nan"], ["true", "false", "null"], ["2020-01-01", "x", "7"]):
        (tmp_path / "x.csv").write_text(csv_text(np.array(names)[LABELS]))
        assert load(f"csv:{tmp_path / 'x.csv'}").class_names == tuple(sorted(names))


def test_texts_that_look_like_numbers_are_texts_where_others_are(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(csv_text(np.array(["0", "1", "other"])[LABELS]))
    (tmp_path / "test.csv").write_text(csv_text(["1", "0"], images=IMAGES[:2]))
    dataset = load(f"csv:{tmp_path}")
    assert dataset.class_names == ("0", "1", "other")
    assert dataset.test.labels.tolist() == [1, 0]
    (tmp_path / "train.csv").write_text(csv_text(np.array(["cat", "dog", "owl"])[LABELS]))
    with pytest.raises(
        ZooError, match=r"test labels .* have the class '1', which is not among cat"
    ):
        load(f"csv:{tmp_path}")


@pytest.mark.parametrize("start", [0, 1])
def test_a_header_may_number_the_pixels(tmp_path: Path, start: int) -> None:
    lines = csv_text(LABELS).splitlines()
    lines[0] = ",".join(["label", *map(str, range(start, start + 16))])
    (tmp_path / "numbered.csv").write_text("\n".join(lines))
    (tmp_path / "named.csv").write_text(csv_text(LABELS))
    dataset = load(f"csv:{tmp_path / 'numbered.csv'}")
    assert dataset.sha256 == load(f"csv:{tmp_path / 'named.csv'}").sha256


def test_three_numbers_a_pixel_are_colours(tmp_path: Path) -> None:
    colour = np.random.default_rng(1).integers(0, 256, (6, 4, 4, 3), np.uint8)
    (tmp_path / "train.csv").write_text(csv_text(LABELS[:6], True, colour))
    (tmp_path / "test.csv").write_text(csv_text(LABELS[:6], True, colour))
    np.testing.assert_array_equal(load(f"csv:{tmp_path}").train.images, colour)


GOOD = csv_text(LABELS)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (GOOD.replace("\n1,", "\n1.5,", 1), r"labels of csv:.* are float64, not whole numbers"),
        (csv_text(LABELS, images=IMAGES.astype(int) * 2), r"invalid value .*numbers from 0 to 255"),
        (
            csv_text(LABELS, images=IMAGES / 255),
            r"cannot be read: .*invalid value '.*from 0 to 255",
        ),
        (GOOD.rpartition(",")[0] + ",\n", r"has no value in column 'pixel15' of image 11: fill it"),
        (GOOD.rpartition(",")[0] + "\n", r"cannot be read: .*Expected 17 columns, got 16"),
        (csv_text(LABELS, images=IMAGES[:, 2:]), r"8 columns beside the label, .* no square"),
        (GOOD.replace("pixel3", "pixel2"), r"has two columns 'pixel2': give each its own name"),
        (GOOD.replace(",", ";"), r"first line of .* has 1 column, not .*: separate them by commas"),
        ("PK\x03\x04" + GOOD.replace(",", ";"), r"has 1 column, not a label and pixels: unpack it"),
        ("", r"train\.csv is empty, or its first line is: get it again"),
        (GOOD.replace("\n1,", "\n-1,", 1), r"labels of csv:.* have the number -1, not 0 to 65,535"),
        (GOOD.replace("\n1,", "\n,", 1), r"has no value in column 'label' of image 1: fill it in"),
        (GOOD.replace("\n1,", "\nNaN,", 1), r"has the label 'NaN' among numbers: fill it in, or"),
        (
            GOOD.replace(GOOD.partition("\n")[0], ",".join(map(str, range(17)))),
            r"no column named label",
        ),
        (GOOD.partition("\n")[0] + "\n", r"train\.csv .*"),
        (GOOD.replace("label", "lab\x00el"), r"no column named label"),
    ],
)
def test_what_is_wrong_in_a_file_is_one_sentence(
    tmp_path: Path, content: str, sentence: str
) -> None:
    (tmp_path / "train.csv").write_text(content)
    with pytest.raises(ZooError, match=sentence) as error:
        load(f"csv:{tmp_path / 'train.csv'}")
    assert "\n" not in str(error.value)


def test_kaggles_directory_whose_test_file_has_no_labels_says_what_to_name(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(GOOD)
    unlabelled = "\n".join(line.partition(",")[2] for line in GOOD.splitlines())
    (tmp_path / "test.csv").write_text(unlabelled)
    with pytest.raises(
        ZooError, match=r"test\.csv has no column named label: .* name the file that"
    ):
        load(f"csv:{tmp_path}")


def test_damaged_and_missing_files_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(GOOD.encode())[:-20])
    (tmp_path / "packed.csv").write_bytes(b"PK\x03\x04\xff\xfe")
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "empty/pipe")
    os.mkfifo(tmp_path / "pipe.csv")  # of which reading would not end
    for name, sentence in {
        "cut.csv.gz": r"cut\.csv\.gz is a damaged gzip file",
        "packed.csv": r"packed\.csv is not a CSV file: unpack it",
        "nowhere.csv": r"nowhere\.csv does not exist: name a file or a directory of \.csv",
        "pipe.csv": r"pipe\.csv is not a file: put a file in its place, or name another",
        "empty": r"empty has no \.csv or \.csv\.gz file: name the directory that has them",
    }.items():
        with pytest.raises(ZooError, match=sentence):
            load(f"csv:{tmp_path / name}")


def test_a_file_that_unpacks_to_more_than_the_memory_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many rows that are alike take few bytes in a gzip file: it is read block by block."""
    path = tmp_path / "alike.csv.gz"
    row = ",".join(["1", *["0"] * 784]) + "\n"
    with gzip.open(path, "wt") as file:
        for _ in range(100):
            file.write(row * 1000)  # 100,000 images of 784 bytes
    assert path.stat().st_size < 500_000
    free = [50_000_000]
    monkeypatch.setattr("zoo.data.csv_files.available_bytes", lambda: free[0])
    with pytest.raises(ZooError, match=r"alike\.csv\.gz unpacks to more than the free memory"):
        load(f"csv:{path}")


def test_a_label_in_signs_that_python_takes_for_blanks_is_a_number(tmp_path: Path) -> None:
    """str.strip removes them, and int refuses them."""
    lines = (f"{label}\x1f,{label},{label},{label},{label}\n" for label in (0, 1) * 3)
    (tmp_path / "data.csv").write_text("".join(lines))
    dataset = load(f"csv:{tmp_path / 'data.csv'}")
    assert (dataset.num_classes, dataset.class_names) == (2, ())
