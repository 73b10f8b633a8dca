"""Every net against Keras 3 on its JAX backend, as installed here."""

import os

import numpy as np
import pytest
from parity import nets, training

import zoo.models

os.environ["KERAS_BACKEND"] = "jax"
pytest.importorskip("keras", reason="Keras itself is in the extra parity")

# An Adam, an Adadelta and a batch normalization; the larger nets take Keras minutes each.
QUICK_IN_KERAS = ("pooling_cnn3",)

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.mark.parametrize("name", zoo.models.list_models())
def test_logits_agree(name: str) -> None:
    assert nets.deviation(nets.zoo_logits(name), nets.keras_logits(name)) <= nets.TOLERANCE


@pytest.mark.parametrize("kind", ["noise", "strokes"])
@pytest.mark.parametrize("name", QUICK_IN_KERAS)
def test_fifty_steps_are_the_golden_ones(name: str, kind: str) -> None:
    """That the zoo's steps are the golden ones, too, is in test_golden.py."""
    found, expected = training.train_in_keras(name, kind), training.golden(name, kind)
    assert max(training.deviations(found, expected)) <= training.TOLERANCE


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
