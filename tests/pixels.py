"""What pictures of the zoo look like in pixels."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from zoo.system import figures


def size_in_pixels(figure: Figure, path: Path) -> tuple[int, int]:
    """(width, height) of the picture, saved there as PNG.

    Raises:
        AssertionError: it has ink at its very edge, as of a text that is cut.
    """
    figures.save(figure, path)
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("L"))
    for edge in (pixels[:2], pixels[-2:], pixels[:, :2], pixels[:, -2:]):
        assert edge.min() == 255, f"{path.name} loses text"
    return pixels.shape[1], pixels.shape[0]
