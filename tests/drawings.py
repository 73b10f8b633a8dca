"""Digits drawn by a font and by strokes, as a person would make images to try a net with."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from zoo.system import figures

# Corners of the strokes in a box of 1 x 1, from its upper left.
STROKES = {
    0: [[(0.5, 0), (0.15, 0.25), (0.15, 0.75), (0.5, 1), (0.85, 0.75), (0.85, 0.25), (0.5, 0)]],
    1: [[(0.5, 0), (0.5, 1)]],
    2: [[(0.1, 0.25), (0.3, 0), (0.7, 0), (0.9, 0.25), (0.1, 1), (0.95, 1)]],
    3: [[(0.1, 0.1), (0.6, 0), (0.9, 0.25), (0.45, 0.5), (0.9, 0.75), (0.6, 1), (0.1, 0.9)]],
    4: [[(0.2, 0), (0.1, 0.55), (0.9, 0.55)], [(0.75, 0.1), (0.7, 1)]],
    5: [[(0.9, 0), (0.25, 0), (0.2, 0.45), (0.7, 0.45), (0.85, 0.75), (0.5, 1), (0.1, 0.95)]],
    6: [[(0.7, 0), (0.25, 0.4), (0.15, 0.8), (0.5, 1), (0.85, 0.75), (0.5, 0.55), (0.2, 0.7)]],
    7: [[(0.1, 0), (0.9, 0), (0.4, 1)]],
    8: [
        [(0.5, 0), (0.2, 0.2), (0.8, 0.75), (0.5, 1), (0.2, 0.75), (0.8, 0.2), (0.5, 0)],
    ],
    9: [[(0.8, 0.25), (0.5, 0.45), (0.2, 0.25), (0.5, 0), (0.8, 0.25), (0.7, 1)]],
}


def draw_strokes(digit: int, size: int, ink: str, paper: str) -> Image.Image:
    """A square image with the digit drawn by a pen of a tenth of its side, off its middle."""
    scale = 8  # drawn large and made smaller: smooth edges
    image = Image.new("RGB", (size * scale, size * scale), paper)
    pen = ImageDraw.Draw(image)
    left, top, side = 0.3 * size * scale, 0.15 * size * scale, 0.6 * size * scale
    width = max(1, round(0.1 * size * scale))
    for stroke in STROKES[digit]:
        points = [(left + 0.8 * x * side, top + y * side) for x, y in stroke]
        pen.line(points, fill=ink, width=width, joint="curve")
        for x, y in points:
            pen.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=ink)
    return image.resize((size, size), Image.Resampling.LANCZOS)


def draw_font(digit: int, size: int, ink: str, paper: str) -> Image.Image:
    """A square image with the digit in Pillow's own font."""
    image = Image.new("RGB", (size, size), paper)
    font = ImageFont.load_default(size=0.8 * size)
    ImageDraw.Draw(image).text((size / 2, size / 2), str(digit), ink, font, anchor="mm")
    return image


def write_ten(folder: Path) -> list[tuple[Path, int]]:
    """Ten files, one of each digit: both kinds, both polarities, sizes 8 to 400; (path, digit)."""
    images = {
        "zero.png": (0, draw_strokes(0, 400, "black", "white")),
        "one.jpg": (1, draw_strokes(1, 64, "white", "black")),
        "two.png": (2, draw_font(2, 100, "navy", "lightyellow")),
        "three.bmp": (3, draw_strokes(3, 28, "white", "black")),
        "four.gif": (4, draw_strokes(4, 50, "black", "white").convert("L")),
        "five.webp": (5, draw_font(5, 200, "white", "black")),
        "six.png": (6, draw_strokes(6, 8, "white", "black")),
        "seven.png": (7, draw_strokes(7, 120, "yellow", "darkblue")),
        "eight.png": (8, draw_font(8, 40, "black", "white")),
        "nine.png": (9, _transparent(draw_strokes(9, 90, "black", "white"))),
    }
    for name, (_, image) in images.items():
        image.save(folder / name)
    return [(folder / name, digit) for name, (digit, _) in images.items()]


def _transparent(image: Image.Image) -> Image.Image:
    """What is white becomes transparent."""
    grey = image.convert("L")
    image = image.convert("RGBA")
    image.putalpha(Image.eval(grey, lambda value: 255 - value))
    return image


def size_in_pixels(figure: Figure, path: Path) -> tuple[int, int]:
    """(width, height) of the picture, saved there as PNG.

    Raises:
        AssertionError: it has ink at its very edge, as of a text that is cut.
    """
    figures.save(figure, path)
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("L"))
    for edge in (pixels[:2], pixels[-2:], pixels[:, :2], pixels[:, -2:]):
        assert edge.min() == 255, f"{path.name} loses text"
    return pixels.shape[1], pixels.shape[0]
