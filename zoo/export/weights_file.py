"""A net's weights alone, in the file that `zoo.models.save_pretrained` writes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from zoo.export.source import Source
from zoo.models import weight_files


def write(path: Path, source: Source) -> None:
    """Writes arrays of float32 under keys such as "params/conv_1/kernel"."""
    weight_files.write(path, source.variables, "float32")


def load(path: Path, source: Source) -> Callable[[np.ndarray], np.ndarray]:
    """predict(images) -> output: the zoo's own, with the arrays of the file."""
    return source.with_variables(weight_files.read(path, source.shapes())).logits
