"""Pictures of one's own, brought to the form of the training images."""

import dataclasses
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from alterations import ALTERATIONS
from conftest import REAL_MNIST_DIR
from drawings import FORMS, KINDS, draw_strokes, write_many
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

import zoo.data
import zoo.data.framing
import zoo.data.images
from zoo.analysis.prediction import Prediction, to_json
from zoo.data.framing import MNIST
from zoo.data.idx import FILES, read_idx
from zoo.data.preparation import prepare
from zoo.system.errors import ZooError

SHAPE = (28, 28, 1)


def mnist_images(split: str, count: int) -> np.ndarray:
    """[count, 28, 28] uint8: MNIST's, or without it strokes that are framed as its digits are."""
    if REAL_MNIST_DIR:
        return read_idx(Path(REAL_MNIST_DIR, FILES[split][0]), num_axes=3)[:count]
    drawn = [
        draw_strokes(number % 10, 100, "white", "black", 0.08 + number / count / 40)
        for number in range(count)
    ]
    return np.stack([prepare(each, SHAPE, MNIST, "drawn").pixels[..., 0] for each in drawn])


@pytest.fixture(scope="module")
def test_images() -> np.ndarray:
    return mnist_images("test", 30)


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """The correlation of two images' pixels."""
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


@pytest.mark.parametrize("name", ALTERATIONS)
def test_an_altered_test_image_is_seen_as_it_was(test_images: np.ndarray, name: str) -> None:
    rng = np.random.default_rng(0)
    found = []
    for image in test_images:
        prepared = prepare(ALTERATIONS[name](image, rng), SHAPE, MNIST, name)
        found.append(likeness(prepared.pixels, image))
    assert np.median(found) > 0.95, found
    assert np.mean(np.array(found) > 0.8) >= 0.9, found


def test_a_test_image_in_a_file_keeps_its_pixels(test_images: np.ndarray) -> None:
    for image in test_images:
        for picture in (image, 255 - image):
            found = prepare(Image.fromarray(picture), SHAPE, MNIST, "image")
            np.testing.assert_array_equal(found.pixels[..., 0], image)


def test_framing_is_learnt_from_the_training_images() -> None:
    found = zoo.data.framing.learn(mnist_images("train", 2000)[..., None])
    assert found is not None
    assert found.by_mass
    for field in ("ground", "ink", "side", "side_low", "side_high", "row", "column"):
        assert getattr(found, field) == pytest.approx(getattr(MNIST, field), abs=0.05), field


def test_digits_fill_their_images_and_are_seen_so() -> None:
    """The dataset of the quick start, whose digits have no margin above and below."""
    dataset = zoo.data.load("digits")
    framing = zoo.data.framing.learn(dataset.train.images)
    assert framing is not None
    assert framing.side == 1.0
    for image in dataset.test.images[:40, ..., 0]:
        picture = Image.fromarray(image)
        for size, least in ((28, 1.0), (56, 0.98)):
            resized = picture.resize((size, size), Image.Resampling.BICUBIC)
            if size == 28:
                np.testing.assert_array_equal(np.asarray(resized), image)
            for each in (resized, Image.eval(resized, lambda value: 255 - value)):
                seen = prepare(each, SHAPE, framing, "digit").pixels[..., 0]
                assert likeness(seen, image) >= least - 1e-9


