"""A net's name, or exported weights, wherever a run can be named."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import REAL_MNIST_DIR
from drawings import write_ten
from ml_collections import ConfigDict

import zoo.analysis.trained
import zoo.models
from zoo.models.packaged import packaged_weights
from zoo.system.errors import ZooError
from zoo.training import train_and_evaluate

Zoo = Callable[..., tuple[int, str, str]]
PRETRAINED = zoo.models.list_models(pretrained=True)
LARGE = ("ablation_cnn5", "ablation_cnn7", "ablation_cnn7_dropout")  # half a minute each


@pytest.fixture
def run(tiny_config: ConfigDict, tmp_path: Path) -> Path:
    """Of two seeds, with MNIST's size."""
    tiny_config.update(num_epochs=1, num_seeds=2, seed=3)
    train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)
    return tmp_path / "run"


@pytest.mark.parametrize("seed", [None, 4])
def test_exported_weights_answer_as_their_run(
    run: Path, seed: int | None, run_zoo: Zoo, tmp_path: Path
) -> None:
    """Bit for bit, as a directory for `zoo evaluate` and in Python."""
    directory = tmp_path / "exported"
    chosen = [] if seed is None else [f"--seed={seed}"]
    status, said, error = run_zoo("export-weights", run, directory, *chosen)
    assert (status, error) == (0, "")
    assert said == f"wrote the weights of pooling_cnn3 after epoch 1 to {directory}\n"
    net = zoo.analysis.trained.load(run, seed)
    again = zoo.analysis.trained.load(directory, given=net.data.hint)
    assert (again.name, again.seed, again.epoch) == ("pooling_cnn3", net.seed, 1)
    assert again.framing == net.framing
    test = net.split("test")
    np.testing.assert_array_equal(again.split("test").images, test.images)
    np.testing.assert_array_equal(again.logits(test.images), net.logits(test.images))
    model, variables = zoo.models.from_pretrained(directory)
    np.testing.assert_allclose(
        model.apply(variables, test.images, train=False), net.logits(test.images), atol=1e-6
    )
    facts = json.loads((directory / "config.json").read_text())
    assert (
        facts["test"]["accuracy"]
        == json.loads((run / "history.json").read_text())["test"]["accuracy"][net.seed - 3]
    )
    assert "data_dir" not in str(facts)  # nothing of this machine
    assert str(tmp_path) not in (directory / "config.json").read_text()
    card = (directory / "README.md").read_text()
    assert "# pooling_cnn3" in card
    assert f"- seed: {net.seed}" in card
    assert "license" not in facts  # which is for whoever trained it to choose
    assert "license" not in card


def test_weights_are_scored_where_their_data_is_named(
    run: Path, run_zoo: Zoo, tmp_path: Path, idx_dir: Path
) -> None:
    run_zoo("export-weights", run, tmp_path / "w")
    of_run = run_zoo("evaluate", run)
    assert run_zoo("evaluate", tmp_path / "w", f"--manual-dir={idx_dir}") == of_run
    status, _, error = run_zoo("evaluate", tmp_path / "w")
    assert status == 2
    assert "idx is not found: name the directory of its IDX files with --manual-dir" in error
    status, _, error = run_zoo("evaluate", tmp_path / "w", "--seed=4")
    assert status == 2
    assert "has the weights of seed 3, not 4: omit it" in error


def test_of_weights_without_a_run_no_epoch_and_no_seed_are_told(
    run: Path, run_zoo: Zoo, tmp_path: Path, idx_dir: Path
) -> None:
    model, variables = zoo.models.from_pretrained("pooling_cnn3")
    zoo.models.save_pretrained(tmp_path / "w", model, variables)
    given = ("--dataset=idx", f"--manual-dir={idx_dir}")
    status, said, error = run_zoo("evaluate", tmp_path / "w", *given)
    assert (status, error) == (0, "")
    assert said.startswith("pooling_cnn3 on the test split of idx (")
    assert run_zoo("evaluate", run, *given)[1].startswith("pooling_cnn3 after epoch 1, seed 3, on ")


