"""Decodes many image files into one array, on all cores."""

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from zoo.data import images
from zoo.data.dataset import Options
from zoo.data.fitting import empty_images, in_threads
from zoo.system.errors import ZooError

_GREY = ("1", "L", "LA", "La")  # Pillow's modes


@dataclasses.dataclass(frozen=True)
class Source:
    """An image file, or the bytes of one in another file."""

    name: str  # for messages
    content: Path | bytes


def decode_all(sources: Sequence[Source], options: Options, way_out: str) -> np.ndarray:
    """[N, height, width, channels] uint8 of image files, there must be one, as the options say.

    A grey image is one that is stored as grey; images with a palette are in colour. Transparent
    parts are put over black or white, whichever contrasts more.

    Args:
        sources: the files.
        options: size and channels; 0: those of all images, which must be the same.
        way_out: what to do with a file that is no image, for messages.

    Raises:
        ZooError: naming the first file that cannot be read, is no image, has more than 8 bits per
            channel or several frames, or differs from the others where no size or no channels are
            given; there is no memory for all.
    """
    with images.without_warnings():
        return _decode_all(sources, options, way_out)


def _decode_all(sources: Sequence[Source], options: Options, way_out: str) -> np.ndarray:
    shape = shape_of(sources[0], options, way_out)
    result = empty_images(len(sources), shape)

    def decode_one(index: int) -> None:
        result[index] = decode(sources[index], shape, options, way_out, sources[0].name)

    for _ in in_threads(decode_one, range(len(sources)), "Decoding"):
        pass
    return result


def shape_of(source: Source, options: Options, way_out: str) -> tuple[int, int, int]:
    """(height, width, channels) that an image has, or that the options give it.

    Raises:
        ZooError: as `decode`.
    """
    return _shape_of(_read(source, way_out), options)


def decode(
    source: Source,
    shape: tuple[int, int, int],
    options: Options,
    way_out: str,
    first: str = "the first image",
) -> np.ndarray:
    """[height, width, channels] uint8 of one image of several, for a thread or a process of many.

    Args:
        source: the image.
        shape: that all must have where the options give none.
        options: size and channels.
        way_out: as in `decode_all`.
        first: the name of the image that has that shape.

    Raises:
        ZooError: as `decode_all`.
    """
    image = _read(source, way_out)
    own = _shape_of(image, options)
    if own != shape:
        raise ZooError(_differing(first, shape, source.name, own))
    return images.to_pixels(image, *shape)


def _read(source: Source, way_out: str) -> Image.Image:
    """The image, grey (mode L) or red, green, blue."""
    try:
        if isinstance(source.content, Path):
            image = images.read(source.content, of_many=True)
        else:
            file = io.BytesIO(source.content)
            image = images.decode(file, source.name, of_many=True)
    except (images.TooLargeError, images.TooDeepError):  # they say what to do
        raise
    except ZooError as error:
        raise ZooError(f"{error}: {way_out}") from None
    if image.mode not in ("L", "RGB") or image.has_transparency_data:
        flat = images.flattened(image)
        return flat.convert("L") if image.mode in _GREY else flat
    return image


def _shape_of(image: Image.Image, options: Options) -> tuple[int, int, int]:
    channels = options.channels or (1 if image.mode == "L" else 3)
    size = options.image_size
    return size or image.height, size or image.width, channels


def _differing(
    first: str, shape: tuple[int, int, int], other: str, own: tuple[int, int, int]
) -> str:
    if shape[2] != own[2]:
        kinds = {1: "grey", 3: "in colour"}
        return (
            f"{first} is {kinds[shape[2]]} and {other} is {kinds[own[2]]}: make all grey with "
            f"--config.data.channels=1, or red, green, blue with --config.data.channels=3"
        )
    return (
        f"{first} has {shape[1]}x{shape[0]} pixels and {other} {own[1]}x{own[0]}: give the height "
        f"and width to which all are resized, such as --config.data.image_size=32"
    )
