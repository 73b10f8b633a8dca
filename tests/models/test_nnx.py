"""The nets as modules of NNX: Linen's numbers, and what NNX does with modules."""

import dataclasses
import importlib
import math
import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from parity.training import NUM_STEPS, TOLERANCE, batch_size, strokes

import zoo.models
import zoo.models.nnx
import zoo.training.optim
from zoo.models import ConvNet, layers, list_models
from zoo.models.layers import (
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
from zoo.training.step import Stream, TrainState, make_train_step

SMALL: Net = (
    Crop(2),
    Conv(4, 3),
    BatchNorm(),
    Dropout(0.25),
    MaxPool(2),
    Conv(6, 2, "SAME", kernel_init="he_normal"),
    MaxPool(3, stride=2, padding="SAME"),
    Flatten(),
    Dense(16),
    Dropout(0.5),
    Head(),
)
EVERY_LAYER: Net = (
    Crop(2),
    Conv(8, 3, stride=2, use_bias=False, activation=None),
    BatchNorm(),
    Activation("selu"),
    Residual(
        (
            DepthwiseConv(3, "SAME", stride=2, activation="leaky_relu"),
            GroupNorm(4),
            Dropout(0.25),
            Conv(12, 1, groups=4, activation="gelu"),
            BatchNorm(),
        ),
    ),
    MaxPool(2, padding="SAME"),
    Residual((Residual((Conv(12, 3, "SAME"),)), Dropout(0.25)), shortcut=(LayerNorm(),)),
    AvgPool(2, stride=1, padding="SAME"),
    GlobalAvgPool(),
    Residual((Dense(10, activation="silu"), Dropout(0.5)), activation=None),
    Head(),
)


def layers_of(name: str) -> Net:
    return EVERY_LAYER if name == "every layer" else zoo.models.NETS[name]


def nets(quick: Sequence[str], slow: Sequence[str]) -> pytest.MarkDecorator:
    """The net of all layers and those of the catalogue; the others compile for minutes together."""
    marks = {name: [] for name in quick} | {name: [pytest.mark.slow] for name in slow}
    return pytest.mark.parametrize(
        "name",
        [
            pytest.param(name, marks=marks.get(name, [pytest.mark.full]))
            for name in ("every layer", *list_models())
        ],
    )


def random_variables(net: Net, num_classes: int = 10) -> Any:
    """Every array with different numbers, of a size that the next layer can bear."""
    rng = np.random.default_rng(0)

    def fill(path: Any, leaf: Any) -> Any:
        if len(leaf.shape) > 1:
            bound = math.sqrt(6 / math.prod(leaf.shape[:-1]))
            return jnp.asarray(rng.uniform(-bound, bound, leaf.shape), leaf.dtype)
        center = 1 if path[-1].key in ("scale", "var") else 0
        return jnp.asarray(center + rng.uniform(-0.2, 0.2, leaf.shape), leaf.dtype)

    shapes = variable_shapes(net, (28, 28, 1), num_classes)
    return jax.tree_util.tree_map_with_path(fill, shapes)


def drawings(count: int) -> tuple[np.ndarray, np.ndarray]:
    """[N, 28, 28, 1] uint8 with blank grounds, and their labels."""
    rng = np.random.RandomState(1)
    labels = rng.randint(10, size=count)
    return (255 * strokes(labels, rng)[..., None]).astype(np.uint8), labels


def test_the_net_of_all_layers_has_all() -> None:
    kinds = [vars(layers)[name] for name in layers.__all__]
    known = {kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Layer)} - {Layer}
    assert known - {Flatten} == {type(place.layer) for place in places(EVERY_LAYER, (28, 28, 1))}


def in_linen(net: Net, dtype: Any = jnp.float32) -> Any:
    """evaluation(variables, images), and training(variables, images, labels, mask, key)."""
    model = ConvNet(net, dtype=dtype)

    def evaluation(variables: Any, images: Any) -> Any:
        return model.apply(variables, images, train=False)

    def training(variables: Any, images: Any, labels: Any, mask: Any, key: Any) -> Any:
        def loss_fn(params: Any) -> Any:
            logits, updates = model.apply(
                {**variables, "params": params},
                images,
                train=True,
                mask=mask,
                rngs={"dropout": key},
                mutable=["batch_stats"],
            )
            return loss_of(logits, labels), updates.get("batch_stats", {})

        return jax.value_and_grad(loss_fn, has_aux=True)(variables["params"])

    return evaluation, training


