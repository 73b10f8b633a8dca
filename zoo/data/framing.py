"""How the drawings of a dataset lie in its images: what a person's own picture is brought to.

Learnt from the training images, so that a net sees of a picture what it saw of those. MNIST's
digits, for example, have boxes of 20 of 28 pixels, white on black, centred by their mass
(LeCun et al. 1998, section III.A); other datasets have other habits.
"""

import dataclasses
import math
from typing import Any

import numpy as np
from PIL import Image

from zoo.system import forms

INK = 0.25  # of the strongest ink; anything fainter does not count for a drawing's box
_SAMPLE = 2000  # images, of at most so many pixels in all:
_SAMPLE_PIXELS = 2_000_000
_TAILS = (0.5, 50, 99.5)  # percentiles: what lies between the outer two is usual
_SAME_LEVEL = 0.04  # grey levels closer than that are the same


@dataclasses.dataclass(frozen=True)
class Framing:
    """Ground, ink, size and place of drawings.

    Levels are fractions of the brightest grey, rows of the image's height, columns of its width,
    and sides the larger of both fractions. "Low" and "high" leave out half a percent of the
    drawings each; of levels, none.
    """

    ground: float  # level of the blank part
    ink: float  # level of the strongest ink
    ink_low: float
    ink_high: float
    blank_low: float  # the part of the pixels that is ground
    side: float  # the larger of height and width of the drawing's box
    side_low: float
    side_high: float
    by_mass: bool  # drawings are placed by their centre of mass, else by the middle of their box
    row: float  # of that centre
    column: float
    row_distance: float  # the largest usual distance from there
    column_distance: float

    def has_levels(self, grey: np.ndarray) -> bool:
        """Whether an image [rows, columns], 0 to 1, has ground and ink as the training images."""
        strongest = grey.max() if self.ink > self.ground else grey.min()
        blank = np.mean(np.abs(grey - self.ground) < _SAME_LEVEL)
        return bool(
            self.ink_low - _SAME_LEVEL <= strongest <= self.ink_high + _SAME_LEVEL
            and blank >= self.blank_low
        )

    def to_grey(self, ink: np.ndarray) -> np.ndarray:
        """The levels of ink, which is 0 on the ground and 1 where it is strongest."""
        return self.ground + ink * (self.ink - self.ground)

    def fits(self, ink: np.ndarray, height: int, width: int) -> bool:
        """Whether a drawing [rows, columns], 0 to 1, only has to be resized to height x width."""
        rows, columns = ink.shape
        if abs(rows * width / (columns * height) - 1) > 0.02 or not (ink > INK).any():
            return False
        side, middle, mass = _measure(ink)
        row, column = mass if self.by_mass else middle
        half = 0.5 / min(height, width)  # a pixel
        return (
            self.side_low - half <= side <= self.side_high + half
            and abs(row - self.row) <= self.row_distance + half
            and abs(column - self.column) <= self.column_distance + half
        )

    def place(self, ink: np.ndarray, height: int, width: int) -> np.ndarray:
        """[height, width]: a drawing cropped, scaled and placed as the training images' are."""
        drawn = ink[box(ink)]
        longest = max(drawn.shape[0] / height, drawn.shape[1] / width)
        size = [max(1, round(length * self.side / longest)) for length in drawn.shape]
        size = np.minimum(size, (height, width)).tolist()
        scaled = resized(drawn, *size)
        scaled /= max(scaled.max(), 1e-6)  # thin strokes have become fainter
        _, middle, mass = _measure(scaled)
        found, canvas = mass if self.by_mass else middle, np.zeros((height, width))
        top, left = (
            int(np.clip(round(wanted * whole - own * part), 0, whole - part))
            for wanted, own, whole, part in zip(
                (self.row, self.column), found, canvas.shape, size, strict=True
            )
        )
        canvas[top : top + size[0], left : left + size[1]] = scaled
        return canvas

    def to_content(self) -> dict[str, float | bool]:
        """What a history keeps."""
        return {
            name: value if isinstance(value, bool) else round(value, 4)
            for name, value in dataclasses.asdict(self).items()
        }


MNIST = Framing(  # as `learn` finds it
    ground=0.0, ink=1.0, ink_low=0.9961, ink_high=1.0, blank_low=0.6237,
    side=0.7143, side_low=0.7143, side_high=0.7143, by_mass=True,
    row=0.5178, column=0.5188, row_distance=0.0179, column_distance=0.0182,
)  # fmt: skip


