"""Directories of images: every file counts, and what is wrong is one sentence."""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import zoo.data.decoding
from zoo.data import Options, from_directory, load
from zoo.data.images import read
from zoo.data.preparation import prepare
from zoo.system.errors import ZooError


def draw(path: Path, color: int | tuple[int, ...] = 90, size: tuple[int, int] = (6, 5)) -> None:
    """An image file of one colour but for a corner."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = {int: "L"}.get(type(color)) or ("RGB" if len(color) == 3 else "RGBA")  # type: ignore[arg-type]
    image = Image.new(mode, size, color)
    image.putpixel((0, 0), 255 if mode == "L" else (255,) * len(image.getbands()))
    image.save(path)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Ten grey images of 6x5 for training and four for testing, of two classes."""
    root = tmp_path / "fruit"
    for split, count in (("train", 5), ("test", 2)):
        for name, grey in (("pear", 60), ("apple", 120)):
            for number in range(count):
                draw(root / split / name / f"{number}.png", grey + number)
    return root


def test_directories_are_classes_in_the_order_of_their_names(tree: Path) -> None:
    dataset = from_directory(tree)
    assert dataset.class_names == ("apple", "pear")
    assert dataset.train.images.shape == (10, 5, 6, 1)
    assert dataset.test.labels.tolist() == [0, 0, 1, 1]
    assert dataset.test.images[:, -1, -1, 0].tolist() == [120, 121, 60, 61]
    bright = dataset.train.images[:, -1, -1, 0] >= 120
    assert (bright == (dataset.train.labels == 0)).all()


def test_classes_that_are_numbers_are_in_their_order(tmp_path: Path) -> None:
    for number in range(12):
        for index in range(2):
            draw(tmp_path / str(number) / f"{index}.png", number)
    dataset = from_directory(tmp_path)
    assert dataset.class_names == tuple(map(str, range(12)))


def test_without_train_the_directory_has_the_classes_and_a_split_is_made(tree: Path) -> None:
    dataset = from_directory(tree / "train")
    assert (len(dataset.train), np.bincount(dataset.test.labels).tolist()) == (8, [1, 1])
    assert sorted(dataset.train.labels[:2].tolist()) == [0, 1]  # mixed
    assert from_directory(tree / "train").sha256 == dataset.sha256
    other = from_directory(tree / "train", Options(split_seed=7))
    assert other.sha256 != dataset.sha256


def test_images_of_several_sizes_and_colours_are_brought_to_one(tree: Path) -> None:
    draw(tree / "train/pear/wide.jpg", (200, 10, 10), (40, 8))
    draw(tree / "train/pear/clear.webp", (200, 10, 10, 0), (9, 9))
    draw(tree / "train/pear/palette.gif", 9, (7, 7))
    dataset = from_directory(tree, Options(image_size=8, channels=3))
    assert dataset.train.images.shape == (13, 8, 8, 3)
    grey = from_directory(tree, Options(image_size=8, channels=1))
    assert grey.train.images.shape == (13, 8, 8, 1)


def test_a_picture_is_prepared_as_the_images_of_the_directory_were(tree: Path) -> None:
    draw(tree / "test/apple/0.png", (10, 200, 90), (31, 17))
    for channels in (1, 3):
        dataset = from_directory(tree, Options(image_size=12, channels=channels))
        shape = (12, 12, channels)
        own = prepare(read(tree / "test/apple/0.png"), shape, None, "picture")
        np.testing.assert_array_equal(own.pixels, dataset.test.images[0])
        assert dataset.pictures == "resized"
    ink = from_directory(tree, Options(12, 1, pictures="ink"))
    assert ink.pictures == "ink"


