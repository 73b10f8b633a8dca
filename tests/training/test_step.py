"""The pure step: what it computes, and that it depends on its arguments alone."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.models import ConvNet, create_model
from zoo.models.layers import BatchNorm, Conv, Dense, Dropout, Flatten, Head, MaxPool
from zoo.training.programs import make_train_program, padded_order, take_batch
from zoo.training.scoring import make_eval_program
from zoo.training.step import (
    Batch,
    Metrics,
    Stream,
    TrainState,
    create_train_state,
    make_eval_step,
    make_gradients,
    make_train_step,
    random_key,
)

TINY = ConvNet(
    (Conv(4, 3), MaxPool(2), Dropout(0.25), Flatten(), Dense(8), BatchNorm(), Dropout(0.5), Head()),
    num_classes=3,
)
SHAPE = (8, 8, 1)


def split_of(count: int, seed: int = 0) -> tuple[jax.Array, jax.Array]:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, *SHAPE), np.uint8)
    return jnp.asarray(images), jnp.asarray(rng.integers(0, 3, count), jnp.int32)


def state_of(model: ConvNet = TINY, tx: Any = None, seed: int = 0) -> TrainState:
    return create_train_state(model, tx or optax.sgd(0.1), seed, SHAPE)


def assert_trees_equal(a: Any, b: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)


def assert_trees_close(a: Any, b: Any) -> None:
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-5, atol=1e-6), a, b)


@pytest.fixture
def batch() -> Batch:
    return take_batch(split_of(6), jnp.arange(6))


def test_state_holds_arrays_only() -> None:
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(state_of()))


def test_a_step_is_pure(batch: Batch) -> None:
    state = state_of()
    before = jax.tree.map(np.array, state)
    step = jax.jit(make_train_step(TINY, optax.sgd(0.1)))
    first, second = step(state, batch), step(state, batch)
    assert_trees_equal(first, second)
    assert_trees_equal(before, state)
    assert int(first[0].step) == 1


def test_steps_draw_different_dropout(batch: Batch) -> None:
    step = jax.jit(make_train_step(TINY, optax.sgd(0.0)))
    state = state_of()
    state, first = step(state, batch)
    _, second = step(state, batch)
    assert first.loss_sum != second.loss_sum  # parameters stood still, the mask did not


def test_seeds_and_streams_are_independent() -> None:
    keys = {
        tuple(np.asarray(jax.random.key_data(random_key(seed, stream, count))))
        for seed in (0, 1, 2**32 - 1)
        for stream in Stream
        for count in (0, 1, 2)
    }
    assert len(keys) == 3 * len(Stream) * 3
    first, second = state_of(seed=0).params, state_of(seed=1).params
    assert not np.array_equal(first["conv_1"]["kernel"], second["conv_1"]["kernel"])


def test_a_masked_partial_batch_equals_an_unpadded_one() -> None:
    """With dropout and batch norm: parameters, statistics and metrics."""
    split = split_of(5)
    step = jax.jit(make_train_step(TINY, optax.adam(1e-2)))
    state = state_of(tx=optax.adam(1e-2))
    padded, padded_metrics = step(state, take_batch(split, jnp.array([3, 1, 4, -1, -1, -1])))
    plain, plain_metrics = step(state, take_batch(split, jnp.array([3, 1, 4])))
    assert_trees_close(padded.params, plain.params)
    assert_trees_close(padded.batch_stats, plain.batch_stats)
    assert_trees_close(padded_metrics, plain_metrics)
    assert int(padded_metrics.num_examples) == 3


def test_label_smoothing_spreads_a_share_of_each_label(batch: Batch) -> None:
    """As in Szegedy et al., arXiv 1512.00567, section 7."""
    state, share = state_of(), 0.3
    _, _, sums = jax.jit(make_gradients(TINY, share))(state, batch)
    logits, _ = TINY.apply(
        {"params": state.params, "batch_stats": state.batch_stats},
        batch["image"],
        train=True,
        mask=batch["mask"],
        rngs={"dropout": random_key(state.seed, Stream.DROPOUT, state.step)},
        mutable=["batch_stats"],
    )
    classes = logits.shape[-1]
    labels = np.full((len(logits), classes), share / classes)
    labels[np.arange(len(logits)), batch["label"]] += 1 - share
    expected = -np.sum(labels * np.asarray(jax.nn.log_softmax(logits)))
    np.testing.assert_allclose(sums.loss_sum, expected, rtol=1e-5)


def test_metrics_are_sums_over_real_examples() -> None:
    logits = np.array([[2.0, 0, 0], [0, 1, 0], [0, 0, 3], [9, 0, 0]], np.float32)

    class Fixed:
        def apply(self, variables: Any, images: jax.Array, train: bool) -> jax.Array:
            return jnp.asarray(logits)

    batch = {
        "image": jnp.zeros((4, *SHAPE)),
        "label": jnp.array([0, 2, 2, 1]),
        "mask": jnp.array([True, True, True, False]),
    }
    metrics = make_eval_step(Fixed())({}, batch)  # type: ignore[arg-type]
    log_z = np.log(np.exp(logits).sum(1))
    losses = log_z - logits[np.arange(4), [0, 2, 2, 1]]
    np.testing.assert_allclose(metrics.loss_sum, losses[:3].sum(), rtol=1e-6)
    means = (metrics + Metrics.zeros()).means()
    assert means == {"loss": pytest.approx(losses[:3].mean()), "accuracy": 2 / 3}


def gradient_of(state: TrainState, batch: Batch) -> Any:
    """The step's gradient, written down once more: mean cross-entropy, this step's dropout."""

    def loss(params: Any) -> jax.Array:
        logits: Any
        logits, _ = TINY.apply(
            {"params": params, "batch_stats": state.batch_stats},
            batch["image"],
            train=True,
            rngs={"dropout": random_key(state.seed, Stream.DROPOUT, state.step)},
            mutable=["batch_stats"],
        )
        log_probabilities = jax.nn.log_softmax(logits)
        return -log_probabilities[jnp.arange(len(logits)), batch["label"]].mean()

    return jax.grad(loss)(state.params)


def test_a_step_of_sgd_equals_a_hand_written_update(batch: Batch) -> None:
    state = state_of()
    new, _ = make_train_step(TINY, optax.sgd(0.1))(state, batch)
    expected = jax.tree.map(lambda p, g: p - 0.1 * g, state.params, gradient_of(state, batch))
    assert_trees_close(new.params, expected)


def test_two_steps_of_adam_equal_hand_written_updates(batch: Batch) -> None:
    """Kingma & Ba (2015), algorithm 1."""
    eps = 1e-3  # well above the rounding of a gradient that is nearly zero
    tx = optax.adam(0.01, b1=0.9, b2=0.999, eps=eps)
    state = state_of(tx=tx)
    step = make_train_step(TINY, tx)
    params = state.params
    m = v = jax.tree.map(jnp.zeros_like, params)
    for t in (1, 2):
        gradient = gradient_of(state, batch)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, gradient)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, gradient)
        params = jax.tree.map(
            lambda p, m, v, t=t: (
                p - 0.01 * (m / (1 - 0.9**t)) / (jnp.sqrt(v / (1 - 0.999**t)) + eps)
            ),
            params,
            m,
            v,
        )
        state, _ = step(state, batch)
        assert_trees_close(state.params, params)
        state = state.replace(params=params)  # so that rounding does not add up


def test_two_steps_of_adadelta_equal_hand_written_updates(batch: Batch) -> None:
    """Zeiler (2012), algorithm 1, with Keras's constants."""
    tx = optax.adadelta(1.0, rho=0.95, eps=1e-7)
    state = state_of(tx=tx)
    step = make_train_step(TINY, tx)
    params = state.params
    squares = deltas = jax.tree.map(jnp.zeros_like, params)
    for _ in range(2):
        gradient = gradient_of(state, batch)
        squares = jax.tree.map(lambda s, g: 0.95 * s + 0.05 * g * g, squares, gradient)
        update = jax.tree.map(
            lambda g, s, d: g * jnp.sqrt(d + 1e-7) / jnp.sqrt(s + 1e-7), gradient, squares, deltas
        )
        deltas = jax.tree.map(lambda d, u: 0.95 * d + 0.05 * u * u, deltas, update)
        params = jax.tree.map(lambda p, u: p - u, params, update)
        state, _ = step(state, batch)
        assert_trees_close(state.params, params)
        state = state.replace(params=params)


