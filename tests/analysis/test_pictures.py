"""Pictures of a trained net: they are drawn, legible and reproducible."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from ml_collections import ConfigDict
from pixels import size_in_pixels

import zoo.models
from zoo.analysis import pictures
from zoo.analysis.net import TrainedNet, TrainingData
from zoo.analysis.prediction import Prediction
from zoo.data import Split
from zoo.data.preparation import Prepared
from zoo.system import figures
from zoo.system.errors import ZooError
from zoo.training import train_and_evaluate
from zoo.training.step import create_train_state

Zoo = Callable[..., tuple[int, str, str]]
NETS = ("lenet3", "kernels_cnn7", "pairs_cnn14")  # 2 convolutions; batch normalization; 14


def make_net(name: str, shape: tuple[int, int, int] = (28, 28, 1)) -> TrainedNet:
    """A net with weights that all differ a little from the initial ones of seed 0."""
    model = zoo.models.create_model(name)
    state = create_train_state(model, optax.identity(), 0, shape)
    variables = {"params": jax.tree.map(lambda leaf: 1.1 * leaf + 0.01, state.params)}
    if state.batch_stats:
        variables["batch_stats"] = state.batch_stats
    data = TrainingData("mnist", 10, shape)
    return TrainedNet("run", name, model, variables, data, seed=0, epoch=3)


@pytest.fixture(scope="module")
def split() -> Split:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 28, 28, 1), dtype=np.uint8)
    return Split(images, np.arange(40, dtype=np.int32) % 10)


def draw(kind: str, net: TrainedNet, split: Split) -> Figure:
    if kind == "activations":
        return pictures.activations(net, split.images[0], "image $_0$.png")  # no formula
    if kind in pictures.OF_NET:
        return pictures.OF_NET[kind](net)
    return pictures.OF_SPLIT[kind](net, split, net.probabilities(split.images))


KINDS = (*pictures.OF_NET, *pictures.OF_SPLIT, "activations")


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_is_no_formula(kind: str, split: Split) -> None:
    net = dataclasses.replace(make_net("lenet3"), name="/x/a$\\frac$b.py:NET")
    figure = draw(kind, net, split)
    figure.draw_without_rendering()  # it parses formulas
    titles = [*figure.texts, *(axes.title for axes in figure.axes)]
    assert any("a\\$\\frac\\$b.py:NET after" in title.get_text() for title in titles)


def overlapping_labels(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of titles, labels and other texts (except ticks) that overlap."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    texts = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    for axes in figure.axes:
        texts += [*axes.texts, axes.title, axes.xaxis.label, axes.yaxis.label]
    texts = [text for text in texts if text.get_text()]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts]
    return [
        (first, second)
        for index, (first, box) in enumerate(boxes)
        for second, other in boxes[:index]
        if box.shrunk(0.9, 0.8).overlaps(other.shrunk(0.9, 0.8))
    ]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *((kind, "lenet3") for kind in KINDS),
        *(
            pytest.param(kind, name, marks=pytest.mark.slow)
            for kind in ("weights", "filters", "activations")
            for name in NETS[1:]
        ),
    ],
)
def test_every_kind_is_drawn_without_overlaps(kind: str, name: str, split: Split) -> None:
    assert overlapping_labels(draw(kind, make_net(name), split)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_is_lost(kind: str, split: Split, tmp_path: Path) -> None:
    """The longest name of a net, and of mistakes just one."""
    net = make_net("ablation_cnn7_dropout")
    labels = net.logits(split.images[:12]).argmax(axis=1).astype(np.int32)
    labels[3] = (labels[3] + 1) % 10
    figure = draw(kind, net, Split(split.images[:12], labels))
    size_in_pixels(figure, tmp_path / "picture.png")  # asserts that none is cut


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_same_run_gives_the_same_bytes(kind: str, split: Split, tmp_path: Path) -> None:
    net = make_net("lenet3")
    for name in ("first.svg", "second.svg"):
        figures.save(draw(kind, net, split), tmp_path / name)
    assert (tmp_path / "first.svg").read_bytes() == (tmp_path / "second.svg").read_bytes()


@pytest.mark.parametrize("name", NETS)
def test_each_layer_with_weights_has_its_violins(name: str) -> None:
    axes = pictures.weights(make_net(name)).axes[0]
    model = zoo.models.MODELS[name]
    expected = [*zoo.models.layer_macs(model, (28, 28, 1))]
    assert [label.get_text() for label in axes.get_xticklabels()] == expected
    assert len(axes.collections) == 2 * len(expected)


def test_initial_weights_are_those_of_the_run_whatever_jax_is_set_to() -> None:
    usual, net = pictures.weights(make_net("pooling_cnn3")), make_net("pooling_cnn3")
    with jax.default_prng_impl("rbg"), jax.threefry_partitionable(False):
        found = pictures.weights(net)
    for expected, violin in zip(usual.axes[0].collections, found.axes[0].collections, strict=True):
        np.testing.assert_array_equal(
            expected.get_paths()[0].vertices, violin.get_paths()[0].vertices
        )


def test_a_net_that_started_from_other_weights_has_no_initial_ones_of_its_seed() -> None:
    net = make_net("lenet3")
    tuned = dataclasses.replace(net, data=dataclasses.replace(net.data, is_from_seed=False))
    figure = pictures.weights(tuned)
    assert len(figure.axes[0].collections) == len(zoo.models.layer_macs(net.model.net, (28, 28, 1)))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [f"epoch {net.epoch}"]
    figure = pictures.weights(dataclasses.replace(tuned, is_of_run=False))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["trained"]
    assert "epoch" not in figure.axes[0].get_title()


@pytest.mark.parametrize("count", [1, 3, 12])
def test_predictions_are_drawn_without_overlaps(count: int, split: Split, tmp_path: Path) -> None:
    net = make_net("lenet3")
    probabilities = net.probabilities(split.images[:count])
    found = [
        Prediction("run", f"$image_{index}$.png", Prepared(pixels), label, own)
        for index, (pixels, label, own) in enumerate(
            zip(split.images, [None, 3, 7] * 4, probabilities, strict=False)
        )
    ]
    assert overlapping_labels(pictures.predictions(net, found)) == []
    long = [dataclasses.replace(one, image=f"{'very ' * 30}{one.image}") for one in found]
    size_in_pixels(pictures.predictions(net, long), tmp_path / "x.png")  # asserts that none is cut
    with pytest.raises(ZooError, match="shows at most 100 images"):
        pictures.predictions(net, found * 101)


def test_a_net_without_mistakes_says_so(split: Split) -> None:
    net = make_net("lenet3")
    right = Split(split.images, net.logits(split.images).argmax(axis=1).astype(np.int32))
    probabilities = net.probabilities(split.images)
    with pytest.raises(ZooError, match="classifies every image correctly"):
        pictures.mistakes(net, right, probabilities)
    assert overlapping_labels(pictures.confusion(net, right, probabilities)) == []


def answers(labels: np.ndarray, num_wrong: int) -> np.ndarray:
    """Probabilities of ten classes that are highest at the label, but for the first images."""
    said = labels.copy()
    said[:num_wrong] = (said[:num_wrong] + 1) % 10
    return np.full((len(labels), 10), 0.02) + 0.8 * np.eye(10)[said]


@pytest.mark.parametrize(
    ("num_wrong", "said"), [(1, "1 mistake"), (14, "14 mistakes"), (30, "the worst of 30 mistakes")]
)
def test_the_title_of_mistakes_tells_whether_all_are_there(
    num_wrong: int, said: str, split: Split
) -> None:
    figure = pictures.mistakes(make_net("lenet3"), split, answers(split.labels, num_wrong))
    assert figure.get_suptitle() == f"lenet3 after epoch 3: {said}"


def test_numbers_of_images_beside_confusions_are_plain(split: Split) -> None:
    many = Split(np.repeat(split.images, 400, axis=0), np.repeat(split.labels, 400))
    figure = pictures.confusion(make_net("lenet3"), many, answers(many.labels, 9))
    figure.draw_without_rendering()
    texts = {label.get_text() for label in figure.axes[1].get_yticklabels()}
    assert {"1", "10", "100", "1,000"} <= texts
    assert not any(label.get_text() for label in figure.axes[1].get_yticklabels(minor=True))


@pytest.mark.parametrize("right", [1.0, 0.0])
def test_the_legend_of_calibration_covers_no_point(right: float) -> None:
    """Nets that are surer than they should be, and less sure."""
    confidence = np.repeat(np.linspace(0.12, 0.98, 15), 4)
    rest = (1 - confidence) / 9
    probabilities = np.tile(rest[:, None], (1, 10))
    probabilities[:, 0] = confidence
    labels = np.full(len(confidence), 0 if right else 1, np.int32)
    split = Split(np.zeros((len(labels), 28, 28, 1), np.uint8), labels)
    figure = pictures.calibration(make_net("lenet3"), split, probabilities)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    box = axes.get_legend().get_window_extent()
    for line in axes.lines[1:]:
        points = axes.transData.transform(line.get_xydata())
        assert not any(box.contains(*point) for point in points)


@pytest.mark.slow
def test_colour_images_can_be_drawn(split: Split) -> None:
    net = make_net("lenet3", (28, 28, 3))
    colour = Split(np.repeat(split.images, 3, axis=3), split.labels)
    for kind in KINDS:
        assert overlapping_labels(draw(kind, net, colour)) == []


def test_the_command_draws_and_refuses(
    tiny_config: ConfigDict, tmp_path: Path, run_zoo: Zoo
) -> None:
    tiny_config.num_epochs = 1
    run = tmp_path / "run"
    train_and_evaluate(tiny_config, run, quiet=True)
    picture = tmp_path / "picture.png"
    status, _, error = run_zoo("plot", run, "-o", picture, "--kind=activations", "--image=3")
    assert (status, error) == (0, "")
    assert picture.read_bytes().startswith(b"\x89PNG")
    for arguments, sentence in (
        (["-o", picture, "--kind=activations"], "--image and --kind=activations need each other"),
        (["-o", picture, "--image=3"], "--image and --kind=activations need each other"),
        ([run, "-o", picture, "--kind=weights"], "--kind=weights draws one net, not 2"),
        (["-o", tmp_path / "x.gif"], "must end in .png, .svg, .pdf"),
        ([], "Missing option '-o' / '--output': try -o"),
        (["-o", tmp_path / "no" / "x.png"], "no does not exist"),
    ):
        status, _, error = run_zoo("plot", run, *arguments)
        assert status == 2
        assert sentence in error
        assert len(error.splitlines()) == 1
