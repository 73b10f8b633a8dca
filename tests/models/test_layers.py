"""The layers one by one, nets of one's own, and the facts that follow from their lists."""

import dataclasses
import functools
import json
import math
import pickle
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf
from test_init import assert_same_bits, flax_init

import zoo.models.layers
from zoo.models import (
    ConvNet,
    ImageTooSmallError,
    create_model,
    from_keras_weights,
    from_pretrained,
    layer_lists,
    layer_macs,
    layer_shapes,
    min_image_size,
    save_pretrained,
    to_keras_weights,
)
from zoo.models.layers import (
    ACTIVATIONS,
    Activation,
    AvgPool,
    BatchNorm,
    Conv,
    Crop,
    Dense,
    DepthwiseConv,
    Dropout,
    Flatten,
    GlobalAvgPool,
    GroupNorm,
    Head,
    Layer,
    LayerNorm,
    MaxPool,
    Net,
    Residual,
    every_layer,
)
from zoo.models.net import places, variable_shapes

KEY = jax.random.key(0)
EVERYTHING: Net = (
    Crop(1),
    Conv(6, 3, "SAME", stride=2, activation="leaky_relu"),
    Residual((Conv(6, 3, "SAME", groups=2), BatchNorm(), Conv(6, 1, activation=None))),
    Residual((DepthwiseConv(3, "SAME", stride=2), Conv(8, 1, use_bias=False)), activation="selu"),
    Residual(
        (Residual((LayerNorm(),), activation=None), AvgPool(2, padding="SAME")),
        shortcut=(MaxPool(2, padding="SAME"), GroupNorm(4)),
    ),
    Activation("gelu"),
    Dropout(0.25),
    GlobalAvgPool(),
    Residual((Dense(5, activation="silu"), LayerNorm(0.1)), activation=None),
    Head(),
)
IMAGE_SHAPE = (15, 14, 3)
SHAPES = {  # by hand
    "crop_1": (13, 12, 3),
    "conv_1": (7, 6, 6),
    "residual_1/conv_1": (7, 6, 6),
    "residual_1/batch_norm_1": (7, 6, 6),
    "residual_1/conv_2": (7, 6, 6),
    "residual_1": (7, 6, 6),
    "residual_2/depthwise_conv_1": (4, 3, 6),
    "residual_2/conv_1": (4, 3, 8),
    "residual_2/shortcut/conv_1": (4, 3, 8),
    "residual_2": (4, 3, 8),
    "residual_3/residual_1/layer_norm_1": (4, 3, 8),
    "residual_3/residual_1": (4, 3, 8),
    "residual_3/avg_pool_1": (2, 2, 8),
    "residual_3/shortcut/max_pool_1": (2, 2, 8),
    "residual_3/shortcut/group_norm_1": (2, 2, 8),
    "residual_3": (2, 2, 8),
    "activation_1": (2, 2, 8),
    "dropout_1": (2, 2, 8),
    "global_avg_pool_1": (8,),
    "residual_4/dense_1": (5,),
    "residual_4/layer_norm_1": (5,),
    "residual_4/shortcut/dense_1": (5,),
    "residual_4": (5,),
}
PARAMETERS = {  # by hand
    "conv_1/kernel": (3, 3, 3, 6),
    "conv_1/bias": (6,),
    "residual_1/conv_1/kernel": (3, 3, 3, 6),
    "residual_1/conv_1/bias": (6,),
    "residual_1/batch_norm_1/scale": (6,),
    "residual_1/batch_norm_1/bias": (6,),
    "residual_1/conv_2/kernel": (1, 1, 6, 6),
    "residual_1/conv_2/bias": (6,),
    "residual_2/depthwise_conv_1/kernel": (3, 3, 1, 6),
    "residual_2/depthwise_conv_1/bias": (6,),
    "residual_2/conv_1/kernel": (1, 1, 6, 8),
    "residual_2/shortcut/conv_1/kernel": (1, 1, 6, 8),
    "residual_3/residual_1/layer_norm_1/scale": (8,),
    "residual_3/residual_1/layer_norm_1/bias": (8,),
    "residual_3/shortcut/group_norm_1/scale": (8,),
    "residual_3/shortcut/group_norm_1/bias": (8,),
    "residual_4/dense_1/kernel": (8, 5),
    "residual_4/dense_1/bias": (5,),
    "residual_4/layer_norm_1/scale": (5,),
    "residual_4/layer_norm_1/bias": (5,),
    "residual_4/shortcut/dense_1/kernel": (8, 5),
    "head/kernel": (5, 4),
    "head/bias": (4,),
}
MACS = {  # by hand: positions * taps * channels * features
    "conv_1": 7 * 6 * 9 * 3 * 6,
    "residual_1/conv_1": 7 * 6 * 9 * 3 * 6,
    "residual_1/conv_2": 7 * 6 * 6 * 6,
    "residual_2/depthwise_conv_1": 4 * 3 * 9 * 6,
    "residual_2/conv_1": 4 * 3 * 6 * 8,
    "residual_2/shortcut/conv_1": 4 * 3 * 6 * 8,
    "residual_4/dense_1": 8 * 5,
    "residual_4/shortcut/dense_1": 8 * 5,
    "head": 5 * 4,
}


