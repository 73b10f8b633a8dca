"""Every net against what Keras gave (golden_logits.npz, golden_training.npz), without Keras."""

import numpy as np
import pytest
from parity import nets, training

import zoo.models

QUICK = ("pooling_cnn3",)


@pytest.mark.parametrize("name", zoo.models.list_models())
def test_logits_agree_with_keras(name: str) -> None:
    with np.load(nets.GOLDEN_FILE) as golden:
        assert nets.deviation(nets.zoo_logits(name), golden[name]) <= nets.TOLERANCE


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in zoo.models.list_models()
    ],
)
def test_fifty_steps_agree_with_keras(name: str) -> None:
    """The notebook's optimizer, without dropout: losses, and moving statistics at the end."""
    found = training.train_in_zoo(name)
    assert max(training.deviations(found, training.golden(name))) <= training.TOLERANCE