def in_nnx(net: Net, dtype: Any = jnp.float32) -> Any:
    """The same, by modules that are made inside."""

    def module(variables: Any) -> zoo.models.nnx.ConvNet:
        return zoo.models.nnx.ConvNet(net, dtype=dtype, rngs=nnx.Rngs(0), variables=variables)

    def evaluation(variables: Any, images: Any) -> Any:
        model = module(variables)
        model.eval()
        return model(images)

    def training(variables: Any, images: Any, labels: Any, mask: Any, key: Any) -> Any:
        def loss_fn(params: Any) -> Any:
            model = module({**variables, "params": params})
            loss = loss_of(model(images, key, mask=mask), labels)
            return loss, zoo.models.nnx.to_linen(model).get("batch_stats", {})

        return jax.value_and_grad(loss_fn, has_aux=True)(variables["params"])

    return evaluation, training


def loss_of(logits: jax.Array, labels: Any) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def program(function: Any, *arguments: Any) -> str:
    """What XLA gets to compile, with one spelling for axes of length one that are put in."""
    text = jax.jit(lambda *arguments: function(*arguments)).lower(*arguments).as_text()
    text = re.sub(r'jax.result_info = "[^"]*"', "", text)

    def spelled(found: re.Match[str]) -> str:
        operand, before, after = found.groups()
        sizes = [math.prod(map(int, re.findall(r"\d+(?=x)", shape))) for shape in (before, after)]
        is_larger = sizes[0] != sizes[1]
        return (
            found[0] if is_larger else f"reshape {operand} : (tensor<{before}>) -> tensor<{after}>"
        )

    shapes = r"\(tensor<(\w+)>\) -> tensor<(\w+)>"
    return re.sub(rf"broadcast_in_dim (%\w+), dims = \[[\d, ]*\] : {shapes}", spelled, text)


# With the net of every layer, these have each kind of layer that the others have.
QUICK = ("lenet3", "vgg5", "pairs_cnn6", "pooling_cnn3_late", "ablation_cnn5_dropout")


@pytest.mark.parametrize(
    "name",
    [
        "every layer",
        *(
            name if name in QUICK else pytest.param(name, marks=pytest.mark.full)
            for name in list_models()
        ),
    ],
)
def test_the_program_is_that_of_linen(name: str) -> None:
    """So all numbers are: logits; and loss and gradients, with dropout.

    In nets that normalize, the gradient's program has sums over axes of length one in other places,
    so that is run: `test_training_mode_is_that_of_linen`, `test_fifty_steps_have_linens_losses`.
    """
    net = layers_of(name)
    variables = variable_shapes(net, (28, 28, 1))
    images = jax.ShapeDtypeStruct((4, 28, 28, 1), jnp.uint8)
    labels, mask = jax.ShapeDtypeStruct((4,), jnp.int32), jax.ShapeDtypeStruct((4,), bool)
    key = jax.eval_shape(lambda: jax.random.key(0))
    linen, modules = in_linen(net), in_nnx(net)
    assert program(modules[0], variables, images) == program(linen[0], variables, images)
    if not any(isinstance(layer, BatchNorm) for layer in every_layer(net)):
        arguments = (variables, images, labels, mask, key)
        assert program(modules[1], *arguments) == program(linen[1], *arguments)


