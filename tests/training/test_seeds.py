"""Many seeds in one run: each is trained as it would be alone."""

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict
from test_training import last_state

import zoo.training.history
from zoo.models.layers import BatchNorm, Conv, Dropout, Flatten, Head, MaxPool
from zoo.system import figures
from zoo.system.errors import ZooError
from zoo.training import train_and_evaluate
from zoo.training.curves import draw_histories

METRICS = ("loss", "accuracy", "val_loss", "val_accuracy")


@pytest.mark.slow
def test_each_seed_equals_its_single_run(
    tiny_config: ConfigDict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bit for bit: histories, test scores, parameters and optimizer state."""
    tiny_config.update(seed=7, num_seeds=3, num_epochs=3, validation="holdout")
    tiny_config.optimizer.learning_rate = 0.01  # jumps, so that the best epochs differ
    together = train_and_evaluate(tiny_config, tmp_path / "together")
    said = capsys.readouterr().out
    assert "seeds 7 to 9" in said
    assert "of 3 seeds" in said.splitlines()[-1]
    assert together.test is not None
    assert len(set(together.test["epoch"])) > 1, "the best epochs do not differ"
    state = last_state(tiny_config, tmp_path / "together")
    for index in range(3):
        config = tiny_config.copy_and_resolve_references()
        config.update(seed=7 + index, num_seeds=1)
        alone = train_and_evaluate(config, tmp_path / f"alone-{index}", quiet=True)
        assert together.model == alone.model
        for record, expected in zip(together.epochs, alone.epochs, strict=True):
            assert {key: record[key][index] for key in METRICS} == {
                key: expected[key] for key in METRICS
            }
            assert record["step"] == expected["step"]
        assert alone.test is not None
        assert together.test is not None
        for key in ("loss", "accuracy", "epoch"):
            assert together.test[key][index] == alone.test[key]
        jax.tree.map(
            lambda many, one, index=index: np.testing.assert_array_equal(many[index], one),
            state,
            last_state(config, tmp_path / f"alone-{index}"),
        )


@pytest.mark.slow
def test_seeds_at_once_agree_with_seeds_one_after_another(
    tiny_config: ConfigDict, tmp_path: Path
) -> None:
    """Five, two at a time and one left, with batch normalization and dropout, to 5e-4."""
    net = (Conv(8, 3), BatchNorm(), MaxPool(2), Flatten(), Dropout(0.3), Head())
    tiny_config.update(num_seeds=5, num_epochs=2)
    losses = []
    for at_once in (1, 2):
        tiny_config.mesh.seeds_at_once = at_once
        history = train_and_evaluate(tiny_config, tmp_path / str(at_once), model=net, quiet=True)
        losses.append([[record["loss"], record["val_loss"]] for record in history.epochs])
    np.testing.assert_allclose(*losses, rtol=5e-4)


@pytest.mark.slow
def test_a_run_of_many_seeds_goes_on_bit_for_bit(tiny_config: ConfigDict, tmp_path: Path) -> None:
    tiny_config.update(num_seeds=2, num_epochs=3)
    whole = train_and_evaluate(tiny_config, tmp_path / "whole", quiet=True)
    tiny_config.num_epochs = 1
    train_and_evaluate(tiny_config, tmp_path / "parts", quiet=True)
    tiny_config.num_epochs = 3
    parts = train_and_evaluate(tiny_config, tmp_path / "parts", quiet=True)
    assert [record["loss"] for record in parts.epochs] == [
        record["loss"] for record in whole.epochs
    ]
    assert parts.test == whole.test
    jax.tree.map(
        np.testing.assert_array_equal,
        last_state(tiny_config, tmp_path / "parts"),
        last_state(tiny_config, tmp_path / "whole"),
    )


def test_a_history_of_another_number_of_seeds_is_damaged(
    tiny_config: ConfigDict, tmp_path: Path
) -> None:
    tiny_config.update(num_seeds=2, num_epochs=1)
    train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)
    path = tmp_path / "run" / zoo.training.history.FILENAME
    content = json.loads(path.read_text())
    content["epochs"][0]["loss"] = content["epochs"][0]["loss"][:1]
    path.write_text(json.dumps(content))
    with pytest.raises(ZooError, match="is damaged"):
        zoo.training.history.read(tmp_path / "run")


def test_a_plot_shows_the_mean_and_a_band(tiny_config: ConfigDict, tmp_path: Path) -> None:
    for num_seeds in (1, 2):
        tiny_config.num_seeds = num_seeds
        history = train_and_evaluate(tiny_config, tmp_path / f"{num_seeds}", quiet=True)
        figures.save(draw_histories({"run": history}), tmp_path / f"{num_seeds}.svg")
    assert "FillBetween" not in (tmp_path / "1.svg").read_text()
    assert (tmp_path / "2.svg").read_text().count('id="FillBetween') == 4
