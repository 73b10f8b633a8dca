"""The pure core of training: the state and one step.

Nothing here touches files, clocks or screens. All randomness is a function of
(seed, stream, count), so a resumed run replays exactly.
"""

import enum
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

import zoo.models
from zoo.training import loss_scale
from zoo.training.fine_tuning import (
    frozen_statistics,
    given_variables,
    join_params,
    split_params,
)

Batch = dict[str, jax.Array]
"""image [B, H, W, C] uint8, label [B] int32, mask [B] bool: False marks padding."""


class TrainState(struct.PyTreeNode):
    """Everything that a step changes or draws on; arrays only."""

    step: jax.Array  # [] int32, steps done
    seed: jax.Array  # [] uint32
    params: Any  # those that are frozen, too
    batch_stats: Any  # {} for nets without batch normalization
    opt_state: Any  # of those that are trained; in float16, a `loss_scale.ScaledState`


def num_steps(state: TrainState) -> int:
    """The steps that a state has seen, which are the same for all seeds."""
    step = state.step  # [] or [seeds]
    if isinstance(step, jax.Array) and not step.is_fully_addressable:  # seeds of other processes
        step = step.addressable_data(0)
    return int(np.ravel(step)[0])


class Metrics(struct.PyTreeNode):
    """Sums over examples; divided once, on the host."""

    loss_sum: jax.Array  # [] float32, nats
    num_correct: jax.Array  # [] int32
    num_examples: jax.Array  # [] int32

    @classmethod
    def zeros(cls) -> "Metrics":
        return cls(jnp.zeros(()), jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))

    def __add__(self, other: "Metrics") -> "Metrics":
        return jax.tree.map(jnp.add, self, other)

    def means(self) -> dict[str, Any]:
        """{"loss": nats per example, "accuracy": fraction}; of many seeds, a list of each."""
        sums = jax.device_get(self)
        count = np.where(sums.num_examples, sums.num_examples, np.nan)  # none: all were skipped
        return {
            "loss": (sums.loss_sum / count).tolist(),
            "accuracy": (sums.num_correct / count).tolist(),
        }


class Progress(NamedTuple):
    """How far an epoch has come."""

    sums: Metrics  # over the images that it has trained on
    seconds: float  # that it has taken


class Stream(enum.IntEnum):
    """Independent streams of randomness of one seed."""

    INIT = 0
    ORDER = 1
    DROPOUT = 2


def random_key(seed: jax.Array | int, stream: Stream, count: jax.Array | int = 0) -> jax.Array:
    """The key for the count-th draw of a stream."""
    return jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), stream), count)


def create_train_state(
    model: zoo.models.ConvNet,
    tx: optax.GradientTransformation,
    seed: int,
    image_shape: tuple[int, int, int],
    *,
    variables: Mapping[str, Any] | None = None,
    freeze: str = "",
) -> TrainState:
    """A fresh state: parameters drawn from the seed, or given.

    Args:
        model: the net.
        tx: the optimizer.
        seed: of initialization and dropout.
        image_shape: (height, width, channels) of an image.
        variables: {"params": ..., "batch_stats": ... if the net has any} to start from, which are
            copied; a head of another size, or none, is drawn from the seed. None: all is drawn.
        freeze: the parameters that are not trained, as in `make_train_step`.

    Raises:
        ImageTooSmallError: images of that shape are too small for the net.
        ValueError: the variables are not those of the net (it names the first that differs).
        zoo.models.PatternError: `freeze` does not suit the net.
    """
    images = np.zeros((1, *image_shape), np.float32)
    init = functools.partial(model.init, train=False)
    if not isinstance(model, zoo.models.ConvNet):  # any other module computes its layers for it
        init = jax.jit(init)
    fresh = init(_init_key(jnp.uint32(seed)), images)
    if variables is not None:
        fresh = given_variables(variables, fresh)
    params = fresh["params"]
    trained, _ = split_params(params, freeze)
    opt_state = _init_optimizer(tx, trained)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        seed=jnp.uint32(seed),
        params=params,
        batch_stats=fresh.get("batch_stats", {}),
        opt_state=loss_scale.first_state(opt_state) if loss_scale.is_needed(model) else opt_state,
    )


@jax.jit
def _init_key(seed: jax.Array) -> jax.Array:
    return random_key(seed, Stream.INIT)


@functools.partial(jax.jit, static_argnums=0)
def _init_optimizer(tx: optax.GradientTransformation, params: Any) -> Any:
    return tx.init(jax.tree.map(jnp.copy, params))  # if it keeps them, in buffers of its own


def _sums(logits: jax.Array, batch: Batch, label_smoothing: float = 0.0) -> Metrics:
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))  # of any Flax module
    if label_smoothing:
        labels = jax.nn.one_hot(batch["label"], logits.shape[-1])  # [B, classes]
        labels = optax.smooth_labels(labels, label_smoothing)
        losses = optax.softmax_cross_entropy(logits, labels)
    else:
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])  # [B]
    mask = batch["mask"]
    return Metrics(
        loss_sum=jnp.sum(losses, where=mask),
        num_correct=jnp.sum((logits.argmax(-1) == batch["label"]) & mask),
        num_examples=jnp.sum(mask),
    )