def from_content(content: Any) -> Framing:
    """What `Framing.to_content` gave.

    Raises:
        ValueError: it is something else.
    """
    form = dict.fromkeys((field.name for field in dataclasses.fields(Framing)), forms.number(0, 1))
    forms.check(content, form | {"by_mass": lambda value: isinstance(value, bool)})
    if set(content) != set(form):
        raise ValueError(content)
    found = Framing(**content)
    is_consistent = (
        found.ink_low <= found.ink <= found.ink_high
        and 0 < found.side_low <= found.side <= found.side_high
        and abs(found.ink - found.ground) > _SAME_LEVEL
    )
    if not is_consistent:
        raise ValueError(content)
    return found


def learn(images: Any) -> Framing | None:
    """The framing of training images [N, height, width, channels] uint8, which may stay on disk.

    None if they are in colour, or are not drawings on a ground of one level.
    """
    if images.shape[-1] != 1:
        return None
    count = max(1, min(_SAMPLE, _SAMPLE_PIXELS // math.prod(images.shape[1:])))
    greys = np.asarray(images[:: -(-len(images) // count)])[..., 0] / 255  # [n, height, width]
    edges = np.concatenate([greys[:, 0], greys[:, -1], greys[:, :, 0], greys[:, :, -1]], axis=1)
    grounds = np.median(edges, axis=1)
    ground = float(np.median(grounds))
    if np.mean(np.abs(grounds - ground) < _SAME_LEVEL) < 0.9:
        return None
    blanks = np.mean(np.abs(greys - ground) < _SAME_LEVEL, axis=(1, 2))
    extremes = greys.max(axis=(1, 2)), greys.min(axis=(1, 2))
    strongest = max(extremes, key=lambda levels: abs(float(np.median(levels)) - ground))
    ink = float(np.median(strongest))
    if abs(ink - ground) < 2 * _SAME_LEVEL:
        return None
    inks = np.clip((greys - ground) / (ink - ground), 0, 1)
    measured = [_measure(each) for each in inks if (each > INK).any()]
    sides = np.array([side for side, _, _ in measured])  # [n]
    middles, masses = (np.array([each[k] for each in measured]) for k in (1, 2))  # [n, 2]
    by_mass = bool(masses.std(axis=0).sum() < middles.std(axis=0).sum())
    centres = masses if by_mass else middles
    row, column = np.median(centres, axis=0)
    distances = np.percentile(np.abs(centres - (row, column)), _TAILS[-1], axis=0)
    side_low, side, side_high = map(float, np.percentile(sides, _TAILS))
    return Framing(
        ground=ground,
        ink=ink,
        ink_low=float(strongest.min()),
        ink_high=float(strongest.max()),
        blank_low=float(blanks.min()),
        side=side,
        side_low=side_low,
        side_high=side_high,
        by_mass=by_mass,
        row=float(row),
        column=float(column),
        row_distance=float(distances[0]),
        column_distance=float(distances[1]),
    )


def box(ink: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of the smallest box around what is drawn; there must be something."""
    rows, columns = (np.flatnonzero((ink > INK).any(axis=axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def resized(ink: np.ndarray, height: int, width: int) -> np.ndarray:
    """[height, width], 0 to 1."""
    if ink.shape == (height, width):
        return ink
    image = Image.fromarray(ink.astype(np.float32))
    return np.clip(np.asarray(image.resize((width, height), Image.Resampling.BICUBIC)), 0, 1)


def _measure(ink: np.ndarray) -> tuple[float, tuple[float, float], tuple[float, float]]:
    """Side, middle (row, column) of the box, and centre of mass of a drawing, as fractions."""
    ranges = box(ink)
    side = max(
        (part.stop - part.start) / whole for part, whole in zip(ranges, ink.shape, strict=True)
    )
    row, column = (
        (part.start + part.stop) / 2 / whole for part, whole in zip(ranges, ink.shape, strict=True)
    )
    mass = ink.sum()
    heights, widths = ((np.arange(length) + 0.5) / length for length in ink.shape)
    return (
        side,
        (row, column),
        (float(heights @ ink.sum(axis=1) / mass), float(widths @ ink.sum(axis=0) / mass)),
    )
