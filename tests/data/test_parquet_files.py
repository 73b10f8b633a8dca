"""Parquet files as Hugging Face's datasets keep them."""

import io
import json
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


def test_another_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ZooError, match=r"x\.parquet is no Parquet file \(.*\): get it again"):
        load(f"parquet:{tmp_path / 'x.parquet'}")
