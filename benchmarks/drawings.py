"""Digits drawn by fonts and by strokes, as a person would make pictures to try a net with."""

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

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


def draw_strokes(
    digit: int, size: int, ink: str, paper: str, pen_width: float = 0.1
) -> Image.Image:
    """A square image with the digit drawn by a pen of that part of its side, off its middle."""
    scale = 8  # drawn large and made smaller: smooth edges
    image = Image.new("RGB", (size * scale, size * scale), paper)
    pen = ImageDraw.Draw(image)
    left, top, side = 0.3 * size * scale, 0.15 * size * scale, 0.6 * size * scale
    width = max(1, round(pen_width * size * scale))
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


Levels = np.ndarray  # [height, width] float, 0 (ink) to 255 (paper)
FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSerif", "STIXGeneral",
         "cmr10", "cmss10")  # fmt: skip


def _font(name: str) -> Callable[[int, np.random.Generator], Levels]:
    path = Path(matplotlib.get_data_path(), "fonts/ttf", f"{name}.ttf")

    def draw(digit: int, rng: np.random.Generator) -> Levels:
        size = int(rng.integers(60, 300))
        image = Image.new("L", (size, size), 255)
        font = ImageFont.truetype(path, 0.8 * size)
        ImageDraw.Draw(image).text((size / 2, size / 2), str(digit), 0, font, anchor="mm")
        return np.asarray(image, float)

    return draw


def _pen(width: float) -> Callable[[int, np.random.Generator], Levels]:
    def draw(digit: int, rng: np.random.Generator) -> Levels:
        image = draw_strokes(digit, int(rng.integers(60, 300)), "black", "white", width)
        return np.asarray(image.convert("L"), float)

    return draw


def _any(digit: int, rng: np.random.Generator) -> Levels:
    """By strokes or one of the fonts."""
    name = rng.choice([*FONTS, "", "", "", ""])
    return (_font(name) if name else _pen(rng.uniform(0.05, 0.12)))(digit, rng)


def _on_paper(digit: int, rng: np.random.Generator) -> Levels:
    """Dark grey on light grey."""
    return 40 + 195 / 255 * _any(digit, rng)


def _off_centre(digit: int, rng: np.random.Generator) -> Levels:
    """Somewhere on a page that is several times as large."""
    margins = [tuple(int(n) for n in rng.integers(5, 300, 2)) for _ in range(2)]
    return np.pad(_on_paper(digit, rng), margins, constant_values=235)


def _noisy(digit: int, rng: np.random.Generator) -> Levels:
    paper = _on_paper(digit, rng)
    return paper + rng.normal(0, 12, paper.shape)


def _shadow(digit: int, rng: np.random.Generator) -> Levels:
    """Light that falls by 30% across the picture, in any direction, and the noise of a camera."""
    paper, angle = _on_paper(digit, rng), rng.uniform(0, 2 * np.pi)
    rows, columns = np.meshgrid(*(np.linspace(-0.5, 0.5, n) for n in paper.shape), indexing="ij")
    light = 0.85 + 0.3 * (np.cos(angle) * rows + np.sin(angle) * columns) / 1.42
    return paper * light + rng.normal(0, 3, paper.shape)


def _sharp_shadow(digit: int, rng: np.random.Generator) -> Levels:
    """Of the hand, say, across the digit."""
    paper = _on_paper(digit, rng)
    rows, columns = np.indices(paper.shape) / len(paper)
    return np.where(rows + columns > rng.uniform(0.7, 1.3), 0.7, 1) * paper


def _rotated(digit: int, rng: np.random.Generator) -> Levels:
    image = Image.fromarray(_any(digit, rng).astype(np.uint8))
    angle = rng.uniform(-15, 15)
    return np.asarray(image.rotate(angle, Image.Resampling.BICUBIC, fillcolor=255), float)


