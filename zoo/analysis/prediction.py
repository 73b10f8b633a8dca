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
from zoo.data.preparation import Prepared, prepare
from zoo.system.errors import ZooError

_SURE = 0.8  # a class that is less probable is none to rely on
_BAR_WIDTH = 30
_EIGHTHS = " ▏▎▍▌▋▊▉"


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The net's prediction for one image."""

    image: str  # file, or "test image 500"
    prepared: Prepared  # as the net sees it
    label: int | None  # the true class, for images of the test set
    probabilities: np.ndarray  # [classes]

    @property
    def pixels(self) -> np.ndarray:
        """[height, width, channels] uint8, as the net sees it."""
        return self.prepared.pixels

    @property
    def is_unsure(self) -> bool:
        """Whether the image may not show what was meant, or no class is probable."""
        return bool(self.prepared.doubt or self.probabilities.max() < _SURE)

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
    found: list[tuple[str, Prepared, int | None]] = []
    test: zoo.data.Split | None = None
    for image in images:
        if image.isdecimal() and not Path(image).exists():
            test = test or net.split("test")
            index = int(image)
            if index >= len(test):
                raise ZooError(f"the test set has the images 0 to {len(test) - 1}, not {image}")
            prepared, label = Prepared(test.images[index]), int(test.labels[index])
            found.append((f"test image {image}", prepared, label))
        else:
            picture = zoo.data.images.read(Path(image))
            found.append((image, prepare(picture, net.image_shape, net.framing, image), None))
    probabilities = net.probabilities(np.stack([prepared.pixels for _, prepared, _ in found]))
    return [Prediction(*one, own) for one, own in zip(found, probabilities, strict=True)]


def to_json(predictions: Sequence[Prediction]) -> str:
    """A list of objects."""
    content: list[dict[str, Any]] = [
        {
            "image": prediction.image,
            "predicted": prediction.predicted,
            "label": prediction.label,
            "inverted": prediction.prepared.is_inverted,
            "notes": prediction.prepared.notes,
            "unsure": prediction.is_unsure,
            "probabilities": prediction.probabilities.tolist(),
        }
        for prediction in predictions
    ]
    return json.dumps(content, indent=1)


def to_text(predictions: Sequence[Prediction], num_classes: int = 3) -> str:
    """The most probable classes of each image, as bars.

    Of an image that cannot be read with confidence, also what the net sees.
    """
    return "\n\n".join(_text(prediction, num_classes) for prediction in predictions)


def _text(prediction: Prediction, num_classes: int) -> str:
    notes = ["inverted"] if prediction.prepared.is_inverted else []
    notes += prediction.prepared.notes
    if prediction.label is not None:
        notes.append(f"labelled {prediction.label}")
    title = prediction.image + (f" ({', '.join(notes)})" if notes else "")
    likely = np.argsort(-prediction.probabilities, kind="stable")[:num_classes]
    lines = [
        f"{label:5}  {bar(float(prediction.probabilities[label]))}  "
        f"{prediction.probabilities[label]:7.2%}"
        for label in likely
    ]
    if prediction.is_unsure:
        why = prediction.prepared.doubt or "no class is probable"
        lines += [f"not sure: {why}; the net sees this:", *_small_picture(prediction.pixels)]
    return "\n".join([title, *lines])


def _small_picture(pixels: np.ndarray) -> list[str]:
    """Lines of half blocks for an image [height, width, channels] uint8."""
    bright = pixels.mean(axis=2) > 96  # [height, width]
    bright = np.pad(bright, [(0, len(bright) % 2), (0, 0)])
    return [
        ("  " + "".join(" ▄▀█"[2 * up + low] for up, low in zip(*pair, strict=True))).rstrip()
        for pair in bright.reshape(-1, 2, bright.shape[1])
    ]


def bar(fraction: float) -> str:
    """A bar of that fraction of 30 characters, to an eighth, padded with spaces."""
    full, eighths = divmod(round(fraction * _BAR_WIDTH * 8), 8)
    return ("█" * full + (_EIGHTHS[eighths] if eighths else "")).ljust(_BAR_WIDTH)