def outputs_by_path(tree: Any, prefix: str = "") -> dict[str, Any]:
    """{"residual_1/conv_1": its output, ...} of intermediate values."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if name.endswith("_output"):
            found[prefix + name.removesuffix("_output")] = value[0]
        else:
            found |= outputs_by_path(value, f"{prefix}{name}/")
    return found


@pytest.fixture(scope="module")
def model() -> ConvNet:
    return create_model(EVERYTHING, num_classes=4)


@pytest.fixture(scope="module")
def variables(model: ConvNet) -> Any:
    """Every array with different numbers, variances positive."""
    rng = np.random.default_rng(0)
    shapes = variable_shapes(EVERYTHING, IMAGE_SHAPE, 4)
    return jax.tree.map(lambda leaf: rng.uniform(0.1, 1, leaf.shape).astype("float32"), shapes)


def images(count: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, *IMAGE_SHAPE), np.uint8)


def test_nested_residual_connections_take_no_exponential_time() -> None:
    net: Layer = Conv(4, 3, "SAME")
    for _ in range(60):  # twice the time for each would be for ever
        net = Residual((net,))
    model = create_model((Conv(4, 3, "SAME"), net, GlobalAvgPool(), Head()))
    assert layer_shapes(model.net, (8, 8, 1))["residual_1"] == (8, 8, 4)


def test_shapes_and_multiply_adds_are_those_that_one_counts() -> None:
    assert layer_shapes(EVERYTHING, IMAGE_SHAPE) == SHAPES
    assert layer_macs(EVERYTHING, IMAGE_SHAPE, 4) == MACS
    assert [place.path for place in places(EVERYTHING, IMAGE_SHAPE)] == list(SHAPES)


def test_variables_are_those_that_one_counts_and_those_of_init(model: ConvNet) -> None:
    found = variable_shapes(EVERYTHING, IMAGE_SHAPE, 4)
    paths = jax.tree_util.tree_leaves_with_path(found["params"])
    named = {jax.tree_util.keystr(path, simple=True, separator="/"): v.shape for path, v in paths}
    assert named == PARAMETERS
    of_init = jax.eval_shape(lambda: model.init(KEY, images(), train=False))
    assert found == {name: of_init[name] for name in found}
    assert set(of_init) == {"params", "batch_stats"}


def test_intermediate_values_have_the_paths_and_shapes_of_the_layers(
    model: ConvNet, variables: Any
) -> None:
    def intermediates() -> Any:
        return model.apply(variables, images(), train=False, mutable=["intermediates"])[1]

    found = outputs_by_path(jax.eval_shape(intermediates)["intermediates"])
    assert {path: value.shape[1:] for path, value in found.items()} == SHAPES


@pytest.mark.slow
def test_a_nested_net_is_initialized_as_flax_does() -> None:
    net = ConvNet((*EVERYTHING[1:4], Flatten(), Head()))
    small = jax.ShapeDtypeStruct((1, 6, 6, 1), jnp.float32)
    with pytest.raises(ValueError, match="2 groups"):
        create_model((Conv(3, 1), Conv(4, 1, groups=2), Flatten(), Head())).init(
            KEY, small, train=False
        )
    assert_same_bits(net.init(jax.random.key(3), small, train=False), flax_init(net, side=6))


def test_a_nested_net_trains_every_weight_and_its_statistics(
    model: ConvNet, variables: Any
) -> None:
    @jax.jit
    def step(variables: Any) -> Any:
        def loss(params: Any) -> Any:
            logits, updates = model.apply(
                {**variables, "params": params},
                images(),
                train=True,
                mask=jnp.array([True, True, False]),
                rngs={"dropout": KEY},
                mutable=["batch_stats"],
            )
            return jnp.sum(jnp.sin(logits)), updates

        return jax.grad(loss, has_aux=True)(variables["params"])

    gradients, updates = step(variables)
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(leaf).all(), path
        assert np.asarray(leaf).any(), path
    before = variables["batch_stats"]["residual_1"]["batch_norm_1"]
    after = updates["batch_stats"]["residual_1"]["batch_norm_1"]
    assert not np.array_equal(before["mean"], after["mean"])


def apply_alone(layer: Any, x: np.ndarray, params: Any = None) -> np.ndarray:
    """A layer's output, its parameters as given."""
    net = ConvNet((layer,), num_classes=0)
    name = f"{layer.kind}_1"
    variables = {"params": {name: params}} if params else {}
    return np.asarray(net.apply(variables, x, train=False))


