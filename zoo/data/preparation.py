"""Brings a person's picture to the form of the images that a net was trained on."""

import dataclasses

import numpy as np
from PIL import Image

import zoo.data.ink
from zoo.data.framing import INK, Framing, box, resized
from zoo.data.images import flattened, to_pixels
from zoo.system.errors import ZooError

_CLEAR = 0.2  # a contrast at which 8 bits tell enough of an image
_SMALL = 0.3  # of the image's longer side
_LARGE = 512  # pixels of a side; more do not help to recognize a digit


@dataclasses.dataclass(frozen=True)
class Prepared:
    """An image in the form that a net takes."""

    pixels: np.ndarray  # [height, width, channels] uint8
    is_inverted: bool = False  # dark on bright where the training images are bright on dark, or so
    doubt: str = ""  # why it may not show what was meant, such as "the drawing is faint"
    notes: tuple[str, ...] = ()  # such as "2 specks left out"


def prepare(
    image: Image.Image,
    image_shape: tuple[int, int, int],
    framing: Framing | None,
    name: object,
) -> Prepared:
    """Converts an image to the form of a net's training images.

    What is drawn gets their ground and ink. It keeps its size and place in the image if those are
    usual among them; otherwise it is cropped, scaled and placed as theirs are.

    Args:
        image: of any size and colour, transparent or not.
        image_shape: (height, width, channels) of the net's images.
        framing: of its training images; None: the image is only resized.
        name: for error messages.

    Raises:
        ZooError: the image is blank, or the net's images have neither 1 nor 3 channels.
    """
    height, width, channels = image_shape
    image = _checked(image, channels, name)
    if framing is None or channels == 3:
        return Prepared(to_pixels(image, height, width, channels))
    small = _reduced(image)
    grey = np.asarray(small.convert("L"))  # [rows, columns] uint8
    for levels, is_inverted in ((grey, False), (255 - grey, True)):
        if levels.shape == (height, width) and framing.has_levels(levels / 255):
            return Prepared(levels[..., None], is_inverted)  # a file made of such an image
    drawing = _on_even_ground(grey / 255, framing, height, width)
    drawing = drawing or _find(image, small)
    if drawing is None:
        raise ZooError(
            f"nothing in {name} stands out from its ground: draw it with more contrast or a wider "
            f"pen"
        )
    ink = drawing.ink
    seen = (resized if framing.fits(ink, height, width) else framing.place)(ink, height, width)
    seen = framing.to_grey(seen / max(seen.max(), INK))
    return Prepared(
        np.rint(255 * seen).astype(np.uint8)[..., None],
        is_inverted=drawing.is_dark == (framing.ink > framing.ground),
        doubt=drawing.doubt,
        notes=drawing.notes,
    )


def _checked(image: Image.Image, channels: int, name: object) -> Image.Image:
    """The image without transparency, unless it cannot be prepared for so many channels."""
    if channels not in (1, 3):
        raise ZooError(f"an image file has 1 or 3 channels, and the net takes {channels}")
    if image.mode == "F" and not np.isfinite(np.asarray(image)).all():
        raise ZooError(f"{name} has pixels that are not finite numbers")
    image = flattened(image)
    if channels == 1 and not np.ptp(np.asarray(image), axis=(0, 1)).any():
        raise ZooError(f"{name} has only one colour: nothing is drawn on it")
    return image


def _reduced(image: Image.Image) -> Image.Image:
    image = image.copy()
    image.thumbnail((_LARGE, _LARGE))
    return image


def _find(image: Image.Image, small: Image.Image) -> zoo.data.ink.Drawing | None:
    """What is drawn in an image, looked at more closely if it is a small part of it.

    Args:
        image: in its own size.
        small: the same, reduced.
    """
    drawing = zoo.data.ink.find(np.asarray(small, np.float64) / 255)
    if drawing is None:
        return None
    rows, columns = box(drawing.ink)
    longest = max(rows.stop - rows.start, columns.stop - columns.start)
    if longest > _SMALL * max(small.size):
        return drawing
    across, down = image.width / small.width, image.height / small.height  # pixels of one of small
    left, right = across * (columns.start - longest), across * (columns.stop + longest)
    top, lower = down * (rows.start - longest), down * (rows.stop + longest)
    inside = max(0, left), max(0, top), min(image.width, right), min(image.height, lower)
    around = _reduced(image.crop(tuple(map(round, inside))))
    closer = zoo.data.ink.find(np.asarray(around, np.float64) / 255)
    if closer is None or closer.is_dark != drawing.is_dark:
        return drawing
    return dataclasses.replace(closer, notes=drawing.notes, doubt=drawing.doubt)


def _on_even_ground(
    grey: np.ndarray, framing: Framing, height: int, width: int
) -> zoo.data.ink.Drawing | None:
    """The drawing, if the image looks as training images do but for the levels of two greys."""
    low, high = np.percentile(grey, (0.5, 99.5))
    if high - low < _CLEAR:
        return None
    bright = np.clip((grey - low) / (high - low), 0, 1)
    fitting = [
        zoo.data.ink.Drawing(ink, is_dark)
        for ink, is_dark in ((bright, False), (1 - bright, True))
        if framing.has_levels(framing.to_grey(ink)) and framing.fits(ink, height, width)
    ]
    return max(fitting, key=lambda each: np.mean(each.ink < INK), default=None)
