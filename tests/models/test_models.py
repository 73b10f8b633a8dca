"""Every net of the catalogue, compared with its notebook."""

import json
import math
import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import GOLDEN, ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo.models
import zoo.models.layers
from zoo.models import ConvNet, create_model, layer_shapes, list_models, min_image_size
from zoo.models.layers import (
    Activation,
    BatchNorm,
    Conv,
    Crop,
    Dense,
    Dropout,
    Flatten,
    GroupNorm,
    Head,
    LayerNorm,
    MaxPool,
    Residual,
)
from zoo.models.net import ImageTooSmallError, named_layers, variable_shapes

every_net = pytest.mark.parametrize("name", list_models())


def every_net_with_slow(*names: str, full: Sequence[str] = ()) -> pytest.MarkDecorator:
    """The same, but the nets that compile slowest only with the slow tests, or the full ones."""
    marks = {name: pytest.mark.slow for name in names} | {name: pytest.mark.full for name in full}
    return pytest.mark.parametrize(
        "name", [pytest.param(name, marks=marks.get(name, ())) for name in list_models()]
    )


def abstract_variables(model: ConvNet, image_shape: tuple[int, ...] = (28, 28, 1)) -> Any:
    images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
    return jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), images)


def abstract_logits(model: ConvNet, variables: Any, images: Any) -> Any:
    return jax.eval_shape(lambda *args: model.apply(*args, train=False), variables, images)


def averaging_variables(model: ConvNet, image_shape: tuple[int, ...] = (28, 28, 1)) -> Any:
    """Positive kernels that average: every ReLU is active, nothing overflows. No compilation.

    Single weights dominate (log-normal), so that any place of a map can win a max-pool.
    """
    rng = np.random.default_rng(0)

    def fill(path: Any, leaf: Any) -> Any:
        if leaf.ndim > 1:
            kernel = rng.lognormal(sigma=2, size=leaf.shape)
            kernel /= kernel.sum(axis=tuple(range(leaf.ndim - 1)), keepdims=True)
            return jnp.asarray(kernel, leaf.dtype)
        return jnp.full(leaf.shape, 1.0 if path[-1].key in ("scale", "var") else 0.0, leaf.dtype)

    return jax.tree_util.tree_map_with_path(fill, abstract_variables(model, image_shape))


def random_images(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(1).integers(0, 256, shape, np.uint8))


def test_catalogue_and_goldens_name_the_same_nets() -> None:
    assert list_models() == sorted(GOLDEN)
    assert len(list_models()) == 19


@every_net
def test_parameter_counts_equal_the_notebooks(name: str) -> None:
    variables = abstract_variables(create_model(name))
    trainable = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    statistics = sum(leaf.size for leaf in jax.tree.leaves(variables.get("batch_stats", {})))
    assert {
        "total": trainable + statistics,
        "trainable": trainable,
        "non_trainable": statistics,
    } == GOLDEN[name]["params"]


@every_net
def test_parameter_paths_and_shapes_equal_the_notebooks(name: str) -> None:
    variables = abstract_variables(create_model(name))
    shapes = {
        jax.tree_util.keystr(path, simple=True, separator="/"): list(leaf.shape)
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables)
    }
    expected: dict[str, list[int]] = {}
    for layer in GOLDEN[name]["layers"]:
        units = [layer["output_shape"][-1]]
        if "kernel_shape" in layer:
            expected[f"params/{layer['name']}/kernel"] = layer["kernel_shape"]
            expected[f"params/{layer['name']}/bias"] = units
        elif layer["type"] == "batchnorm":
            expected |= {f"params/{layer['name']}/{leaf}": units for leaf in ("scale", "bias")}
            expected |= {f"batch_stats/{layer['name']}/{leaf}": units for leaf in ("mean", "var")}
    assert shapes == expected


@every_net
def test_variable_shapes_are_those_of_init(name: str) -> None:
    """With a head and without, for other images and classes, too."""
    for classes, shape in ((10, (28, 28, 1)), (0, (28, 28, 1)), (7, (40, 33, 3))):
        model = create_model(name, num_classes=classes)
        wanted = dict(abstract_variables(model, shape))
        wanted.pop("intermediates", None)
        assert variable_shapes(model.net, shape, classes) == wanted