def lists_of_layers(padding: st.SearchStrategy[str], depth: int) -> st.SearchStrategy[Any]:
    """Of one to four layers of images with a multiple of four channels."""
    activation = st.sampled_from([*layers.ACTIVATIONS, None])
    windows = {"stride": st.sampled_from([None, 1, 2]), "padding": padding}
    convs = {"stride": st.integers(1, 2), "activation": activation, "use_bias": st.booleans()}
    kinds = [
        st.builds(
            Conv,
            st.sampled_from([4, 8]),
            st.integers(1, 3),
            padding,
            groups=st.sampled_from([1, 2, 4]),
            **convs,
        ),
        st.builds(DepthwiseConv, st.integers(1, 3), padding, **convs),
        st.builds(MaxPool, st.integers(1, 3), **windows),
        st.builds(AvgPool, st.integers(1, 3), **windows),
        st.builds(BatchNorm, momentum=st.sampled_from([0.9, 0.99])),
        st.builds(GroupNorm, st.sampled_from([1, 2, 4])),
        st.builds(LayerNorm, epsilon=st.sampled_from([1e-3, 1e-6])),
        st.builds(Activation, st.sampled_from([*layers.ACTIVATIONS])),
        st.builds(Dropout, st.sampled_from([0, 0.25, 0.4])),
    ]
    if depth:
        inner = lists_of_layers(st.just("SAME"), depth - 1)
        kinds.append(st.builds(Residual, inner, activation=activation))
    return st.lists(st.one_of(kinds), min_size=1, max_size=4).map(tuple)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    body=lists_of_layers(st.sampled_from(["SAME", "VALID"]), depth=2),
    vectors=st.sampled_from([Flatten(), GlobalAvgPool()]),
    dense=st.sampled_from([(), (Dense(8), Dropout(0.5)), (Residual((Dense(6), BatchNorm())),)]),
    channels=st.integers(1, 3),
)
def test_any_net_is_that_of_linen(body: Net, vectors: Layer, dense: Net, channels: int) -> None:
    """In evaluation and, with the same key, in training."""
    net = (Conv(4, 1), *body, vectors, *dense, Head())
    shape = (16, 16, channels)
    try:
        variables = variable_shapes(net, shape)
    except ValueError:  # a shortcut of another shape, or too many strides
        assume(False)
    images, key = jax.ShapeDtypeStruct((2, *shape), jnp.float32), jax.random.key(0)

    def by_linen(variables: Any, images: Any) -> Any:
        model = ConvNet(net)
        first = model.apply(variables, images, train=False)
        return first, model.apply(
            variables, images, train=True, rngs={"dropout": key}, mutable=["batch_stats"]
        )

    def by_nnx(variables: Any, images: Any) -> Any:
        model = zoo.models.nnx.ConvNet(net, 10, shape, rngs=nnx.Rngs(0), variables=variables)
        model.eval()
        first = model(images)
        model.train()
        second = model(images, key)
        found = zoo.models.nnx.to_linen(model)
        return first, (second, {part: found[part] for part in found if part == "batch_stats"})

    assert program(by_nnx, variables, images) == program(by_linen, variables, images)


@nets(quick=("every layer",), slow=("pooling_cnn3",))
def test_logits_have_linens_bits(name: str) -> None:
    """In evaluation, with variables from Linen."""
    net = layers_of(name)
    linen, variables = ConvNet(net), random_variables(net)
    images = jnp.asarray(drawings(4)[0])
    model = zoo.models.nnx.create_model(net, rngs=nnx.Rngs(0))
    zoo.models.nnx.from_linen(variables, model)
    model.eval()
    expected = jax.jit(lambda *args: linen.apply(*args, train=False))(variables, images)
    logits = nnx.jit(lambda model, images: model(images))(model, images)
    assert np.isfinite(logits).all()
    np.testing.assert_array_equal(logits, expected)


def train_in_linen(net: Net, tx: Any, variables: Any, steps: Any) -> tuple[Any, Any]:
    """The losses of the zoo's own training of seed 0, and the variables after it."""
    state = TrainState(
        step=jnp.zeros((), jnp.int32),
        seed=jnp.uint32(0),
        params=variables["params"],
        batch_stats=variables.get("batch_stats", {}),
        opt_state=tx.init(variables["params"]),
    )
    step = jax.jit(make_train_step(ConvNet(net, dtype=jnp.float64), tx))
    losses = []
    for images, labels in steps:
        mask = np.ones(len(labels), bool)
        state, metrics = step(state, {"image": images, "label": labels, "mask": mask})
        losses.append(metrics.means()["loss"])
    statistics = {"batch_stats": state.batch_stats} if state.batch_stats else {}
    return losses, {"params": state.params, **statistics}


def train_in_nnx(net: Net, tx: Any, variables: Any, steps: Any) -> tuple[Any, Any]:
    """The same, with the loop that is usual in NNX."""
    model = zoo.models.nnx.ConvNet(net, dtype=jnp.float64, rngs=nnx.Rngs(0), variables=variables)
    rngs = nnx.Rngs(dropout=jax.random.fold_in(jax.random.key(0), Stream.DROPOUT))
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)

    @nnx.jit
    def train_step(model: Any, optimizer: Any, rngs: nnx.Rngs, images: Any, labels: Any) -> Any:
        def loss_fn(model: Any, rngs: nnx.Rngs) -> jax.Array:
            return loss_of(model(images, rngs), labels)

        loss, grads = nnx.value_and_grad(loss_fn)(model, rngs)
        optimizer.update(model, grads)
        return loss

    losses = [float(train_step(model, optimizer, rngs, *batch)) for batch in steps]
    return losses, zoo.models.nnx.to_linen(model)


