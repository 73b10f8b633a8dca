"""Reads image files."""

import warnings
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageOps, UnidentifiedImageError

from zoo.system.errors import ZooError

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
_MAX_PIXELS = 50_000_000  # 50 megapixels take 200 MB when decoded


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