@every_net
def test_layer_output_shapes_equal_the_notebooks(name: str) -> None:
    expected = {
        layer["name"]: tuple(layer["output_shape"])
        for layer in GOLDEN[name]["layers"]
        if layer["name"] != "head"
    }
    model = create_model(name)
    assert layer_shapes(model.net, (28, 28, 1)) == expected

    def intermediates(variables: Any, images: jax.Array) -> Any:
        return model.apply(variables, images, train=False, mutable=["intermediates"])[1]

    images = jax.ShapeDtypeStruct((3, 28, 28, 1), jnp.float32)
    traced = jax.eval_shape(intermediates, abstract_variables(model), images)["intermediates"]
    assert {layer: traced[f"{layer}_output"][0].shape for layer in expected} == {
        layer: (3, *shape) for layer, shape in expected.items()
    }


@every_net
def test_multiply_adds_follow_from_the_notebooks_kernels_and_shapes(name: str) -> None:
    assert zoo.models.layer_macs(zoo.models.MODELS[name], (28, 28, 1)) == {
        layer["name"]: math.prod(layer["kernel_shape"]) * math.prod(layer["output_shape"][:-1])
        for layer in GOLDEN[name]["layers"]
        if "kernel_shape" in layer
    }


@every_net
def test_layer_settings_equal_the_notebooks(name: str) -> None:
    net = zoo.models.MODELS[name]
    layers = dict(named_layers(net)) | {"head": net[-1]}
    for golden in GOLDEN[name]["layers"]:
        layer = layers.pop(golden["name"])
        if isinstance(layer, Conv | Dense | Head):
            assert layer.kernel_init == golden["kernel_init"]
        if isinstance(layer, Conv | MaxPool):
            assert layer.padding.lower() == golden["padding"]
        if isinstance(layer, MaxPool):
            assert [layer.window] * 2 == golden["pool"]
            assert [layer.stride or layer.window] * 2 == golden["strides"]
        if isinstance(layer, Dropout):
            assert layer.rate == golden["rate"]
        if isinstance(layer, BatchNorm):
            assert (layer.momentum, layer.epsilon) == (golden["momentum"], golden["epsilon"])
    assert not layers


@every_net
@pytest.mark.parametrize("batch_size", [1, 128])
def test_logits_have_shape_and_type(name: str, batch_size: int) -> None:
    for dtype in (jnp.float32, jnp.bfloat16):
        model = create_model(name, num_classes=7, dtype=dtype)
        images = jax.ShapeDtypeStruct((batch_size, 28, 28, 1), jnp.uint8)
        logits = abstract_logits(model, abstract_variables(model), images)
        assert (logits.shape, logits.dtype) == ((batch_size, 7), jnp.float32)


@every_net_with_slow(
    "vgg5",
    "pairs_cnn10",
    full=(  # of the kinds of layers that those in CI have
        "custom7",
        "kernels_cnn5",
        "kernels_cnn7",
        "pairs_cnn14",
        "pooling_cnn5",
        "pooling_cnn7",
        "ablation_cnn5",
        "ablation_cnn5_dropout",
        "ablation_cnn7",
        "ablation_cnn7_dropout",
    ),
)
def test_evaluation_is_deterministic_and_training_changes_only_batch_stats(name: str) -> None:
    model = create_model(name)
    size = min_image_size(model.net)
    variables = averaging_variables(model, (size, size, 1))
    images = random_images(2, size, size, 1)
    logits = model.apply(variables, images, train=False)
    np.testing.assert_array_equal(logits, model.apply(variables, images, train=False))
    assert np.isfinite(logits).all()

    _, updates = model.apply(
        variables,
        images,
        train=True,
        rngs={"dropout": jax.random.key(0)},
        mutable=["batch_stats"],
    )
    has_statistics = GOLDEN[name]["params"]["non_trainable"] > 0
    assert set(updates) == ({"batch_stats"} if has_statistics else set())
    for before, after in zip(
        jax.tree.leaves(variables.get("batch_stats", {})),
        jax.tree.leaves(updates.get("batch_stats", {})),
        strict=True,
    ):
        assert not np.array_equal(before, after)


