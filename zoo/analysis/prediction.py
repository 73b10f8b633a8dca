"""Predictions of a trained net for image files or images of its test set."""

import dataclasses
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import zoo.data
import zoo.data.images
from zoo.analysis.net import TrainedNet
from zoo.data.dataset import class_name
from zoo.data.preparation import Prepared, prepare
from zoo.system.errors import ZooError
from zoo.system.files import as_text

_SURE = 0.8  # a class that is less probable is none to rely on
_BAR_WIDTH = 30
_EIGHTHS = " ▏▎▍▌▋▊▉"


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A net's prediction for one image."""

    net: str
    image: str  # file, or "test image 500"
    prepared: Prepared  # as the net sees it
    label: int | None  # the true class, for images of the test set
    probabilities: np.ndarray  # [classes]
    class_names: tuple[str, ...] = ()  # by label; empty: classes are known by their numbers

    @property
    def pixels(self) -> np.ndarray:
        """[height, width, channels] uint8, as the net sees it."""
        return self.prepared.pixels

    @property
    def doubt(self) -> str:
        """Why the net is not sure, such as "the drawing is faint"; empty if it is."""
        is_probable = self.probabilities.max() >= _SURE
        improbable = "" if is_probable else f"the most probable class has less than {_SURE:.0%}"
        return self.prepared.doubt or improbable

    @property
    def is_unsure(self) -> bool:
        """Whether the image may not show what was meant, or no class has 80%."""
        return bool(self.doubt)

    @property
    def predicted(self) -> int:
        """The most probable class."""
        return int(self.probabilities.argmax())

    def name(self, label: int) -> str:
        """What a class is called."""
        return class_name(self.class_names, label)


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
    name = as_text(net.source)
    names = net.data.class_names
    return [
        Prediction(name, *one, own, names) for one, own in zip(found, probabilities, strict=True)
    ]


def to_json(predictions: Sequence[Sequence[Prediction]]) -> str:
    """A list of objects, of the predictions of each net."""
    content: list[dict[str, Any]] = [
        {
            "net": prediction.net,
            "image": prediction.image,
            "predicted": prediction.predicted,
            "label": prediction.label,
            "inverted": prediction.prepared.is_inverted,
            "notes": prediction.prepared.notes,
            "unsure": prediction.is_unsure,
            "probabilities": prediction.probabilities.tolist(),
            **({"class_names": prediction.class_names} if prediction.class_names else {}),
        }
        for prediction in itertools.chain(*predictions)
    ]
    return json.dumps(content, indent=1)


def to_text(predictions: Sequence[Sequence[Prediction]], num_classes: int = 3) -> str:
    """The predictions of each net for each image, as bars.

    Of one net, the most probable classes; of several, the most probable class by net. Of an image
    that cannot be read with confidence, also what the net sees.
    """
    if len(predictions) == 1:
        return "\n\n".join(_text(prediction, num_classes) for prediction in predictions[0])
    return "\n\n".join(_comparison(of_image) for of_image in zip(*predictions, strict=True))


def _comparison(predictions: Sequence[Prediction]) -> str:
    """The predictions of several nets for one image."""
    width = max(len(prediction.net) for prediction in predictions)
    wide = _width(predictions[0], [one.predicted for one in predictions])
    lines = [_title(predictions[0])]
    for one in predictions:
        probability = float(one.probabilities[one.predicted])
        unsure = "  not sure" if one.is_unsure else ""
        lines.append(
            f"{one.net:{width}}  {one.name(one.predicted):>{wide}}  {bar(probability)}  "
            f"{probability:7.2%}{unsure}"
        )
    return "\n".join(
        [*lines, *_doubt(next((one for one in predictions if one.is_unsure), predictions[0]))]
    )


def _title(prediction: Prediction) -> str:
    notes = ["inverted"] if prediction.prepared.is_inverted else []
    notes += prediction.prepared.notes
    if prediction.label is not None:
        notes.append(f"labelled {prediction.name(prediction.label)}")
    return prediction.image + (f" ({', '.join(notes)})" if notes else "")


def _text(prediction: Prediction, num_classes: int) -> str:
    likely = np.argsort(-prediction.probabilities, kind="stable")[:num_classes]
    width = _width(prediction, likely.tolist())
    lines = [
        f"{prediction.name(label):>{width}}  {bar(float(prediction.probabilities[label]))}  "
        f"{prediction.probabilities[label]:7.2%}"
        for label in likely
    ]
    return "\n".join([_title(prediction), *lines, *_doubt(prediction)])


def _width(prediction: Prediction, labels: Sequence[int]) -> int:
    """Of the column of classes."""
    return max([5, *(len(prediction.name(label)) for label in labels)])


def _doubt(prediction: Prediction) -> list[str]:
    """Lines that say why a net is not sure, if it is not, and what it sees."""
    if not prediction.is_unsure:
        return []
    if prediction.pixels.shape[2] == 3:  # half blocks show drawings, not photographs
        return [f"not sure: {prediction.doubt}"]
    return [
        f"not sure: {prediction.doubt}; the net sees this:",
        *_small_picture(prediction.pixels),
    ]


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
