"""Every net against what Keras gave for the same weights and images (golden.npz)."""

import numpy as np
import pytest
from parity import nets

import zoo.models


@pytest.mark.parametrize("name", zoo.models.list_models())
def test_logits_agree_with_keras(name: str) -> None:
    with np.load(nets.GOLDEN_FILE) as golden:
        assert nets.deviation(nets.zoo_logits(name), golden[name]) <= nets.TOLERANCE
