"""The notebooks' conclusions as claims that can be tested against runs."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import zoo.reproduction.published
from zoo.analysis.significance import Difference, welch
from zoo.reproduction.results import FinishedRun, by_notebook
from zoo.system.text import mean_text

LEVEL = 0.05  # a difference with a smaller p is significant


@dataclasses.dataclass(frozen=True)
class Measure:
    """The quantity that is compared: one number per run."""

    name: str
    larger_is_better: bool
    of_run: Callable[[FinishedRun], float]
    of_published: Callable[[zoo.reproduction.published.Published], float]
    text: Callable[[Sequence[float]], str]  # such as "98.62% ± 0.05%"


def _epochs_to(accuracy: float, history: Mapping[str, Sequence[Any]]) -> float:
    """Epochs until the training accuracy is first reached; if never, the number of epochs + 1."""
    reached = [epoch for epoch, value in enumerate(history["accuracy"], 1) if value >= accuracy]
    return min(reached, default=len(history["accuracy"]) + 1)


ACCURACY = Measure(
    "test accuracy",
    larger_is_better=True,
    of_run=lambda run: run.test["accuracy"],
    of_published=lambda published: published.accuracy,
    text=lambda values: mean_text(values, ".2%"),
)
CONVERGENCE = Measure(
    "epochs to a training accuracy of 98%",
    larger_is_better=False,
    of_run=lambda run: _epochs_to(0.98, run.epochs),
    of_published=lambda published: _epochs_to(0.98, published.history),
    text=lambda values: f"{mean_text(values, '.1f')} epochs",
)


@dataclasses.dataclass(frozen=True)
class Claim:
    """A net is better than each of the others."""

    notebook: str
    text: str
    ahead: str
    others: tuple[str, ...]
    measure: Measure = ACCURACY


CLAIMS = (
    Claim(
        "000",
        "5 convolutions of 5x5 are the most accurate (its comparison table)",
        "kernels_cnn5",
        ("kernels_cnn3", "kernels_cnn7"),
    ),
    Claim(
        "000",
        "3 convolutions of 3x3 are the most accurate (its logs)",
        "kernels_cnn3",
        ("kernels_cnn5", "kernels_cnn7"),
    ),
    Claim("001", "VGG-5 is more accurate than LeNet-3", "vgg5", ("lenet3",)),
    Claim("001", "VGG-5 is more accurate than the custom 7-conv net", "vgg5", ("custom7",)),
    Claim("001", "LeNet-3 is more accurate than the custom 7-conv net", "lenet3", ("custom7",)),
    Claim("001", "VGG-5 converges in fewer epochs than LeNet-3", "vgg5", ("lenet3",), CONVERGENCE),
    Claim(
        "002",
        "6 convolutions are more accurate than 10 and 14 (its logs; it draws no conclusion)",
        "pairs_cnn6",
        ("pairs_cnn10", "pairs_cnn14"),
    ),
    Claim(
        "003",
        "of the nets with alternate pooling, the one with 5 convolutions is the most accurate",
        "pooling_cnn5",
        ("pooling_cnn3", "pooling_cnn7"),
    ),
    Claim(
        "003",
        "with 3 convolutions, pooling late is more accurate than after every convolution",
        "pooling_cnn3_late",
        ("pooling_cnn3",),
    ),
    *(
        Claim(
            "004",
            f"dropout makes {size} convolutions more accurate{note}",
            f"ablation_cnn{size}_dropout",
            (f"ablation_cnn{size}",),
        )
        for size, note in ((3, ""), (5, " (the two nets differ in width)"), (7, ""))
    ),
    Claim(
        "004",
        "with dropout, 7 convolutions are the most accurate",
        "ablation_cnn7_dropout",
        ("ablation_cnn3_dropout", "ablation_cnn5_dropout"),
    ),
)


@dataclasses.dataclass(frozen=True)
class Judgement:
    """The result of testing a claim on runs."""

    verdict: str  # holds, does not hold, cannot be told from noise, not enough runs
    details: tuple[str, ...]  # one for each of the other nets


def judge(claim: Claim, runs: Sequence[FinishedRun]) -> Judgement:
    """Tests the claim on runs, by Welch's test of each pair of nets.

    It holds if the net is better than each of the others with p < 0.05. It does not hold if one of
    k others is better with p < 0.05 / k (Bonferroni's correction).

    Args:
        claim: one of `CLAIMS`.
        runs: of any nets; only those with the notebook's protocol are used.
    """
    measure = claim.measure
    published = zoo.reproduction.published.load()

    def values_of(net: str) -> list[float]:
        return [measure.of_run(run) for run in by_notebook(runs, net)]

    first = values_of(claim.ahead)
    details, verdicts = [], []
    for other in claim.others:
        second = values_of(other)
        there = [
            measure.text([measure.of_published(published[net])]) for net in (claim.ahead, other)
        ]
        detail = f"`{claim.ahead}` against `{other}`: published {there[0]} and {there[1]}"
        if not first or not second:
            missing = " and ".join(
                f"`{net}`" for net, values in ((claim.ahead, first), (other, second)) if not values
            )
            details.append(f"{detail}; no run of {missing}")
            verdicts.append("not enough runs")
            continue
        difference = welch(first, second)
        detail += (
            f"; ours {measure.text(first)} (n = {len(first)}) and {measure.text(second)} "
            f"(n = {len(second)})"
        )
        if difference:
            detail += f", p = {difference.p:.2g}"
        details.append(detail)
        verdicts.append(
            "not enough runs"
            if min(len(first), len(second)) < 2
            else _verdict(difference, measure, len(claim.others))
        )
    return Judgement(_together(verdicts), tuple(details))


def _verdict(difference: Difference | None, measure: Measure, num_others: int) -> str:
    if difference:
        is_ahead = (difference.mean > 0) == measure.larger_is_better
        if is_ahead and difference.p < LEVEL:
            return "holds"
        if not is_ahead and difference.p < LEVEL / num_others:
            return "does not hold"
    return "cannot be told from noise"


def _together(verdicts: Sequence[str]) -> str:
    """One failure refutes the claim; otherwise the weakest verdict of the pairs."""
    order = ("does not hold", "not enough runs", "cannot be told from noise", "holds")
    return min(verdicts, key=order.index)
