"""Converts image files to the form that a net was trained on: bright strokes on black, centred."""

import dataclasses
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from zoo.system.errors import ZooError

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
_MAX_PIXELS = 50_000_000  # 50 megapixels take 200 MB when decoded
_LARGE = 1024  # pixels of a side; more do not help to recognize a digit
_INK = 0.25  # of full brightness; anything fainter is background


@dataclasses.dataclass(frozen=True)
class Prepared:
    """An image in the form that a net takes."""

    pixels: np.ndarray  # [height, width, channels] uint8
    is_inverted: bool  # it was dark on light


def read(path: Path) -> Image.Image:
    """The first frame of an image file, decoded, the right way up.

    Raises:
        ZooError: no such file, not an image of a known format, too large, or damaged.
    """
    if path.is_dir():
        raise ZooError(f"{path} is a directory: name image files")
    if path.exists() and not path.is_file():
        raise ZooError(f"{path} is not a file")  # reading a pipe would block
    try:
        with open(path, "rb") as file:
            return decode(file, str(path))
    except FileNotFoundError:
        raise ZooError(f"{path} does not exist") from None
    except OSError as error:
        raise ZooError(f"{path} cannot be read ({error.strerror})") from None


def decode(file: BinaryIO, name: str, max_pixels: int = _MAX_PIXELS) -> Image.Image:
    """Like `read`, for an open file; `name` is for error messages."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large images are limited here; odd EXIF
            with Image.open(file, formats=FORMATS) as image:
                width, height = image.size
                if width * height > max_pixels:
                    raise ZooError(
                        f"{name} has {width:,}x{height:,} pixels, more than the limit of "
                        f"{max_pixels:,} in all: make it smaller"
                    )
                return ImageOps.exif_transpose(image)
    except UnidentifiedImageError:
        raise ZooError(f"{name} is not an image of a known format ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise ZooError(
            f"{name} has more pixels than the limit of {max_pixels:,}: make it smaller"
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ZooError(f"{name} cannot be read as an image ({reason})") from None
    except (ValueError, SyntaxError, EOFError, ArithmeticError, LookupError) as error:
        raise ZooError(f"{name} is a damaged image ({error})") from None


def prepare(image: Image.Image, image_shape: tuple[int, int, int], name: object) -> Prepared:
    """Converts an image to the form of the net's training images.

    An image of exactly their size keeps its pixels. Any other is treated like the MNIST digits
    (LeCun et al. 1998, section III.A): the drawing is cropped, scaled to 20/28 of the side and
    centred by its centre of mass. For nets with several channels the image is only resized.

    Args:
        image: of any size and colour, transparent or not.
        image_shape: (height, width, channels) of the net's images.
        name: for error messages.

    Raises:
        ZooError: the image is blank, or the net's images have neither 1 nor 3 channels.
    """
    height, width, channels = image_shape
    if channels not in (1, 3):
        raise ZooError(f"an image file has 1 or 3 channels, and the net takes {channels}")
    if max(image.size) > _LARGE and image.mode in ("L", "LA", "RGB", "RGBA"):
        image = image.copy()
        image.thumbnail((_LARGE, _LARGE))  # the steps below take 8 bytes per pixel, several times
    if channels == 3:
        resized = _flattened(image).resize((width, height), Image.Resampling.LANCZOS)
        return Prepared(np.asarray(resized), is_inverted=False)
    if image.mode == "F" and not np.isfinite(np.asarray(image)).all():
        raise ZooError(f"{name} has pixels that are not finite numbers")
    brightness = np.asarray(_flattened(image).convert("L"), np.float64) / 255
    border = np.concatenate([brightness[0], brightness[-1], brightness[:, 0], brightness[:, -1]])
    background = float(np.median(border))
    low, high = float(brightness.min()), float(brightness.max())
    if high - low < 0.05:
        raise ZooError(f"{name} has only one colour: nothing is drawn on it")
    is_inverted = background > (low + high) / 2
    if brightness.shape == (height, width):
        pixels = 1 - brightness if is_inverted else brightness
    else:
        pixels = _centred(_ink(brightness, background, low if is_inverted else high), height, width)
    return Prepared(np.rint(255 * pixels).astype(np.uint8)[..., None], is_inverted)


def _flattened(image: Image.Image) -> Image.Image:
    """Without transparency: over black or white, whichever contrasts more with the visible part."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):  # Pillow would clip at 255
        values = np.asarray(image, np.float64)
        largest = 65535 if values.max() > 255 else 255
        grey = np.clip(255 / largest * values, 0, 255)
        return Image.fromarray(np.rint(grey).astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    visible = np.asarray(image)[..., 3] / 255
    brightness = np.asarray(image.convert("RGB").convert("L")) / 255
    mean = (visible * brightness).sum() / max(visible.sum(), 1e-9)
    canvas = Image.new("RGBA", image.size, "black" if mean > 0.5 else "white")
    return Image.alpha_composite(canvas, image).convert("RGB")


def _ink(brightness: np.ndarray, background: float, extreme: float) -> np.ndarray:
    """0 for the background, 1 for the strongest stroke."""
    return np.clip((brightness - background) / (extreme - background), 0, 1)


def _centred(ink: np.ndarray, height: int, width: int) -> np.ndarray:
    """The drawing, cropped, scaled to 20/28 of the side and centred by its centre of mass."""
    rows, columns = (np.flatnonzero((ink > _INK).any(axis=axis)) for axis in (1, 0))
    drawn = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = min(height, width) * 20 / 28 / max(drawn.shape)
    size = tuple(max(1, round(side * scale)) for side in drawn.shape)  # height, width
    scaled = np.asarray(
        Image.fromarray(drawn.astype(np.float32)).resize(size[::-1], Image.Resampling.BICUBIC)
    )
    scaled = np.clip(scaled, 0, 1)
    mass = scaled.sum()
    centre = [(scaled.sum(axis=1 - axis) * np.arange(size[axis])).sum() / mass for axis in (0, 1)]
    canvas = np.zeros((height, width))
    top, left = (
        int(np.clip(round((side - 1) / 2 - middle), 0, side - length))
        for side, middle, length in zip((height, width), centre, size, strict=True)
    )
    canvas[top : top + size[0], left : left + size[1]] = scaled
    return canvas