def _ruled(digit: int, rng: np.random.Generator) -> Levels:
    """On ruled paper; a pen that is darker than the lines."""
    paper = _on_paper(digit, rng)
    apart = len(paper) * rng.uniform(0.1, 0.25)
    thick = max(1, round(0.012 * len(paper)))
    for start in np.arange(apart / 2, len(paper), apart).astype(int):
        lines = paper[start : start + thick]
        lines[...] = np.minimum(lines, rng.uniform(100, 180))
    return paper


def _specked(digit: int, rng: np.random.Generator) -> Levels:
    """A dark speck in a corner."""
    paper = _on_paper(digit, rng)
    size, place = max(2, len(paper) // 25), rng.integers(1, len(paper) // 12 + 2, 2)
    corner = paper[:: rng.choice([1, -1]), :: rng.choice([1, -1])]
    corner[place[0] : place[0] + size, place[1] : place[1] + size] = 50
    return paper


def _edged(digit: int, rng: np.random.Generator) -> Levels:
    """A dark edge of the photograph, on one or two sides."""
    paper = _on_paper(digit, rng)
    width = max(1, round(0.02 * len(paper)))
    paper[:, :width] = 30
    if rng.random() < 0.5:
        paper[-width:] = 30
    return paper


def _cropped(digit: int, rng: np.random.Generator) -> Levels:
    """Hardly any paper around the digit."""
    levels = _any(digit, rng)
    rows, columns = (np.flatnonzero((levels < 128).any(axis=axis)) for axis in (1, 0))
    drawn = levels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.pad(drawn, max(2, max(drawn.shape) // 25), constant_values=255)


KINDS: dict[str, Callable[[int, np.random.Generator], Levels]] = {
    **{f"font {name}": _font(name) for name in FONTS},
    "thin pen": _pen(0.02),
    "pen": _pen(0.08),
    "thick pen": _pen(0.15),
    "off-centre": _off_centre,
    "noise": _noisy,
    "shadow of 30%": _shadow,
    "sharp shadow": _sharp_shadow,
    "rotated": _rotated,
    "ruled paper": _ruled,
    "speck": _specked,
    "dark edge": _edged,
    "cropped tight": _cropped,
}
FORMS = ("bright on dark", "transparent", "EXIF orientation", "palette", "10 of 16 bits", "colours")


def write_many(
    folder: Path, kinds: Sequence[str] = (), per_digit: int = 2
) -> list[tuple[Path, str, int]]:
    """Pictures of those or of all kinds and forms, of each digit so many: (path, kind, digit)."""
    written = []
    for kind in kinds or (*KINDS, *FORMS):
        for number in range(10 * per_digit):
            digit, rng = number % 10, np.random.default_rng([len(written), 17])
            levels = np.clip(np.rint(KINDS.get(kind, _any)(digit, rng)), 0, 255).astype(np.uint8)
            path = folder / f"{kind}-{number}.{'jpg' if kind == 'EXIF orientation' else 'png'}"
            _save(Image.fromarray(levels), kind, path)
            written.append((path, kind, digit))
    return written


def _save(image: Image.Image, kind: str, path: Path) -> None:
    levels = np.asarray(image)
    exif = Image.Exif()
    match kind:
        case "bright on dark":
            image = Image.fromarray(255 - levels)
        case "transparent":
            image = _transparent(image.convert("RGB"))
        case "EXIF orientation":
            exif[0x0112] = 6  # to be turned by a quarter to the right
            image = image.rotate(90, expand=True)
        case "palette":
            image = image.convert("RGB").quantize(16)
        case "10 of 16 bits":
            image = Image.fromarray(levels.astype(np.uint16) * 4)
        case "colours":  # red on green, of equal brightness
            part = levels[..., None] / 255
            image = Image.fromarray(
                np.rint(part * (0, 130, 0) + (1 - part) * (255, 0, 0)).astype(np.uint8)
            )
    image.save(path, exif=exif)


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
