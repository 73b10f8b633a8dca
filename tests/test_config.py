"""Configurations: one per net, as its notebook trained; wrong ones are a sentence."""

import importlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import GOLDEN, ROOT
from ml_collections import ConfigDict

import zoo.config
import zoo.reproduction.results
from zoo.config import check_same_run, flatten, hints, keys, unknown_key, validate
from zoo.configs import default
from zoo.system import forms
from zoo.system.errors import ZooError
from zoo.system.text import mean_text


def config_of(name: str) -> ConfigDict:
    return importlib.import_module(f"zoo.configs.{name}").get_config()


def test_every_net_has_a_config_and_every_config_a_net() -> None:
    names = {path.stem for path in (ROOT / "configs").glob("[!_]*.py")}
    assert names == {*GOLDEN, "default", "fast99"}


def test_fast99_is_a_configuration_like_any_other() -> None:
    config = zoo.config.load("fast99")
    validate(config)
    assert (config.model, config.num_epochs) == ("fast99", 1)


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_configs_train_as_the_notebooks_did(name: str) -> None:
    config, golden = config_of(name), GOLDEN[name]
    validate(config)
    optimizer = config.optimizer
    assert {
        "model": config.model,
        "dataset": config.dataset,
        "batch_size": config.batch_size,
        "num_epochs": config.num_epochs,
        "validation": config.validation,
        "optimizer": optimizer.name,
        "learning_rate": optimizer.learning_rate,
        "epsilon": optimizer.eps,
        "is_keras_adam": optimizer.keras_eps,
    } == {
        "model": name,
        "dataset": "mnist",
        **{key: golden[key] for key in ("batch_size", "num_epochs", "validation", "optimizer")},
        "learning_rate": golden["learning_rate"],
        "epsilon": golden["epsilon"],
        "is_keras_adam": golden["optimizer"] == "adam",
    }
    # Keras's constants, where Optax's defaults differ
    assert (optimizer.b1, optimizer.b2, optimizer.rho) == (0.9, 0.999, 0.95)


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_config_docstrings_give_the_command_and_the_published_accuracy(name: str) -> None:
    text = importlib.import_module(f"zoo.configs.{name}").__doc__
    assert text is not None
    assert f"python train.py --config configs/{name}.py" in text
    assert f"notebook {GOLDEN[name]['notebook']}" in text
    assert f"{GOLDEN[name]['published_accuracy']:.2%}" in text


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_each_config_tells_the_published_and_our_own_result(name: str) -> None:
    """As docs/results/reproduction.json has it."""
    told = importlib.import_module(f"zoo.configs.{name}").__doc__
    assert f"Published test accuracy {GOLDEN[name]['published_accuracy']:.2%}" in told
    runs = [
        run.test
        for run in zoo.reproduction.results.read(ROOT / "docs/results/reproduction.json")
        if (run.net, run.protocol) == (name, "notebook")
    ]
    own = "not run yet"
    if runs:
        accuracy = mean_text([test["accuracy"] for test in runs], ".2%")
        loss = mean_text([test["loss"] for test in runs], ".4f")
        own = f"{accuracy}, loss {loss} (n = {len(runs)})"
    assert f"\nOwn: {own}.\n" in told


