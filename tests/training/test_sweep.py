"""A grid of runs: what its text means, its runs, and how it goes on."""

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ml_collections import ConfigDict
from test_history import history_of

import zoo.cli.arguments
import zoo.training.history
from zoo.system.errors import DivergedError, StoppedError, ZooError
from zoo.training import sweep
from zoo.training.history import History
from zoo.training.sweep import Axis, Cell, grid, name_of, parse_axis, short_names


def test_values_are_listed_or_a_range() -> None:
    assert parse_axis("optimizer.learning_rate=1e-4, 1e-3") == Axis(
        "optimizer.learning_rate", ("1e-4", "1e-3")
    )
    assert parse_axis("--config.seed=2:5") == Axis("seed", ("2", "3", "4"))
    assert parse_axis("dataset=npz:a.npz,digits").values == ("npz:a.npz", "digits")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed", "--over seed has no values: give a key and its values, as in --over optimizer"),
        ("lr=1,2", "unknown key config.lr: did you mean optimizer.learning_rate?"),
        ("seed=4:4", "--over seed=4:4 has 0 values, of at most 10,000"),
        ("seed=0:99999", "has 99,999 values, of at most 10,000"),
        ("seed=1,,2", "has an empty value: separate values by commas"),
        ("seed=1,2,1", "has a value twice: leave one out"),
    ],
)
def test_what_is_no_axis_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(ZooError, match=re.escape(said)):
        parse_axis(text)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_a_grid_has_each_combination_once(sizes: list[int]) -> None:
    keys = ("seed", "batch_size", "dtype", "model")
    axes = [Axis(key, tuple("abcd"[:size])) for key, size in zip(keys, sizes, strict=False)]
    found = grid(axes)
    count = 1
    for size in sizes:
        count *= size
    assert len({name_of(settings) for settings in found}) == len(found) == count
    assert found[0] == {axis.key: "a" for axis in axes}


def test_a_grid_that_cannot_be_is_one_sentence() -> None:
    with pytest.raises(ZooError, match="--over is missing"):
        grid([])
    with pytest.raises(ZooError, match="--over names seed twice"):
        grid([Axis("seed", ("0",)), Axis("seed", ("1",))])
    with pytest.raises(ZooError, match="more than 10,000 runs"):
        grid([Axis(key, tuple(map(str, range(999)))) for key in ("seed", "batch_size")])


def test_names_are_short_where_they_can_be_and_paths_are_not_in_them() -> None:
    assert short_names(["optimizer.name", "seed"]) == ["name", "seed"]
    assert short_names(["a.rate", "b.rate"]) == ["a.rate", "b.rate"]
    assert name_of({"dataset": "npz:../x y.npz", "seed": "0"}) == "dataset=npz-..-x-y.npz,seed=0"


def test_each_run_has_its_configuration_and_wrong_ones_are_told_before_any_trains(
    tmp_path: Path,
) -> None:
    over = ["optimizer.learning_rate=1e-3,1e-2", "seed=0:2"]
    others = ["--config.dataset=digits"]
    cells, runs = zoo.cli.arguments.sweep_cells("lenet3", over, None, others)
    assert runs == Path("runs/sweep-lenet3-digits")
    of_three = [*others, "--config.num_seeds=3"]
    apart = ["optimizer.learning_rate=1e-3,1e-2", "seed=0,3"]
    assert zoo.cli.arguments.sweep_cells("lenet3", apart, None, of_three)[1] == runs
    at_home = zoo.cli.arguments.sweep_cells("lenet3", over, Path("~/sweep"), others)[1]
    assert at_home == Path.home() / "sweep"
    assert [cell.config.optimizer.learning_rate for cell in cells] == [1e-3, 1e-3, 1e-2, 1e-2]
    assert [cell.config.seed for cell in cells] == [0, 1, 0, 1]
    assert {cell.config.dataset for cell in cells} == {"digits"}
    assert cells[3].workdir == runs / "learning_rate=1e-2,seed=1"
    for wrong, said in (
        ((["seed=0,-1"], []), "config.seed must be a whole number from 0"),
        ((["seed=0:2"], ["--workdir=x"]), "--workdir is for one run: name the directory of all"),
        (
            (["seed=0:2"], ["--num_processes=2"]),
            "--num_processes is for one run: give it to zoo train",
        ),
        ((["dataset=idx:a,idx-a"], []), "config.dataset must be one of"),
        ((["dataset=npz:a b,npz:a:b"], []), "two runs would have the same directory"),
        (
            (["seed=7,2,4"], ["--config.num_seeds=3"]),
            "the runs from seeds 2 and 4 would both train seed 4, as each has num_seeds=3: give "
            "seeds 3 apart, such as --over seed=2,5, or leave num_seeds out",
        ),
    ):
        with pytest.raises(ZooError, match=re.escape(said)):
            zoo.cli.arguments.sweep_cells("lenet3", wrong[0], tmp_path, wrong[1])