@pytest.mark.parametrize("name", ["ablation_cnn3_dropout", "pooling_cnn3"])
def test_a_digit_is_answered_without_a_dataset(
    name: str, run_zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offline: at least 9 of ten drawn digits (all nets: tests/web/test_watch.py)."""
    files = write_ten(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "nowhere"))
    monkeypatch.delenv("ZOO_MNIST_DIR", raising=False)
    status, said, error = run_zoo("predict", name, *(path for path, _ in files), "--json")
    assert (status, error) == (0, "")
    answers = json.loads(said)
    assert {answer["net"] for answer in answers} == {name}
    right = [one["predicted"] == digit for one, (_, digit) in zip(answers, files, strict=True)]
    assert sum(right) >= 9


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.full if name in LARGE else pytest.mark.slow)
        for name in PRETRAINED
    ],
)
def test_the_index_tells_what_evaluate_prints(
    name: str, run_zoo: Zoo, mnist_manual_dir: Path
) -> None:
    """To the image. Without the genuine MNIST, other data is told apart from it."""
    arguments = ("evaluate", name, f"--manual-dir={mnist_manual_dir}")
    status, said, error = run_zoo(*arguments, "--json")
    if not REAL_MNIST_DIR:
        assert status == 2
        assert f"is not the data that {name} was trained on" in error
        return
    assert (status, error) == (0, "")
    found = json.loads(said)
    entry = next(entry for entry in packaged_weights() if entry["net"] == name)
    assert round(found["accuracy"]["value"] * 10_000) == round(entry["test"]["accuracy"] * 10_000)
    assert found["loss"]["value"] == pytest.approx(entry["test"]["loss"], abs=1e-6)


def test_several_nets_are_compared(
    run: Path, run_zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    picture = write_ten(tmp_path)[0][0]
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "nowhere"))
    monkeypatch.delenv("ZOO_MNIST_DIR", raising=False)
    status, said, error = run_zoo("predict", "lenet3", "run", picture, "3")
    assert status == 2  # a test image needs the test set
    assert "mnist is not in" in error
    status, said, error = run_zoo("predict", "lenet3", "run", picture, picture)
    assert (status, error) == (0, "")
    first, second = said.rstrip("\n").split("\n\n")
    assert first == second
    lines = first.splitlines()
    assert lines[0].startswith(str(picture))
    assert [line.split()[0] for line in lines[1:3]] == ["lenet3", "run"]
    status, _, error = run_zoo("predict", "lenet3", "run", picture, "--plot=x.png")
    assert status == 2
    assert "--plot draws the predictions of one net, not of 2" in error


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["predict", "lenet3"], "an image is missing after 'lenet3'"),
        (["predict", "lenet3", "lenet3"], "an image is missing after 'lenet3'"),
        (["predict", "lenet3", "x.png", "vgg5"], "'vgg5' is a net behind an image: name all nets"),
        (["predict", "lenet33", "x.png"], "unknown net 'lenet33': did you mean lenet3"),
        (["predict", "lenet3", "x.png"], "x.png does not exist"),
        (["predict", "hf://", "x.png"], "is not an address"),
        (["predict", "lenet3", "--seed=1", "x.png"], "has the weights of seed 0, not 1: omit it"),
        (["predict", "custom7", "x.png"], "no trained weights of custom7 for 'mnist'"),
        (["evaluate", "runs/lenet3"], "runs/lenet3/history.json does not exist"),
        (["plot", "lenet3", "-o", "x.png"], "lenet3 has no run's history"),
        (["export-weights", "lenet3", "x"], "lenet3/history.json does not exist"),
        (["export-weights", "x"], "Missing argument 'DIRECTORY'"),
    ],
)
def test_a_wrong_command_is_one_sentence(
    arguments: list[str],
    sentence: str,
    run_zoo: Zoo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    status, said, error = run_zoo(*arguments)
    assert (status, said) == (2, "")
    assert sentence in error
    assert len(error.splitlines()) == 1
    assert not os.listdir(tmp_path)


def test_facts_that_were_edited_are_one_sentence(run: Path, run_zoo: Zoo, tmp_path: Path) -> None:
    run_zoo("export-weights", run, tmp_path / "w")
    path = tmp_path / "w/config.json"
    whole = json.loads(path.read_text())
    for change in (
        {"framing": {"ink": 2}},
        {"data": 5},
        {"data": {"sha256": 5}},
        {"dataset": "a\nb"},
        {"training": {"validation": "all"}},
        {"training": {"epochs": "many"}},
    ):
        path.write_text(json.dumps(whole | change))
        with pytest.raises(ZooError, match=r"config.json of .* is damaged or edited"):
            zoo.analysis.trained.load(tmp_path / "w")
    path.write_text(json.dumps({key: whole[key] for key in whole if key != "dataset"}))
    net = zoo.analysis.trained.load(tmp_path / "w")
    with pytest.raises(ZooError, match="does not tell on which dataset it was trained") as error:
        net.split("test")
    for way in ('save_pretrained(..., about={"dataset": NAME})', "zoo evaluate --dataset=NAME"):
        assert way in str(error.value)  # predict and plot have no such option


@pytest.mark.parametrize("kind", ["weights", "filters", "activations"])
def test_a_named_net_is_drawn(kind: str, run_zoo: Zoo, tmp_path: Path) -> None:
    picture = write_ten(tmp_path)[0][0]
    image = [f"--image={picture}"] if kind == "activations" else []
    status, _, error = run_zoo("plot", "lenet3", f"--kind={kind}", *image, "-o", tmp_path / "x.png")
    assert (status, error) == (0, "")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