@settings(max_examples=15, deadline=None)
@given(count=st.integers(1, 40), batch_size=st.integers(1, 45))
def test_padded_order_holds_every_index_once(count: int, batch_size: int) -> None:
    order = jax.random.permutation(jax.random.key(count), count)
    batches = np.asarray(padded_order(order, batch_size))
    assert batches.shape == (-(-count // batch_size), batch_size)
    assert sorted(batches[batches >= 0]) == list(range(count))
    assert (batches.ravel()[:count] >= 0).all()  # padding comes last


def test_the_cuts_of_an_epoch_do_not_change_a_bit() -> None:
    """One call for all steps, against a call for each, of the same compiled program."""
    tx = optax.adam(1e-2)
    split = split_of(10)
    order = padded_order(jnp.arange(10), 4)
    program = make_train_program(make_train_step(TINY, tx))
    whole = program(state_of(tx=tx), Metrics.zeros(), split, order, 0, 3)
    state, metrics = state_of(tx=tx), Metrics.zeros()
    for step in range(len(order)):
        state, metrics = program(state, metrics, split, order, step, step + 1)
    for one, other in zip(jax.tree.leaves(whole), jax.tree.leaves((state, metrics)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert int(metrics.num_examples) == 10
    assert program._cache_size() == 1  # type: ignore[attr-defined]

    evaluate = make_eval_program(make_eval_step(TINY))
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    whole = evaluate(variables, Metrics.zeros(), split, order, 0, 3)
    one_batch = padded_order(jnp.arange(10), 10)
    single = evaluate(variables, Metrics.zeros(), split, one_batch, 0, 1)
    assert_trees_close(whole, single)


def test_a_net_overfits_64_images() -> None:
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.integers(0, 256, (64, 28, 28, 1), np.uint8))
    split = (images, jnp.asarray(rng.integers(0, 10, 64), jnp.int32))  # labels are pure chance
    tx = optax.adam(2e-3)
    model = create_model("pooling_cnn3")
    state = create_train_state(model, tx, 0, (28, 28, 1))
    program = make_train_program(make_train_step(model, tx))
    order = jnp.arange(64)[None]
    for _ in range(120):
        state, metrics = program(state, Metrics.zeros(), split, order, 0, 1)
    assert metrics.means()["accuracy"] == 1.0
    assert metrics.means()["loss"] < 0.1


def test_any_flax_module_of_images_is_trained_alike() -> None:
    class Linear(nn.Module):
        @nn.compact
        def __call__(self, images: jax.Array, *, train: bool, mask: Any = None) -> jax.Array:
            return nn.Dense(3)(images.reshape(len(images), -1).astype(jnp.float32) / 255)

    model: Any = Linear()
    state = create_train_state(model, optax.sgd(0.1), 0, (8, 8, 1))
    state, metrics = make_train_step(model, optax.sgd(0.1))(
        state, take_batch(split_of(6), jnp.arange(6))
    )
    assert int(state.step) == 1
    assert np.isfinite(metrics.loss_sum)


def test_the_loss_of_a_module_in_low_precision_is_float32() -> None:
    """Its logits come in bfloat16, in which small losses would be zero."""

    class Scores(nn.Module):
        @nn.compact
        def __call__(self, images: jax.Array, *, train: bool, mask: Any = None) -> jax.Array:
            return nn.Dense(3, dtype=jnp.bfloat16)(images.reshape(len(images), -1))

    model = Scores()
    images = np.random.default_rng(0).random((6, 4, 4, 1), np.float32)
    variables = model.init(jax.random.key(0), images, train=False)
    variables = jax.tree.map(lambda leaf: 3 * leaf, variables)
    logits = np.asarray(model.apply(variables, images, train=False), np.float64)
    batch = {"image": images, "label": logits.argmax(-1), "mask": np.ones(6, bool)}
    expected = np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1)).sum()
    metrics = jax.jit(make_eval_step(model))(variables, batch)
    assert metrics.loss_sum.dtype == jnp.float32
    assert float(metrics.loss_sum) == pytest.approx(expected, rel=1e-5)