def cells_of(config: ConfigDict, folder: Path, rates: list[float]) -> list[Cell]:
    cells = []
    for rate in rates:
        own = config.copy_and_resolve_references()
        own.optimizer.learning_rate = rate
        settings = {"optimizer.learning_rate": f"{rate:g}"}
        cells.append(Cell(settings, own, folder / name_of(settings)))
    return cells


def write_complete(workdir: Path, num_epochs: int) -> History:
    history = history_of(num_epochs)
    history.test = {"accuracy": 0.5, "loss": 1.0, "num_examples": 9, "epoch": 1}
    workdir.mkdir(parents=True, exist_ok=True)
    history.write(workdir)
    return history


def test_the_table_keeps_the_runs_that_were_complete_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_zoo: Callable[..., tuple[int, str, str]]
) -> None:
    """A value more comes first; the command is stopped in the second of its new runs."""
    stop_in = ""

    def train(config: ConfigDict, workdir: Path, **options: Any) -> History:
        if workdir.name == stop_in:
            raise StoppedError("stopped")
        return write_complete(workdir, config.num_epochs)

    def directories(*values: str) -> list[str]:
        over = ("--over", f"batch_size={','.join(values)}", "--over", "seed=0:2")
        run_zoo("sweep", "lenet3", "--config.num_epochs=2", "--runs", tmp_path, *over)
        with (tmp_path / "sweep.csv").open() as file:
            return [line["directory"] for line in csv.DictReader(file)]

    monkeypatch.setattr("zoo.training.sweep.train_and_evaluate", train)
    before = [f"batch_size={size},seed={seed}" for size in (16, 32) for seed in (0, 1)]
    assert directories("16", "32") == before
    stop_in = "batch_size=8,seed=1"
    assert directories("8", "16", "32") == ["batch_size=8,seed=0", *before]
    write_complete(tmp_path / before[0], num_epochs=5)  # it is to have two
    (tmp_path / before[1] / "history.json").write_text("")
    assert directories("8", "16", "32") == ["batch_size=8,seed=0", *before[2:]]


def test_a_sweep_of_which_no_run_finishes_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_zoo: Callable[..., tuple[int, str, str]]
) -> None:
    def train(config: ConfigDict, workdir: Path, **options: Any) -> None:
        workdir.mkdir(parents=True)
        raise DivergedError("loss is nan")

    monkeypatch.setattr("zoo.training.sweep.train_and_evaluate", train)
    over = ("--over", "batch_size=8,16", "--over", "optimizer.name=adam,sgd")
    status, said, error = run_zoo("sweep", "lenet3", "--runs", tmp_path, *over)
    assert status == 2
    assert "wrote sweep.csv and sweep.png to" in said
    assert error.splitlines()[-1].startswith("zoo: training diverged in each run of the sweep: ")


@pytest.mark.slow
def test_a_grid_goes_on_where_it_was_interrupted_and_after_a_run_that_diverges(
    tiny_config: ConfigDict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_config.num_epochs = 1
    cells = cells_of(tiny_config, tmp_path / "runs", [1e-3, 1e30, 1e-2])
    asked = 0

    def stop_in_the_second() -> bool:
        nonlocal asked
        asked += (tmp_path / "runs/learning_rate=1e+30").exists()
        return asked > 0

    with pytest.raises(StoppedError):
        list(sweep.run(cells, stop_in_the_second))
    first = zoo.training.history.read(cells[0].workdir)
    outcomes = list(sweep.run(cells))
    assert [outcome.cell for outcome in outcomes] == cells
    assert outcomes[0].history is not None
    assert outcomes[0].history.epochs == first.epochs
    assert outcomes[1].history is None
    assert outcomes[2].history is not None
    said = capsys.readouterr()
    assert "3/3 learning_rate=0.01" in said.out
    assert "is not finite" in said.err
    list(sweep.run([cells[0], cells[2]], quiet=True))
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(" ")[0] for line in lines] == ["test:", "test:"]
