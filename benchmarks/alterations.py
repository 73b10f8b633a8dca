"""Photographs, scans and files as people make them of a dataset's test images.

Each makes of an image [height, width] uint8, bright on black, a picture that shows the same: what a
net is asked to read then differs only by what `zoo.data.preparation` has to undo.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy import ndimage

Levels = np.ndarray  # [rows, columns] float, 0 (ink) to 255 (paper)
Alteration = Callable[[np.ndarray, np.random.Generator], Image.Image]
_INK, _PAPER = 40, 235
_SCALE = 6


def _larger(image: np.ndarray, scale: int) -> np.ndarray:
    """[scale * height, scale * width] uint8."""
    size = (image.shape[1] * scale, image.shape[0] * scale)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def _on_paper(image: np.ndarray, scale: int = _SCALE) -> Levels:
    return _PAPER - (_PAPER - _INK) / 255 * _larger(image, scale)


def _picture(levels: Levels) -> Image.Image:
    return Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8))


def _shadow(loss: float) -> Alteration:
    """Light that falls by this part across the picture, in any direction."""

    def alter(image: np.ndarray, rng: np.random.Generator) -> Image.Image:
        levels, angle = _on_paper(image), rng.uniform(0, 2 * np.pi)
        rows, columns = np.indices(levels.shape) / len(levels) - 0.5
        across = np.cos(angle) * rows + np.sin(angle) * columns
        light = 1 - loss * (across - across.min()) / np.ptp(across)
        return _picture(levels * light)

    return alter


def _sharp_shadow(image: np.ndarray, rng: np.random.Generator) -> Image.Image:
    levels = _on_paper(image)
    rows, columns = np.indices(levels.shape) / len(levels)
    return _picture(levels * np.where(rows + columns > rng.uniform(0.7, 1.3), 0.65, 1))


def _speck(image: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Dark, of a twentieth of the side, beside the drawing."""
    levels = _on_paper(image)
    size = len(levels) // 20
    while True:
        row, column = rng.integers(0, np.subtract(levels.shape, size))
        around = levels[max(0, row - 4) : row + size + 4, max(0, column - 4) : column + size + 4]
        if around.min() > 200:
            levels[row : row + size, column : column + size] = _INK
            return _picture(levels)


def _ruled(level: int, apart: float, thick: float, scale: int = _SCALE) -> Alteration:
    """Lines of that level, so far apart and so thick, as parts of the height."""

    def alter(image: np.ndarray, rng: np.random.Generator) -> Image.Image:
        levels = _on_paper(image, scale)
        height = len(levels)
        for start in np.arange(rng.uniform(0.1, 0.9) * apart * height, height, apart * height):
            line = slice(int(start), int(start) + max(1, round(thick * height)))
            levels[line] = np.minimum(levels[line], level)
        return _picture(levels)

    return alter


def _squared(image: np.ndarray, rng: np.random.Generator) -> Image.Image:
    once = _ruled(170, 0.2, 0.012)(image, rng)
    levels = np.asarray(once, float)
    for start in range(int(rng.integers(5, 30)), levels.shape[1], len(levels) // 5):
        levels[:, start : start + 2] = np.minimum(levels[:, start : start + 2], 170)
    return _picture(levels)


def _slanted(image: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Ruled paper photographed askew, with the noise of a camera."""
    levels = np.asarray(_ruled(130, 0.125, 0.012, 8)(image, rng), float)
    levels = ndimage.rotate(levels, rng.uniform(-4, 4), reshape=False, order=1, mode="nearest")
    return _picture(levels + rng.normal(0, 5, levels.shape))


def _edge(sides: int) -> Alteration:
    """A thin dark edge of the photograph on so many sides."""

    def alter(image: np.ndarray, rng: np.random.Generator) -> Image.Image:
        levels = _on_paper(image)
        for _ in range(sides):
            levels[:4] = 30
            levels = np.rot90(levels)
        return _picture(np.rot90(levels, -sides))

    return alter


def _noisy(image: np.ndarray, rng: np.random.Generator) -> Image.Image:
    levels = _on_paper(image)
    return _picture(levels + rng.normal(0, 20, levels.shape))


def _chalk(image: np.ndarray, rng: np.random.Generator) -> Image.Image:
    levels = 40 + 150 / 255 * _larger(image, _SCALE)
    return _picture(levels + rng.normal(0, 8, levels.shape))


def _corner(image: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Small, somewhere on a large page."""
    margins = [tuple(int(n) for n in rng.integers(5, 250, 2)) for _ in range(2)]
    levels = np.pad(_on_paper(image, 4), margins, constant_values=_PAPER)
    return _picture(levels + rng.normal(0, 3, levels.shape))


def _cropped(image: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Hardly any paper around the drawing."""
    rows, columns = (np.flatnonzero((image > 64).any(axis=axis)) for axis in (1, 0))
    drawn = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return _picture(_on_paper(np.pad(drawn, 1)))


def _coloured(ink: tuple[int, ...], paper: tuple[int, ...]) -> Alteration:
    def alter(image: np.ndarray, rng: np.random.Generator) -> Image.Image:
        part = _larger(image, 4)[..., None] / 255
        colours = part * np.array(ink) + (1 - part) * np.array(paper)
        return Image.fromarray(np.rint(colours).astype(np.uint8))

    return alter


def _grey(scale: int) -> Alteration:
    return lambda image, rng: _picture(180 - 110 / 255 * _larger(image, scale))


ALTERATIONS: dict[str, Alteration] = {
    "as it is": lambda image, rng: Image.fromarray(image),
    "twice the size": lambda image, rng: Image.fromarray(_larger(image, 2)),
    "ten times the size, dark on white": lambda image, rng: _picture(255.0 - _larger(image, 10)),
    "dark on light paper": lambda image, rng: _picture(_on_paper(image)),
    "shadow of 15%": _shadow(0.15),
    "shadow of 30%": _shadow(0.3),
    "shadow of 50%": _shadow(0.5),
    "sharp shadow": _sharp_shadow,
    "dark speck": _speck,
    "ruled paper": _ruled(130, 0.125, 0.012),
    "ruled as dark as the ink": _ruled(_INK, 0.2, 0.02),
    "ruled, at its own size": _ruled(130, 0.25, 0.03, 1),
    "ruled, askew, noisy": _slanted,
    "squared paper": _squared,
    "dark edge": _edge(1),
    "dark edges all around": _edge(4),
    "grey 70 on 180, at its own size": _grey(1),
    "grey 70 on 180, twice the size": _grey(2),
    "10 bits of a 16-bit file": lambda image, rng: Image.fromarray(
        4 * (255 - _larger(image, 4)).astype(np.uint16)
    ),
    "red on green, equally bright": _coloured((255, 0, 0), (0, 130, 0)),
    "yellow on white": _coloured((255, 240, 0), (255, 255, 255)),
    "noise": _noisy,
    "chalk on a blackboard": _chalk,
    "small, in a corner": _corner,
    "cropped tight": _cropped,
}