def test_every_key_of_the_default_config_has_a_comment() -> None:
    lines = Path(default.__file__).read_text().splitlines()
    keys = [line for line in lines if " = " in line and "ConfigDict()" not in line]
    assert len(keys) == len(flatten(default.get_config()))
    assert all("  # " in line for line in keys)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"num_epochs": -1},
            "config.num_epochs must be a whole number from 1 to 2,147,483,647, not -1",
        ),
        (
            {"num_epochs": True},
            "config.num_epochs must be a whole number from 1 to 2,147,483,647, not True",
        ),
        ({"seed": 2**32}, r"config.seed must be a whole number from 0 to 4,294,967,295, not"),
        ({"num_seeds": 0}, "config.num_seeds must be a whole number from 1 to 10,000, not 0"),
        (
            {"seed": 2**32 - 1, "num_seeds": 2},
            r"config.seed \+ config.num_seeds must be at most 4,294,967,296",
        ),
        (
            {"batch_size": 0},
            "config.batch_size must be a whole number from 1 to 2,147,483,647, not 0",
        ),
        ({"model": "vgg6"}, r"config.model: unknown net 'vgg6': did you mean vgg5"),
        ({"dataset": "cifar"}, "config.dataset must be one of digits, mnist, .*, not 'cifar'"),
        ({"dataset": "npz:"}, r"config.dataset must be one of .*, npz:FILE, .*, not 'npz:'"),
        ({"data.image_size": -1}, "config.data.image_size must be a whole number from 0 to 10,000"),
        ({"data.channels": 2}, "config.data.channels must be 0, 1 or 3, not 2"),
        ({"data.test_share": 1.0}, "config.data.test_share must be above 0 and below 1, not 1.0"),
        ({"validation": "train"}, "config.validation must be one of holdout, .*test, not 'train'"),
        ({"optimizer.name": "adma"}, "config.optimizer.name must be one of adam, .*, not 'adma'"),
        (
            {"optimizer.learning_rate": 0.0},
            "config.optimizer.learning_rate must be a finite number above 0, not",
        ),
        ({"optimizer.learning_rate": float("nan")}, "must be a finite number above 0, not nan"),
        ({"optimizer.b1": 1.0}, "config.optimizer.b1 must be at least 0 and below 1, not 1.0"),
        (
            {"optimizer.schedule": "one_cycle", "optimizer.warmup_epochs": 1.0},
            "warmup_epochs must be 0 with the one_cycle schedule",
        ),
    ],
)
def test_a_value_out_of_range_is_one_sentence(change: dict[str, Any], sentence: str) -> None:
    config = default.get_config()
    for key, value in change.items():
        group, _, name = key.rpartition(".")
        owner = config[group] if group else config
        with owner.ignore_type():
            owner[name] = value
    with pytest.raises(ZooError, match=sentence) as error:
        validate(config)
    assert "\n" not in str(error.value)


def test_a_missing_and_an_extra_key_are_one_sentence() -> None:
    config = default.get_config()
    config.nmu_epochs = 3
    with pytest.raises(ZooError, match=r"unknown key config.nmu_epochs: did you mean num_epochs"):
        validate(config)
    config = default.get_config()
    del config.optimizer["eps"]
    with pytest.raises(ZooError, match=r"config.optimizer.eps is missing"):
        validate(config)


def test_a_mistyped_key_names_its_neighbours() -> None:
    assert "did you mean num_epochs" in unknown_key("epochs")
    assert "did you mean optimizer.learning_rate" in unknown_key("learning_rate")
    assert "did you mean optimizer.learning_rate" in unknown_key("optimizer.learning_rat")
    assert "configs/default.py" in unknown_key("zzz")
    assert "is a group of keys: did you mean optimizer.name" in unknown_key("optimizer")


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("num_classes", "it follows from the dataset, config.dataset"),
        ("image_shape", "it follows from the dataset, config.dataset"),
        ("in_channels", "it follows from the dataset, config.dataset"),
        ("dropout", "it follows from the net, config.model"),
        ("workdir", "--workdir DIR sets a run's directory"),
        ("device", "the environment variable JAX_PLATFORMS chooses the device"),
        ("early_stopping", "config.validation=holdout tests the best epoch"),
        ("epochs", "did you mean num_epochs?"),
        ("numEpochs", "did you mean num_epochs?"),
        ("lr", "did you mean optimizer.learning_rate?"),
        ("optimizer.lr", "did you mean optimizer.learning_rate?"),
        ("batchsize", "did you mean batch_size?"),
        ("bs", "did you mean batch_size?"),
        ("optim", "did you mean optimizer.name?"),
        ("beta_1", "did you mean optimizer.b1?"),
        ("betas", "did you mean optimizer.b1 or optimizer.b2?"),
        ("epsilon", "did you mean optimizer.eps?"),
        ("wd", "did you mean optimizer.weight_decay?"),
        ("image_size", "did you mean data.image_size?"),
        ("resize", "did you mean data.image_size?"),
        ("num_channels", "did you mean data.channels?"),
        ("net", "did you mean model?"),
        ("seeds", "did you mean seed or num_seeds?"),
        ("scheduler", "did you mean optimizer.schedule?"),
    ],
)
def test_a_key_of_other_programs_is_answered_with_ours(key: str, hint: str) -> None:
    assert unknown_key(key).startswith(f"unknown key config.{key}: {hint}")


