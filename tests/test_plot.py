"""Curves from history files alone."""

from pathlib import Path

import pytest
from test_history import history_of

from zoo.errors import ZooError
from zoo.figures import save
from zoo.history import History
from zoo.plot import draw_histories, draw_runs

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


def test_curves_are_labelled_with_names_units_and_what_was_validated_on(tmp_path: Path) -> None:
    save(draw_histories({"my-run": history_of(3)}), tmp_path / "x.svg")
    text = (tmp_path / "x.svg").read_text()
    for label in (
        "loss (nats per image)",
        "accuracy (%)",
        "epoch",
        "my-run, training",
        "my-run, held out",
    ):
        assert f"<!-- {label} -->" in text


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


def test_no_history_no_picture() -> None:
    with pytest.raises(ZooError, match="nothing to draw"):
        draw_histories({})