@every_net_with_slow(
    "pairs_cnn10",
    "pairs_cnn14",
    "custom7",
    "ablation_cnn5",
    "ablation_cnn7",
    "vgg5",
    full=(  # 15 to 50 s each; tests/parity/test_gradients.py compares these gradients in CI
        "pairs_cnn6",
        "pooling_cnn5",
        "pooling_cnn7",
        "ablation_cnn5_dropout",
        "ablation_cnn7_dropout",
        "kernels_cnn3",
        "kernels_cnn5",
        "kernels_cnn7",
    ),
)
def test_every_weight_gets_a_gradient_except_those_that_only_overlap_padding(name: str) -> None:
    model = create_model(name)
    variables = averaging_variables(model)
    images = random_images(1 if name == "custom7" else 16, 28, 28, 1)

    @jax.jit
    def gradients(params: Any) -> Any:
        def total(params: Any) -> jax.Array:
            logits: Any = model.apply({**variables, "params": params}, images, train=False)
            return logits.sum()

        return jax.grad(total)(params)

    # A max-pool passes on one pixel only, so in nets with such small maps a few weights get no
    # gradient from these images; a tap as a whole does, unless it overlaps only padding.
    expected = GOLDEN[name]["weights_without_gradient"]
    without = 0
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients(variables["params"])):
        zeros = np.asarray(gradient == 0)
        if zeros.ndim == 4 and expected:
            without += int(zeros.all(axis=(2, 3)).sum()) * zeros.shape[2] * zeros.shape[3]
        else:
            assert not zeros.any(), path
    assert without == expected


@every_net
def test_smallest_image_works_and_a_smaller_one_is_a_clear_error(name: str) -> None:
    net = zoo.models.MODELS[name]
    size = min_image_size(net)
    variables = abstract_variables(create_model(name), (size, size, 3))
    assert variables["params"]["conv_1"]["kernel"].shape[2] == 3
    if size == 1:
        return  # padding everywhere: no smaller image exists
    with pytest.raises(zoo.models.ImageTooSmallError) as error:
        abstract_variables(create_model(name), (size - 1, size - 1, 3))
    assert re.search(
        rf"a {size - 1}x{size - 1} image is too small for this net: (conv|max_pool)_\d+ gets an "
        rf"input of \d+x\d+, .* works is {size}x{size}",
        str(error.value),
    )


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(list_models()),
    extra=st.tuples(st.integers(0, 30), st.integers(0, 30)),
    channels=st.integers(1, 4),
)
def test_any_larger_image_works(name: str, extra: tuple[int, int], channels: int) -> None:
    model = create_model(name, num_classes=3)
    size = min_image_size(model.net)
    shape = (size + extra[0], size + extra[1], channels)
    images = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    assert abstract_logits(model, abstract_variables(model, shape), images).shape == (2, 3)


def test_uint8_and_scaled_float_images_give_the_same_logits() -> None:
    model = create_model("pooling_cnn3")
    variables = averaging_variables(model)
    images = random_images(4, 28, 28, 1)
    np.testing.assert_array_equal(
        model.apply(variables, images, train=False),
        model.apply(variables, images.astype(jnp.float32) / 255, train=False),
    )


def test_num_classes_zero_gives_the_input_of_the_head() -> None:
    model, features = create_model("lenet3"), create_model("lenet3", num_classes=0)
    variables = averaging_variables(model)
    images = random_images(2, 28, 28, 1)
    assert "head" not in abstract_variables(features)["params"]
    x: Any = features.apply(variables, images, train=False)
    assert x.shape == (2, 64)
    head = variables["params"]["head"]
    np.testing.assert_allclose(
        x @ head["kernel"] + head["bias"],
        model.apply(variables, images, train=False),
        rtol=1e-6,
    )


def test_masked_examples_do_not_affect_batch_statistics() -> None:
    model = create_model("kernels_cnn5")
    variables = averaging_variables(model)
    images = random_images(6, 28, 28, 1)
    rngs = {"dropout": jax.random.key(0)}
    mask = jnp.array([True] * 4 + [False] * 2)

    @jax.jit
    def apply(images: jax.Array, mask: jax.Array | None = None) -> Any:
        return model.apply(
            variables, images, train=True, mask=mask, rngs=rngs, mutable=["batch_stats"]
        )

    logits, updates = apply(images, mask)
    expected_logits, expected = apply(images[:4])
    np.testing.assert_allclose(logits[:4], expected_logits, rtol=1e-5, atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), updates, expected)


def test_batch_norm_follows_keras() -> None:
    x = np.random.default_rng(0).normal(3, 2, (8, 5)).astype(np.float32)
    model = ConvNet((BatchNorm(), Head()), num_classes=0)
    images = jnp.asarray(x.reshape(8, 1, 1, 5))
    variables = model.init(jax.random.key(0), images, train=False)
    y, updates = model.apply(variables, images, train=True, mutable=["batch_stats"])
    mean, var = x.mean(0), x.var(0)  # biased, as Keras normalizes
    np.testing.assert_allclose(
        np.reshape(y, (8, 5)), (x - mean) / np.sqrt(var + 1e-3), rtol=1e-4, atol=1e-5
    )
    moving = updates["batch_stats"]["batch_norm_1"]
    np.testing.assert_allclose(moving["mean"], 0.01 * mean, rtol=1e-5)
    np.testing.assert_allclose(moving["var"], 0.99 + 0.01 * var, rtol=1e-5)


