"""`zoo compare`: runs and results files, as a table and a picture."""

import dataclasses
import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from test_history import history_of
from test_reproduction import make_run

import zoo.analysis.summary
import zoo.models
import zoo.web.comparison
from zoo.reproduction.run import write
from zoo.system import figures
from zoo.system.errors import ZooError
from zoo.training.history import History

Zoo = Callable[..., tuple[int, str, str]]


def finished(net: str, accuracy: float | list[float]) -> History:
    history = history_of(3)
    several = isinstance(accuracy, list)
    history.environment["platform"] = "cpu"
    if net in zoo.models.MODELS:
        history.model["num_params"] = zoo.analysis.summary.summarize(net).parameters
    history.config.update(
        model=net, dataset="digits", num_epochs=3, num_seeds=len(accuracy) if several else 1
    )
    for record in history.epochs:
        record["seconds"] = 2.0
        for key in ("loss", "accuracy", "val_loss", "val_accuracy"):
            record[key] = [0.5] * len(accuracy) if several else 0.5
    loss, epoch = ([0.1] * len(accuracy), [3] * len(accuracy)) if several else (0.1, 3)
    history.test = {"accuracy": accuracy, "loss": loss, "num_examples": 10, "epoch": epoch}
    return history


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """A run of one seed, one of three, and a results file of two nets."""
    (tmp_path / "first").mkdir()
    finished("vgg5", 0.9).write(tmp_path / "first")
    (tmp_path / "second").mkdir()
    finished("ablation_cnn7", [0.97, 0.98, 0.99]).write(tmp_path / "second")
    results = [make_run("lenet3", 0.95, seed) for seed in (0, 1)]
    results.append(make_run("lenet3", 0.94, protocol="holdout"))
    write(results, tmp_path)
    return [tmp_path / "first", tmp_path / "second", tmp_path / "reproduction.json"]


def test_the_table_is_sorted_by_accuracy(runs: list[Path]) -> None:
    lines = zoo.web.comparison.to_text(zoo.web.comparison.read(runs)).splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == [
        "second",
        "lenet3",
        "lenet3, holdout",
        "first",
    ]
    assert "98.00% ± 1.00% (n = 3)" in lines[1]
    assert "95.00% ± 0.00% (n = 2)" in lines[2]
    assert lines[1].split()[1:5] == ["digits", "7", "no", "1,378,570"]
    assert lines[4].split()[1:5] == ["digits", "5", "yes", "2,128,650"]