@pytest.mark.parametrize(
    ("name", "expected"),
    {
        "relu": lambda x: np.maximum(x, 0),
        "gelu": lambda x: x / 2 * (1 + erf(x / math.sqrt(2))),
        "silu": lambda x: x / (1 + np.exp(-x)),
        "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
        "selu": lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
    }.items(),
)
def test_activations_follow_their_formulas(name: str, expected: Any) -> None:
    x = np.linspace(-4, 4, 33, dtype=np.float32).reshape(1, 33, 1, 1)
    np.testing.assert_allclose(apply_alone(Activation(name), x), expected(x), atol=1e-6)


def test_every_activation_is_tested_and_may_follow_a_layer() -> None:
    assert list(ACTIVATIONS) == ["relu", "gelu", "silu", "leaky_relu", "selu"]
    x = np.linspace(-2, 2, 6, dtype=np.float32).reshape(1, 2, 3, 1)
    kernel = {"kernel": np.full((1, 1, 1, 1), -2, np.float32)}
    for name in (*ACTIVATIONS, None):
        layer = Conv(1, 1, activation=name, use_bias=False)
        expected = -2 * x if name is None else apply_alone(Activation(name), -2 * x)
        np.testing.assert_allclose(apply_alone(layer, x, kernel), expected, rtol=1e-6)


def test_normalizations_follow_their_formulas() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, (2, 4, 5, 6)).astype(np.float32)
    scale, bias = rng.normal(size=(2, 6)).astype(np.float32)
    params = {"scale": scale, "bias": bias}

    def normal(x: np.ndarray, axes: tuple[int, ...], epsilon: float) -> np.ndarray:
        return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)

    by_layer = normal(x, (3,), 1e-3)
    by_group = normal(x.reshape(2, 4, 5, 3, 2), (1, 2, 4), 0.1).reshape(x.shape)
    np.testing.assert_allclose(
        apply_alone(LayerNorm(), x, params), by_layer * scale + bias, atol=1e-5
    )
    np.testing.assert_allclose(
        apply_alone(GroupNorm(3, epsilon=0.1), x, params), by_group * scale + bias, atol=1e-5
    )


