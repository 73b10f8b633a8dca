"""Every net against Keras 3 on its JAX backend, as installed here."""

import os
from typing import Any

import numpy as np
import pytest
from parity import nets, training

import zoo.models
from zoo.models.layers import BatchNorm, Conv, Flatten, Head, LayerNorm

os.environ["KERAS_BACKEND"] = "jax"
pytest.importorskip("keras", reason="Keras itself is in the extra parity")

# An Adam, an Adadelta and a batch normalization; the larger nets take Keras minutes each.
QUICK_IN_KERAS = ("pooling_cnn3",)

# The others are compared with the logits of Keras in tests/golden.
IN_CI = ("lenet3", "vgg5", "custom7", "pairs_cnn10", "pooling_cnn5")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in IN_CI else pytest.mark.full)
        for name in zoo.models.list_models()
    ],
)
def test_logits_agree(name: str) -> None:
    assert nets.deviation(nets.zoo_logits(name), nets.keras_logits(name)) <= nets.TOLERANCE


@pytest.mark.parametrize("kind", ["noise", "strokes"])
@pytest.mark.parametrize("name", QUICK_IN_KERAS)
@pytest.mark.slow
def test_fifty_steps_are_the_golden_ones(name: str, kind: str) -> None:
    """That the zoo's steps are the golden ones, too, is in test_golden.py."""
    found, expected = training.train_in_keras(name, kind), training.golden(name, kind)
    assert max(training.deviations(found, expected)) <= training.TOLERANCE


@pytest.mark.slow
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


def channels_first(name: str, flatten: str | None) -> Any:
    """The net with channels first and random weights; Flatten as Keras has it by default."""
    import keras

    options = {"data_format": "channels_first"}
    layers: list[Any] = [keras.Input((1, 28, 28))]
    for layer in nets.make_keras_net(name).layers:
        config = layer.get_config()
        if isinstance(layer, keras.layers.Flatten):
            config.pop("data_format")
            config |= {"data_format": flatten} if flatten else {}
        elif "data_format" in config:
            config |= options
        elif isinstance(layer, keras.layers.BatchNormalization) and not any(
            isinstance(before, keras.layers.Flatten) for before in layers
        ):
            config["axis"] = 1
        layers.append(type(layer).from_config(config))
    model = keras.Sequential(layers)
    model.set_weights(nets.random_weights(name))
    return model


@pytest.mark.parametrize("flatten", [None, "channels_first", "channels_last"])
@pytest.mark.parametrize("name", ["lenet3", "ablation_cnn3"])  # more than 1x1 when flattened
@pytest.mark.slow
def test_a_channels_first_model_computes_the_same(name: str, flatten: str | None) -> None:
    """Its images are transposed, its weights converted by the format that its layers tell."""
    other = channels_first(name, flatten)
    images = nets.random_images(name)
    expected = np.asarray(other(images.transpose(0, 3, 1, 2), training=False))
    order: zoo.models.DataFormat = (
        "channels_last" if flatten == "channels_first" else "channels_first"
    )
    model = zoo.models.create_model(name)
    for variables in (
        zoo.models.from_keras_weights(model, other),
        zoo.models.from_keras_weights(model, other.get_weights(), data_format=order),
    ):
        logits = np.asarray(model.apply(variables, images, train=False))
        assert nets.deviation(logits, expected) <= nets.TOLERANCE
    back = zoo.models.to_keras_weights(model, variables, data_format=order)
    for array, original in zip(back, other.get_weights(), strict=True):
        np.testing.assert_array_equal(array, original)