def test_same_max_pool_pads_at_the_end_with_minus_infinity() -> None:
    x = -np.arange(1.0, 10.0, dtype=np.float32).reshape(1, 3, 3, 1)  # all negative
    y = ConvNet((MaxPool(2, padding="SAME"), Head()), num_classes=0).apply({}, x, train=False)
    np.testing.assert_array_equal(np.reshape(y, (2, 2)), [[-1, -3], [-7, -9]])


def test_list_models_takes_a_shell_pattern() -> None:
    assert list_models("pairs*") == ["pairs_cnn10", "pairs_cnn14", "pairs_cnn6"]
    assert list_models("nothing*") == []


def test_unknown_net_names_near_matches() -> None:
    with pytest.raises(ValueError, match=r"unknown net 'vgg6': did you mean vgg5"):
        create_model("vgg6")
    with pytest.raises(ValueError, match=r"known: lenet3"):
        create_model("transformer")
    with pytest.raises(ValueError, match=r"num_classes must be 0"):
        create_model("vgg5", num_classes=-1)


def test_images_without_four_axes_are_a_clear_error() -> None:
    with pytest.raises(ValueError, match=r"images must be \[B, height, width, channels\]"):
        create_model("vgg5").init(jax.random.key(0), jnp.zeros((28, 28, 1)), train=False)


def test_a_net_is_an_ordinary_flax_module() -> None:
    assert isinstance(create_model("vgg5"), nn.Module)
    from flax import nnx

    model = nnx.bridge.ToNNX(create_model("pooling_cnn3"), rngs=nnx.Rngs(0))
    images = jnp.zeros((2, 28, 28, 1))
    nnx.bridge.lazy_init(model, images, train=False)
    assert model(images, train=False).shape == (2, 10)


@every_net
def test_a_net_travels_and_reads_like_its_notebook(name: str) -> None:
    model = create_model(name)
    assert pickle.loads(pickle.dumps(model)) == model
    text = repr(model.net)
    assert eval(text, vars(zoo.models.layers)) == model.net
    assert "0x" not in text
    assert len(text) < 1500


def test_an_initializer_is_a_name_or_a_function() -> None:
    images = jnp.zeros((1, 4, 4, 1))
    kernels = [
        ConvNet((Conv(2, 3, kernel_init=chosen), Flatten(), Head())).init(
            jax.random.key(0), images, train=False
        )["params"]["conv_1"]["kernel"]
        for chosen in ("he_normal", jax.nn.initializers.he_normal(), "glorot_normal")
    ]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])
    with pytest.raises(ValueError, match="unknown initializer 'he': known are glorot_uniform,"):
        ConvNet((Flatten(), Head(kernel_init="he"))).init(jax.random.key(0), images, train=False)


def test_a_crop_removes_a_border() -> None:
    images = jnp.arange(2 * 7 * 9 * 3.0).reshape(2, 7, 9, 3)
    model = ConvNet((Crop(2), Flatten()), num_classes=0)
    np.testing.assert_array_equal(
        model.apply({}, images, train=False), images[:, 2:5, 2:7].reshape(2, -1)
    )
    assert layer_shapes(model.net, (7, 9, 3))["crop_1"] == (3, 5, 3)
    with pytest.raises(ImageTooSmallError, match="the smallest image that works is 5x5"):
        model.apply({}, images[:, :4], train=False)


def test_importing_models_imports_no_other_dependency(run_python: Any) -> None:
    code = (
        "import sys, zoo.models; print([name for name in ('optax', 'orbax', 'tensorflow', "
        "'tensorflow_datasets', 'sklearn', 'PIL', 'matplotlib', 'ml_collections', 'tqdm', "
        "'huggingface_hub', 'zoo.data', 'zoo.system.text', 'zoo.training') if name in sys.modules])"
    )
    assert run_python("-c", code).stdout == "[]\n"


