"""Parquet files as Hugging Face's datasets keep them."""

import io
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from zoo.data import Options, load
from zoo.system.errors import ZooError

IMAGES = np.random.default_rng(0).integers(0, 256, (12, 6, 6), np.uint8)
LABELS = (np.arange(12) % 3).tolist()


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write(path: Path, images: list[Any], labels: list[Any], names: list[str] | None = None) -> None:
    """A table of images and labels, with class names as `datasets` writes them."""
    table = pa.table({"image": images, "label": labels})
    if names:
        features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        kept = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": kept})
    pq.write_table(table, path)


FILES = [{"bytes": png(image), "path": f"{index}.png"} for index, image in enumerate(IMAGES)]


def test_image_files_in_a_table_with_class_names(tmp_path: Path) -> None:
    names = ["owl", "cat", "dog"]
    write(tmp_path / "train-00000-of-00002.parquet", FILES[:6], LABELS[:6], names)
    write(tmp_path / "train-00001-of-00002.parquet", FILES[6:9], LABELS[6:9], names)
    write(tmp_path / "test-00000-of-00001.parquet", FILES[9:], LABELS[9:], names)
    dataset = load(f"parquet:{tmp_path}")
    np.testing.assert_array_equal(dataset.train.images[..., 0], IMAGES[:9])
    np.testing.assert_array_equal(dataset.test.images[..., 0], IMAGES[9:])
    assert dataset.class_names == ("owl", "cat", "dog")
    assert dataset.train.labels.tolist() == LABELS[:9]
    assert dataset.pictures == "resized"


@pytest.mark.parametrize("form", ["bytes", "arrays", "rows", "colours"])
def test_other_forms_of_images(tmp_path: Path, form: str) -> None:
    images, wanted = IMAGES, IMAGES[..., None]
    if form == "colours":
        images = wanted = np.stack([IMAGES, IMAGES, 255 - IMAGES], axis=-1)
    stored: Any = {
        "bytes": lambda: [png(image) for image in images],
        "rows": lambda: images.reshape(12, -1).tolist(),
    }.get(form, images.tolist)()
    for name in ("train", "test"):
        write(tmp_path / f"{name}.parquet", stored, LABELS)
    np.testing.assert_array_equal(load(f"parquet:{tmp_path}").train.images, wanted)


def test_one_file_is_split_and_columns_may_be_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"photo": FILES, "kind": LABELS}), tmp_path / "x.parquet")
    dataset = load(f"parquet:{tmp_path / 'x.parquet'}", options=Options(fields="photo,kind"))
    assert (len(dataset.train), len(dataset.test)) == (9, 3)
    for options, sentence in {
        Options(): r"no column of images: it has photo, kind; name two with .*fields=IMAGE,LABEL",
        Options(fields="photo,class"): r"has no column class: it has photo, kind",
        Options(fields="photo"): r"data\.fields must name two columns, IMAGE,LABEL, of",
    }.items():
        with pytest.raises(ZooError, match=sentence):
            load(f"parquet:{tmp_path / 'x.parquet'}", options=options)


@pytest.mark.parametrize("last", ["test", "validation"])
def test_directories_tell_the_split(tmp_path: Path, last: str) -> None:
    """As Hugging Face lays them out; the name of a file counts more, that of the whole does not."""
    root = tmp_path / "test_of_pets"
    for folder, part in (("train", slice(0, 6)), (last, slice(9, 12))):
        (root / "data" / folder).mkdir(parents=True)
        write(root / "data" / folder / "0000.parquet", FILES[part], LABELS[part])
    write(root / "data" / last / "train.parquet", FILES[6:9], LABELS[6:9])
    note = pytest.warns(UserWarning, match=r"^the images of .*0000\.parquet are for testing: there")
    with note if last == "validation" else nullcontext():
        dataset = load(f"parquet:{root}")
    order = [*range(6, 9), *range(6)] if last == "test" else [*range(9)]  # of the files' paths
    np.testing.assert_array_equal(dataset.train.images[..., 0], IMAGES[order])
    np.testing.assert_array_equal(dataset.test.images[..., 0], IMAGES[9:])