@nets(quick=(), slow=("every layer",))
def test_fifty_steps_have_linens_losses(name: str) -> None:
    """With the net's own optimizer and dropout: a module drops what the zoo's training drops.

    In float64 and with batches as in `parity.training`, for the reasons told there.
    """
    known = "kernels_cnn7" if name == "every layer" else name
    config = importlib.import_module(f"zoo.configs.{known}").get_config().optimizer
    tx = zoo.training.optim.make_optimizer(config, zoo.training.optim.make_schedule(config, 1, 1))
    images, labels = drawings(NUM_STEPS * batch_size(known))
    steps = list(zip(np.split(images, NUM_STEPS), np.split(labels, NUM_STEPS), strict=True))
    net = layers_of(name)
    with jax.enable_x64(True):
        variables = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), random_variables(net))
        expected, variables_then = train_in_linen(net, tx, variables, steps)
        losses, found = train_in_nnx(net, tx, variables, steps)
    np.testing.assert_allclose(losses, expected, rtol=TOLERANCE)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6), found, variables_then
    )


@pytest.fixture
def model() -> zoo.models.nnx.ConvNet:
    """The small net with random variables."""
    return zoo.models.nnx.ConvNet(SMALL, rngs=nnx.Rngs(7), variables=random_variables(SMALL))


IMAGES, LABELS = drawings(6)


@pytest.mark.parametrize(
    "name", ["every layer", *(name for name in list_models() if name != "custom7")]
)
def test_variables_come_from_linen_and_go_back(name: str) -> None:
    variables = random_variables(layers_of(name))
    model = zoo.models.nnx.ConvNet(layers_of(name), rngs=nnx.Rngs(0), variables=variables)
    assert jax.tree.structure(zoo.models.nnx.to_linen(model)) == jax.tree.structure(variables)
    jax.tree.map(np.testing.assert_array_equal, zoo.models.nnx.to_linen(model), variables)


def test_initial_weights_are_those_of_linen_for_the_key() -> None:
    model = zoo.models.nnx.create_model("pooling_cnn3", 7, (28, 28, 3), rngs=nnx.Rngs(3))
    linen = zoo.models.create_model("pooling_cnn3", 7)
    expected = linen.init(nnx.Rngs(3).params(), np.zeros((1, 28, 28, 3)), train=False)
    jax.tree.map(np.testing.assert_array_equal, zoo.models.nnx.to_linen(model), expected)


@pytest.mark.parametrize(
    "dtype",
    [
        pytest.param(jnp.float32, marks=pytest.mark.slow),
        pytest.param(jnp.bfloat16, marks=pytest.mark.full),
    ],
)
def test_training_mode_is_that_of_linen(dtype: Any) -> None:
    """Loss, gradients and statistics, with padding that batch statistics leave out."""
    arguments = (random_variables(EVERY_LAYER), IMAGES, LABELS, np.arange(6) < 4, jax.random.key(5))
    expected, found = (
        jax.jit(side(EVERY_LAYER, dtype)[1])(*arguments) for side in (in_linen, in_nnx)
    )
    tolerance = 1e-5 if dtype == jnp.float32 else 1e-2
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance),
        found,
        expected,
    )


def test_nnx_grad_and_the_statistics_that_it_leaves(model: zoo.models.nnx.ConvNet) -> None:
    """Those of Linen, with padding that batch statistics leave out."""
    key, mask = jax.random.key(5), np.arange(6) < 4
    (loss, statistics), gradients = jax.jit(in_linen(SMALL)[1])(
        random_variables(SMALL), IMAGES, LABELS, mask, key
    )

    @nnx.jit
    def step(model: Any, images: Any, labels: Any, mask: Any) -> Any:
        def loss_fn(model: Any) -> jax.Array:
            return loss_of(model(images, key, mask=mask), labels)

        return nnx.value_and_grad(loss_fn)(model)

    found = step(model, IMAGES, LABELS, mask)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        (found[0], nnx.to_pure_dict(found[1]), zoo.models.nnx.to_linen(model)["batch_stats"]),
        (loss, gradients, statistics),
    )


