"""Runs of nets of one's own: layers in a file or given in code, and Flax modules."""

import datetime
import json
import shutil
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from zoo.analysis import pictures, trained, weights
from zoo.cli.arguments import parse_named
from zoo.configs import default
from zoo.data import Dataset, Split
from zoo.models import ConvNet
from zoo.models.layers import Conv, Flatten, GlobalAvgPool, GroupNorm, Head, Net, Residual
from zoo.system.errors import ZooError
from zoo.system.figures import save
from zoo.training import nets, train_and_evaluate
from zoo.web import comparison, report

NET: Net = (
    Conv(4, 3, stride=2, activation="silu"),
    Residual((Conv(4, 3, "SAME"), GroupNorm(2))),
    GlobalAvgPool(),
    Head(),
)
FILE = f"from zoo.models.layers import *\nNET = {NET!r}\n"


def config_of(model: str = "pooling_cnn3", num_epochs: int = 1) -> ConfigDict:
    config = default.get_config()
    config.update(model=model, dataset="digits", batch_size=256, num_epochs=num_epochs)
    return config


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("nets") / "my_nets.py"
    path.write_text(FILE)
    return path


@pytest.fixture(scope="module")
def first_run(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch of the net in the file."""
    workdir = tmp_path_factory.mktemp("run")
    train_and_evaluate(config_of(f"{file}:NET"), workdir, quiet=True)
    return workdir


@pytest.fixture
def run(first_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(first_run, tmp_path / "run"))


def test_the_run_holds_the_net_and_answers_without_its_file(
    run: Path, file: Path, tmp_path: Path
) -> None:
    history = json.loads((run / "history.json").read_text())
    assert history["model"]["name"] == "NET"
    assert history["model"]["layers"][1]["layers"][1] == {"kind": "GroupNorm", "groups": 2}
    file.write_text("raise SystemExit('this must not be executed')\n")
    try:
        net = trained.load(run)
        assert net.model.net == NET
        test = net.split("test")
        accuracy = (net.logits(test.images).argmax(1) == test.labels).mean()
        assert accuracy == pytest.approx(history["test"]["accuracy"], abs=1e-6)
        weights.export(run, tmp_path / "weights")
        text = (tmp_path / "weights/config.json").read_text()
        assert json.loads(text)["training"]["config"]["model"] == "NET"
        assert str(file.parent) not in text  # no place of this machine
        again = trained.load(tmp_path / "weights")
        np.testing.assert_array_equal(again.logits(test.images), net.logits(test.images))
        for number, figure in enumerate(
            (
                pictures.weights(net),
                pictures.filters(net),
                pictures.activations(net, test.images[0], "0"),
            )
        ):
            save(figure, tmp_path / f"{number}.png")
        (entry,) = comparison.read([run])
        assert (entry.num_convolutions, entry.has_dropout) == (2, False)
        assert "residual_1/group_norm_1" in report.make([run], datetime.date(2026, 1, 1))
    finally:
        file.write_text(FILE)


@pytest.mark.slow
def test_the_same_layers_go_on_from_a_file_elsewhere(run: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved.py"
    moved.write_text(f"{FILE}MINE = NET\n")
    history = train_and_evaluate(config_of(f"{moved}:MINE", num_epochs=2), run, quiet=True)
    assert len(history.epochs) == 2


def test_other_layers_are_refused(run: Path, tmp_path: Path) -> None:
    """Of a run that is complete, and of one that goes on."""
    other = tmp_path / "other.py"
    other.write_text(FILE.replace("GroupNorm(2)", "GroupNorm(4)"))
    for num_epochs in (1, 2):
        with pytest.raises(ZooError, match=r"GroupNorm\(2\).* there, .*GroupNorm\(4\).* here: put"):
            train_and_evaluate(config_of(f"{other}:NET", num_epochs), run, quiet=True)
    with pytest.raises(ZooError, match=r"model \('.*:NET' there, 'pooling_cnn3' here\)"):
        train_and_evaluate(config_of(), run, quiet=True)


def test_a_history_with_edited_layers_is_damaged(run: Path) -> None:
    content = json.loads((run / "history.json").read_text())
    content["model"]["layers"][0]["features"] = 10**9
    (run / "history.json").write_text(json.dumps(content))
    with pytest.raises(ZooError, match="is damaged"):
        trained.load(run)


def test_layers_may_be_given_in_code(tmp_path: Path) -> None:
    net = (Conv(3, 3), Flatten(), Head())
    history = train_and_evaluate(config_of(), tmp_path, model=net, quiet=True)
    assert history.config["model"] == "layers (given in code)"
    assert trained.load(tmp_path).model.net == net
    with pytest.raises(ZooError, match=r"another net, Conv\(3, 3\) there, Conv\(4, 3\) here"):
        train_and_evaluate(config_of(), tmp_path, model=(Conv(4, 3), *net[1:]), quiet=True)
    with pytest.raises(ZooError, match=r"computes in bfloat16, and config.dtype is float32: make"):
        train_and_evaluate(config_of(), tmp_path, model=ConvNet(net, 10, jnp.bfloat16), quiet=True)
    with pytest.raises(ZooError, match="the model that is given cannot be trained: a net must be"):
        train_and_evaluate(config_of(), tmp_path, model=list(net), quiet=True)  # type: ignore


class Perceptron(nn.Module):
    """Not made of layers of ours."""

    features: int
    num_classes: int = 10

    @nn.compact
    def __call__(self, images: jax.Array, *, train: bool, mask: Any = None) -> jax.Array:
        x = images.reshape(len(images), -1).astype(jnp.float32) / 255
        x = nn.Dropout(0.1, deterministic=not train)(nn.relu(nn.Dense(self.features)(x)))
        return nn.Dense(self.num_classes)(x)


def test_the_layers_of_a_module_of_ours_are_known_as_those_of_a_tuple() -> None:
    net = (Conv(3, 3), Flatten(), Head())
    _, chosen = nets.choose(config_of(), ConvNet(net))
    assert chosen.about == nets.choose(config_of(), net)[1].about
    _, chosen = nets.choose(config_of(), ConvNet((*net[:-1], Head(nn.initializers.zeros))))
    assert chosen.about == {
        "layers": None,
        "module": "ConvNet(net=(Conv(features=3, kernel_size=3), Flatten(), "
        "Head(kernel_init=zeros)))",
    }
    nets.check_same({"layers": None}, chosen.about, "run")  # of a run of before


def test_images_that_a_history_cannot_hold_are_refused() -> None:
    images = np.broadcast_to(np.zeros((), np.uint8), (2, 4000, 3000, 1))
    split = Split(images, np.arange(2, dtype=np.int32))
    with pytest.raises(ZooError, match="images of 4000x3000x1 have 12,000,000 values, and a run"):
        nets.check_logits(ConvNet(NET, 2), Dataset("idx", split, split, 2), config_of())


@pytest.mark.slow
def test_any_flax_module_is_trained_and_evaluated_where_it_is_given(tmp_path: Path) -> None:
    module = Perceptron(16)
    history = train_and_evaluate(config_of(), tmp_path, model=module, quiet=True)
    assert history.model == {
        "name": "Perceptron (given in code)",
        "num_params": 784 * 16 + 16 + 16 * 10 + 10,
        "layers": None,
        "module": "Perceptron(features=16)",
    }
    again = train_and_evaluate(config_of(num_epochs=2), tmp_path, model=module, quiet=True)
    assert len(again.epochs) == 2
    assert again.test is not None
    net = trained.load(tmp_path, model=module)
    test = net.split("test")
    accuracy = (net.logits(test.images).argmax(1) == test.labels).mean()
    assert accuracy == pytest.approx(again.test["accuracy"], abs=1e-6)
    save(pictures.weights(net), tmp_path / "weights.png")
    assert "Perceptron (given in code)" in report.make([tmp_path], datetime.date(2026, 1, 1))
    (entry,) = comparison.read([tmp_path])
    assert comparison.to_rows([entry])[1][2:4] == ("", "")
    with pytest.raises(ZooError, match=r"evaluate it in code, with zoo\.analysis\.trained\.load"):
        trained.load(tmp_path)
    with pytest.raises(ZooError, match="does not match the net"):
        trained.load(tmp_path, model=Perceptron(17))
    with pytest.raises(
        ZooError, match=r"another module, features=16\) there, features=17\) here: give it"
    ):
        train_and_evaluate(config_of(num_epochs=3), tmp_path, model=Perceptron(17), quiet=True)
    content = json.loads((tmp_path / "history.json").read_text())
    del content["model"]["module"]  # a run of before
    (tmp_path / "history.json").write_text(json.dumps(content))
    assert train_and_evaluate(config_of(num_epochs=2), tmp_path, model=module, quiet=True).test
    with pytest.raises(ZooError, match="layers are not known"):
        pictures.activations(net, test.images[0], "0")
    with pytest.raises(ZooError, match="evaluate it in code"):
        weights.export(tmp_path, tmp_path / "weights")


def test_a_module_that_does_not_fit_is_one_sentence(tmp_path: Path) -> None:
    class NoMode(nn.Module):
        def __call__(self, images: jax.Array) -> jax.Array:
            return images

    class NoWeights(nn.Module):
        def __call__(self, images: jax.Array, *, train: bool) -> jax.Array:
            return jnp.zeros((len(images), 10))

    with pytest.raises(ZooError, match=r"must give logits \[B, 10\] .*, not \(1, 3\) for one"):
        train_and_evaluate(config_of(), tmp_path, model=Perceptron(4, 3), quiet=True)
    with pytest.raises(ZooError, match=r"NoWeights .* on digits has no parameters to train"):
        train_and_evaluate(config_of(), tmp_path, model=NoWeights(), quiet=True)
    with pytest.raises(ZooError, match=r"NoMode \(given in code\) on digits: .*'train'"):
        train_and_evaluate(config_of(), tmp_path, model=NoMode(), quiet=True)
    with pytest.raises(ZooError, match=r"must give logits \[B, 10\] .*, not \(1, 784\) for one"):
        train_and_evaluate(config_of(), tmp_path, model=(Flatten(),), quiet=True)
    with pytest.raises(ZooError, match=r"must give logits \[B, 10\] .*, not \(1, 3\) for one"):
        train_and_evaluate(config_of(), tmp_path, model=ConvNet((Flatten(), Head()), 3), quiet=True)


def test_layers_that_do_not_fit_the_images_are_one_sentence(tmp_path: Path) -> None:
    for net, sentence in (
        ((Conv(4, 29), Flatten(), Head()), "on digits: a 28x28 image is too small for this net"),
        ((GroupNorm(2), Flatten(), Head()), "on digits: group_norm_1 has 2 groups, but 1 channels"),
    ):
        with pytest.raises(ZooError, match=sentence):
            train_and_evaluate(config_of(), tmp_path, model=net, quiet=True)


def test_the_command_line_takes_a_file_and_a_name(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    parsed = parse_named("my_nets.py:NET", ["--config.dataset=digits"])
    assert parsed.config.model == "my_nets.py:NET"
    assert parsed.workdir == Path("runs/NET-digits-0")
    with pytest.raises(ZooError, match=r"config.model: my_nets.py has no 'MET': did you mean"):
        parse_named("my_nets.py:MET", [])