def test_models_need_nothing_that_windows_or_macos_lacks(run_python: Any) -> None:
    """The standard library's modules for one system alone are hidden; a net still predicts."""
    code = """
import sys
HIDDEN = {"fcntl", "resource", "termios", "pty", "tty", "pwd", "grp", "syslog"}  # Windows has none
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
for name in HIDDEN:
    sys.modules.pop(name, None)
import jax, zoo.models
model = zoo.models.create_model("pooling_cnn3")
images = jax.numpy.zeros((2, 28, 28, 1))
variables = model.init(jax.random.key(0), images, train=False)
print(model.apply(variables, images, train=False).shape, sorted(HIDDEN & set(sys.modules)))
"""
    assert run_python("-c", code).stdout == "(2, 10) []\n"


def random_variables(model: ConvNet) -> Any:
    """Every array with different numbers."""
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: rng.standard_normal(leaf.shape, np.float32), abstract_variables(model)
    )


@pytest.mark.parametrize("name", ["kernels_cnn5", "ablation_cnn3"])
def test_keras_weights_are_converted_and_back(name: str) -> None:
    """In Keras's order: kernel, bias; scale, offset, moving mean, moving variance."""
    model = zoo.models.create_model(name)
    variables = random_variables(model)
    weights = zoo.models.to_keras_weights(model, variables)
    assert [array.shape for array in weights[:2]] == [
        variables["params"]["conv_1"]["kernel"].shape,
        variables["params"]["conv_1"]["bias"].shape,
    ]
    assert sum(array.size for array in weights) == GOLDEN[name]["params"]["total"]
    jax.tree.map(
        np.testing.assert_array_equal, zoo.models.from_keras_weights(model, weights), variables
    )


def test_keras_weights_of_another_net_are_refused() -> None:
    """The error names the array that differs."""
    model = zoo.models.create_model("ablation_cnn3")
    variables = random_variables(model)
    weights = zoo.models.to_keras_weights(model, variables)
    with pytest.raises(ValueError, match="this net has 8 weight arrays, not 6"):
        zoo.models.from_keras_weights(model, weights[:-2])
    with pytest.raises(ValueError, match=r"head/bias .* \(10,\), but weight array 8 has \(9,\)"):
        zoo.models.from_keras_weights(model, [*weights[:-1], np.zeros(9)])
    in_colour = [np.zeros((3, 3, 3, 32)), *weights[1:]]
    with pytest.raises(ValueError, match=r"head/kernel of this net for images of \(40, 40, 3\)"):
        zoo.models.from_keras_weights(model, in_colour, image_shape=(40, 40, 3))


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ("weights/net.weights.h5", r"not the path 'weights/net\.weights\.h5': load it with keras"),
        (Path("net.keras"), r"not the path 'net\.keras': load it"),
        (b"net.keras", r"not the path .*: load it"),
        ({"conv_1": np.zeros(3)}, r"not one dict: put arrays into a list"),
        (np.zeros((8, 3)), r"not one ndarray: put arrays into a list"),
        (jax.numpy.zeros(3), r"not one ArrayImpl: put arrays into a list"),
        (None, r"must be a Keras model or the list that its get_weights\(\) gives, not None"),
        (7, r"gives, not 7"),
        (["conv_1"] * 8, r"weight array 1 is not an array of real numbers but str"),
        ([[np.zeros((3, 3, 1, 32)), np.zeros(32)]] * 4, r"weight array 1 is not an array of real"),
        ([np.zeros(2, complex)], r"weight array 1 is not an array of real numbers but ndarray"),
    ],
    ids=str,
)
def test_what_is_no_list_of_weights_is_one_sentence(weights: object, sentence: str) -> None:
    with pytest.raises(TypeError, match=sentence):
        zoo.models.from_keras_weights(zoo.models.create_model("ablation_cnn3"), weights)


def test_keras_weights_may_come_one_by_one() -> None:
    """From a generator, or as a tuple of nested lists."""
    model = zoo.models.create_model("ablation_cnn3")
    variables = random_variables(model)
    weights = zoo.models.to_keras_weights(model, variables)
    for each in ((array for array in weights), tuple(array.tolist() for array in weights)):
        found = zoo.models.from_keras_weights(model, each)
        jax.tree.map(np.testing.assert_array_equal, found, variables)


