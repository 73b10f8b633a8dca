"""The table, the file and the picture of a grid of runs."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ml_collections import ConfigDict
from test_history import history_of

from zoo.analysis import sweeps
from zoo.training.sweep import Cell, Outcome, name_of


def outcome(settings: dict[str, str], accuracy: Any, diverged: bool = False) -> Outcome:
    """Of a run of two epochs, the first of which was tested."""
    cell = Cell(settings, ConfigDict(), Path("runs", name_of(settings)))
    if diverged:
        return Outcome(cell, None)
    history = history_of(2)
    val = np.asarray(accuracy)
    for epoch, record in enumerate(history.epochs):
        record["val_accuracy"] = (val - 0.1 - 0.2 * epoch).tolist()
    epoch = np.ones_like(val, int).tolist()
    history.test = {"accuracy": accuracy, "loss": accuracy, "num_examples": 9, "epoch": epoch}
    return Outcome(cell, history)


GRID = [
    outcome({"optimizer.learning_rate": rate, "dtype": dtype, "seed": seed}, accuracy)
    for rate, dtype, seed, accuracy in (
        ("1e-3", "float32", "0", 0.5),
        ("1e-3", "float32", "1", 0.7),
        ("1e-2", "float32", "0", 0.9),
        ("1e-2", "float32", "1", 0.9),
        ("1e-3", "bfloat16", "0", 0.4),
    )
] + [
    outcome({"optimizer.learning_rate": "1e-2", "dtype": "bfloat16", "seed": "0"}, 0, diverged=True)
]


def test_runs_that_differ_in_the_seed_are_a_row_and_the_best_comes_first() -> None:
    rows = sweeps.grouped([sweeps.row_of(each) for each in GRID])
    assert [row.settings["optimizer.learning_rate"] for row in rows] == [
        "1e-2",
        "1e-3",
        "1e-3",
        "1e-2",
    ]
    assert rows[0].test_accuracies == (0.9, 0.9)
    assert rows[1].val_accuracies == pytest.approx((0.4, 0.6))  # of the epoch that was tested
    assert (rows[-1].test_accuracies, rows[-1].num_diverged) == ((), 1)
    lines = sweeps.to_text(rows).splitlines()
    assert lines[0].split()[:3] == ["learning_rate", "dtype", "runs"]
    assert "60.00% ± 14.14%" in lines[2]
    assert "1 (1 diverged)" in lines[-1]


def test_the_seeds_of_one_run_count_each() -> None:
    row = sweeps.row_of(outcome({"batch_size": "8"}, [0.5, 0.75, 1.0]))
    assert row.test_accuracies == (0.5, 0.75, 1.0)
    assert row.val_accuracies == pytest.approx((0.4, 0.65, 0.9))


def test_the_file_has_a_line_for_each_run(tmp_path: Path) -> None:
    sweeps.write([sweeps.row_of(each) for each in GRID], tmp_path)
    with (tmp_path / "sweep.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(GRID)
    assert lines[2]["directory"] == "learning_rate=1e-2,dtype=float32,seed=0"
    assert float(lines[2]["test_accuracy"]) == 0.9
    assert lines[-1]["test_accuracy"] == ""


@pytest.mark.parametrize(
    ("outcomes", "across", "labels"),
    [
        (GRID, "optimizer.learning_rate", ["dtype=float32", "dtype=bfloat16"]),
        ([outcome({"seed": str(seed)}, 0.5) for seed in range(3)], "seed", []),
        ([outcome({"model": name}, 0.5) for name in ("lenet3", "vgg5")], "model", []),
        ([outcome({"seed": "0"}, 0, diverged=True)], "seed", []),
        (
            [
                outcome({"batch_size": size, "model": name}, 0, diverged=True)
                for size in ("8", "9")
                for name in ("lenet3", "vgg5")
            ],
            "batch_size",
            [],
        ),
    ],
)
def test_the_picture_is_drawn_across_the_key_with_the_most_values(
    tmp_path: Path, outcomes: list[Outcome], across: str, labels: list[str]
) -> None:
    rows = [sweeps.row_of(each) for each in outcomes]
    figure = sweeps.draw(rows)
    for axes in figure.axes:
        assert axes.get_xlabel() == across
    assert [text.get_text() for legend in figure.legends for text in legend.get_texts()] == labels
    assert sweeps.draw_or_tell(rows, tmp_path)
    assert (tmp_path / "sweep.png").stat().st_size > 5000


def test_a_picture_that_cannot_be_drawn_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not sweeps.draw_or_tell([sweeps.row_of(GRID[0])], tmp_path / "missing")
    assert "note: sweep.png could not be drawn" in capsys.readouterr().err
