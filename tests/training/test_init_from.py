"""Runs that start from given weights and train a part of them, and go on without their source."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest
from conftest import write_idx_dataset
from ml_collections import ConfigDict
from test_checkpoint import each_file, flip
from test_resume import assert_same_run, stop_at

import zoo.analysis.trained
import zoo.analysis.weights
import zoo.models
import zoo.training.history
import zoo.training.init_from
import zoo.training.parameters
import zoo.web.views
from zoo.configs import default
from zoo.models.layers import BatchNorm, Conv, Flatten, Head
from zoo.system import sums
from zoo.system.errors import StoppedError, ZooError
from zoo.training import arrays, programs, train_and_evaluate

NET = (Conv(3, 3), BatchNorm(), Flatten(), Head())
FREEZE = "conv_1, batch_norm_1"
RATES = "head/bias=0.5"
Zoo = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module", autouse=True)
def tiny_net() -> Iterator[None]:
    """A net that compiles in no time, by the name tiny."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(zoo.models.MODELS, "tiny", NET)
        patch.setattr(programs, "SECONDS_PER_PIECE", 0.0)  # a batch a piece
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for the whole module: a data set, a run `base` to start from, and saved weights."""
    folder = tmp_path_factory.mktemp("init_from")
    write_idx_dataset(folder / "idx", num_train=60, num_test=20, size=8)
    config = base_config(folder)
    config.num_epochs = 1
    train_and_evaluate(config, folder / "base", quiet=True)
    five = zoo.models.ConvNet(NET, num_classes=5)
    variables = five.init(jax.random.key(5), np.zeros((1, 8, 8, 1)), train=False)
    zoo.models.save_pretrained(folder / "five", five, variables, image_shape=(8, 8, 1))
    return folder


def base_config(folder: Path) -> ConfigDict:
    config = default.get_config()
    config.update(model="tiny", dataset="idx", manual_dir=str(folder / "idx"))
    config.update(num_epochs=2, batch_size=20, validation="holdout")  # 3 batches an epoch
    return config


@pytest.fixture
def config(folder: Path) -> ConfigDict:
    config = base_config(folder)
    config.update(init_from=str(folder / "base"), freeze=FREEZE)
    config.optimizer.rates = RATES
    return config


@pytest.fixture
def whole(config: ConfigDict, folder: Path) -> Path:
    """The folder of the run that was never stopped."""
    if not (folder / "whole").exists():
        train_and_evaluate(config, folder / "whole", quiet=True)
    return folder / "whole"


@pytest.fixture
def moved_base(folder: Path) -> Iterator[Path]:
    """The run to start from lies elsewhere for a while: gives where."""
    (folder / "base").rename(folder / "moved")
    yield folder / "moved"
    if (folder / "base").exists():
        shutil.rmtree(folder / "base")
    (folder / "moved").rename(folder / "base")


def test_a_run_starts_from_another_and_trains_what_is_not_frozen(folder: Path, whole: Path) -> None:
    base, tuned = (zoo.training.parameters.read(run).variables for run in (folder / "base", whole))
    for part, name in (("params", "conv_1"), ("params", "batch_norm_1")):
        jax.tree.map(np.testing.assert_array_equal, tuned[part][name], base[part][name])
    jax.tree.map(np.testing.assert_array_equal, tuned["batch_stats"], base["batch_stats"])
    assert not np.array_equal(tuned["params"]["head"]["kernel"], base["params"]["head"]["kernel"])
    state = arrays.read_parts(whole / "checkpoints/6/state", ("opt_state",))
    shapes = [leaf.shape for leaf in jax.tree.leaves(state)]
    assert (108, 10) in shapes  # of the head
    assert not {(3, 3, 1, 3), (3,)} & {*shapes}


def test_saved_weights_may_lie_in_the_home_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(folder))
    model, _ = zoo.models.from_pretrained("~/five")
    assert model.num_classes == 5
    state = zoo.training.create_train_state(zoo.models.ConvNet(NET), optax.sgd(1.0), 0, (8, 8, 1))
    found = zoo.training.init_from.read("~/five", state, "tiny", "idx", (8, 8, 1))
    assert found.facts["source"] == "~/five"
    assert zoo.analysis.trained.load("~/base").name == "tiny"


def test_the_history_tells_what_it_started_from(folder: Path, whole: Path) -> None:
    history = zoo.training.history.read(whole)
    facts = dict(history.model["init_from"])
    assert re.fullmatch("[0-9a-f]{64}", facts.pop("sha256"))
    assert facts == {
        "source": str(folder / "base"),
        "net": "tiny",
        "dataset": "idx",
        "new_head": False,
    }
    assert history.model["num_trained"] == 108 * 10 + 10
    assert "init_from" not in zoo.training.history.read(folder / "base").model
    assert zoo.analysis.trained.load(whole).split("test").images.shape == (20, 8, 8, 1)


def test_a_run_goes_on_bit_for_bit_where_its_source_is_gone(
    config: ConfigDict,
    whole: Path,
    moved_base: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    moved_base.rename(config.init_from)
    with pytest.raises(StoppedError, match="after batch 2 of 3 of epoch 1"):
        train_and_evaluate(config, tmp_path / "run", should_stop=stop_at(1))
    Path(config.init_from).rename(moved_base)
    train_and_evaluate(config, tmp_path / "run")
    assert_same_run(config, tmp_path / "run", whole)
    said = capsys.readouterr().out
    assert "1,132 parameters, 1,090 of them trained, seed 0" in said
    assert (
        said.count(f"starts from {config.init_from}, trained on idx, with its head (sha256 ") == 2
    )
    assert "going on after batch 2 of 3 of epoch 1" in said


def test_without_a_good_checkpoint_its_source_is_needed_as_it_was(
    config: ConfigDict, whole: Path, moved_base: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    content = json.loads((run / "history.json").read_text())
    content.update(epochs=content["epochs"][:1], test=None)
    (run / "history.json").write_text(json.dumps(content))
    for path in each_file(run / "checkpoints"):
        flip(path)
    with pytest.raises(ZooError, match=r"config.init_from: .*base/history.json does not exist"):
        train_and_evaluate(config, run, quiet=True)
    changed = Path(shutil.copytree(whole, config.init_from))
    for start_again in (shutil.rmtree, lambda path: None):
        start_again(run / "checkpoints")
        with pytest.raises(ZooError, match=r"has other weights than when the run in .* began"):
            train_and_evaluate(config, run, quiet=True)
    shutil.rmtree(changed)
    shutil.copytree(moved_base, config.init_from)
    train_and_evaluate(config, run, quiet=True)
    assert_same_run(config, run, whole)


def test_many_seeds_start_from_the_same_body_and_draw_heads(
    config: ConfigDict, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.update(init_from=str(folder / "five"), num_seeds=2, num_epochs=1)
    config.optimizer.rates = ""
    train_and_evaluate(config, tmp_path / "two")
    assert "with a new head for 10 classes" in capsys.readouterr().out
    params = zoo.training.parameters.read(tmp_path / "two").variables["params"]
    np.testing.assert_array_equal(*params["conv_1"]["kernel"])
    assert abs(params["head"]["kernel"][0] - params["head"]["kernel"][1]).max() > 0.05
    config.update(seed=1, num_seeds=1)
    train_and_evaluate(config, tmp_path / "one", quiet=True)
    alone = zoo.training.parameters.read(tmp_path / "one").variables["params"]
    np.testing.assert_array_equal(alone["head"]["kernel"], params["head"]["kernel"][1])
    assert zoo.training.history.read(tmp_path / "one").model["init_from"]["new_head"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("vgg6", "config.init_from: unknown net 'vgg6': did you mean vgg5?"),
        ("fast99", "config.init_from: this version has no trained weights of fast99"),
        (
            "lenet3",
            "lenet3 does not fit tiny on idx: it is of another net, lenet3: name weights of tiny, "
            "or train lenet3$",
        ),
        ("{folder}/none", "none/history.json does not exist: name the directory of a run"),
        ("{folder}/idx", "idx/history.json does not exist: name the directory of a run"),
        ("~/none", r"idx/none/history.json does not exist: name the directory of a run"),
        (
            "own.py:NET",
            "config.init_from: own.py:NET names a net of your own, of which there are no",
        ),
        ("{folder}/nan", "params/head/kernel of .*nan is not all finite numbers"),
        ("hf://a", "config.init_from: "),
        ("~nobody-here/x", "is in a home directory, which this user does not have"),
    ],
)
def test_a_wrong_source_is_a_sentence_and_makes_no_directory(
    config: ConfigDict,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    sentence: str,
) -> None:
    monkeypatch.setenv("HOME", str(folder / "idx"))
    if name.endswith("/nan") and not (folder / "nan").exists():
        spoil(Path(shutil.copytree(folder / "base", folder / "nan")))
    config.init_from = name.format(folder=folder)
    with pytest.raises(ZooError, match=sentence) as error:
        train_and_evaluate(config, tmp_path / "run", quiet=True)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("net", "shape", "sentence"),
    [
        ("padded", (8, 8, 1), "it is of another net, tiny: name weights of padded"),
        ("tiny", (8, 8, 3), "images of 8x8x1, but these have 8x8x3: add --config.data.channels=1$"),
        (
            "tiny",
            (9, 8, 1),
            "8x8x1, but these have 9x8x1: add --config.data.image_size=8$",
        ),
        (
            "tiny",
            (9, 9, 3),
            "8x8x1, but .* 9x9x3: add --config.data.image_size=8 --config.data.channels=1$",
        ),
        ("tiny", (8, 8, 1), r"its conv_1/kernel has shape \(3, 3, 1, 3\), but this net's has"),
    ],
)
def test_what_does_not_fit_tells_what_differs_and_the_key_that_mends_it(
    folder: Path, net: str, shape: tuple[int, int, int], sentence: str
) -> None:
    """Of a run and of saved weights."""
    model = zoo.models.ConvNet((Conv(3, 5), *NET[1:]))  # a larger kernel fits nowhere
    state = zoo.training.create_train_state(model, optax.sgd(1.0), 0, shape)
    for source in (folder / "base", folder / "five"):
        with pytest.raises(ZooError, match=f"does not fit {net} on idx: .*{sentence}"):
            zoo.training.init_from.read(str(source), state, net, "idx", shape)


def spoil(run: Path) -> None:
    """Puts a NaN into the parameters of a run, with the right sums."""
    checkpoint = run / "checkpoints/3"
    best = arrays.read_parts(checkpoint / "best", ("epoch", "score", "params", "batch_stats"))
    best["params"]["head"]["kernel"][0, 0] = np.nan
    shutil.rmtree(checkpoint / "best")
    arrays.write(checkpoint / "best", best)
    (checkpoint / sums.FILENAME).unlink()
    sums.write(checkpoint)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"freeze": "conv_2"}, "config.freeze: 'conv_2' matches no parameter: did you mean conv_1"),
        ({"freeze": ".*"}, "config.freeze: '.*' leaves no parameter to train"),
        (
            {"optimizer.rates": "conv_1=0.1"},
            r"config.optimizer.rates: 'conv_1' matches no parameter that is trained: .* head",
        ),
    ],
)
def test_patterns_that_do_not_suit_the_net_are_a_sentence(
    config: ConfigDict, tmp_path: Path, change: dict[str, str], sentence: str
) -> None:
    config.update_from_flattened_dict(change)
    with pytest.raises(ZooError, match=sentence):
        train_and_evaluate(config, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "change", [{"init_from": "five"}, {"freeze": "conv_1"}, {"optimizer.rates": ""}]
)
def test_a_run_cannot_go_on_with_other_parts(
    config: ConfigDict, whole: Path, change: dict[str, Any]
) -> None:
    config.update_from_flattened_dict(change)
    (key,) = change
    with pytest.raises(ZooError, match=f"holds a run with another configuration, {key} "):
        train_and_evaluate(config, whole, quiet=True)


def test_pages_and_saved_weights_tell_what_a_run_started_from(
    folder: Path, whole: Path, tmp_path: Path
) -> None:
    history = zoo.training.history.read(whole)
    facts = dict(zoo.web.views.view_run(whole, "run", "run").facts)
    assert facts["started from"] == str(folder / "base")
    assert facts["of them trained"] == "1,090"
    zoo.analysis.weights.export(whole, tmp_path / "saved")
    text = (tmp_path / "saved/config.json").read_text()
    assert str(folder) not in text  # no place of this machine
    training = json.loads(text)["training"]
    assert training["config"]["freeze"] == FREEZE
    assert training["config"]["model"] == "tiny"
    assert training["init_from"]["sha256"] == history.model["init_from"]["sha256"]
    content = json.loads((whole / "history.json").read_text())
    content["config"]["dataset"] = f"images:{tmp_path}/flowers"
    (tmp_path / "pictures").mkdir()
    shutil.copytree(whole / "checkpoints", tmp_path / "pictures/checkpoints")
    (tmp_path / "pictures/history.json").write_text(json.dumps(content))
    state = zoo.training.create_train_state(zoo.models.ConvNet(NET), optax.sgd(1.0), 0, (8, 8, 1))
    found = zoo.training.init_from.read(str(tmp_path / "pictures"), state, "tiny", "idx", (8, 8, 1))
    assert found.facts["dataset"] == "images:flowers"
    for source in (whole, tmp_path / "saved"):
        assert not zoo.analysis.trained.load(source).data.is_from_seed
    assert zoo.analysis.trained.load(folder / "base").data.is_from_seed


def test_the_summary_of_a_run_tells_what_is_trained(run_zoo: Zoo, whole: Path) -> None:
    status, said, _ = run_zoo("summary", whole)
    assert status == 0
    lines = {line.split()[0]: line for line in said.splitlines() if line}
    assert lines["conv_1"].endswith("  frozen")
    assert lines["batch_norm_1"].endswith("  frozen")
    assert lines["head"].endswith("  bias x 0.5, kernel x 1")
    assert "trainable 1,126, of which 1,090 are trained, moving statistics 6" in said


def test_the_patterns_of_a_strangers_run_are_not_matched(
    run_zoo: Zoo, whole: Path, tmp_path: Path
) -> None:
    """One such as this takes longer than a life."""
    run = tmp_path / "run"
    run.mkdir()
    content = json.loads((whole / "history.json").read_text())
    endless = f"(.*){{1,60}}{'.*' * 60}!"
    content["config"]["freeze"] = endless
    content["config"]["optimizer"]["rates"] = f"{endless}=2"
    (run / "history.json").write_text(json.dumps(content))
    assert run_zoo("summary", run) == run_zoo("summary", whole)
    given = run_zoo("summary", run, "--freeze=conv_1")[1]
    assert given == run_zoo("summary", whole, "--freeze=conv_1")[1]
    assert "trainable 1,126, of which 1,096 are trained" in given
    del content["model"]["rates"]
    (run / "history.json").write_text(json.dumps(content))
    status, _, error = run_zoo("summary", run)
    assert status == 2
    assert "does not hold which parameters are trained, because an earlier version" in error
    content["model"]["rates"] = {"head/bias": -1}
    (run / "history.json").write_text(json.dumps(content))
    assert "history.json is damaged" in run_zoo("summary", run)[2]


def test_the_summary_of_a_strangers_run_executes_no_file(
    run_zoo: Zoo, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("evil.py").write_text("open('executed', 'w')\nNET = ()\n")
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    content = json.loads((run / "history.json").read_text())
    content["config"]["model"] = "evil.py:NET"
    (run / "history.json").write_text(json.dumps(content))
    status, said, error = run_zoo("summary", run)
    assert (status, said, len(error.splitlines())) == (2, "", 1)
    assert not Path("executed").exists()


def test_a_history_that_was_edited_is_damaged(whole: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    before = json.loads((run / "history.json").read_text())
    for facts in (None, {}, {**before["model"]["init_from"], "source": "a\x1b[2J"}):
        content = {**before, "model": {**before["model"], "init_from": facts}}
        (run / "history.json").write_text(json.dumps(content))
        with pytest.raises(ZooError, match=r"history\.json is damaged"):
            zoo.training.history.read(run)