@pytest.mark.parametrize("name", ["kernels_cnn3", "pairs_cnn6", "ablation_cnn3"])
def test_channels_first_weights_are_converted_and_back(name: str) -> None:
    """One kernel has its rows in another order, that of the first layer after Flatten."""
    model = zoo.models.create_model(name)
    variables = random_variables(model)
    weights = zoo.models.to_keras_weights(model, variables, data_format="channels_first")
    last = zoo.models.to_keras_weights(model, variables)
    differing = [not np.array_equal(*pair) for pair in zip(weights, last, strict=True)]
    assert sum(differing) == 1
    found = zoo.models.from_keras_weights(model, weights, data_format="channels_first")
    jax.tree.map(np.testing.assert_array_equal, found, variables)
    with pytest.raises(ValueError, match=r"must be 'channels_last' or 'channels_first', not 'NC"):
        zoo.models.from_keras_weights(model, weights, data_format="NCHW")  # type: ignore[arg-type]


def test_channels_first_needs_the_shape_of_images_where_no_layer_tells_it() -> None:
    """A perceptron flattens the images themselves, of three channels here."""
    model = ConvNet((MaxPool(2), Flatten(), Dense(4), Head()))
    variables = model.init(jax.random.key(0), jnp.zeros((1, 8, 6, 3)), train=False)
    with pytest.raises(ValueError, match="no layer says how many channels are flattened: give im"):
        zoo.models.to_keras_weights(model, variables, data_format="channels_first")
    first, last = (
        zoo.models.to_keras_weights(model, variables, (8, 6, 3), data_format=order)
        for order in ("channels_first", "channels_last")
    )
    expected = last[0].reshape(4 * 3, 3, 4).swapaxes(0, 1).reshape(36, 4)
    np.testing.assert_array_equal(first[0], expected)
    found = zoo.models.from_keras_weights(model, first, (8, 6, 3), data_format="channels_first")
    jax.tree.map(np.testing.assert_array_equal, found, variables)


def test_channels_first_reorders_the_normalizations_of_a_flattened_image() -> None:
    """Each of their arrays, and the rows of the first dense kernel; nothing after it."""
    net = (
        *(Conv(3, 3), Flatten(), BatchNorm(), LayerNorm(), Activation("silu"), Dropout(0.5)),
        *(Dense(4), BatchNorm(), Head()),
    )
    model = zoo.models.ConvNet(net)
    key = jax.random.key(0)
    shapes = model.init(key, jax.ShapeDtypeStruct((1, 5, 4, 2), np.float32), train=False)
    variables = jax.tree.map(lambda leaf: jax.random.normal(key, leaf.shape), shapes)
    last, first = (
        zoo.models.to_keras_weights(model, variables, data_format=order)
        for order in ("channels_last", "channels_first")
    )
    of_flat = [array for array in first if len(array) == 18]  # 3 x 2 pixels of 3 channels
    assert len(of_flat) == 7
    for array, before in zip(first, last, strict=True):
        if len(before) == 18:
            before = np.stack([before[channel::3] for channel in range(3)]).reshape(before.shape)
        np.testing.assert_array_equal(array, before)
    found = zoo.models.from_keras_weights(model, first, (5, 4, 2), data_format="channels_first")
    jax.tree.map(np.testing.assert_array_equal, found, variables)


@pytest.mark.parametrize("layer", [GroupNorm(2), Residual((Dense(18),))])
def test_what_cannot_be_reordered_is_named(layer: Any) -> None:
    model = zoo.models.ConvNet((Conv(3, 3), Flatten(), layer, Head()))
    variables = model.init(jax.random.key(0), np.zeros((1, 5, 4, 2)), train=False)
    with pytest.raises(ValueError, match=r"of (group_norm_1|residual_1), which gets a flattened"):
        zoo.models.to_keras_weights(model, variables, data_format="channels_first")


def test_channels_first_without_a_head_changes_nothing() -> None:
    model = zoo.models.create_model("ablation_cnn3", num_classes=0)
    variables = random_variables(model)
    weights = zoo.models.to_keras_weights(model, variables, data_format="channels_first")
    found = zoo.models.from_keras_weights(model, weights, data_format="channels_first")
    jax.tree.map(np.testing.assert_array_equal, found, variables)


@pytest.mark.parametrize("name", list_models())
def test_published_results_are_complete(name: str) -> None:
    """Each epoch of the notebook's training, and the final value that it printed."""
    published = json.loads((ROOT / "zoo/reproduction/published.json").read_text())[name]
    assert published["notebook"] == GOLDEN[name]["notebook"]
    assert published["num_epochs"] == GOLDEN[name]["num_epochs"]
    assert published["test"]["accuracy"] == GOLDEN[name]["published_accuracy"]
    for values in published["history"].values():
        assert len(values) == published["num_epochs"]
