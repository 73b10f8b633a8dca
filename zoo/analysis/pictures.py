"""Pictures of a trained net: weights, filters, activations, confusions, mistakes, calibration.

Each function draws a figure; `zoo.system.figures.save` writes it.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import numpy as np
import optax
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

import zoo.training.step
from zoo.analysis.evaluation import calibration_bins, calibration_error
from zoo.analysis.net import TrainedNet
from zoo.analysis.prediction import Prediction
from zoo.data import Split
from zoo.data.dataset import class_name
from zoo.models import weight_files
from zoo.models.layers import AvgPool, Conv, DepthwiseConv, MaxPool, Residual
from zoo.models.net import ConvNet, places
from zoo.system.errors import ZooError
from zoo.system.figures import COLORS, label_text, name_ticks, plain
from zoo.system.settings import usual_settings
from zoo.system.text import counted

_MAX_WEIGHTS = 5000  # of a layer, sampled at random: enough for the shape of a violin
_MAX_FILTERS = 64
_MAX_CHANNELS = 8
_MAX_NAMED = 20  # classes of which each has a tick
_OF_IMAGES = (Conv, DepthwiseConv, MaxPool, AvgPool, Residual)
_MAX_PREDICTIONS = 100  # the picture is then 130 inches high


@usual_settings()
def weights(net: TrainedNet) -> Figure:
    """Violins of each layer's kernel: initial weights on the left, trained on the right.

    The initial ones are left out of a net that started from others than its seed's.
    """
    kernels = _kernels(net)
    after = f"epoch {net.epoch}" if net.is_of_run else "trained"
    sides = [("high", kernels, COLORS[0], after)]
    if net.data.is_from_seed:
        before = zoo.training.step.create_train_state(
            net.model, optax.identity(), net.seed, net.image_shape
        ).params
        initial = _kernels(dataclasses.replace(net, variables={"params": before}))
        sides.insert(0, ("low", initial, "#999999", "initial"))
    names = list(kernels)
    figure = Figure(figsize=(max(6.0, 0.75 * len(names) + 2), 4.5), layout="constrained")
    axes = figure.subplots()
    for side, drawn_kernels, color, label in sides:
        drawn: dict[str, Any] = axes.violinplot(
            [_thinned(drawn_kernels[name]) for name in names],
            positions=range(len(names)),
            widths=0.85,
            showextrema=False,
            side=cast(Literal["low", "high"], side),
        )
        for body in drawn["bodies"]:
            body.set(facecolor=color, edgecolor="none", alpha=0.9)
        axes.bar(0, 0, color=color, label=label)
    axes.axhline(0, color="#999999", linewidth=0.5, zorder=0)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_ylabel("weight")
    axes.set_title(_title(net, "weights of each layer"))
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def filters(net: TrainedNet) -> Figure:
    """The kernels of the first convolution: red above zero, blue below, on a common scale."""
    name, kernel = next(  # [kh, kw, in, out]
        ((name, kernel) for name, kernel in _kernels(net).items() if kernel.ndim == 4), ("", None)
    )
    if kernel is None:
        raise ZooError(f"{net.source} has no convolution whose filters could be drawn")
    count = min(kernel.shape[-1], _MAX_FILTERS)
    columns = math.ceil(math.sqrt(2 * count))
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(8, 0.55 + 8 * rows / columns), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    largest = float(np.abs(kernel).max())
    for index, axes in enumerate(grid.flat):
        axes.axis("off")
        if index < count:
            image = axes.imshow(
                kernel[..., index].mean(axis=2), cmap="RdBu_r", vmin=-largest, vmax=largest
            )
    figure.colorbar(image, ax=grid, shrink=0.8, label="weight")
    height, width, _, features = kernel.shape
    shown = f"{count} of {features}" if count < features else f"{features}"
    figure.suptitle(_title(net, f"{name}, {shown} filters of {height}x{width}"), fontsize=11)
    return figure


def activations(net: TrainedNet, pixels: np.ndarray, name: str) -> Figure:
    """Outputs of each convolution, pool and sum for an image: the 8 channels with the largest mean.

    Args:
        net: the trained net.
        pixels: [height, width, channels] uint8.
        name: name of the image, for the title.

    Raises:
        ZooError: the layers of the net are not known.
    """
    if not isinstance(net.model, ConvNet):
        raise ZooError(f"{net.source} has a net whose layers are not known: draw another kind")
    outputs = net.intermediates(pixels[None])
    layers = [
        place.path
        for place in places(net.model.net, net.image_shape)
        if isinstance(place.layer, _OF_IMAGES) and len(place.output_shape) == 3
    ]
    inches = 0.4 + 0.9 * (1 + len(layers))
    figure = Figure(figsize=(8.5, inches))  # a constrained layout of this many axes takes seconds
    edges = {"left": 0.01, "right": 0.99, "bottom": 0.1 / inches, "top": 1 - 0.4 / inches}
    grid = figure.subplots(
        1 + len(layers), _MAX_CHANNELS + 1, gridspec_kw=edges | {"hspace": 0.25, "wspace": 0.1}
    )
    for axes in grid.flat:
        axes.axis("off")
    grid[0, 1].imshow(pixels, cmap="gray", vmin=0, vmax=255)
    _label(grid[0, 0], "image")
    for row, layer_name in zip(grid[1:], layers, strict=True):
        maps = _output(outputs, layer_name)[0]  # [H, W, C]
        chosen = np.argsort(-maps.mean(axis=(0, 1)), kind="stable")[:_MAX_CHANNELS]
        height, width, channels = maps.shape
        _label(row[0], f"{layer_name}\n{height}x{width}x{channels}")
        for axes, channel in zip(row[1:], chosen, strict=False):
            axes.imshow(maps[..., channel], cmap="viridis", vmin=0, vmax=max(maps.max(), 1e-9))
            axes.set_title(str(channel), fontsize=6, pad=1)
    title = _title(net, f"activations for {plain(name)}")
    figure.suptitle(title, fontsize=11, y=1 - 0.1 / inches)
    return figure


def predictions(net: TrainedNet, found: Sequence[Prediction]) -> Figure:
    """Each image as the net sees it, next to the probability of each class.

    Raises:
        ZooError: more than 100 images.
    """
    if len(found) > _MAX_PREDICTIONS:
        raise ZooError(f"a picture shows at most {_MAX_PREDICTIONS} images, not {len(found)}")
    figure = Figure(figsize=(6.4, 0.7 + 1.3 * len(found)), layout="constrained")
    grid = figure.subplots(len(found), 2, squeeze=False, width_ratios=(1, 4))
    for (left, right), one in zip(grid, found, strict=True):
        left.imshow(one.pixels, cmap="gray", vmin=0, vmax=255)
        left.axis("off")
        classes = np.arange(len(one.probabilities))
        colors = ["#999999"] * len(classes)
        if one.label is not None:
            colors[one.label] = COLORS[1]
        colors[one.predicted] = COLORS[0]
        right.bar(classes, one.probabilities, color=colors)
        right.set(ylim=(0, 1), ylabel="probability", xlim=(-0.7, len(classes) - 0.3))
        if len(classes) <= _MAX_NAMED:
            name_ticks(right.xaxis, [one.name(label) for label in classes.tolist()])
        said = f"{plain(one.name(one.predicted))} ({one.probabilities[one.predicted]:.1%})"
        truth = ""
        if one.label is not None and one.label != one.predicted:
            truth = f", labelled {plain(one.name(one.label))}"
        right.set_title(f"{plain(one.image)}: {said}{truth}", fontsize=9, loc="left")
        right.spines[["top", "right"]].set_visible(False)
    grid[-1, 1].set_xlabel("class")
    figure.suptitle(_title(net, "predictions"), fontsize=11)
    return figure


def confusion(net: TrainedNet, split: Split, probabilities: np.ndarray) -> Figure:
    """Confusion matrix: number of images by true and predicted class, colours on a log scale."""
    predicted = probabilities.argmax(axis=1)
    num_classes = net.data.num_classes
    matrix = np.zeros((num_classes, num_classes), int)  # [true, predicted]
    np.add.at(matrix, (split.labels, predicted), 1)
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    axes = figure.subplots()
    shown = np.ma.masked_equal(matrix, 0)
    image = axes.imshow(shown, cmap="cividis", norm=LogNorm(1, max(matrix.max(), 2)))
    if num_classes <= _MAX_NAMED:
        for (label, other), number in np.ndenumerate(matrix):
            if number:
                is_bright = number > math.sqrt(matrix.max())
                color = (
                    "#111111" if is_bright else "white"
                )  # not black: pages replace that by the text colour
                axes.text(other, label, number, ha="center", va="center", color=color, fontsize=8)
    axes.set(xlabel="predicted class", ylabel="true class")
    for axis in (axes.xaxis, axes.yaxis):
        if net.data.class_names and num_classes <= _MAX_NAMED:
            name_ticks(axis, net.data.class_names)
        else:
            axis.set_major_locator(MaxNLocator(min(num_classes, _MAX_NAMED), integer=True))
    accuracy = np.trace(matrix) / matrix.sum()
    axes.set_title(_title(net, f"{accuracy:.2%} of {matrix.sum():,} images right"))
    bar = figure.colorbar(
        image, ax=axes, label="images", ticks=LogLocator(subs=(1, 2, 5)), format="{x:,.0f}"
    )
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    return figure


def mistakes(net: TrainedNet, split: Split, probabilities: np.ndarray) -> Figure:
    """The 24 misclassified images with the largest loss."""
    predicted = probabilities.argmax(axis=1)
    of_label = probabilities[np.arange(len(split)), split.labels]
    wrong = np.flatnonzero(predicted != split.labels)
    worst = wrong[np.argsort(of_label[wrong], kind="stable")][:24]
    if not len(worst):
        raise ZooError(
            f"{net.source} classifies every image correctly: there is no mistake to draw"
        )
    columns = min(8, len(worst))
    rows = math.ceil(len(worst) / columns)
    figure = Figure(figsize=(1.15 * columns + 0.8, 1.6 * rows + 0.6), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, index in zip(grid.flat, worst, strict=False):
        axes.imshow(split.images[index], cmap="gray", vmin=0, vmax=255)
        said = probabilities[index, predicted[index]]
        names = [
            label_text(class_name(net.data.class_names, int(label)))
            for label in (split.labels[index], predicted[index])
        ]
        axes.set_title(f"{names[0]}, said {names[1]}\n{said:.0%} (#{index})", fontsize=8)
    number = counted(len(wrong), "mistake")
    shown = number if len(worst) == len(wrong) else f"the worst of {number}"
    figure.suptitle(_title(net, shown), fontsize=11)
    return figure


def calibration(net: TrainedNet, split: Split, probabilities: np.ndarray) -> Figure:
    """Accuracy against confidence in 15 bins, and how many images are in each."""
    confidence = probabilities.max(axis=1)
    is_right = probabilities.argmax(axis=1) == split.labels
    counts, confidences, rights = calibration_bins(confidence, is_right)
    filled = counts > 0
    figure = Figure(figsize=(5.6, 6), layout="constrained")
    upper, lower = figure.subplots(2, height_ratios=(3, 1), sharex=True)
    upper.plot([0, 1], [0, 1], "--", color="#999999", label="perfectly calibrated")
    share, accuracy = confidences[filled] / counts[filled], rights[filled] / counts[filled]
    upper.plot(share, accuracy, "o-", color=COLORS[0], label=plain(net.name))
    upper.set(ylabel="fraction right", ylim=(0, 1.03))
    upper.legend(frameon=False, loc="best")  # where it covers no point
    error = calibration_error(confidence, is_right)
    upper.set_title(_title(net, f"calibration error {error:.2%}"))
    edges = np.linspace(0, 1, len(counts) + 1)
    lower.bar(edges[:-1], counts, 1 / len(counts), align="edge", color=COLORS[0])
    lower.set(xlabel="confidence: probability of the predicted class", ylabel="images")
    lower.set_yscale("log")
    lower.set_xlim(0, 1)
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
    return figure


OF_NET: dict[str, Callable[[TrainedNet], Figure]] = {"weights": weights, "filters": filters}
# These also take the predicted probabilities of the split's images: [N, classes].
OF_SPLIT: dict[str, Callable[[TrainedNet, Split, np.ndarray], Figure]] = {
    "confusion": confusion,
    "mistakes": mistakes,
    "calibration": calibration,
}


def _kernels(net: TrainedNet) -> dict[str, np.ndarray]:
    """The kernel of each layer by the layer's path, in the order of the layers, if it is known."""
    found = {
        path.removesuffix("/kernel"): np.asarray(leaf)
        for path, leaf in weight_files.flatten(net.variables["params"]).items()
        if path.endswith("/kernel")
    }
    if not isinstance(net.model, ConvNet):
        return found
    paths = [*(place.path for place in places(net.model.net, net.image_shape)), "head"]
    return {path: found[path] for path in paths if path in found}


def _output(outputs: dict[str, Any], path: str) -> np.ndarray:
    """What the layer of that path gave, among a net's intermediate values."""
    *scopes, name = path.split("/")
    for scope in scopes:
        outputs = outputs[scope]
    return np.asarray(outputs[f"{name}_output"][0])


def _thinned(array: np.ndarray) -> np.ndarray:
    flat = array.ravel()
    if len(flat) <= _MAX_WEIGHTS:
        return flat
    return np.random.default_rng(0).choice(flat, _MAX_WEIGHTS, replace=False, shuffle=False)


def _title(net: TrainedNet, text: str) -> str:
    after = f" after epoch {net.epoch}" if net.is_of_run else ""
    return f"{plain(net.name)}{after}: {text}"


def _label(axes: Axes, text: str) -> None:
    axes.text(1, 0.5, text, ha="right", va="center", fontsize=7, transform=axes.transAxes)
