"""Where a run's numbers stopped being finite."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from zoo.models.net import ConvNet, named_layers
from zoo.training import distributed, loss_scale, programs
from zoo.training.loop import Trainer
from zoo.training.step import TrainState, num_steps

_STEPS_AT_ONCE = 20


@dataclasses.dataclass(frozen=True)
class Divergence:
    """The first step whose loss or gradients are not finite."""

    step: int  # from 1
    seed: int
    loss: float  # of the step's batch, in nats
    layer: str | None  # whose gradient went first, None: all gradients are finite
    learning_rate: float  # of the update that this step makes

    def __str__(self) -> str:
        where = f"at step {self.step} (learning rate {self.learning_rate:g})"
        if self.layer is None:
            return f"{where} the loss of seed {self.seed} is {self.loss:g}"
        return (
            f"{where} the gradient of {self.layer} is the first that is not finite, with a loss of "
            f"{self.loss:g} (seed {self.seed})"
        )


def find(
    trainer: Trainer,
    state: TrainState,
    good: int,
    until: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> Divergence | None:
    """Trains again, and looks at the gradients of each step in doubt.

    A run is a function of its seed, so training again from a state that it had gives the very
    numbers that it gave (on a GPU, with config.deterministic).

    Args:
        trainer: of the run.
        state: one that the run had, all finite; is used up.
        good: so many steps had finite gradients.
        until: by so many steps they had not.
        should_stop: once it says True, the search ends without a result.

    Returns:
        The first divergence; None if all gradients up to there are finite.
    """
    while (done := num_steps(state)) < good:
        if should_stop():
            return None
        state = trainer.replay(state, min(good, done + _STEPS_AT_ONCE))
    for step in range(num_steps(state), until):
        if should_stop():
            return None
        for seed, (loss, grads) in zip(trainer.seeds, _gradients(trainer, state), strict=True):
            layer = _first_not_finite(trainer, grads)
            if layer or not jnp.isfinite(loss):
                rate = trainer.learning_rate(step + 1)
                return Divergence(step + 1, seed, float(loss), layer, rate)
        state = trainer.replay(state, step + 1)
    return None


def _gradients(trainer: Trainer, state: TrainState) -> list[tuple[jax.Array, Any]]:
    """For each seed (loss in nats, gradients) of the batch that comes next.

    The gradients are {} where the scale of the loss may be why some are not finite.
    """
    epoch, index = divmod(num_steps(state), trainer.steps_per_epoch)
    state, data = distributed.at_hand((state, trainer.feed.training(epoch + 1).at(index)))
    found = []
    for number in range(len(trainer.seeds)):
        own, batches = state, data.batches
        if len(trainer.seeds) > 1:
            own, batches = programs.take_seed((state, data.batches), number)
        batch = programs.batch_at(data.split, batches, index - data.first)
        grads, _, metrics = trainer.gradients(own, batch)
        scaled = own.opt_state
        if isinstance(scaled, loss_scale.ScaledState) and loss_scale.may_be_too_large(scaled):
            grads = {}
        found.append((metrics.loss_sum / metrics.num_examples, grads))
    return found


def _first_not_finite(trainer: Trainer, grads: Any) -> str | None:
    """The layer, of those with a gradient that is not finite, that is nearest to the output.

    Gradients are computed from the output to the input, each from the one before.
    """
    if not isinstance(trainer.model, ConvNet):
        return None  # the order of its layers is not known
    names = [*(name for name, _ in named_layers(trainer.model.net)), "head"]
    for name in reversed(names):
        if not all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(grads.get(name))):
            return name
    return None