def test_a_module_without_known_layers_has_no_place_by_depth(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = finished("lenet3", 0.5)
    history.config["model"] = "Perceptron (given in code)"
    history.model |= {
        "name": "Perceptron (given in code)",
        "layers": None,
        "module": "Perceptron()",
    }
    (tmp_path / "module").mkdir()
    history.write(tmp_path / "module")
    figure = zoo.web.comparison.draw(zoo.web.comparison.read([tmp_path / "module", *runs]))
    depths = {x for line in figure.axes[0].get_lines() for x in line.get_xdata()}
    assert depths
    assert 0 not in depths
    zoo.web.comparison.draw(zoo.web.comparison.read([tmp_path / "module"]))
    assert not capsys.readouterr().err  # of Matplotlib, that a legend has nothing in it


def test_runs_in_directories_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    workdirs = [tmp_path / name / "run" for name in ("lr1", "lr2")]
    for workdir in workdirs:
        workdir.mkdir(parents=True)
        finished("vgg5", 0.9).write(workdir)
    assert [entry.name for entry in zoo.web.comparison.read(workdirs)] == [*map(str, workdirs)]
    nameless = tmp_path / os.fsdecode(b"caf\xe9")
    shutil.copytree(workdirs[0], nameless)
    assert [entry.name for entry in zoo.web.comparison.read([nameless])] == ["caf?"]


def test_seconds_are_those_of_cpus_where_there_are_any(tmp_path: Path) -> None:
    runs = [make_run("lenet3", 0.95, seed) for seed in (0, 1)]
    runs[1].epochs["seconds"] = [0.1, 0.1]
    on_gpu = dataclasses.replace(runs[1], environment={**runs[1].environment, "platform": "gpu"})
    write([runs[0], on_gpu], tmp_path)
    (entry,) = zoo.web.comparison.read([tmp_path / "reproduction.json"])
    assert (entry.seconds_per_epoch, entry.platform) == (2, "cpu")
    write([on_gpu], tmp_path)
    (entry,) = zoo.web.comparison.read([tmp_path / "reproduction.json"])
    assert (entry.seconds_per_epoch, entry.platform) == (0.1, "gpu")


def test_the_picture_is_reproducible(runs: list[Path], tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        figures.save(zoo.web.comparison.draw(zoo.web.comparison.read(runs)), tmp_path / name)
    text = (tmp_path / "a.svg").read_text()
    assert text == (tmp_path / "b.svg").read_text()
    for label in ("convolutions", "parameters", "seconds per epoch", "test accuracy (%)", "second"):
        assert f"<!-- {label} -->" in text


def entry(
    name: str, parameters: int, seconds: float, accuracy: float, platform: str = "cpu"
) -> zoo.web.comparison.Entry:
    return zoo.web.comparison.Entry(
        name=name,
        layers=zoo.models.NETS[name],
        dataset="digits",
        num_parameters=parameters,
        accuracies=(accuracy,),
        losses=(0.1,),
        seconds_per_epoch=seconds,
        platform=platform,
        val_accuracy=np.array([[accuracy]]),
    )


def ticks_of(axes: Axes) -> list[str]:
    """What is written at the ticks that are in view."""
    low, high = axes.get_xlim()
    labels = axes.get_xticklabels()
    return [label.get_text() for label in labels if low <= label.get_position()[0] <= high]


def legend_of(axes: Axes) -> list[str]:
    legend = axes.get_legend()
    return [text.get_text() for text in legend.get_texts()] if legend else []


def test_two_nets_of_one_depth_and_nearly_one_cost_have_ticks_to_read() -> None:
    figure = zoo.web.comparison.draw(
        [
            entry("pooling_cnn3", 87_914, 0.05, 0.95),
            entry("ablation_cnn3_dropout", 91_000, 0.055, 0.96),
        ]
    )
    figure.draw_without_rendering()
    depth, size, cost, _ = figure.axes
    assert ticks_of(depth) == ["2", "3", "4"]
    assert {"88k", "91k"} <= {*ticks_of(size)}
    assert {"0.05", "0.055"} <= {*ticks_of(cost)}
    assert legend_of(depth) == ["with dropout", "without"]  # no line is drawn


def test_bars_of_spread_end_at_100_percent() -> None:
    spread = dataclasses.replace(entry("vgg5", 2_000_000, 1.0, 0.96), accuracies=(0.94, 1.0, 1.0))
    size = zoo.web.comparison.draw([spread]).axes[1]
    (bar,) = size.collections[0].get_segments()
    assert bar[:, 1].tolist() == pytest.approx([98 - 12**0.5, 100])


def test_a_net_that_learned_nothing_does_not_press_the_others_together() -> None:
    """Over 15% of the height lies between 98% and 99.5%, and the ticks do not overlap."""
    figure = zoo.web.comparison.draw(
        [
            entry("pooling_cnn3", 88_000, 1.0, 0.98),
            entry("vgg5", 2_000_000, 3.0, 0.995),
            entry("pairs_cnn10", 579_000, 2.0, 0.1135),
            entry("lenet3", 716_000, 2.0, 1.0),
        ]
    )
    figure.draw_without_rendering()
    for axes in figure.axes:
        box = axes.bbox
        places = [axes.transData.transform((1, y))[1] for y in (11.35, 98, 99.5, 100)]
        assert box.y0 < places[0] < places[1] < places[2] < places[3] < box.y1
        assert places[2] - places[1] > 0.15 * box.height
        shown = [tick.get_window_extent() for tick in axes.get_yticklabels() if tick.get_text()]
        tops = sorted((box.y0, box.y1) for box in shown)
        assert len(tops) > 4
        assert all(below[1] < above[0] for below, above in itertools.pairwise(tops))


def test_seconds_are_compared_on_one_platform() -> None:
    """A GPU's beside a CPU's would say nothing of the nets."""
    entries = [
        entry("lenet3", 716_000, 160.0, 0.99),
        entry("vgg5", 2_000_000, 230.0, 0.99),
        entry("ablation_cnn7", 1_400_000, 6.6, 0.99, "gpu"),
    ]
    seconds = [row[-1] for row in zoo.web.comparison.to_rows(entries)]
    assert sorted(seconds) == ["160.0 (CPU)", "230.0 (CPU)", "6.6 (GPU)", "s/epoch"]
    _, size, cost, _ = zoo.web.comparison.draw(entries).axes
    assert cost.get_xlabel() == "seconds per epoch (CPU)"
    drawn = [len(axes.lines) for axes in (size, cost)]
    assert drawn[0] == drawn[1] + 1
    assert zoo.web.comparison.draw(entries[:2]).axes[2].get_xlabel() == "seconds per epoch"


def test_the_legends_explain_the_lines_that_are_drawn() -> None:
    entries = [entry("lenet3", 87_000, 0.02, 0.95), entry("vgg5", 2_000_000, 1.0, 0.96)]
    figure = zoo.web.comparison.draw(entries)
    figure.draw_without_rendering()
    depth, size, cost, _ = figure.axes
    assert legend_of(depth) == ["with dropout (mean)"]
    assert legend_of(size) == legend_of(cost) == ["no cheaper net is as accurate"]
    assert ticks_of(cost) == ["0.02", "0.05", "0.1", "0.2", "0.5", "1"]
    assert legend_of(zoo.web.comparison.draw(entries[:1]).axes[1]) == []


def test_the_front_contains_entries_that_no_cheaper_one_exceeds(tmp_path: Path) -> None:
    axes = figures.Figure().subplots()
    zoo.web.comparison._draw_front(axes, [(3, 5), (1, 2), (2, 1), (2, 4), (4, 5)])
    assert axes.lines[0].get_xydata().tolist() == [[1, 2], [2, 4], [3, 5]]


def test_runs_that_cannot_be_compared_are_one_sentence(runs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "going").mkdir()
    history = finished("vgg5", 0.9)
    history.test = None
    history.write(tmp_path / "going")
    with pytest.raises(
        ZooError, match=r"is not complete \(3 of 3 epochs\): finish its training first"
    ):
        zoo.web.comparison.read([tmp_path / "going"])
    finished("vgg6", 0.9).write(tmp_path / "going")
    with pytest.raises(ZooError, match="has a net that is unknown to this version"):
        zoo.web.comparison.read([tmp_path / "going"])
    with pytest.raises(ZooError, match="does not exist: name the directory of a run"):
        zoo.web.comparison.read([*runs, tmp_path / "none"])
    with pytest.raises(ZooError, match=r"is the history of a run: name its directory, .*/first$"):
        zoo.web.comparison.read([tmp_path / "first/history.json"])
    (tmp_path / "reproduction.json").write_text('{"format": 1, "runs": []}')
    with pytest.raises(ZooError, match="there is no finished run to compare"):
        zoo.web.comparison.read([tmp_path / "reproduction.json"])


def test_the_command(runs: list[Path], run_zoo: Zoo, tmp_path: Path) -> None:
    picture = tmp_path / "compared.png"
    status, said, error = run_zoo("compare", *runs, "-o", picture)
    assert (status, error) == (0, "")
    assert len(said.splitlines()) == 5
    assert picture.read_bytes().startswith(b"\x89PNG")
    status, said, error = run_zoo("compare", *runs, "-o", tmp_path / "x.gif")
    assert (status, said) == (2, "")
    assert "must end in .png, .svg, .pdf" in error