@pytest.mark.parametrize("kind", ["colour", "photographs", "blank"])
def test_images_that_are_no_drawings_have_no_framing(kind: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 28, 28, 1), dtype=np.uint8)
    if kind == "colour":
        images = np.repeat(images, 3, axis=3)
    elif kind == "blank":
        images[...] = 7
    assert zoo.data.framing.learn(images) is None
    if kind == "photographs":  # only resized, whatever they show
        picture = Image.fromarray(images[0, ..., 0])
        found = prepare(picture, SHAPE, None, "photograph")
        np.testing.assert_array_equal(found.pixels, images[0])


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("by_mass", [False, True])
def test_a_drawing_gets_the_framing_of_the_dataset(dark: bool, by_mass: bool) -> None:
    """Of a dataset with grey ink, somewhere else, in images that are not square."""
    ground, ink = (0.9, 0.3) if dark else (0.2, 0.7)
    framing = dataclasses.replace(
        MNIST, ground=ground, ink=ink, ink_low=ink, ink_high=ink, side=0.5, side_low=0.45,
        side_high=0.55, by_mass=by_mass, row=0.4, column=0.6, row_distance=0.0, column_distance=0.0,
    )  # fmt: skip
    drawing = draw_strokes(7, 100, "black", "white")
    seen = prepare(drawing, (40, 60, 1), framing, "seven").pixels[..., 0] / 255
    assert np.median(seen) == pytest.approx(ground, abs=0.01)
    strongest = seen.min() if dark else seen.max()
    assert strongest == pytest.approx(ink, abs=0.02)
    rows, columns = np.nonzero(np.abs(seen - ground) > 0.3 * abs(ink - ground))
    assert (rows.max() + 1 - rows.min()) / 40 == pytest.approx(0.5, abs=0.03)
    if not by_mass:
        assert (rows.max() + 1 + rows.min()) / 80 == pytest.approx(0.4, abs=0.03)
        assert (columns.max() + 1 + columns.min()) / 120 == pytest.approx(0.6, abs=0.03)


def test_framing_survives_a_history() -> None:
    content = MNIST.to_content()
    assert zoo.data.framing.from_content(content) == MNIST
    for wrong, at_fault in (
        ({**content, "ink": 0.0, "ink_low": 0.0}, "'ink': 0.0"),
        ({**content, "ink_low": 1.0, "ink": 0.9}, "'ink': 0.9"),
        ({**content, "side": 1e-300}, "'side': 1e-300"),
        ({**content, "side_low": 0.9, "side_high": 0.1}, "'side_low': 0.9"),
        ({**content, "side": 2}, "^2$"),
        ({**content, "by_mass": 1}, "^1$"),
        ({**content, "more": 1}, "'more': 1"),
        ({name: value for name, value in content.items() if name != "row"}, "^row$"),
        ([], r"^\[\]$"),
    ):
        with pytest.raises(ValueError, match=at_fault):
            zoo.data.framing.from_content(wrong)


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_more_than_eight_bits_are_scaled_not_clipped(mode: str) -> None:
    for largest in (1023, 60_000):
        values = np.full((40, 40), largest, np.uint16)
        values[10:30, 18:22] = largest // 3
        if mode == "I;16":
            image = Image.fromarray(values)
        else:
            image = Image.fromarray(values.astype(np.int32 if mode == "I" else np.float32))
        assert image.mode == mode
        found = prepare(image, SHAPE, MNIST, "deep")
        assert found.is_inverted
        assert found.pixels.max() == 255


def test_colour_images_for_a_net_of_three_channels_are_resized() -> None:
    image = Image.new("RGB", (50, 40), (255, 0, 10))
    found = prepare(image, (20, 30, 3), None, "red")
    assert found.pixels.shape == (20, 30, 3)
    assert (found.pixels == (255, 0, 10)).all()
    with pytest.raises(ZooError, match="1 or 3 channels, and the net takes 2"):
        prepare(image, (20, 30, 2), None, "red")


@pytest.mark.parametrize("kind", [*KINDS, *FORMS])
def test_what_is_drawn_in_any_way_is_found(tmp_path: Path, kind: str) -> None:
    """In its usual place and size, and as bright on dark."""
    for path, _, _ in write_many(tmp_path, [kind], per_digit=1):
        found = prepare(zoo.data.images.read(path), SHAPE, MNIST, path)
        assert MNIST.fits(found.pixels[..., 0] / 255, 28, 28), path
        assert np.median(found.pixels) == 0
        assert found.pixels.max() > 200


def test_a_faint_drawing_is_told() -> None:
    rng = np.random.default_rng(0)
    levels = np.asarray(draw_strokes(3, 100, "#dddddd", "white").convert("L"), float)
    noisy = Image.fromarray(
        np.clip(levels - 20 + rng.normal(0, 9, levels.shape), 0, 255).astype(np.uint8)
    )
    prepared = prepare(noisy, SHAPE, MNIST, "three")
    assert prepared.doubt == "the drawing is faint"
    prediction = Prediction("net", "three.png", prepared, None, np.array([0.1, 0.9]))
    assert json.loads(to_json([[prediction]]))[0]["unsure"] is True
    clear = prepare(draw_strokes(3, 100, "#dddddd", "white"), SHAPE, MNIST, "three")
    assert not clear.doubt


