"""Reads image files."""

import contextlib
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from zoo.system.errors import ZooError
from zoo.system.files import shown

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
# What Pillow raises of damaged files, beside OSError; struct.error of a GIF that ends in a frame.
_OF_PILLOW = (ValueError, SyntaxError, EOFError, ArithmeticError, LookupError, struct.error)
_MAX_PIXELS = 50_000_000  # 50 megapixels take 200 MB when decoded


class TooLargeError(ZooError):
    """An image has more pixels than are read; the sentence says what to do."""


class TooDeepError(ZooError):
    """An image of a dataset has more than 8 bits per channel; the sentence says what to do."""


def read(path: Path, of_many: bool = False) -> Image.Image:
    """The first frame of an image file, decoded, the right way up.

    Args:
        path: the file.
        of_many: it is one of a dataset's, which threads read: an animation is an error, as are 16
            bits, and the caller has warnings ignored, which a thread cannot do.

    Raises:
        TooLargeError: it has too many pixels.
        TooDeepError: of many, it has more than 8 bits per channel.
        ZooError: no such file, not an image of a known format, or damaged.
    """
    if path.is_dir():
        raise ZooError(f"{path} is a directory: name image files")
    if path.exists() and not path.is_file():
        raise ZooError(f"{path} is not a file")  # reading a pipe would block
    try:
        with open(path, "rb") as file:
            return decode(file, shown(path), of_many=of_many)
    except FileNotFoundError:
        raise ZooError(f"{path} does not exist") from None
    except OSError as error:
        raise ZooError(f"{path} cannot be read ({error.strerror})") from None


def decode(
    file: BinaryIO, name: str, max_pixels: int = _MAX_PIXELS, of_many: bool = False
) -> Image.Image:
    """Like `read`, for an open file; `name` is for error messages."""
    try:
        with (
            contextlib.nullcontext() if of_many else without_warnings(),
            Image.open(file, formats=FORMATS) as image,
        ):
            width, height = image.size
            if width * height > max_pixels:
                raise TooLargeError(
                    f"{name} has {width:,}x{height:,} pixels, more than the limit of "
                    f"{max_pixels:,} in all: make it smaller"
                )
            frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
            if of_many and frames > 1:  # a phone's MPO has more for depth, or other eyes
                raise ZooError(f"{name} is an animation of {frames:,} frames, not an image")
            if of_many and any("16" in str(tile.args) for tile in image.tile):
                raise TooDeepError(f"{name} has more than 8 bits per channel: convert it to 8 bits")
            image.load()
            return ImageOps.exif_transpose(image) if image.info else image  # a third of the time
    except UnidentifiedImageError:
        raise ZooError(f"{name} is not an image of a known format ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise TooLargeError(
            f"{name} has more pixels than the limit of {max_pixels:,}: make it smaller"
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ZooError(f"{name} cannot be read as an image ({reason})") from None
    except _OF_PILLOW as error:
        raise ZooError(f"{name} is a damaged image ({error})") from None


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Ignores what Pillow warns of, large images and odd EXIF; for one thread at a time."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def to_pixels(image: Image.Image, height: int, width: int, channels: int) -> np.ndarray:
    """[height, width, channels] uint8 of an image that is grey (mode L) or red, green, blue.

    It is stretched to that size, by Lanczos's filter over all pixels of the image.
    """
    mode = "L" if channels == 1 else "RGB"
    if image.size != (width, height):  # copies of small images take as long as decoding them
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    return pixels.reshape(height, width, channels)


def flattened(image: Image.Image) -> Image.Image:
    """Red, green and blue of 8 bits, over black or white where it is transparent.

    Over whichever contrasts more with the visible part.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):  # Pillow would clip at 255
        values = np.maximum(np.asarray(image, np.float64), 0)
        grey = 255 / max(values.max(), 1) * values  # of 16 bits, cameras use 10 or 12
        return Image.fromarray(np.rint(grey).astype(np.uint8)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    visible = np.asarray(image)[..., 3] / 255
    brightness = np.asarray(image.convert("RGB").convert("L")) / 255
    mean = (visible * brightness).sum() / max(visible.sum(), 1e-9)
    canvas = Image.new("RGBA", image.size, "black" if mean > 0.5 else "white")
    return Image.alpha_composite(canvas, image).convert("RGB")