def test_modes(model: zoo.models.nnx.ConvNet) -> None:
    """Training draws from the module's stream and moves statistics; evaluation does neither."""
    first, second = model(IMAGES), model(IMAGES)
    assert not np.array_equal(first, second)
    assert model.rngs.count[...] == 2
    nnx.reseed(model, dropout=1)
    again = model(IMAGES)
    nnx.reseed(model, dropout=1)
    np.testing.assert_array_equal(model(IMAGES), again)

    view = nnx.view(model, deterministic=True, use_running_average=True)
    model.eval()
    before = jax.tree.map(np.array, nnx.state(model, nnx.Not(nnx.RngKey)))
    logits = model(IMAGES)
    np.testing.assert_array_equal(model(IMAGES), logits)
    np.testing.assert_array_equal(view(IMAGES), logits)
    jax.tree.map(np.testing.assert_array_equal, nnx.state(model, nnx.Not(nnx.RngKey)), before)
    model.train()
    assert not np.array_equal(model(IMAGES), logits)


@pytest.mark.parametrize(
    "rngs",
    [
        lambda key: nnx.Rngs(dropout=key),
        lambda key: nnx.Rngs(key),
        lambda key: nnx.RngStream(key, tag="dropout"),
        lambda key: jax.random.fold_in(key, 0),
    ],
    ids=["dropout", "default", "stream", "key"],
)
def test_streams_that_a_call_brings(model: zoo.models.nnx.ConvNet, rngs: Any) -> None:
    given = rngs(jax.random.key(4))
    expected = model(IMAGES, jax.random.fold_in(jax.random.key(4), 0))
    np.testing.assert_array_equal(model(IMAGES, given), expected)
    assert model.rngs.count[...] == 0


def test_split_merge_and_plain_jit(model: zoo.models.nnx.ConvNet) -> None:
    model.eval()
    graphdef, params, others = nnx.split(model, nnx.Param, ...)
    assert set(params) == {"conv_1", "batch_norm_1", "conv_2", "dense_1", "head"}

    @jax.jit
    def functional(params: Any, others: Any, images: Any) -> Any:
        return nnx.merge(graphdef, params, others)(images)

    logits = functional(params, others, IMAGES)
    np.testing.assert_array_equal(jax.jit(lambda model, x: model(x))(model, IMAGES), logits)
    np.testing.assert_allclose(model(IMAGES), logits, rtol=1e-5, atol=1e-6)


def test_many_seeds_at_once() -> None:
    """Each as it is alone."""
    net: Net = (Conv(3, 3), MaxPool(4), Dropout(0.5), Flatten(), Head())

    @nnx.vmap
    def create(key: jax.Array) -> zoo.models.nnx.ConvNet:
        return zoo.models.nnx.create_model(net, rngs=nnx.Rngs(key))

    keys = jax.random.split(jax.random.key(0), 3)
    models = create(keys)
    assert models.conv_1.kernel.shape == (3, 3, 3, 1, 3)
    logits = nnx.vmap(lambda model, x: model(x), in_axes=(0, None))(models, IMAGES)
    alone = zoo.models.nnx.create_model(net, rngs=nnx.Rngs(keys[1]))
    np.testing.assert_allclose(logits[1], alone(IMAGES), rtol=1e-5, atol=1e-6)


def test_what_flax_shows_of_a_net(
    model: zoo.models.nnx.ConvNet, capsys: pytest.CaptureFixture[str]
) -> None:
    nnx.display(model)
    for text in (capsys.readouterr().out, repr(model), nnx.tabulate(model, IMAGES)):
        for name in ("conv_1", "batch", "dropout", "dense_1", "head"):
            assert name in text


def test_uint8_and_scaled_float_images_give_the_same_logits(model: zoo.models.nnx.ConvNet) -> None:
    model.eval()
    floats = jnp.asarray(IMAGES, jnp.float32) / 255
    np.testing.assert_array_equal(model(jnp.asarray(IMAGES)), model(floats))


def test_trained_weights() -> None:
    """In evaluation mode, ready to answer; with another head, ready to be tuned."""
    linen, variables = zoo.models.from_pretrained("pooling_cnn3")
    model = zoo.models.nnx.from_pretrained("pooling_cnn3")
    jax.tree.map(np.testing.assert_array_equal, zoo.models.nnx.to_linen(model), variables)
    logits = linen.apply(variables, jnp.asarray(IMAGES), train=False)
    np.testing.assert_array_equal(model(jnp.asarray(IMAGES)), logits)
    with pytest.warns(UserWarning, match="the head for 3 classes is new") as warned:
        tuned = zoo.models.nnx.from_pretrained("pooling_cnn3", num_classes=3, dtype=jnp.bfloat16)
    assert warned[0].filename == __file__
    assert tuned.head.kernel.shape == (128, 3)
    assert tuned(IMAGES).shape == (6, 3)
    np.testing.assert_array_equal(tuned.conv_1.kernel[...], model.conv_1.kernel[...])