@pytest.mark.parametrize("size", [60, 200, 512])
def test_the_thinnest_pen_is_read_or_refused(size: int) -> None:
    """A circle of one pixel, which scaled down is hardly there."""
    image = Image.new("L", (size, size), 255)
    ImageDraw.Draw(image).ellipse((size // 8, size // 8, 7 * size // 8, 7 * size // 8), outline=0)
    found = prepare(image, SHAPE, MNIST, "circle")
    assert found.pixels.max() == 255
    rows, columns = np.nonzero(found.pixels[..., 0] > 64)
    assert rows.max() - rows.min() + 1 in (19, 20, 21)
    assert columns.max() - columns.min() + 1 in (19, 20, 21)


def test_large_images_are_sampled() -> None:
    """Their framing takes no more memory than that of small ones."""
    images = np.zeros((200, 512, 512, 1), np.uint8)
    images[:, 128:384, 200:300] = 250
    tracemalloc.start()
    framing = zoo.data.framing.learn(images)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert framing is not None
    assert framing.side == 0.5
    assert peak < 2 * images.nbytes


@pytest.mark.parametrize(("size", "part"), [(600, 28), (800, 40), (1600, 60), (3000, 100)])
def test_a_small_digit_on_a_large_page_is_found(size: int, part: int) -> None:
    digit = draw_strokes(5, 300, "black", "white")
    page = Image.new("RGB", (size, size * 3 // 4), "white")
    page.paste(
        digit.resize((part * 5 // 3, part * 5 // 3), Image.Resampling.LANCZOS), (size // 5, 30)
    )
    whole, found = (prepare(each, SHAPE, MNIST, "five").pixels for each in (digit, page))
    assert likeness(found, whole) > 0.85


@pytest.mark.parametrize("height", [2325, 2000, 700])
def test_a_drawing_at_the_end_of_a_strip_is_found(height: int) -> None:
    """Reduced, the strip is a few pixels wide, and another part of its width than of its height."""
    page = Image.new("L", (20, height), 255)
    ImageDraw.Draw(page).line([(10, height - 25), (10, height - 5)], fill=0, width=3)
    found = prepare(page, (28, 28, 1), MNIST, "strip").pixels[..., 0]
    rows, columns = np.nonzero(found > 128)
    assert np.ptp(rows) > 4 * np.ptp(columns)


def test_blank_ruled_paper_shows_nothing() -> None:
    paper = Image.new("L", (200, 200), 235)
    for row in range(10, 200, 30):
        ImageDraw.Draw(paper).line((0, row, 200, row), fill=120, width=2)
    with pytest.raises(ZooError, match="nothing in paper stands out"):
        prepare(paper, SHAPE, MNIST, "paper")


def test_several_digits_are_told() -> None:
    page = Image.new("RGB", (400, 150), "white")
    for number, digit in enumerate((7, 2, 1)):
        page.paste(draw_strokes(digit, 120, "black", "white"), (10 + 130 * number, 10))
    assert prepare(page, SHAPE, MNIST, "several").doubt == "there is more than one drawing"


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F", "YCbCr", "PA"]),
    st.sampled_from(["noise", "black", "white", "one pixel", "one line", "halves"]),
    st.integers(0, 2**32 - 1),
)
def test_any_image_is_prepared_or_refused_in_one_sentence(
    width: int, height: int, mode: str, content: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    levels = np.full((height, width), 255 if content == "white" else 0, np.uint8)
    match content:
        case "noise":
            levels = rng.integers(0, 256, (height, width), dtype=np.uint8)
        case "one pixel":
            levels[rng.integers(height), rng.integers(width)] = 255
        case "one line":
            levels[rng.integers(height)] = 255
        case "halves":
            levels[: height // 2] = 255
    grey = Image.fromarray(levels)
    image = grey.convert("P").convert("PA") if mode == "PA" else grey.convert(mode)
    try:
        found = prepare(image, SHAPE, MNIST, "image")
    except ZooError as error:
        refusal = str(error)
        assert refusal.startswith(("image has only one colour: ", "nothing in image stands out"))
        return
    assert found.pixels.shape == SHAPE
    assert found.pixels.dtype == np.uint8
    assert found.pixels.max() > 0
