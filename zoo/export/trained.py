"""Exports a trained net, tested on images of its own dataset."""

from os import PathLike

import numpy as np

from zoo.analysis.net import TrainedNet
from zoo.export.files import NUM_IMAGES, Exported, export
from zoo.export.source import InputType
from zoo.system.errors import ZooError

NUM_CALIBRATION = 1000  # images


def export_trained(
    net: TrainedNet,
    path: str | PathLike[str],
    input_type: InputType = "uint8",
    *,
    int8: bool = False,
) -> Exported:
    """As `zoo.export.export`, tested on test images where the net's dataset is found.

    Args:
        net: from `zoo.analysis.trained.load`.
        path, input_type: as for `zoo.export.export`.
        int8: quantize to 8 bits, calibrated on the net's training images.

    Raises:
        ZooError: as `zoo.export.export`; the dataset is not found, and it is needed for `int8` or
            the user has named its directory.
    """
    calibration = calibration_images(net) if int8 else None
    try:
        images = _spread(net.split("test").images, NUM_IMAGES)
    except ZooError:
        if any(net.given):  # the user says where it is
            raise
        images = None  # random ones: any will show a wrong file
    return export(
        net.model,
        net.variables,
        path,
        image_shape=net.image_shape,
        input_type=input_type,
        images=images,
        calibration=calibration,
    )


def calibration_images(net: TrainedNet) -> np.ndarray:
    """Training images for `zoo.export.export`'s `calibration`.

    Raises:
        ZooError: the net's dataset is not found.
    """
    return _spread(net.split("train").images, NUM_CALIBRATION)


def _spread(images: np.ndarray, count: int) -> np.ndarray:
    """That many of them, evenly spaced."""
    return np.asarray(images[np.linspace(0, len(images) - 1, min(count, len(images))).astype(int)])


def to_text(exported: Exported) -> str:
    """Two lines: the file with its input and output, and its test."""
    shape = ", ".join(map(str, exported.image_shape))
    kind = "random" if exported.images_are_random else "test"
    name = exported.output_name
    return (
        f"wrote {exported.path} ({exported.num_bytes:,} bytes): {exported.input_type} images "
        f"[batch, {shape}] to {name}\n"
        f"on {exported.num_images} {kind} images its {name} differ from the zoo's by at most "
        f"{exported.difference:.1e} of the largest, and {exported.agreement:.0%} of its answers "
        f"are the same"
    )
