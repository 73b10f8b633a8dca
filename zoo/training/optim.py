"""From a configuration to an Optax optimizer."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from zoo.training.fine_tuning import scale_rates


def make_schedule(config: Any, steps_per_epoch: int, num_epochs: int) -> optax.Schedule:
    """The learning rate as a function of the number of updates done.

    Args:
        config: the `optimizer` part of a configuration (see configs/default.py).
        steps_per_epoch: batches in an epoch.
        num_epochs: epochs of the whole run, over which cosine and one_cycle extend.
    """
    updates_per_epoch = steps_per_epoch / config.accumulate_steps
    num_updates = max(1, round(num_epochs * updates_per_epoch))
    warmup = round(config.warmup_epochs * updates_per_epoch)
    peak = config.learning_rate
    if config.schedule == "one_cycle":
        return optax.cosine_onecycle_schedule(num_updates, peak)
    if config.schedule == "cosine":
        after = optax.cosine_decay_schedule(peak, max(1, num_updates - warmup))
    else:
        after = optax.constant_schedule(peak)
    if not warmup:
        return after
    # The first update has 1/warmup of the peak, not zero.
    ramp = optax.linear_schedule(peak / warmup, peak, max(1, warmup - 1))
    return optax.join_schedules([ramp, after], [warmup])


def make_optimizer(config: Any, schedule: optax.Schedule) -> optax.GradientTransformation:
    """The optimizer that a configuration describes.

    Weight decay and muon act on kernels only, never on biases or batch-norm parameters.

    Args:
        config: the `optimizer` part of a configuration (see configs/default.py).
        schedule: learning rate by number of updates, from `make_schedule`.
    """
    decay = config.weight_decay
    match config.name:
        case "adam":
            tx = _adam(config, schedule)
        case "adamw":
            tx = optax.adamw(
                schedule, config.b1, config.b2, config.eps, weight_decay=decay, mask=_is_kernel
            )
        case "adadelta":
            tx = optax.adadelta(schedule, rho=config.rho, eps=config.eps)
        case "sgd":
            tx = optax.sgd(schedule, momentum=config.momentum or None, nesterov=config.nesterov)
        case "rmsprop":
            tx = optax.rmsprop(
                schedule,
                decay=config.rho,
                eps=config.eps,
                eps_in_sqrt=False,  # as Keras 2.2
                momentum=config.momentum or None,
            )
        case "lion":
            tx = optax.lion(schedule, config.b1, config.b2, weight_decay=decay, mask=_is_kernel)
        case "muon":
            tx = optax.contrib.muon(
                schedule,
                ns_steps=config.ns_steps,
                beta=config.b1,
                nesterov=config.nesterov,
                eps=config.eps,
                weight_decay=decay,
                weight_decay_mask=_is_kernel,
                adam_b1=config.b1,
                adam_b2=config.b2,
                muon_weight_dimension_numbers=_as_matrices,
            )
        case unknown:
            raise ValueError(f"unknown optimizer {unknown!r}")
    return _with_extras(tx, config)


def with_arguments(config: Any, tx: optax.GradientTransformation) -> tuple[Any, tuple[Any, ...]]:
    """(a function that makes the optimizer, its arguments); or (tx, ()).

    A learning rate that is always the same is an argument: a program to which it is given, and of
    which it is no constant, serves any, with the same bits.
    """
    if config.schedule != "constant" or config.warmup_epochs:
        return tx, ()

    def make(rate: jax.Array) -> optax.GradientTransformation:
        return make_optimizer(config, optax.constant_schedule(rate))

    return make, (np.float32(config.learning_rate),)


def _with_extras(tx: optax.GradientTransformation, config: Any) -> optax.GradientTransformation:
    """The optimizer with clipping, weight decay, rates and accumulation, where asked for."""
    decay = config.weight_decay
    before = []
    if config.clip_norm:
        before.append(optax.clip_by_global_norm(config.clip_norm))
    if decay and config.name not in ("adamw", "lion", "muon"):
        before.append(optax.add_decayed_weights(decay, mask=_is_kernel))
    after = [scale_rates(config.rates)] if config.rates else []
    if before or after:
        tx = optax.chain(*before, tx, *after)
    if config.accumulate_steps > 1:
        tx = optax.MultiSteps(tx, config.accumulate_steps).gradient_transformation()
    return tx


def _adam(config: Any, schedule: optax.Schedule) -> optax.GradientTransformation:
    if not config.keras_eps:
        return optax.adam(schedule, config.b1, config.b2, config.eps)

    # Keras: p -= lr * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + eps)   (Kingma & Ba, section 2)
    # Optax: p -= lr * m_hat / (sqrt(v_hat) + eps), the same with eps / sqrt(1 - b2^t).
    def eps(count: jax.Array) -> jax.Array:
        return config.eps / jnp.sqrt(1 - config.b2 ** (count + 1.0))

    make_adam = optax.inject_hyperparams(optax.adam, static_args=("learning_rate", "b1", "b2"))
    return make_adam(learning_rate=schedule, b1=config.b1, b2=config.b2, eps=eps)


def _is_kernel(params: Any) -> Any:
    return jax.tree.map(lambda param: param.ndim > 1, params)


def _as_matrices(params: Any) -> Any:
    """How muon sees a kernel as a matrix: inputs (and window) by outputs; None: not at all."""

    def dimensions(param: jax.Array) -> optax.contrib.MuonDimensionNumbers | None:
        if param.ndim < 2:
            return None
        return optax.contrib.MuonDimensionNumbers(
            reduction_axis=tuple(range(param.ndim - 1)), output_axis=param.ndim - 1
        )

    return jax.tree.map(dimensions, params)
