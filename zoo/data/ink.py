"""Finds what is drawn in a picture: on uneven ground, in any colour, beside specks and rulings.

The ground is what remains where a morphological closing (for dark ink; an opening for bright ink)
has removed everything narrower than a stroke may be: it follows shadows, smooth or sharp. The
difference is known as the black (or white) top-hat (Serra 1982).
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
from PIL import Image
from scipy import ndimage

from zoo.data.framing import INK

_WIDEST = 0.4  # of the picture's shorter side: strokes are narrower
_WINDOW = 2.5  # strokes' widths: crossings and blots are narrower
_BETWEEN = 0.25  # of the pixels: with more of them between two levels, the ground has shadows
_UNCLEAR = 0.35  # of the pixels: from that on, ink may cover more than the ground
_EDGE = 0.06  # of each side: what lies within it all, along the border, is the photograph's edge
_RULING = 0.05  # of the side across: rulings are thinner
_THINNER = 0.7  # of the strokes' width: rulings are thinner
_THIN = 0.03  # of the side across: this thin, lines from border to border are always rulings
_END = 0.06  # of the side along: rulings begin and end there
_RULED = 0.8  # of the side along: rulings are longer
_FRINGE = 0.01  # of the side across: beside a ruling, where it is blurred
_FAINTER_THAN_PEN = 0.7  # of the strongest ink: such rulings can be told from the strokes on them
_SLANTS = np.tan(np.radians(np.arange(-6, 6.5, 0.5)))  # of rulings
_NOISES = 4  # so many standard deviations of the ground are still ground
_DRAWING = 0.3  # of the area of what is read: as large, what is left out is no speck
_FAINT = 0.02  # contrasts below that are none


@dataclasses.dataclass(frozen=True)
class Drawing:
    """What is drawn in a picture."""

    ink: np.ndarray  # [rows, columns]: 0 is ground, 1 is the strongest ink
    is_dark: bool  # it is darker than the ground
    doubt: str = ""  # why it may not be what was meant
    notes: tuple[str, ...] = ()  # what was left out of it


@dataclasses.dataclass(frozen=True)
class _Relief:
    """Differences of one channel from its local ground."""

    height: np.ndarray  # [rows, columns], 0 where there is ground
    is_dark: bool  # it is the ink that is darker
    contrast: float  # the height of the strongest ink
    noise: float  # of the ground, a standard deviation

    @property
    def is_faint(self) -> bool:
        return bool(2 * _NOISES * self.noise > self.contrast)

    def drawing(self) -> Drawing:
        """What is higher than the noise."""
        low = self.contrast / 2 if self.is_faint else _NOISES * self.noise
        ink = np.clip((self.height - low) / (self.contrast - low), 0, 1)
        ink, has_more, notes = _cleaned(ink)
        doubt = "there is more than one drawing" if has_more else ""
        return Drawing(ink, self.is_dark, "the drawing is faint" if self.is_faint else doubt, notes)


def find(picture: np.ndarray) -> Drawing | None:
    """What is drawn in a picture [rows, columns, red/green/blue], 0 to 1; None if nothing is."""
    widest = _WIDEST * min(picture.shape[:2])
    grey = picture @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601, as Pillow's "L"
    channels = [grey]
    if np.ptp(picture, axis=2).max() > _FAINT:
        channels += [*np.moveaxis(picture, 2, 0)]
    reliefs = [_relief(channel, _is_dark(channel), widest) for channel in channels]
    best = int(np.argmax([relief.contrast for relief in reliefs]))
    if reliefs[best].contrast < 2 * reliefs[0].contrast:
        best = 0  # one colour alone has more noise, so only where brightness shows much less
    channel, relief = channels[best], reliefs[best]
    if relief.contrast < _FAINT:
        return None
    drawing = relief.drawing()
    if not (drawing.ink > INK).any():
        return None
    # Once more, with what is known of the strokes: the narrower they are, the better the ground.
    window = _WINDOW * _stroke_width(drawing.ink > 0.5)
    if 0 < window < widest:
        better = _relief(channel, relief.is_dark, window).drawing()
        if (better.ink > INK).any():
            return better
    return drawing


def _stroke_width(drawn: np.ndarray) -> float:
    """In pixels, of the wider strokes; 0 if there are none."""
    padded = np.pad(drawn, 1)
    depth = ndimage.distance_transform_edt(padded)[padded]  # to the nearest ground
    return 2 * float(np.percentile(depth, 98)) if len(depth) else 0.0


def _relief(channel: np.ndarray, is_dark: bool, window: float) -> _Relief:
    """The differences from a ground without anything narrower than that many pixels."""
    size, shorter = max(3, round(window)), min(channel.shape)
    smooth = ndimage.gaussian_filter(channel, 0.01 * shorter) if shorter > 60 else channel
    if is_dark:
        ground = ndimage.grey_closing(smooth, size=(size, size), mode="nearest")
        height = (ground - channel) / np.maximum(ground, 0.1)  # shadows dim the ink, too
    else:
        height = channel - ndimage.grey_opening(smooth, size=(size, size), mode="nearest")
    # At least a quarter is ground. Of a normal distribution, the lowest quarter lies below -0.674
    # standard deviations, and on average 0.597 below that.
    quartile = np.percentile(height, 25)
    below = height[height < quartile]
    noise = (quartile - float(below.mean())) / 0.597 if len(below) else 0.0
    height = height - quartile - 0.674 * noise
    strongest = np.sort(height, axis=None)[-min(max(5, height.size // 5000), height.size)]
    contrast = float(np.percentile(height[height >= strongest / 2], 75)) if strongest > 0 else 0.0
    return _Relief(np.maximum(height, 0), is_dark, contrast, noise)


def _is_dark(channel: np.ndarray) -> bool:
    """Whether the ink is darker than the ground.

    There is more ground than ink; where that is not clear, as in a picture that is cropped tight,
    most of the border is ground.
    """
    low, high = np.percentile(channel, (0.05, 99.95))
    middle = (low + high) / 2
    if np.mean(np.abs(channel - middle) < 0.3 * (high - low)) > _BETWEEN:
        # The ground has no level of its own: there are shadows. Ink differs more from what is
        # around it than they do.
        reduced = Image.fromarray(channel.astype(np.float32)).reduce(-(-max(channel.shape) // 64))
        levels = np.asarray(reduced, np.float64)
        around = ndimage.median_filter(levels, size=max(levels.shape) // 2, mode="nearest")
        return bool(((levels - around) ** 3).sum() < 0)
    is_bright = channel > middle
    share = float(is_bright.mean())
    if _UNCLEAR < share < 1 - _UNCLEAR:
        outermost, inner = (
            _border_share(is_bright, depth) for depth in (0, round(_EDGE * min(channel.shape)))
        )
        # What runs all around and is less than the rest is the edge of a photograph.
        is_edge = (outermost > 0.9 and share < 0.4) or (outermost < 0.1 and share > 0.6)
        share = inner if is_edge else outermost
    return share > 0.5


def _border_share(is_bright: np.ndarray, depth: int) -> float:
    """The bright part of the border that is left when so many rows and columns are cut off."""
    inner = is_bright[depth : len(is_bright) - depth, depth : is_bright.shape[1] - depth]
    if not inner.size:
        return 0.0
    return float(np.mean([*inner[0], *inner[-1], *inner[:, 0], *inner[:, -1]]))


def _cleaned(ink: np.ndarray) -> tuple[np.ndarray, bool, tuple[str, ...]]:
    """Without rulings, edges of the photograph, and specks.

    Also whether there is another drawing among those, and notes on what was left out.
    """
    bare, num_rulings = _without_rulings(ink)
    if num_rulings == 1 and not (bare > INK).any():
        num_rulings = 0  # whoever draws a dash
    else:
        ink = bare
    labels, count = ndimage.label(ink > INK, structure=np.ones((3, 3)))
    if not count:
        return ink, False, ()
    boxes = ndimage.find_objects(labels)
    areas = np.bincount(labels.ravel())[1:]
    is_edge = np.array([_is_edge(each, ink.shape) for each in boxes])
    if is_edge.all():
        is_edge[:] = False
    main = int(np.where(is_edge, 0, areas).argmax())
    distances = ndimage.distance_transform_edt(labels != main + 1)
    longer = max(part.stop - part.start for part in boxes[main])
    away = ndimage.minimum(distances, labels, np.arange(1, count + 1)) / longer
    is_speck = ~is_edge & (areas < (0.02 + 0.6 * away) * areas[main])
    is_kept = np.concatenate([[False], ~is_edge & ~is_speck])
    blur = 1 + round(_FRINGE * min(ink.shape))
    around = ndimage.binary_dilation(is_kept[labels], np.ones((3, 3)), iterations=blur)
    others = ndimage.binary_dilation((labels > 0) & ~is_kept[labels], np.ones((3, 3)))
    notes = [
        f"{number} {one if number == 1 else many} left out"
        for number, one, many in (
            (num_rulings, "ruling", "rulings"),
            (int(is_edge.sum()), "edge", "edges"),
            (int(is_speck.sum()), "speck", "specks"),
        )
        if number
    ]
    has_more = bool((areas[is_speck] > _DRAWING * areas[main]).any())
    return np.where(around & ~(others & ~is_kept[labels]), ink, 0), has_more, tuple(notes)


def _is_edge(ranges: tuple[slice, slice], shape: tuple[int, ...]) -> bool:
    """Whether it lies along a border, within the outermost part of the picture."""
    return any(
        part.stop <= _EDGE * whole + 1 or part.start >= (1 - _EDGE) * whole - 1
        for part, whole in zip(ranges, shape, strict=True)
    ) and any(
        part.start == 0 or part.stop == whole for part, whole in zip(ranges, shape, strict=True)
    )


def _without_rulings(ink: np.ndarray) -> tuple[np.ndarray, int]:
    """The drawing without lines from border to border, and their number."""
    level, total = ink, 0
    for is_vertical in (False, True):
        level, count = _without_level_lines(level.T if is_vertical else level)
        level = level.T if is_vertical else level
        total += count
    return level, total


def _without_level_lines(ink: np.ndarray) -> tuple[np.ndarray, int]:
    """Without those that run from left to right, which may slant a little."""
    height = len(ink)
    fringe, thickest = round(_FRINGE * height), max(1.0, _RULING * height)
    found = [*_level_lines(ink)]
    if not found:
        return ink, 0
    rest = ink > INK
    for rows, columns in found:
        rest[rows, columns] = False
    thickest = min(thickest, max(_THINNER * _stroke_width(rest), _THIN * height))
    lines = np.zeros(ink.shape, bool)
    pen = np.zeros(ink.shape, bool)  # ink that crosses a ruling and is stronger
    count = 0
    for rows, columns in found:
        if len(rows) / ink.shape[1] > thickest:
            continue  # a stroke
        line = np.zeros(ink.shape, bool)
        line[rows, columns] = True
        level = np.median(ink[line])
        line = ndimage.binary_dilation(line, np.ones((2 * fringe + 3 if fringe else 1, 1)))
        if level < _FAINTER_THAN_PEN:
            pen |= line & (ink > (1 + level) / 2)
        lines |= line
        count += 1
    bare = np.where(lines & ~pen, 0, ink)
    bridged = ndimage.grey_closing(bare, size=(round(thickest) + 2 * fringe + 2, 3))
    return np.where(lines, np.maximum(bare, bridged), ink), count


def _level_lines(ink: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows, columns) of the inked pixels of each line across, all of the same slant."""
    height, width = ink.shape
    rows, columns = np.nonzero(ink > INK)
    best, sharpest = None, 0.0
    for slant in _SLANTS:
        starts = np.rint(rows - slant * (columns - width / 2)).astype(int)  # in the middle column
        lengths = np.bincount(starts[(starts >= 0) & (starts < height)], minlength=height)
        is_line = lengths > _RULED * width
        for at_end in (columns <= _END * width, columns >= (1 - _END) * width - 1):
            is_line &= np.isin(np.arange(height), np.add.outer(starts[at_end], (-1, 0, 1)))
        if (sharpness := float((lengths[is_line] ** 2).sum())) > sharpest:
            best, sharpest = (starts, is_line), sharpness
    if best is not None:
        starts, is_line = best
        bands, count = ndimage.label(is_line)
        band_of = np.where(
            (starts >= 0) & (starts < height), bands[np.clip(starts, 0, height - 1)], 0
        )
        for band in range(1, count + 1):
            yield rows[band_of == band], columns[band_of == band]