def test_a_depthwise_convolution_is_one_convolution_for_each_channel() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 6, 7, 3)).astype(np.float32)
    kernel = rng.normal(size=(3, 3, 1, 3)).astype(np.float32)
    bias = rng.normal(size=3).astype(np.float32)
    layer = DepthwiseConv(3, "SAME", stride=2, activation=None)
    alone = Conv(1, 3, "SAME", stride=2, activation=None)
    each = [
        apply_alone(alone, x[..., [c]], {"kernel": kernel[..., [c]], "bias": bias[[c]]})
        for c in range(3)
    ]
    found = apply_alone(layer, x, {"kernel": kernel, "bias": bias})
    np.testing.assert_allclose(found, np.concatenate(each, axis=3), atol=1e-5)


def test_global_pooling_is_the_mean_over_pixels() -> None:
    x = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    np.testing.assert_allclose(apply_alone(GlobalAvgPool(), x), x.mean((1, 2)), atol=1e-6)


def test_a_residual_connection_adds_its_input_or_its_shortcut() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 5, 6, 3)).astype(np.float32)
    square = {"kernel": rng.normal(size=(1, 1, 3, 3)).astype(np.float32)}
    wide = {"kernel": rng.normal(size=(1, 1, 3, 4)).astype(np.float32)}
    other = {"kernel": rng.normal(size=(1, 1, 3, 4)).astype(np.float32)}

    def conv(features: int, stride: int = 1) -> Conv:
        return Conv(features, 1, stride=stride, activation=None, use_bias=False)

    plain = apply_alone(Residual((conv(3),)), x, {"conv_1": square})
    np.testing.assert_allclose(plain, np.maximum(x @ square["kernel"][0, 0] + x, 0), atol=1e-5)
    params = {"conv_1": wide, "shortcut": {"conv_1": other}}
    found = apply_alone(Residual((conv(4, 2),), activation=None), x, params)
    expected = x[:, ::2, ::2] @ (wide["kernel"] + other["kernel"])[0, 0]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    given = Residual((conv(4, 2),), shortcut=(MaxPool(1, 2), conv(4)), activation=None)
    np.testing.assert_allclose(apply_alone(given, x, params), expected, atol=1e-5)