@pytest.mark.slow
def test_normalizations_of_a_flattened_channels_first_image_are_those_of_keras() -> None:
    import keras

    first = {"data_format": "channels_first"}
    other = keras.Sequential(
        [
            keras.Input((2, 5, 4)),
            keras.layers.Conv2D(3, 3, activation="relu", **first),
            keras.layers.Flatten(),
            keras.layers.BatchNormalization(),
            keras.layers.LayerNormalization(),
            keras.layers.Dense(4),
        ]
    )
    rng = np.random.default_rng(0)
    other.set_weights([rng.uniform(0.5, 1.5, array.shape) for array in other.get_weights()])
    images = rng.random((3, 5, 4, 2), np.float32)
    expected = np.asarray(other(images.transpose(0, 3, 1, 2), training=False))
    net = (Conv(3, 3), Flatten(), BatchNorm(), LayerNorm(epsilon=1e-3), Head())
    model = zoo.models.ConvNet(net, num_classes=4)
    variables = zoo.models.from_keras_weights(model, other, images.shape[1:])
    logits = np.asarray(model.apply(variables, images, train=False))
    assert nets.deviation(logits, expected) <= nets.TOLERANCE


@pytest.mark.slow
def test_a_keras_model_whose_order_is_unclear_is_asked_for_by_name() -> None:
    import keras

    model = zoo.models.create_model("pooling_cnn3")
    first, flat, *rest = (
        layer if not isinstance(layer, keras.layers.Flatten) else keras.layers.Reshape((-1,))
        for layer in nets.make_keras_net("pooling_cnn3").layers
    )
    other = keras.Sequential([keras.Input(nets.IMAGE_SHAPE), first, flat, *rest])
    with pytest.raises(ValueError, match=r"Flatten is Reshape\): give data_format='channels_last'"):
        zoo.models.from_keras_weights(model, other)
    zoo.models.from_keras_weights(model, other, data_format="channels_last")


@pytest.mark.slow
def test_every_layer_of_ones_own_nets_is_that_of_keras() -> None:
    """Strides, groups, depthwise kernels, pools, normalizations, activations, a shortcut."""
    import keras
    from keras import layers as k

    from zoo.models import layers as z

    def leaky(x: Any) -> Any:
        return keras.activations.leaky_relu(x, 0.01)

    net: z.Net = (
        z.Conv(8, 3, "SAME", stride=2, activation="gelu"),
        z.Conv(8, 3, groups=2, activation="leaky_relu"),
        z.GroupNorm(4, epsilon=0.01),
        z.AvgPool(3, 2, "SAME"),
        z.Residual(
            (
                z.DepthwiseConv(3, "SAME", stride=2, activation="silu"),
                z.Conv(6, 1, activation=None),
                z.LayerNorm(),
            ),
            activation="selu",
        ),
        z.GlobalAvgPool(),
        z.Dense(7, activation="selu", use_bias=False),
        z.Head(),
    )
    images = keras.Input((21, 18, 3))
    x = k.Conv2D(8, 3, strides=2, padding="same", activation=keras.activations.gelu)(images)
    x = k.Conv2D(8, 3, groups=2, activation=leaky)(x)
    x = k.GroupNormalization(4, epsilon=0.01)(x)
    x = k.AveragePooling2D(3, 2, padding="same")(x)
    y = k.DepthwiseConv2D(3, strides=2, padding="same", activation="silu")(x)
    y = k.LayerNormalization(epsilon=1e-3)(k.Conv2D(6, 1)(y))
    shortcut = k.Conv2D(6, 1, strides=2, use_bias=False, name="shortcut")(x)
    x = k.Activation("selu")(k.Add()([y, shortcut]))
    x = k.Dense(7, activation="selu", use_bias=False)(k.GlobalAveragePooling2D()(x))
    other = keras.Model(images, k.Dense(10)(x))

    rng = np.random.default_rng(0)
    weights = [rng.normal(0.1, 0.4, weight.shape).astype("float32") for weight in other.weights]
    other.set_weights(weights)
    # Keras has layers in the order of their depth; here those of a shortcut come last.
    paths = [weight.path for weight in other.weights]
    (shortcut_at,) = (i for i, path in enumerate(paths) if path.startswith("shortcut/"))
    first_dense = next(i for i, path in enumerate(paths) if path.startswith("dense"))
    weights.insert(first_dense - 1, weights.pop(shortcut_at))
    model = zoo.models.create_model(net)
    variables = zoo.models.from_keras_weights(model, weights, (21, 18, 3))
    x = rng.random((4, 21, 18, 3)).astype("float32")
    np.testing.assert_allclose(
        model.apply(variables, x, train=False), other(x), rtol=1e-4, atol=1e-4
    )