def test_a_net_with_dropout_comes_in_evaluation_mode() -> None:
    model = zoo.models.nnx.from_pretrained("pooling_cnn3_late", rngs=nnx.Rngs(1))
    assert model.dropout_1.deterministic
    assert model.rngs.count[...] == 0


def test_features_are_the_input_of_the_head(model: zoo.models.nnx.ConvNet) -> None:
    variables = random_variables(SMALL, num_classes=0)
    body = zoo.models.nnx.ConvNet(SMALL, 0, rngs=nnx.Rngs(0), variables=variables)
    zoo.models.nnx.from_linen(
        {
            **variables,
            "params": {
                k: v for k, v in zoo.models.nnx.to_linen(model)["params"].items() if k != "head"
            },
        },
        body,
    )
    body.eval()
    model.eval()
    np.testing.assert_allclose(model.head(body(IMAGES)), model(IMAGES), rtol=1e-5, atol=1e-6)


def test_variables_of_another_net_are_refused(model: zoo.models.nnx.ConvNet) -> None:
    with pytest.raises(ValueError, match=r"batch_stats/batch_norm_1/mean has shape None in the v"):
        zoo.models.nnx.from_linen(random_variables(zoo.models.MODELS["lenet3"]), model)
    with pytest.raises(
        ValueError,
        match=r"params/head/bias has shape \(3,\) in the variables and \(10,\) in the module: give",
    ):
        zoo.models.nnx.from_linen(random_variables(SMALL, num_classes=3), model)


def test_what_cannot_be_made_or_applied_is_one_sentence(model: zoo.models.nnx.ConvNet) -> None:
    create = zoo.models.nnx.create_model
    with pytest.raises(ValueError, match=r"unknown net 'vgg6': did you mean vgg5"):
        create("vgg6", rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"num_classes must be 0"):
        create("vgg5", -1, rngs=nnx.Rngs(0))
    with pytest.raises(zoo.models.ImageTooSmallError, match="works is 8x8"):
        create(SMALL, image_shape=(3, 3, 1), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"images must be \[B, height, width, channels\]"):
        model(IMAGES[0])
    with pytest.raises(
        ValueError,
        match=r"for images of \(28, 28, 1\), not \(28, 28, 3\): create it with image_shape",
    ):
        model(IMAGES.repeat(3, axis=3))
    larger = np.pad(IMAGES, ((0, 0), (0, 1), (0, 1), (0, 0)))  # comes to as many features
    assert model(larger).shape == (6, 10)


def test_images_for_which_a_shortcut_takes_other_strides_are_refused() -> None:
    """Its weights fit them, but it would read other pixels than the net in Linen."""
    halves = (Conv(8, 3, "SAME", stride=2), Conv(8, 3, "SAME", stride=2))
    net = (Residual(halves), GlobalAvgPool(), Head())
    model = zoo.models.nnx.create_model(net, rngs=nnx.Rngs(0))
    assert model(jnp.zeros((1, 32, 32, 1))).shape == (1, 10)
    with pytest.raises(ValueError, match=r"made for images of \(28, 28, 1\), not \(6, 6, 1\)"):
        model(jnp.zeros((1, 6, 6, 1)))


def test_a_layer_of_ones_own_is_a_function_or_refused() -> None:
    @dataclasses.dataclass(frozen=True, repr=False)
    class Square(Layer):
        kind = "square"

        def output_shape(self, input_shape: layers.Shape) -> layers.Shape:
            return input_shape

        def __call__(self, x: jax.Array, context: layers.Context) -> jax.Array:
            return x * x

    class Scaled(BatchNorm):
        pass

    net: Net = (Square(), GlobalAvgPool())
    model = zoo.models.nnx.ConvNet(net, 0, rngs=nnx.Rngs(0))
    squares = jnp.asarray(IMAGES, jnp.float32) / 255
    np.testing.assert_allclose(model(IMAGES), jnp.mean(squares**2, axis=(1, 2)), rtol=1e-5)
    with pytest.raises(ValueError, match=r"residual_1/batch_norm_1 is of Scaled, which is not one"):
        zoo.models.nnx.ConvNet((Residual((Scaled(),)),), 0, rngs=nnx.Rngs(0))


def test_importing_models_does_not_load_nnx(run_python: Any) -> None:
    code = "import sys, zoo.models; print([name for name in sys.modules if 'nnx' in name])"
    assert run_python("-c", code).stdout == "[]\n"