def test_a_key_that_is_like_no_other_is_answered_with_the_file_of_all() -> None:
    path = unknown_key("help").removeprefix("unknown key config.help: the keys are in ")
    assert Path(path).samefile(ROOT / "configs/default.py")


def test_no_synonym_is_a_key_or_stands_for_none() -> None:
    known = {key.rsplit(".", 1)[-1].replace("_", "") for key in keys.KEYS}
    assert hints._SYNONYMS.keys() <= keys.KEYS.keys()
    for names in (*hints._SYNONYMS.values(), *hints._NOT_SET.values()):
        assert not known & {*names.split()}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda config: config.update(model="vgg5"), r"model \('pooling_cnn3' there, 'vgg5' here"),
        (lambda config: config.optimizer.update(eps=1e-8), r"optimizer.eps \(1e-07 there, 1e-08"),
        (lambda config: config.update(num_epochs=3), "num_epochs may only grow"),
    ],
)
def test_another_configuration_cannot_go_on_with_a_run(
    change: Callable[[ConfigDict], None], sentence: str
) -> None:
    old, new = default.get_config(), default.get_config()
    change(new)
    with pytest.raises(ZooError, match=sentence):
        check_same_run(old.to_dict(), new.to_dict(), "runs/x")


def test_more_epochs_and_other_places_can_go_on_with_a_run() -> None:
    old, new = default.get_config(), default.get_config()
    new.num_epochs = 99
    new.update(data_dir="/elsewhere", manual_dir="/elsewhere", dataset="idx")
    old.update(dataset="idx")
    new.checkpoint.keep_last = 5
    check_same_run(old.to_dict(), new.to_dict(), "runs/x")
    old.init_from, new.init_from = "/there/runs/base", "here/runs/base"  # it moved with the run
    check_same_run(old.to_dict(), new.to_dict(), "runs/x")
    new.init_from = "here/runs/other"
    with pytest.raises(
        ZooError, match=r"init_from \('/there/runs/base' there, 'here/runs/other' he"
    ):
        check_same_run(old.to_dict(), new.to_dict(), "runs/x")
    new.init_from = old.init_from
    new.checkpoint.best_metric = "val_loss"
    check_same_run(old.to_dict(), new.to_dict(), "runs/x")
    old.validation = new.validation = "holdout"  # now it decides which epoch is tested
    with pytest.raises(ZooError, match=r"checkpoint.best_metric \('val_accuracy' there"):
        check_same_run(old.to_dict(), new.to_dict(), "runs/x")
    new.checkpoint.best_metric = "val_accuracy"
    old.optimizer.schedule = new.optimizer.schedule = "cosine"
    with pytest.raises(ZooError, match=r"its cosine schedule was made for 30"):
        check_same_run(old.to_dict(), new.to_dict(), "runs/x")


def test_a_package_configs_of_the_users_own_is_never_imported(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/__init__.py").write_text("raise RuntimeError('imported')")
    for name in ("default", "vgg5"):
        (tmp_path / f"configs/{name}.py").write_text((ROOT / f"configs/{name}.py").read_text())
    (tmp_path / "zoo_of_theirs.py").write_text(
        "import zoo.config\n"
        "from zoo.cli.arguments import parse, parse_named\n"
        "print(zoo.config.load('vgg5').model)\n"
        "print(parse(['--config=configs/vgg5.py']).config.model)\n"
        "print(parse_named('configs/vgg5.py', []).config.model)\n"
        "print(parse_named('vgg5', []).config.model)\n"
    )
    result = subprocess.run(
        [sys.executable, "zoo_of_theirs.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.stdout, result.stderr) == (4 * "vgg5\n", "")


def test_what_a_history_keeps_of_any_directory_can_be_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One with bytes that are no text, or with a space that is not printable."""
    config = default.get_config()
    for name in ("b\udce9", "a\u3000b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        config.update(
            data_dir="data", manual_dir="bars", init_from="runs/base", dataset="npz:a.npz"
        )
        kept = zoo.config.to_keep(config)
        (tmp_path / "kept.json").write_text(json.dumps(kept))
        assert forms.read_json(tmp_path / "kept.json") == kept
        zoo.config.check_values(kept)
