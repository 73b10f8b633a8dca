"""The number of steps to time, and the arithmetic of a step."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import zoo.models
from zoo.models import layers


def calibrate(timed: Callable[[int], float], seconds: float) -> tuple[float, int]:
    """(seconds of the very first step, number of steps that take about `seconds`), after warm-up.

    Args:
        timed: runs the given number of steps and returns the seconds. It has been called with the
            returned number of steps, so if it compiles per number, that is done.
        seconds: target length of a round; a round has at least one step.
    """
    first = timed(1)
    num_steps = _clamp(seconds / timed(1))
    if num_steps > 1:
        warm = timed(num_steps)
        if warm < seconds / 2:  # a call costs more than its step, as in Keras's `fit`
            num_steps = _clamp(num_steps * seconds / warm)
            timed(num_steps)
    return first, num_steps


def _clamp(num_steps: float) -> int:
    return max(1, min(1000, round(num_steps)))


def train_flop(net: layers.Net, image_shape: Sequence[int], num_classes: int) -> int:
    """FLOP of a training step per image: forward, and twice that backward; two per multiply-add.

    The first layer has one product less: the gradient of the images is not needed.
    """
    macs = list(zoo.models.layer_macs(net, image_shape, num_classes).values())
    return 2 * (3 * sum(macs) - macs[0])


def ratios_text(ratios: Iterable[tuple[str, float]]) -> str:
    """The geometric mean of the ratios, and the smallest ratio with its net."""
    pairs = list(ratios)
    if not pairs:
        return "not measured"
    net, least = min(pairs, key=lambda pair: pair[1])
    mean = statistics.geometric_mean(ratio for _, ratio in pairs)
    nets = "1 net" if len(pairs) == 1 else f"{len(pairs)} nets"
    return f"{mean:.2f} (geometric mean of {nets}), at least {least:.2f} (`{net}`)"


def median_of(timed: Callable[[int], float], num_steps: int, rounds: int) -> dict[str, Any]:
    """{"seconds": median seconds of a step, "rounds": seconds by round, "num_steps"}."""
    rounds_seconds = [timed(num_steps) / num_steps for _ in range(rounds)]
    return {
        "seconds": statistics.median(rounds_seconds),
        "rounds": rounds_seconds,
        "num_steps": num_steps,
    }
