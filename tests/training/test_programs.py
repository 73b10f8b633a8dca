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
from zoo.training.scoring import make_eval_program
from zoo.training.step import Metrics, create_train_state, make_eval_step, make_train_step


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
    variables = {"params": create_train_state(model, tx, 0, SHAPE).params}
    found, loops = [], []
    for host_decides in (False, True):
        monkeypatch.setattr(programs, "_host_decides", lambda decides=host_decides: decides)
        for program, carry in (
            (
                programs.make_train_program(make_train_step(model, tx)),
                [create_train_state(model, tx, 0, SHAPE)],
            ),
            (make_eval_program(make_eval_step(model)), [variables]),
        ):
            call = (*carry, Metrics.zeros(), split_of(num_steps), order, 0, num_steps)
            compiled = program.lower(*call).compile()
            loops.append(trip_counts(compiled))
            found.append(compiled(*call))
    assert loops[:2] == [[None], [None]]
    for counts in loops[2:]:
        assert sorted(counts, key=str) == [programs.STEPS_AT_ONCE, None, None]
    assert_trees_equal(found[:2], found[2:])
