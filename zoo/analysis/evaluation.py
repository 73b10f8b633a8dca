"""Scores of a trained net on some images: accuracy, loss, classes, confusions, calibration."""

import dataclasses
import json
import math

import numpy as np

from zoo.data.dataset import class_name

_Z = 1.959964  # standard normal distribution: 95% lie within this
_NUM_BINS = 15  # Guo et al. 2017, On Calibration of Modern Neural Networks


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A value with its 95% confidence interval."""

    value: float
    low: float | None  # None: not known, because there is only one image
    high: float | None


@dataclasses.dataclass(frozen=True)
class ClassScore:
    """One class versus all others."""

    label: int
    precision: float  # 0 if the class is never predicted
    recall: Estimate
    f1: float
    num_images: int


@dataclasses.dataclass(frozen=True)
class Confusion:
    """Images of one class that were taken for another."""

    label: int
    predicted: int
    count: int


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Scores of a net on labelled images. Losses are in nats per image."""

    num_images: int
    accuracy: Estimate  # Wilson's interval
    loss: Estimate  # normal interval of a mean, of which no part is below 0
    calibration_error: float  # expected calibration error, 15 bins; biased upwards for few images
    classes: tuple[ClassScore, ...]  # those that have images, or were predicted
    confusions: tuple[Confusion, ...]  # the most frequent first


def evaluate(logits: np.ndarray, labels: np.ndarray) -> Evaluation:
    """Scores logits [N, classes] of images with labels [N]."""
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    num_images, num_classes = logits.shape
    log_probabilities = logits.astype(np.float64)
    log_probabilities -= np.logaddexp.reduce(log_probabilities, axis=1, keepdims=True)
    predicted = log_probabilities.argmax(axis=1)
    losses = -log_probabilities[np.arange(num_images), labels]
    every = np.arange(num_classes)
    precision, _, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=every, zero_division=0
    )
    matrix = confusion_matrix(labels, predicted, labels=every)  # [true, predicted]
    scores = tuple(
        ClassScore(
            label=label,
            precision=float(precision[label]),
            recall=wilson(int(matrix[label, label]), int(support[label])),
            f1=float(f1[label]),
            num_images=int(support[label]),
        )
        for label in range(num_classes)
        if matrix[label].any() or matrix[:, label].any()
    )
    mistakes = [
        Confusion(int(label), int(other), int(matrix[label, other]))
        for label, other in zip(*np.nonzero(matrix), strict=True)
        if label != other
    ]
    mean = float(losses.mean())
    loss = Estimate(mean, None, None)
    if num_images > 1:
        error = float(_Z * losses.std(ddof=1) / math.sqrt(num_images))
        loss = Estimate(mean, max(0.0, mean - error), mean + error)
    return Evaluation(
        num_images=num_images,
        accuracy=wilson(int((predicted == labels).sum()), num_images),
        loss=loss,
        calibration_error=calibration_error(
            np.exp(log_probabilities.max(axis=1)), predicted == labels
        ),
        classes=scores,
        confusions=tuple(sorted(mistakes, key=lambda c: (-c.count, c.label, c.predicted))),
    )


def wilson(num_right: int, num_images: int) -> Estimate:
    """A fraction with Wilson's score interval (Wilson 1927), which always lies in [0, 1]."""
    if not num_images:
        return Estimate(0.0, 0.0, 1.0)
    fraction = num_right / num_images
    shrink = 1 + _Z**2 / num_images
    centre = (fraction + _Z**2 / (2 * num_images)) / shrink
    variance = fraction * (1 - fraction) / num_images + _Z**2 / (4 * num_images**2)
    half = _Z * math.sqrt(variance) / shrink
    return Estimate(fraction, max(0.0, centre - half), min(1.0, centre + half))


def calibration_bins(
    confidence: np.ndarray, is_right: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(images, sum of confidences, number correct) in 15 bins of confidence of equal width."""
    index = np.clip(np.ceil(confidence * _NUM_BINS).astype(int) - 1, 0, _NUM_BINS - 1)
    return (
        np.bincount(index, minlength=_NUM_BINS),
        np.bincount(index, confidence, _NUM_BINS),
        np.bincount(index, is_right, _NUM_BINS),
    )


def calibration_error(confidence: np.ndarray, is_right: np.ndarray) -> float:
    """Expected calibration error: the mean gap between confidence and accuracy over the bins."""
    _, confidences, rights = calibration_bins(confidence, is_right)
    return float(np.abs(confidences - rights).sum() / len(confidence))


def to_json(evaluation: Evaluation, class_names: tuple[str, ...] = ()) -> str:
    """A JSON object with its fields, and with the names of the classes, if they have some."""
    content = dataclasses.asdict(evaluation)
    if class_names:
        content["class_names"] = class_names
    return json.dumps(content, indent=1, allow_nan=False)


def to_text(
    evaluation: Evaluation, num_confusions: int = 8, class_names: tuple[str, ...] = ()
) -> str:
    """A text for the terminal."""

    def name(label: int) -> str:
        return class_name(class_names, label)

    width = max([5, *(len(name(score.label)) for score in evaluation.classes)])
    accuracy, loss = evaluation.accuracy, evaluation.loss
    lines = [
        f"accuracy           {accuracy.value:6.2%}  {_interval(accuracy, '.2%')}",
        f"loss               {loss.value:6.4f}  {_interval(loss, '.4f')}".rstrip(),
        f"calibration error  {evaluation.calibration_error:6.2%}",
        "",
        f"{'class':{width}}  precision   recall                        F1  images",
    ]
    for score in evaluation.classes:
        recall = score.recall
        lines.append(
            f"{name(score.label):>{width}}  {score.precision:9.2%}  {recall.value:7.2%}  "
            f"{_interval(recall, '.2%'):20}  {score.f1:7.2%}  {score.num_images:6,}"
        )
    num_images = {score.label: score.num_images for score in evaluation.classes}
    if evaluation.confusions:
        lines += ["", "most often confused:"]
        for confusion in evaluation.confusions[:num_confusions]:
            lines.append(
                f"{name(confusion.label):>{width}} taken for {name(confusion.predicted)}: "
                f"{confusion.count:,} of {num_images[confusion.label]:,}"
            )
    return "\n".join([*lines, "", "In brackets: 95% confidence intervals."])


def _interval(estimate: Estimate, form: str) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"({estimate.low:{form}} to {estimate.high:{form}})"
