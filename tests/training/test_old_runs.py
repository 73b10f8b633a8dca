"""A run that an earlier version left in the middle of an epoch goes on.

tests/golden/run_of_numerics_1 was written at commit 26c1aa4: pooling_cnn3 on digits, three epochs
of batches of 200 by plain SGD, validation=holdout, killed after batch 5 of 6 of epoch 2. Its
checkpoint is of format 2, its environment tells no version of the numerics.
"""

import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import zoo.data
import zoo.training.history
import zoo.training.parameters
from zoo.configs import default
from zoo.training import arrays, numerics, train_and_evaluate
from zoo.training.checkpoint import Checkpoints
from zoo.training.loop import Trainer
from zoo.training.resume import first_snapshot, starting_point
from zoo.training.terminal import Terminal

OLD_RUN = Path(__file__).parents[1] / "golden/run_of_numerics_1"
# What commit 26c1aa4 itself came to from there. Version 2 of the numerics differs where a patch is
# blank and biases are still near zero; processors differ in last bits.
VAL_LOSSES = (2.287176957179931, 2.269084785223832, 2.2429786338938147)


@pytest.fixture
def old_run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD_RUN, tmp_path / "run"))


def config_of(run: Path) -> ConfigDict:
    """The run's configuration, made from today's default as by a configuration file."""
    config = default.get_config()
    config.update(ConfigDict(zoo.training.history.read(run).config))
    return config


def test_a_run_of_before_goes_on_and_says_that_its_numerics_changed(
    old_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = config_of(old_run)
    history = train_and_evaluate(config, old_run)
    printed = capsys.readouterr()
    assert "going on after batch 5 of 6 of epoch 2" in printed.out
    assert "computed with version 1 of the zoo's numerics and goes on with version" in printed.err
    assert numerics.CHANGES[2] in printed.err
    assert [record["val_loss"] for record in history.epochs] == pytest.approx(VAL_LOSSES, rel=2e-3)
    assert history.test is not None
    assert history.test["epoch"] == 3
    assert numerics.version_of(history.environment) == numerics.VERSION
    (earlier,) = history.earlier_environments
    assert (numerics.version_of(earlier), earlier["until_epoch"]) == (1, 1)
    assert zoo.training.parameters.read(old_run).best_epoch == 3


def test_its_arrays_are_read_bit_for_bit(old_run: Path) -> None:
    names = ("step", "seed", "params", "best")
    written = arrays.read_parts(OLD_RUN / "checkpoints/11-partial/state", names)
    config = config_of(old_run)
    trainer = Trainer(config, zoo.data.load("digits"), Terminal(quiet=True))
    first = first_snapshot(trainer)
    checkpoints = Checkpoints(old_run, 1, 0, "val_accuracy")
    found, _ = starting_point(old_run, checkpoints, first, trainer.steps_per_epoch)
    assert found.best is not None
    restored = {name: getattr(found.state, name) for name in ("step", "seed", "params")}
    restored["best"] = {
        key: getattr(found.best, key) for key in ("score", "epoch", "params", "batch_stats")
    }
    jax.tree.map(np.testing.assert_array_equal, restored, written)
    assert (int(found.state.step), int(found.best.epoch)) == (11, 1)