def make_gradients(
    model: zoo.models.ConvNet,
    label_smoothing: float = 0.0,
    freeze: str = "",
    axis_name: str | None = None,
) -> Callable[[TrainState, Batch], tuple[Any, Any, Metrics]]:
    """A pure function: gradients(state, batch) -> (gradients, batch_stats, metrics).

    The loss is the mean cross-entropy of the examples that are not padding, with the given share of
    each label spread over all classes. The metrics are those of the batch, with dropout. There are
    gradients of the parameters that `freeze` does not match, and no others are computed. With
    `axis_name`, the batch is spread over that axis of a mesh, and all are those of the whole batch.
    With a factor of the loss in the state, the gradients are divided by it again.
    """
    if axis_name:
        model = model.clone(axis_name=axis_name)

    def gradients(state: TrainState, batch: Batch) -> tuple[Any, Any, Metrics]:
        trained, frozen = split_params(state.params, freeze)
        is_scaled = isinstance(state.opt_state, loss_scale.ScaledState)

        def loss_fn(trained: Any) -> tuple[jax.Array, tuple[Any, Metrics]]:
            with frozen_statistics(trained, frozen):
                logits, updates = model.apply(
                    {"params": join_params(trained, frozen), "batch_stats": state.batch_stats},
                    batch["image"],
                    train=True,
                    mask=batch["mask"],
                    rngs={"dropout": random_key(state.seed, Stream.DROPOUT, state.step)},
                    mutable=["batch_stats"],
                )
            metrics = _sums(logits, batch, label_smoothing)
            batch_stats = updates.get("batch_stats", {})
            num_examples = metrics.num_examples
            if axis_name:
                num_examples = jax.lax.psum(num_examples, axis_name)
            loss = metrics.loss_sum / num_examples
            return loss * state.opt_state.factor if is_scaled else loss, (batch_stats, metrics)

        grads, (batch_stats, metrics) = jax.grad(loss_fn, has_aux=True)(trained)
        if axis_name:
            grads, metrics = jax.lax.psum((grads, metrics), axis_name)
        if is_scaled:
            grads = jax.tree.map(lambda grad: grad / state.opt_state.factor, grads)
        return grads, batch_stats, metrics

    return gradients


def make_train_step(
    model: zoo.models.ConvNet,
    tx: optax.GradientTransformation | Callable[..., optax.GradientTransformation],
    skip_non_finite: bool = False,
    label_smoothing: float = 0.0,
    freeze: str = "",
    axis_name: str | None = None,
) -> Callable[..., tuple[TrainState, Metrics]]:
    """A pure function: `train_step(state, batch, *numbers) -> (state, metrics)`.

    The loss is that of `make_gradients`; the metrics are those of the batch before the update, with
    dropout, as Keras reports them. Compile it with `jax.jit(train_step, donate_argnums=0)`.

    In float16 the loss is scaled (`zoo.training.loss_scale`).

    Args:
        model: the net.
        tx: the optimizer, or a function that makes it of the step's numbers, such as a learning
            rate, which are then no constants of the compiled step.
        skip_non_finite: leave out a batch whose loss or gradients are not finite, or after which
            the state would not be: only the step is counted.
        label_smoothing: share of each label that is spread over all classes.
        freeze: the parameters that are not trained: regular expressions over their paths, separated
            by commas, such as `conv_.*` (`zoo.models.paths`). They have no gradient and no
            optimizer state, and a batch normalization of which all are frozen uses its moving
            statistics and leaves them as they are. The state must be made with the same text.
        axis_name: in `jax.shard_map` with `check_vma=False`, the axis of the mesh over which a
            batch is spread; the state is whole on each device, and stays so.
    """
    gradients = make_gradients(model, label_smoothing, freeze, axis_name)

    def train_step(state: TrainState, batch: Batch, *numbers: Any) -> tuple[TrainState, Metrics]:
        grads, batch_stats, metrics = gradients(state, batch)
        trained, frozen = split_params(state.params, freeze)
        optimizer = tx(*numbers) if callable(tx) else tx
        if is_scaled := isinstance(state.opt_state, loss_scale.ScaledState):
            optimizer = loss_scale.scaled(optimizer)
        updates, opt_state = optimizer.update(grads, state.opt_state, trained)
        new = state.replace(
            step=state.step + 1,
            params=join_params(optax.apply_updates(trained, updates), frozen),
            batch_stats=batch_stats,
            opt_state=opt_state,
        )
        if not skip_non_finite and not is_scaled:
            return new, metrics
        is_good = all_finite((metrics.loss_sum, grads, new))
        is_counted = is_good
        skipped = state.replace(step=new.step)
        if is_scaled:
            skipped = skipped.replace(opt_state=loss_scale.lowered(state.opt_state))
            is_counted = loss_scale.is_counted(
                is_good, metrics.loss_sum, state.opt_state, skip_non_finite
            )
        return _where(is_good, new, skipped), _where(is_counted, metrics, Metrics.zeros())

    return train_step


def _where(condition: jax.Array, tree: Any, other: Any) -> Any:
    return jax.tree.map(lambda one, two: jnp.where(condition, one, two), tree, other)


def all_finite(tree: Any) -> jax.Array:
    """Whether all numbers of a tree are finite: [] bool."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]))


def make_eval_step(model: zoo.models.ConvNet) -> Callable[[Any, Batch], Metrics]:
    """A pure function: eval_step(variables, batch) -> metrics, without dropout."""

    def eval_step(variables: Any, batch: Batch) -> Metrics:
        logits: Any = model.apply(variables, batch["image"], train=False)
        return _sums(logits, batch)

    return eval_step
