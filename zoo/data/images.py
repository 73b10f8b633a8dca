"""Image files of any kind as what a net was trained on: bright strokes on black, centred."""

import dataclasses
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from zoo.system.errors import ZooError

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
_MAX_PIXELS = 50_000_000  # 50 megapixels take 200 MB when decoded
_LARGE = 1024  # pixels of a side; more tell no more of a digit
_INK = 0.25  # of full brightness: what is fainter is background


@dataclasses.dataclass(frozen=True)
class Prepared:
    """An image in the form that a net takes."""

    pixels: np.ndarray  # [height, width, channels] uint8
    is_inverted: bool  # it was dark on light


def read(path: Path) -> Image.Image:
    """The first frame of an image file, decoded, the right way up.

    Raises:
        ZooError: no such file, no image of a known format, too large, or damaged.
    """
    if path.is_dir():
        raise ZooError(f"{path} is a folder: name image files")
    if path.exists() and not path.is_file():
        raise ZooError(f"{path} is no file")  # a pipe would be waited for
    try:
        with open(path, "rb") as file:
            return decode(file, str(path))
    except FileNotFoundError:
        raise ZooError(f"{path} does not exist") from None
    except OSError as error:
        raise ZooError(f"{path} cannot be read ({error.strerror})") from None


def decode(file: BinaryIO, name: str, max_pixels: int = _MAX_PIXELS) -> Image.Image:
    """As `read`, of an open file; `name` is for errors."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large images, which have a limit here; of odd EXIF
            with Image.open(file, formats=FORMATS) as image:
                width, height = image.size
                if width * height > max_pixels:
                    raise ZooError(
                        f"{name} has {width:,}x{height:,} pixels, and {max_pixels:,} in all are "
                        f"the most that is read: make it smaller"
                    )
                return ImageOps.exif_transpose(image)
    except UnidentifiedImageError:
        raise ZooError(f"{name} is no image of a known format ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise ZooError(
            f"{name} has more than the {max_pixels:,} pixels that are read: make it smaller"
        ) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ZooError(f"{name} cannot be read as an image ({reason})") from None
    except (ValueError, SyntaxError, EOFError, ArithmeticError, LookupError) as error:
        raise ZooError(f"{name} is a damaged image ({error})") from None


def prepare(image: Image.Image, image_shape: tuple[int, int, int], name: object) -> Prepared:
    """Brings an image into the form of the net's training images.

    One of just their size keeps its pixels. Any other is treated as the digits of MNIST were
    (LeCun et al. 1998, section III.A): what is drawn is cut out, scaled to 20/28 of the side and
    put with its centre of mass into the middle. Nets of several channels get a plain resize.

    Args:
        image: of any size, colour and transparency.
        image_shape: (height, width, channels) of the net's images.
        name: for errors.

    Raises:
        ZooError: nothing is drawn, or the net's images have neither 1 nor 3 channels.
    """
    height, width, channels = image_shape
    if channels not in (1, 3):
        raise ZooError(f"an image file has 1 or 3 channels, and the net takes {channels}")
    if max(image.size) > _LARGE and image.mode in ("L", "LA", "RGB", "RGBA"):
        image = image.copy()
        image.thumbnail((_LARGE, _LARGE))  # what follows takes 8 bytes a pixel, several times
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
        raise ZooError(f"{name} is of one colour: nothing is drawn on it")
    is_inverted = background > (low + high) / 2
    if brightness.shape == (height, width):
        pixels = 1 - brightness if is_inverted else brightness
    else:
        pixels = _centred(_ink(brightness, background, low if is_inverted else high), height, width)
    return Prepared(np.rint(255 * pixels).astype(np.uint8)[..., None], is_inverted)


def _flattened(image: Image.Image) -> Image.Image:
    """Without transparency: over the one of black and white that what is visible stands out on."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):  # Pillow would cut off at 255
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
    """0 where it is as the background, 1 where it is drawn most strongly."""
    return np.clip((brightness - background) / (extreme - background), 0, 1)


def _centred(ink: np.ndarray, height: int, width: int) -> np.ndarray:
    """What is drawn, cut out, in a box of 20/28 of the side, centre of mass in the middle."""
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
