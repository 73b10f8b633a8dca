"""What is known of a net, for its card, and how cards tell it."""

import dataclasses
import functools
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from environment import ROOT, hardware_text
from pictures import DRAWN

import zoo.models
from zoo.analysis.evaluation import Estimate, wilson
from zoo.models.layers import Conv
from zoo.models.packaged import packaged_weights
from zoo.reproduction import results
from zoo.reproduction.results import FinishedRun, by_notebook
from zoo.system.text import mean_text

FOLDER = ROOT / "docs/nets"
RESULTS = ROOT / "docs/results/reproduction.json"
_BUSY = 0.1  # cores that other programs may use while speed is measured


@functools.cache
def _runs() -> list[FinishedRun]:
    return results.read(RESULTS)


def runs_of(net: str) -> list[FinishedRun]:
    """The net's runs with its notebook's protocol."""
    return by_notebook(_runs(), net)


def weights_of(net: str) -> dict[str, Any] | None:
    """What the package knows of the net's weights."""
    found = (e for e in packaged_weights() if (e["net"], e["dataset"]) == (net, "mnist"))
    return next(found, None)


def measured_of(net: str) -> dict[str, Any] | None:
    """What was measured of these very weights."""
    path, weights = FOLDER / f"{net}.json", weights_of(net)
    if weights is None or not path.exists():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    return found if found["sha256"] == weights["sha256"] else None


def scores_of(measured: dict[str, Any]) -> tuple[Estimate, Estimate]:
    """The scores of altered test images, and of drawings."""
    _, *kinds = measured["pictures"].items()  # the first are the images as they are
    drawn = [own for kind, own in kinds if kind.startswith(DRAWN)]
    altered = [own for kind, own in kinds if not kind.startswith(DRAWN)]
    return _score(altered, same_images=True), _score(drawn, same_images=False)


def _score(parts: Sequence[dict[str, int]], *, same_images: bool) -> Estimate:
    """The part that is right, of all kinds together.

    Where all kinds show the same images, the interval is that of so many images, not of so many
    pictures: they are not independent.
    """
    total = sum(own["images"] for own in parts)
    value = sum(own["right"] for own in parts) / total
    number = parts[0]["images"] if same_images else total
    return dataclasses.replace(wilson(round(value * number), number), value=value)


def reproduced_text(net: str) -> str:
    """Such as "99.34% ± 0.21% (n = 3)"; a dash where there is no run."""
    own = [run.test["accuracy"] for run in runs_of(net)]
    return f"{mean_text(own, '.2%')} (n = {len(own)})" if own else "-"


def is_busy(measured: dict[str, Any]) -> bool:
    """Whether other programs slowed the measurement of speed."""
    return measured["speed"]["cores_used_by_others"] > _BUSY


def speed_text(measured: dict[str, Any]) -> str:
    """Latency and images/s, on what, and whether the machine was busy."""
    rates = measured["speed"]["images_per_second"]
    of_batches = " and ".join(f"{rates[size]:,.0f} images/s in batches of {size}" for size in rates)
    hardware = hardware_text(measured["environment"]["hardware"])
    on = f"{hardware}; jax {measured['environment']['versions']['jax']}"
    others = measured["speed"]["cores_used_by_others"]
    busy = f"; slowed by other programs, which used {others:.1f} cores" if is_busy(measured) else ""
    return f"one image in {latency_text(measured)}, {of_batches} ({on}){busy}"


def latency_text(measured: dict[str, Any]) -> str:
    """Of one image."""
    return f"{measured['speed']['latency_ms']:.2g} ms"


def num_convolutions(net: str) -> int:
    """Of the net."""
    return sum(isinstance(layer, Conv) for layer in zoo.models.MODELS[net])


def size_text(weights: dict[str, Any]) -> str:
    """Of the file."""
    return f"{weights['bytes'] / 1e6:.2f} MB"


def duration_text(seconds: float) -> str:
    """In minutes or hours."""
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{seconds / 60:.0f} min"


def count_text(number: int, noun: str) -> str:
    """Such as "1 time", "2 times"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def estimate_text(estimate: Estimate, form: str) -> str:
    """With its interval; `form` such as ".2%"."""
    return f"{estimate.value:{form}} ({estimate.low:{form}} to {estimate.high:{form}})"


def escaped(text: str) -> str:
    """The text for Markdown, which shows its characters as they are."""
    return re.sub(r"([*\[\]<>`$\\]|\b_|_\b)", r"\\\1", text)


def folded(title: str, text: str) -> str:
    """Hidden below its title until a reader opens it."""
    return f"<details>\n<summary>{title}</summary>\n\n{text}\n\n</details>"


def table_of(names: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> str:
    """A table; the columns in `right` are aligned to the right."""
    rules = ["---:" if index in right else "---" for index in range(len(names))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (names, rules, *rows))
