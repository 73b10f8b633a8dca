"""Curves from history files alone."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from pixels import size_in_pixels
from test_history import history_of

from zoo.system.errors import ZooError
from zoo.system.figures import save, to_svg
from zoo.training.curves import draw_curve, draw_histories, draw_runs
from zoo.training.history import History

STARTS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


def write_run(folder: Path, history: History) -> Path:
    folder.mkdir(parents=True)
    history.write(folder)
    return folder


@pytest.mark.parametrize("suffix", STARTS)
def test_one_and_several_runs_in_every_format(tmp_path: Path, suffix: str) -> None:
    runs = [write_run(tmp_path / name, history_of(n)) for name, n in (("a", 1), ("b", 9))]
    for chosen in (runs[:1], runs):
        output = tmp_path / f"{len(chosen)}{suffix}"
        save(draw_runs(chosen), output)
        assert output.read_bytes().startswith(STARTS[suffix])


def test_a_picture_is_written_through_a_link(
    tmp_path: Path, run_zoo: Callable[..., tuple[int, str, str]]
) -> None:
    run, link = write_run(tmp_path / "run", history_of(2)), tmp_path / "link.svg"
    (tmp_path / "real.svg").touch()
    link.symlink_to("real.svg")
    assert run_zoo("plot", run, "-o", link)[0] == 0
    assert link.is_symlink()
    assert (tmp_path / "real.svg").read_bytes().startswith(b"<?xml")


def test_curves_are_labelled_with_names_units_and_what_was_validated_on(tmp_path: Path) -> None:
    save(draw_histories({"my-run": history_of(3)}), tmp_path / "x.svg")
    text = (tmp_path / "x.svg").read_text()
    for label in (
        "loss (nats per image)",
        "accuracy (%)",
        "epoch",
        "training",
        "held out",
    ):
        assert f"<!-- {label} -->" in text
    assert "my-run" not in text  # one run needs no name
    save(draw_histories({"my-run": history_of(3), "other": history_of(3)}), tmp_path / "x.svg")
    for label in ("my-run, training", "my-run, held out", "other, training", "other, held out"):
        assert f"<!-- {label} -->" in (tmp_path / "x.svg").read_text()


def test_the_legend_has_every_run_whatever_its_name() -> None:
    """Matplotlib leaves out of a legend what begins with an underscore."""
    figure = draw_histories({"_a": history_of(3), "b": history_of(3)})
    legend = figure.legends[0]
    assert [text.get_text() for text in legend.get_texts()] == [
        *("_a, training", "b, training", "_a, held out", "b, held out")
    ]
    drawn = [line.get_color() for line in figure.axes[0].get_lines()]
    assert [line.get_color() for line in legend.get_lines()] == [
        drawn[index] for index in (0, 2, 1, 3)
    ]


@pytest.mark.parametrize(
    "name", ["run", "a run of a long name " * 8, "W" * 200, "$x$ " * 30, "ablation_cnn7_dropout-3"]
)
@pytest.mark.parametrize(
    ("count", "metrics"), [(1, ["loss"]), (9, ["loss"]), (2, ["loss", "accuracy"])]
)
def test_no_text_is_lost(tmp_path: Path, name: str, count: int, metrics: list[str]) -> None:
    seeds = history_of(2)
    seeds.config["num_seeds"] = 12
    for record in seeds.epochs:
        record |= {key: [record[key]] * 12 for key in ("loss", "accuracy")}
        record |= {f"val_{key}": record[key] for key in ("loss", "accuracy")}
    figure = draw_histories({f"{name}{index}": seeds for index in range(count)}, metrics)
    width, _ = size_in_pixels(figure, tmp_path / "curves.png")
    assert width <= 150 * (5 * len(metrics) + 1.5)  # long lines are broken
    assert all(axes.get_position().height * figure.get_figheight() > 2 for axes in figure.axes)


@pytest.mark.parametrize(
    ("run", "output", "sentence"),
    [
        ("nowhere", "x.png", "nowhere/history.json does not exist"),
        ("run", "x.gif", "its name must end in .png, .svg, .pdf"),
        ("empty", "x.png", "nothing to draw"),
    ],
)
def test_wrong_input_is_one_sentence(tmp_path: Path, run: str, output: str, sentence: str) -> None:
    write_run(tmp_path / "run", history_of())
    write_run(tmp_path / "empty", history_of(0))
    with pytest.raises(ZooError, match=sentence):
        save(draw_runs([tmp_path / run]), tmp_path / output)
    assert not (tmp_path / output).exists()


@pytest.mark.parametrize(("unit", "most"), [("%", 100.0), ("", 98 + 12**0.5)])
def test_a_band_ends_where_values_do(unit: str, most: float) -> None:
    axes = Figure().subplots()
    draw_curve(axes, np.array([[0.0, 0.0, 6.0], [94.0, 100.0, 100.0]]), "run", unit, color="k")
    ends = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert ends.min() == 0
    assert ends.max() == pytest.approx(most)


def test_no_history_no_picture() -> None:
    with pytest.raises(ZooError, match="nothing to draw"):
        draw_histories({})


@pytest.mark.parametrize("num_epochs", [1, 2, 200, 1500])
def test_each_point_of_a_page_has_its_own_tooltip(num_epochs: int) -> None:
    history = history_of(num_epochs)
    svg = to_svg(draw_histories({"a $b$ <c>": history}, ["accuracy"]), "p1", "a & b")
    assert 'aria-label="a &amp; b"' in svg
    root = ElementTree.fromstring(svg.replace("xlink:href", "href"))
    tooltips = json.loads(root.attrib["data-tooltips"])
    assert len(tooltips) == 2
    for (id_, texts), key in zip(tooltips.items(), ("accuracy", "val_accuracy"), strict=True):
        (group,) = (element for element in root.iter() if element.get("id") == id_)
        markers = [element for element in group.iter() if element.tag.endswith("use")]
        (path,) = (
            element
            for element in group
            if element.tag.endswith("path") and element.get("clip-path")
        )
        points = markers or re.findall("[ML] ", path.attrib["d"])
        assert len(points) == len(texts) == num_epochs
        value = 100 * history.epochs[-1][key]
        assert texts[-1].startswith("a $b$ <c>, ")
        assert texts[-1].endswith(f", epoch {num_epochs}: {value:.4g}%")