def test_decoded_images_are_kept_until_a_file_changes(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load(f"images:{tree}")
    monkeypatch.setattr(zoo.data.decoding, "_read", None)  # nothing is decoded
    again = load(f"images:{tree}")
    assert isinstance(again.train.images, np.memmap)
    assert again.sha256 == first.sha256
    assert (again.class_names, again.pictures) == (first.class_names, first.pictures)
    with pytest.raises(TypeError):
        load(f"images:{tree}", options=Options(image_size=7))
    monkeypatch.undo()
    draw(tree / "test/apple/0.png", 7)
    changed = load(f"images:{tree}")
    assert changed.test.images[0, -1, -1, 0] == 7


def test_where_nothing_can_be_kept_images_are_read_all_the_same(tree: Path) -> None:
    (tree / ".decoded").touch()
    with pytest.warns(UserWarning, match="decoded images are not cached: .*File exists"):
        assert len(from_directory(tree).train) == 10
    (tree / ".decoded").unlink()
    first = from_directory(tree)
    (tree / ".decoded/train_images.npy").unlink()
    os.mkfifo(tree / ".decoded/train_images.npy")  # of which reading would not end
    with pytest.warns(UserWarning, match="not cached: cannot write .*npy: it is not a file"):
        assert from_directory(tree).sha256 == first.sha256


def test_the_first_picture_of_a_phones_several_is_taken(tree: Path) -> None:
    """In an MPO file, which is a JPEG file, the others are previews, or for depth."""
    picture, other = (Image.new("L", (6, 5), grey) for grey in (60, 200))
    picture.save(tree / "train/pear/phone.jpg", "MPO", save_all=True, append_images=[other])
    dataset = from_directory(tree)
    assert len(dataset.train) == 11
    assert dataset.train.images[dataset.train.labels == 1][:, -1, -1].max() < 70


def test_files_of_file_managers_are_left_out_and_that_is_said(tree: Path) -> None:
    (tree / ".DS_Store").touch()
    (tree / "train/pear/Thumbs.db").touch()
    (tree / "train/.ipynb_checkpoints").mkdir()  # would be the first class
    draw(tree / "train/.ipynb_checkpoints/0.png")
    draw(tree / "train/pear/._0.png")
    with pytest.warns(
        UserWarning, match=r"^4 hidden files or files of file managers, such as .*\.DS_"
    ):
        dataset = from_directory(tree)
    assert len(dataset.train) == 10
    assert not any(name.startswith(".") for name in dataset.class_names)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_colours_of_16_bits_are_refused_as_greys_are(tree: Path, channels: int) -> None:
    """Pillow gives the upper byte alone, without a word: a camera's 12 bits would be black."""
    rows = np.full((5, 6 * channels), 4095, ">u2")
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    kind = {2: 4, 3: 2, 4: 6}[channels]  # PNG's colour types
    header = struct.pack(">IIBBBBB", 6, 5, 16, kind, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")
    chunks = [
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
        for name, content in parts
    ]
    (tree / "train/pear/deep.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    with pytest.raises(ZooError, match=r"deep\.png has more than 8 bits per channel: convert it"):
        from_directory(tree)


def test_links_within_the_directory_are_followed(tree: Path) -> None:
    (tree / "train/pear/link.png").symlink_to(tree / "train/pear/0.png")
    assert len(from_directory(tree).train) == 11


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no image": (
        lambda root: (root / "train/pear/notes.txt").write_text("ripe"),
        r"train/pear/notes\.txt is not an image of a known format .*: repair it, or move it out",
    ),
    "truncated": (
        lambda root: os.truncate(root / "test/pear/1.png", 40),
        r"test/pear/1\.png .*: repair it, or move it out of the directory",
    ),
    "empty file": (
        lambda root: (root / "train/apple/x.png").touch(),
        r"train/apple/x\.png is not an image",
    ),
    "other size": (
        lambda root: draw(root / "train/pear/x.png", 3, (9, 9)),
        r"train/apple/0\.png has 6x5 pixels and .*train/pear/x\.png 9x9: give .*image_size=32",
    ),
    "other colour": (
        lambda root: draw(root / "train/pear/x.png", (3, 3, 9)),
        r"0\.png is grey and .*x\.png is in colour: .*data\.channels=1, .*data\.channels=3",
    ),
    "16 bits": (
        lambda root: Image.new("I;16", (6, 5)).save(root / "train/pear/x.png"),
        r"x\.png has more than 8 bits per channel: convert it to 8 bits$",
    ),
    "animation": (
        lambda root: Image.new("L", (6, 5)).save(
            root / "train/pear/x.gif", save_all=True, append_images=[Image.new("L", (6, 5), 9)]
        ),
        r"x\.gif is an animation of 2 frames, not an image: repair it",
    ),
    "too many pixels": (
        lambda root: Image.new("1", (8000, 8000)).save(root / "train/pear/x.png"),
        r"x\.png has 8,000x8,000 pixels, more than the limit of 50,000,000 .*: make it smaller$",
    ),
    "empty class": (
        lambda root: (root / "train/fig").mkdir(),
        r"train/fig is a class without images: add some, or remove it",
    ),
    "file beside the classes": (
        lambda root: draw(root / "train/x.png"),
        r"train/x\.png is not in the directory of a class: give each class a directory",
    ),
    "directory within a class": (
        lambda root: draw(root / "train/pear/green/x.png"),
        r"train/pear/green is a directory within a class: move its images into .*pear$",
    ),
    "another split": (
        lambda root: draw(root / "val/pear/x.png"),
        r"fruit/val is neither train nor test: rename it, or move it elsewhere",
    ),
    "class of test alone": (
        lambda root: draw(root / "test/kiwi/x.png"),
        r"test/kiwi is a class without training images: add kiwi to .*train, or move it",
    ),
    "link out": (
        lambda root: (root / "train/pear/x.png").symlink_to("/etc/hostname"),
        r"train/pear/x\.png is a link out of .*fruit: put a copy in its place, or remove it",
    ),
    "class that is a link out": (
        lambda root: (root / "train/etc").symlink_to("/etc"),
        r"train/etc is a link out of",
    ),
    "circle": (
        lambda root: (root / "train/pear/x").symlink_to(root / "train"),
        r"train/pear/x is a directory within a class",
    ),
    "link to nothing": (
        lambda root: (root / "train/pear/x.png").symlink_to("nowhere.png"),
        r"train/pear/x\.png is a link to nothing: remove it",
    ),
    "pipe": (
        lambda root: os.mkfifo(root / "train/pear/pipe"),
        r"train/pear/pipe is not a file: move it elsewhere",
    ),
    "test without train": (
        lambda root: (root / "train").rename(root.parent / "elsewhere"),
        r"fruit has test but no train: name the directory with both",
    ),
    "line break in a class": (
        lambda root: draw(root / "train/a\nb/x.png"),
        r"the name of the class 'a\\nb' is not text: rename the directory",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_what_is_wrong_in_a_directory_is_one_sentence(tree: Path, fault: str) -> None:
    make, sentence = BROKEN[fault]
    make(tree)
    with pytest.raises(ZooError, match=sentence) as error:
        from_directory(tree)
    assert "\n" not in str(error.value)


def test_one_class_or_one_image_of_a_class_is_refused(tmp_path: Path) -> None:
    draw(tmp_path / "a/1.png")
    draw(tmp_path / "a/2.png")
    with pytest.raises(ZooError, match=r"has 1 class: a net needs at least 2"):
        from_directory(tmp_path)
    draw(tmp_path / "b/1.png")
    with pytest.raises(ZooError, match=r"class b of images:.* has one image, which cannot be both"):
        from_directory(tmp_path)


def test_a_place_that_is_no_directory_of_images_is_one_sentence(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "pictures.zip").write_bytes(b"PK\x03\x04")
    for place, sentence in {
        "nowhere": r"nowhere is not a directory: name one with images in train/CLASS/ or CLASS/",
        "empty": r"empty is empty: it must have a directory for each class",
        "pictures.zip": r"pictures\.zip is a zip archive: unpack it, and name its directory",
        "fruit/train/pear": r"pear/0\.png is not in the directory of a class",
        "gs://bucket/x": r"must be on this machine",
    }.items():
        with pytest.raises(ZooError, match=sentence):
            load(f"images:{place if '://' in place else tmp_path / place}")