def test_hidden_copies_are_left_out_and_that_is_said(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", FILES, LABELS)
    (tmp_path / ".ipynb_checkpoints").mkdir()
    write(tmp_path / ".ipynb_checkpoints/train-checkpoint.parquet", FILES, LABELS)
    with pytest.warns(UserWarning, match=r"hidden files are left out, such as .*checkpoint\.parq"):
        dataset = load(f"parquet:{tmp_path}")
    assert len(dataset.train) + len(dataset.test) == 12


def test_a_value_that_is_stored_once_and_meant_often_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = pa.array([b"\0" * 100_000], pa.binary())
    images = pa.DictionaryArray.from_arrays(pa.array([0] * 200, pa.int32()), once)
    table = pa.table({"image": images, "label": [0, 1] * 100})
    pq.write_table(table, tmp_path / "x.parquet", dictionary_pagesize_limit=2**24)
    zeros = np.zeros(6_000_000, np.int16)
    rows = pa.ListArray.from_arrays(np.arange(0, len(zeros) + 1, 1000, dtype=np.int32), zeros)
    pq.write_table(pa.table({"image": rows, "label": [0, 1] * 3000}), tmp_path / "rows.parquet")
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 100_000
    monkeypatch.setattr("zoo.data.parquet_files.available_bytes", lambda: 5_000_000)
    for name in ("x.parquet", "rows.parquet"):
        with pytest.raises(ZooError, match=r"holds more than the free memory .*: use a part of it"):
            load(f"parquet:{tmp_path / name}")


def test_a_validation_file_comes_last(tmp_path: Path) -> None:
    write(tmp_path / "validation.parquet", FILES[6:9], LABELS[6:9])
    write(tmp_path / "train.parquet", FILES[:6], LABELS[:6])
    write(tmp_path / "test.parquet", FILES[9:], LABELS[9:])
    with pytest.warns(UserWarning, match=r"validation\.parquet come after those of training"):
        dataset = load(f"parquet:{tmp_path}")
    np.testing.assert_array_equal(dataset.train.images[..., 0], IMAGES[:9])


@pytest.mark.parametrize(
    ("images", "labels", "sentence"),
    [
        (
            [*FILES[:11], {"bytes": b"no", "path": ""}],
            LABELS,
            r"image 11 of .*x\.parquet is not an i",
        ),
        ([*FILES[:11], None], LABELS, r"has no image in row 11: leave that row out"),
        (FILES, [*LABELS[:11], None], r"has no label in row 11: leave that row out"),
        (FILES, [0.5] * 12, r"labels of parquet:.* are double|are float64, not whole numbers"),
        (FILES, [-1] * 12, r"have the number -1"),
        (["a.png"] * 12, LABELS, r"image 0 of .* is neither the bytes of an image file nor an arr"),
        ([[[1, 2], [3, 4]]] * 11 + [[[1, 2]]], LABELS, r"images of .*x\.parquet differ in size"),
        ([[[0.5, 2.0], [3, 4]]] * 12, LABELS, r"are float64, not whole numbers from 0 to 255"),
        ([], [], r"has no row"),
    ],
)
def test_what_is_wrong_in_a_table_is_one_sentence(
    tmp_path: Path, images: list[Any], labels: list[Any], sentence: str
) -> None:
    write(tmp_path / "x.parquet", images, labels)
    with pytest.raises(ZooError, match=sentence) as error:
        load(f"parquet:{tmp_path / 'x.parquet'}")
    assert "\n" not in str(error.value)


def test_names_of_columns_may_have_dots_and_must_be_one_each(tmp_path: Path) -> None:
    files = [each["bytes"] for each in FILES]
    pq.write_table(pa.table({"photo.png": files, "kind": LABELS}), tmp_path / "x.parquet")
    dataset = load(f"parquet:{tmp_path / 'x.parquet'}", options=Options(fields="photo.png,kind"))
    assert len(dataset.train) == 9
    columns = [pa.array(files), pa.array(files), pa.array(LABELS)]
    twice = pa.Table.from_arrays(columns, names=["image", "image", "label"])
    pq.write_table(twice, tmp_path / "x.parquet")
    with pytest.raises(ZooError, match=r"has two columns image: give each its own name"):
        load(f"parquet:{tmp_path / 'x.parquet'}")


def test_files_that_differ_in_their_images_are_one_sentence(tmp_path: Path) -> None:
    write(tmp_path / "train.parquet", IMAGES.tolist(), LABELS)
    write(tmp_path / "test.parquet", IMAGES[:, 1:].tolist(), LABELS)
    with pytest.raises(ZooError, match=r"the images of .* differ in size: bring them to one size"):
        load(f"parquet:{tmp_path}")
    write(tmp_path / "test.parquet", FILES, LABELS)
    with pytest.raises(ZooError, match=r"some hold the bytes of image files and some arrays: name"):
        load(f"parquet:{tmp_path}")


def test_another_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ZooError, match=r"x\.parquet is no Parquet file \(.*\): get it again"):
        load(f"parquet:{tmp_path / 'x.parquet'}")
