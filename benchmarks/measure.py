"""How many steps to time, and how much arithmetic a step is."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from zoo.models import layers


def calibrate(timed: Callable[[int], float], seconds: float) -> tuple[float, int]:
    """(seconds of the very first step, steps that take about `seconds`), all of it warmed up.

    Args:
        timed: runs so many steps and gives the seconds they took. When this returns, it has run
            with the number of steps that is given, so a program per number is compiled.
        seconds: what a round should take; a step that takes longer is a round of its own.
    """
    first = timed(1)
    num_steps = _clamp(seconds / timed(1))
    if num_steps > 1:
        warm = timed(num_steps)
        if warm < seconds / 2:  # a call costs more than its step: Keras's `fit`
            num_steps = _clamp(num_steps * seconds / warm)
            timed(num_steps)
    return first, num_steps


def _clamp(num_steps: float) -> int:
    return max(1, min(1000, round(num_steps)))


def train_flop(net: layers.Net, image_shape: Sequence[int], num_classes: int) -> int:
    """FLOP of a training step for one image: forward, and twice that backward; two a multiply-add.

    The first layer has one product less: nobody needs the gradient of the images.
    """
    macs = list(layers.layer_macs(net, image_shape, num_classes).values())
    return 2 * (3 * sum(macs) - macs[0])


def ratios_text(ratios: Iterable[tuple[str, float]]) -> str:
    """The geometric mean of the ratios and the smallest of them with its net."""
    pairs = list(ratios)
    if not pairs:
        return "not measured"
    net, least = min(pairs, key=lambda pair: pair[1])
    mean = statistics.geometric_mean(ratio for _, ratio in pairs)
    nets = "1 net" if len(pairs) == 1 else f"{len(pairs)} nets"
    return f"{mean:.2f} (geometric mean of {nets}), at least {least:.2f} (`{net}`)"


def median_of(timed: Callable[[int], float], num_steps: int, rounds: int) -> dict[str, Any]:
    """{"seconds": median seconds of a step, "rounds": those of each round, "num_steps"}."""
    rounds_seconds = [timed(num_steps) / num_steps for _ in range(rounds)]
    return {
        "seconds": statistics.median(rounds_seconds),
        "rounds": rounds_seconds,
        "num_steps": num_steps,
    }
