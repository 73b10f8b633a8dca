"""Programs of many steps."""

import re
from typing import Any

import jax.numpy as jnp
import optax
import pytest
from test_step import SHAPE, assert_trees_equal, split_of

from zoo.models import ConvNet
from zoo.models.layers import Conv, Flatten, Head
from zoo.training import programs
from zoo.training.step import Metrics, create_train_state, make_train_step


def trip_counts(compiled: Any) -> list[int | None]:
    """The number of turns of each loop of a compiled program; None: XLA does not know it."""
    loops = [line for line in compiled.as_text().splitlines() if " while(" in line]
    found = [re.search(r'"known_trip_count":\{"n":"(\d+)"\}', line) for line in loops]
    return [int(match[1]) if match else None for match in found]


def test_where_the_host_decides_steps_are_done_in_loops_of_known_length(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a GPU, here compiled for a CPU; and with the same bits."""
    model, tx, num_steps = ConvNet((Conv(2, 3), Flatten(), Head()), 3), optax.sgd(0.1), 2 * 16 + 3
    order = programs.padded_order(jnp.arange(num_steps), 1)
    found, loops = [], []
    for host_decides in (False, True):
        monkeypatch.setattr(programs, "_host_decides", lambda decides=host_decides: decides)
        state = create_train_state(model, tx, 0, SHAPE)
        call = (state, Metrics.zeros(), split_of(num_steps), order, 0, num_steps)
        compiled = programs.make_train_program(make_train_step(model, tx)).lower(*call).compile()
        loops.append(sorted(trip_counts(compiled), key=str))
        found.append(compiled(*call))
    assert loops == [[None], [programs.STEPS_AT_ONCE, None, None]]
    assert_trees_equal(*found)