@pytest.mark.parametrize("size", [5, 6, 7, 10])
@pytest.mark.parametrize("stride", [2, 3, 4])
def test_a_residual_connection_finds_the_stride_of_its_layers(size: int, stride: int) -> None:
    """Its shortcut has as many pixels as they, whatever is left over."""
    net = (Residual((Conv(4, 3, "SAME", stride=stride),)), Flatten(), Head())
    side = -(-size // stride)
    assert layer_shapes(net, (size, size, 3))["residual_1"] == (side, side, 4)


def test_a_net_without_head_has_no_multiplications_of_one() -> None:
    assert layer_macs((Conv(8, 3),), (28, 28, 1)) == {"conv_1": 26 * 26 * 9 * 8}


def test_an_empty_batch_has_no_logits_and_no_gradient(model: ConvNet, variables: Any) -> None:
    """As in a filter that finds nothing, or the last part of a directory."""
    empty = jnp.zeros((0, *IMAGE_SHAPE))
    assert model.apply(variables, empty, train=False).shape == (0, model.num_classes)

    def total(params: Any) -> jax.Array:
        return jnp.sum(model.apply({**variables, "params": params}, empty, train=False))

    for gradient in jax.tree.leaves(jax.jit(jax.grad(total))(variables["params"])):
        assert not gradient.any()


def test_one_export_of_gradients_for_batches_of_any_size(model: ConvNet, variables: Any) -> None:
    @jax.jit
    def gradients(params: Any, images: jax.Array) -> Any:
        def loss(params: Any) -> jax.Array:
            logits = model.apply({**variables, "params": params}, images, train=False)
            return jnp.sum(jnp.square(logits))

        return jax.grad(loss)(params)

    (batch,) = jax.export.symbolic_shape("batch")
    of_any_size = jax.ShapeDtypeStruct((batch, *IMAGE_SHAPE), jnp.float32)
    exported = jax.export.export(gradients, platforms=["cpu", "cuda"])(
        variables["params"], of_any_size
    )
    images = jnp.asarray(np.random.default_rng(0).random((3, *IMAGE_SHAPE), np.float32))
    images = images.at[:, :2].set(0)  # blank, as the border of a digit
    found, expected = (
        exported.call(variables["params"], images),
        gradients(variables["params"], images),
    )
    for one, other in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_a_net_of_ones_own_reads_and_travels_as_ours_do() -> None:
    text = repr(EVERYTHING)
    assert eval(text, vars(zoo.models.layers)) == EVERYTHING
    assert "0x" not in text
    assert pickle.loads(pickle.dumps(create_model(EVERYTHING))) == create_model(EVERYTHING)
    assert sum(isinstance(layer, Conv) for layer in every_layer(EVERYTHING)) == 4


def test_weights_of_a_net_of_ones_own_are_saved_and_read(
    model: ConvNet, variables: Any, tmp_path: Any
) -> None:
    save_pretrained(tmp_path, model, variables, image_shape=IMAGE_SHAPE)
    found, read = from_pretrained(tmp_path)
    assert found == model
    jax.tree.map(np.testing.assert_array_equal, read, variables)
    assert "- `residual_2/shortcut/conv_1`: `Conv(8, 1," in (tmp_path / "README.md").read_text()


def test_keras_weights_of_nested_layers_are_converted_and_back(
    model: ConvNet, variables: Any
) -> None:
    """Depthwise kernels are [h, w, C, 1] there; of a residual connection the shortcut is last."""
    weights = to_keras_weights(model, variables)
    order = [path for path in PARAMETERS if not path.startswith("residual_1/batch")]
    kernels = [path for path in order if path.endswith("kernel")]
    assert [array.shape for array in weights if array.ndim > 1] == [
        (3, 3, 6, 1) if "depthwise" in path else PARAMETERS[path] for path in kernels
    ]
    read = from_keras_weights(model, weights, IMAGE_SHAPE)
    jax.tree.map(np.testing.assert_array_equal, read, variables)


IMAGE_LAYERS = st.recursive(
    st.sampled_from(
        [
            Conv(4, 3, "SAME", stride=2, activation=None),
            Conv(4, 1, groups=2, use_bias=False),
            DepthwiseConv(3, "SAME", activation="gelu"),
            AvgPool(2, padding="SAME"),
            GroupNorm(2, epsilon=0.5),
            LayerNorm(),
            Activation("selu"),
        ]
    ),
    lambda inner: st.builds(
        Residual,
        st.lists(inner, min_size=1, max_size=2).map(tuple),
        st.lists(inner, max_size=1).map(tuple),
        st.sampled_from(["relu", None]),
    ),
    max_leaves=6,
)


@settings(max_examples=50, deadline=None)
@given(st.lists(IMAGE_LAYERS, max_size=4))
def test_nested_lists_of_layers_come_back_from_json(layers: list[Any]) -> None:
    net = (*layers, GlobalAvgPool(), Head())
    assert layer_lists.from_content(json.loads(json.dumps(layer_lists.to_content(net)))) == net


def nested(depth: int) -> Any:
    """The content of so many residual connections in one another."""
    content: Any = {"kind": "Conv", "features": 1, "kernel_size": 1}
    for _ in range(depth):
        content = {"kind": "Residual", "layers": [content]}
    return content


@pytest.mark.parametrize(
    ("layer", "sentence"),
    [
        ({"kind": "Residual"}, "layer 1, Residual, has no layers"),
        ({"kind": "Residual", "layers": []}, "layers must be a list of 1 to 200 layers"),
        ({"kind": "Residual", "layers": [{"kind": "Head"}]}, "Residual, has layers=.*Head"),
        ({"kind": "Conv", "features": 1, "kernel_size": 1, "stride": True}, "has stride=True"),
        ({"kind": "Conv", "features": 1, "kernel_size": 1, "stride": None}, "has stride=None"),
        ({"kind": "Dense", "features": 1, "activation": "exp"}, "has activation='exp'"),
        ({"kind": "Activation", "activation": None}, "has activation=None"),
        ({"kind": "Dense", "features": 1, "use_bias": 1}, "has use_bias=1"),
        (nested(11), "more than 10 residual connections are in one another"),
        ({"kind": "Layer"}, "has no known kind"),
    ],
)  # fmt: skip
def test_nested_content_that_was_edited_is_a_sentence(layer: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        layer_lists.from_content([layer, {"kind": "Head"}])


def test_the_content_of_many_residual_connections_is_refused_at_once() -> None:
    wide = {"kind": "Residual", "layers": [nested(2)] * 200}
    with pytest.raises(ValueError, match="more than 1,000 layers in all"):
        layer_lists.from_content([{"kind": "Residual", "layers": [wide] * 200}] * 200)


FLAT = Activation("relu")
WIDE = Residual((FLAT,) * 199)


def deep(depth: int) -> Any:
    """A net of so many lists of layers in one another."""
    layer: Any = FLAT
    for _ in range(depth - 1):
        layer = Residual((layer,))
    return (layer,)


@pytest.mark.parametrize(
    ("net", "larger", "sentence"),
    [
        ((FLAT,) * 200, (FLAT,) * 201, "layers must be a list of 1 to 200 layers, not 201"),
        (deep(10), deep(11), "more than 10 residual connections are in one another: use fewer"),
        ((WIDE,) * 5, (FLAT, *(WIDE,) * 5), "more than 1,000 layers in all: use fewer"),
    ],
)
def test_what_is_written_can_be_read(net: Any, larger: Any, sentence: str) -> None:
    assert layer_lists.from_content(layer_lists.to_content(net)) == net
    create_model(larger)
    with pytest.raises(ValueError, match=sentence):
        layer_lists.to_content(larger)


def test_the_numbers_of_a_layer_may_be_those_of_numpy() -> None:
    layer = Conv(np.int64(4), np.uint8(3), use_bias=np.True_)
    net = (layer, Dropout(np.float32(0.5)), GlobalAvgPool(), Head())
    create_model(net)
    assert repr(layer) == "Conv(4, 3)"
    assert layer_lists.from_content(json.loads(json.dumps(layer_lists.to_content(net)))) == net


@pytest.mark.parametrize(
    ("net", "sentence"),
    [
        ((), r"a net must be a tuple of layers, not \(\)"),
        ([Flatten(), Head()], "a net must be a tuple of layers, not "),
        (Flatten(), "a net must be a tuple of layers, not Flatten"),
        (
            (Residual(()), Head()),
            r"Residual, has layers=\(\), which must be a tuple of one or more",
        ),
        ((Residual([Flatten()]), Head()), "which must be a tuple of one or more layers but Head"),
        ((Conv(True, 3), Head()), "features=True, which must be a whole number from 1 to 100,000"),
        ((Conv(1, 3, stride=None), Head()), "stride=None, which must be a whole number from 1 to "),
        ((MaxPool(2, 0), Head()), "stride=0, which must be a whole number from 1 to 100, or None"),
        ((Dropout(1), Head()), "rate=1, which must be a number from 0 to below 1"),
        ((Flatten, Head()), "layer 1 is not a layer of a net but <class"),
        ((Conv(0, 3), Flatten(), Head()), "layer 1, Conv, has features=0"),
        (
            (Conv(8, 3, "same"), Flatten(), Head()),
            "layer 1, Conv, has padding='same', which must be one of 'SAME', 'VALID'",
        ),
        ((Conv(8, 3, activation="tanh"), Flatten(), Head()), "has activation='tanh'"),
        ((Conv(8, 3), Head()), "Head needs vectors, not images: put Flatten or GlobalAvgPool"),
        ((Conv(8, 3), Dense(3), Head()), "dense_1 needs vectors, not images"),
        ((Flatten(), Conv(8, 3), Head()), "conv_1 needs images, not vectors"),
        ((Residual((Flatten(), Conv(8, 3))), Head()), "residual_1/conv_1 needs images"),
        ((Flatten(), Head(), Head()), "Head must be the last layer, and there may be only one"),
    ],
)
def test_what_is_no_net_is_one_sentence(net: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        create_model(net)


def test_channels_and_shapes_that_do_not_fit_name_the_layer() -> None:
    def shapes_of(*layers: Any, channels: int = 3) -> None:
        layer_shapes((*layers, Flatten(), Head()), (8, 8, channels))

    with pytest.raises(ValueError, match="group_norm_1 has 2 groups, but 3 channels"):
        shapes_of(GroupNorm(2))
    with pytest.raises(ValueError, match="conv_1 has 2 groups, but 3 input channels"):
        shapes_of(Conv(4, 3, groups=2))
    with pytest.raises(ValueError, match="conv_1 has 3 groups, but 4 features"):
        shapes_of(Conv(4, 3, groups=3))
    with pytest.raises(
        ValueError, match=r"residual_1 .* make 6x6x3 of 8x8x3, and a shortcut .* 4x4"
    ):
        shapes_of(Residual((Conv(3, 3),)))  # fmt: skip
    with pytest.raises(ValueError, match="residual_1 turns images into vectors"):
        shapes_of(Residual((GlobalAvgPool(),)))


def test_too_small_images_name_the_layer_within_a_residual_connection() -> None:
    net = (Residual((Conv(1, 3), Conv(1, 3)), shortcut=(Crop(2),)), Flatten(), Head())
    assert min_image_size(net) == 5
    with pytest.raises(ImageTooSmallError, match=r"residual_1/conv_2 gets an input of 2x2, .* 5x5"):
        layer_shapes(net, (4, 4, 1))


def test_a_layer_of_ones_own_is_a_class() -> None:
    @dataclasses.dataclass(frozen=True, repr=False)
    class Scale(zoo.models.layers.Layer):
        """Multiplies each channel by a weight."""

        kind = "scale"
        by: float = 2.0

        def output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
            return input_shape

        def variables(self, input_shape: tuple[int, ...]) -> Any:
            return {"params": {"weight": input_shape[-1:]}}

        def __call__(self, x: jax.Array, context: Any) -> jax.Array:
            class Module(nn.Module):
                @nn.compact
                def __call__(self, x: jax.Array) -> jax.Array:
                    return x * self.param("weight", nn.initializers.ones, x.shape[-1:])

            return self.by * Module(name=context.name)(x)

    net = (Residual((Scale(3.0),)), GlobalAvgPool(), Head())
    model = create_model(net, num_classes=2)
    variables = model.init(KEY, images(), train=False)
    assert jax.tree.map(jnp.shape, variables["params"]["residual_1"]["scale_1"]) == {"weight": (3,)}
    shapes = variable_shapes(net, IMAGE_SHAPE, 2)
    assert jax.tree.map(jnp.shape, variables) == jax.tree.map(lambda leaf: leaf.shape, shapes)
    assert repr(net[0]) == "Residual((Scale(by=3.0),))"
    x = np.ones((1, 2, 2, 3), np.float32)
    found = functools.partial(ConvNet(net[:1], num_classes=0).apply, variables, train=False)(x)
    np.testing.assert_allclose(found, 4 * x)
    with pytest.raises(ValueError, match=r"Scale is not a layer of zoo\.models\.layers"):
        layer_lists.to_content(net)
