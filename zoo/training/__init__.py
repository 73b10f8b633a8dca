"""Trains nets: a pure step, runs that keep history and checkpoints and go on bit for bit."""

from zoo.training.run import train_and_evaluate
from zoo.training.step import (
    Metrics,
    TrainState,
    create_train_state,
    make_eval_step,
    make_train_step,
)

__all__ = [
    "Metrics",
    "TrainState",
    "create_train_state",
    "make_eval_step",
    "make_train_step",
    "train_and_evaluate",
]
