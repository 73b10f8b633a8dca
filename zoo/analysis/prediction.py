"""Predictions of a trained net for image files or images of its test set."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import zoo.data
import zoo.data.images
from zoo.analysis.trained import TrainedNet
from zoo.system.errors import ZooError

_BAR_WIDTH = 30
_EIGHTHS = " ▏▎▍▌▋▊▉"


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The net's prediction for one image."""

    image: str  # file, or "test image 500"
    pixels: np.ndarray  # [height, width, channels] uint8, as the net sees it
    is_inverted: bool  # it was dark on light
    label: int | None  # the true class, for images of the test set
    probabilities: np.ndarray  # [classes]

    @property
    def predicted(self) -> int:
        """The most probable class."""
        return int(self.probabilities.argmax())


def predict(net: TrainedNet, images: Sequence[str]) -> list[Prediction]:
    """Predicts the class of each image.

    Args:
        net: the trained net.
        images: image files, or numbers of images in the test set (if no file has that name).

    Raises:
        ZooError: no such file or number, not an image, or a blank image.
    """
    found: list[tuple[str, np.ndarray, bool, int | None]] = []
    test: zoo.data.Split | None = None
    for image in images:
        if image.isdecimal() and not Path(image).exists():
            test = test or net.split("test")
            index = int(image)
            if index >= len(test):
                raise ZooError(f"the test set has the images 0 to {len(test) - 1}, not {image}")
            pixels, label = test.images[index], int(test.labels[index])
            found.append((f"test image {image}", pixels, False, label))
        else:
            picture = zoo.data.images.read(Path(image))
            prepared = zoo.data.images.prepare(picture, net.image_shape, image)
            found.append((image, prepared.pixels, prepared.is_inverted, None))
    probabilities = net.probabilities(np.stack([pixels for _, pixels, _, _ in found]))
    return [Prediction(*one, own) for one, own in zip(found, probabilities, strict=True)]


def to_json(predictions: Sequence[Prediction]) -> str:
    """A list of objects."""
    content: list[dict[str, Any]] = [
        {
            "image": prediction.image,
            "predicted": prediction.predicted,
            "label": prediction.label,
            "inverted": prediction.is_inverted,
            "probabilities": prediction.probabilities.tolist(),
        }
        for prediction in predictions
    ]
    return json.dumps(content, indent=1)


def to_text(predictions: Sequence[Prediction], num_classes: int = 3) -> str:
    """The most probable classes of each image, as bars."""
    return "\n\n".join(_text(prediction, num_classes) for prediction in predictions)


def _text(prediction: Prediction, num_classes: int) -> str:
    notes = ["dark on light, so inverted"] if prediction.is_inverted else []
    if prediction.label is not None:
        notes.append(f"labelled {prediction.label}")
    title = prediction.image + (f" ({', '.join(notes)})" if notes else "")
    likely = np.argsort(-prediction.probabilities, kind="stable")[:num_classes]
    lines = [
        f"{label:5}  {bar(float(prediction.probabilities[label]))}  "
        f"{prediction.probabilities[label]:7.2%}"
        for label in likely
    ]
    return "\n".join([title, *lines])


def bar(fraction: float) -> str:
    """A bar of that fraction of 30 characters, to an eighth, padded with spaces."""
    full, eighths = divmod(round(fraction * _BAR_WIDTH * 8), 8)
    return ("█" * full + (_EIGHTHS[eighths] if eighths else "")).ljust(_BAR_WIDTH)
