"""Every net against Keras 3 on its JAX backend, as installed here."""

import os

import numpy as np
import pytest
from parity import nets, training

import zoo.models

os.environ["KERAS_BACKEND"] = "jax"
pytest.importorskip("keras", reason="Keras itself is in the extra parity")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.mark.parametrize("name", zoo.models.list_models())
def test_logits_agree(name: str) -> None:
    assert nets.deviation(nets.zoo_logits(name), nets.keras_logits(name)) <= nets.TOLERANCE


@pytest.mark.parametrize("name", training.comparable_nets())
def test_fifty_steps_agree(name: str) -> None:
    """The notebook's optimizer, without dropout, in float64."""
    losses, expected = training.train_in_zoo(name), training.train_in_keras(name)
    assert training.deviation(losses, expected) <= training.TOLERANCE


def test_weights_go_back_to_keras() -> None:
    """As they came."""
    model = zoo.models.create_model("kernels_cnn5")
    other = nets.make_keras_net("kernels_cnn5")
    variables = zoo.models.from_keras_weights(model, other.get_weights())
    other.set_weights([np.zeros_like(array) for array in other.get_weights()])
    other.set_weights(zoo.models.to_keras_weights(model, variables))
    for array, expected in zip(
        other.get_weights(), nets.random_weights("kernels_cnn5"), strict=True
    ):
        np.testing.assert_array_equal(array, expected)
