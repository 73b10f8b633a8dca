"""`zoo predict` and the reading of image files, including files that are not images."""

import contextlib
import io
import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import REAL_MNIST_DIR, train_for_drawings
from drawings import draw_strokes, write_ten
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict
from PIL import Image

import zoo.analysis.trained
import zoo.data.images
from zoo.analysis.prediction import Prediction, bar, predict, to_json, to_text
from zoo.data.framing import MNIST
from zoo.data.preparation import Prepared, prepare
from zoo.system.errors import ZooError
from zoo.training import train_and_evaluate

Zoo = Callable[..., tuple[int, str, str]]
SHAPE = (28, 28, 1)


@pytest.fixture
def workdir(tiny_config: ConfigDict, tmp_path: Path) -> Path:
    tiny_config.num_epochs = 1
    train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)
    return tmp_path / "run"


@pytest.mark.full
def test_drawn_digits_are_recognized(tmp_path: Path, mnist_data_dir: Path | None) -> None:
    """At least 9 of 10 by a net trained on MNIST; 4 by one trained on blurred 8x8 digits."""
    train_for_drawings(tmp_path / "run", mnist_data_dir)
    files = write_ten(tmp_path)
    found = predict(zoo.analysis.trained.load(tmp_path / "run"), [str(path) for path, _ in files])
    right = [one.predicted == digit for one, (_, digit) in zip(found, files, strict=True)]
    assert sum(right) >= (9 if REAL_MNIST_DIR else 4), [one.predicted for one in found]


def png(width: int, height: int, data: bytes) -> bytes:
    """A PNG file of 8-bit grey with that size in its header."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def encoded(image: Image.Image, form: str) -> bytes:
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


DRAWING = draw_strokes(8, 64, "white", "black")
BAD_FILES = {
    "text.png": (b"hello", "is not an image of a known format"),
    "empty.png": (b"", "is not an image of a known format"),
    "one.png": (encoded(Image.new("L", (1, 1)), "PNG"), "has only one colour"),
    "white.png": (encoded(Image.new("L", (30, 30), 255), "PNG"), "has only one colour"),
    "cut.png": (encoded(DRAWING, "PNG")[:300], "cannot be read as an image"),
    "cut.jpg": (encoded(DRAWING, "JPEG")[:700], "cannot be read as an image"),
    "large.png": (
        png(8_000, 8_000, b""),
        "has 8,000x8,000 pixels, more than the limit of 50,000,000",
    ),
    "larger.png": (png(20_000, 20_000, b""), "has more pixels than the limit of 50,000,000"),
    "bomb.png": (
        png(50_000, 50_000, zlib.compress(bytes(10**6))),
        "has more pixels than the limit",
    ),
    "tiff.png": (encoded(DRAWING, "TIFF"), "is not an image of a known format"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_an_unusable_image_is_one_sentence(tmp_path: Path, name: str) -> None:
    content, sentence = BAD_FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ZooError, match=sentence):
        prepare(zoo.data.images.read(tmp_path / name), SHAPE, MNIST, tmp_path / name)


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "WEBP"]), st.data())
def test_a_damaged_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, form: str, data: st.DataObject
) -> None:
    content = bytearray(encoded(DRAWING.resize((20, 20)), form))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / f"damaged-{os.getpid()}"
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    with contextlib.suppress(ZooError):  # anything else fails the test
        assert prepare(zoo.data.images.read(path), SHAPE, MNIST, path).pixels.shape == SHAPE


def test_missing_files_and_directories(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="does not exist"):
        zoo.data.images.read(tmp_path / "none.png")
    with pytest.raises(ZooError, match="is a directory: name image files"):
        zoo.data.images.read(tmp_path)
    os.mkfifo(tmp_path / "pipe.png")  # reading it would block
    with pytest.raises(ZooError, match="is not a file"):
        zoo.data.images.read(tmp_path / "pipe.png")


def test_the_answer_as_text_and_json() -> None:
    pixels = np.zeros(SHAPE, np.uint8)
    prepared = Prepared(pixels, is_inverted=True, notes=("2 specks left out",))
    prediction = Prediction("run", "a.png", prepared, None, np.array([0.05, 0.8, 0.15]))
    lines = to_text([[prediction]]).splitlines()
    assert lines[0] == "a.png (inverted, 2 specks left out)"
    assert [line.split()[0] for line in lines[1:]] == ["1", "2", "0"]
    assert lines[1].endswith(" 80.00%")
    assert lines[1].count("█") == 24
    assert json.loads(to_json([[prediction]])) == [
        {
            "net": "run",
            "image": "a.png",
            "predicted": 1,
            "label": None,
            "inverted": True,
            "notes": ["2 specks left out"],
            "unsure": False,
            "probabilities": [0.05, 0.8, 0.15],
        }
    ]


@pytest.mark.parametrize(
    ("doubt", "why"),
    [("the drawing is faint", "is faint"), ("", "the most probable class has less than 80%")],
)
def test_an_unsure_answer_says_so_and_shows_what_the_net_sees(doubt: str, why: str) -> None:
    pixels = np.zeros((4, 4, 1), np.uint8)
    pixels[1:4, 1] = 255
    shares = np.array([0.1, 0.9]) if doubt else np.array([0.5, 0.5])
    prediction = Prediction("run", "a.png", Prepared(pixels, doubt=doubt), None, shares)
    assert json.loads(to_json([[prediction]]))[0]["unsure"]
    lines = to_text([[prediction]]).splitlines()
    assert why in lines[3]
    assert lines[4:] == ["   ▄", "   █"]


@given(st.floats(0, 1))
def test_a_bar_has_a_fixed_length(fraction: float) -> None:
    drawn = bar(fraction)
    assert len(drawn) == 30
    assert drawn.count("█") <= 30 * fraction + 0.07


def test_the_command(workdir: Path, run_zoo: Zoo, tmp_path: Path) -> None:
    DRAWING.save(tmp_path / "eight.png")
    status, said, error = run_zoo("predict", workdir, "3", tmp_path / "eight.png")
    assert (status, error) == (0, "")
    assert "test image 3 (labelled 6)\n" in said
    assert f"\n\n{tmp_path / 'eight.png'}\n" in said
    picture = tmp_path / "said.svg"
    assert run_zoo("predict", workdir, "3", "--plot", picture)[0] == 0
    assert "<!-- test image 3: " in picture.read_text()
    status, _, error = run_zoo("predict", workdir, "3", "--plot", tmp_path / "said.gif")
    assert (status, "must end in .png, .svg, .pdf" in error) == (2, True)
    for image, sentence in (("20", "has the images 0 to 19, not 20"), ("x.png", "not exist")):
        status, _, error = run_zoo("predict", workdir, image)
        assert status == 2
        assert sentence in error
        assert len(error.splitlines()) == 1
