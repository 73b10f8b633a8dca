"""The table and the chart of `peers.py`, from its JSON file."""

import math
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import environment
import measure
import results
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

# Label and colour (Okabe & Ito 2008, for any colour vision) of each contender.
STYLES = {
    "flax": ("stock Flax", "#56B4E9"),
    "torch": ("PyTorch", "#D55E00"),
    "torch-compile": ("PyTorch\ncompiled", "#E69F00"),
    "onnxruntime": ("ONNX\nRuntime", "#0072B2"),
    "keras-tensorflow": ("Keras on\nTensorFlow", "#009E73"),
    "keras-jax": ("Keras on\nJAX", "#CC79A7"),
    "keras-torch": ("Keras on\nPyTorch", "#999999"),
}
_MOST = 1.5  # end of the axis; longer bars are truncated, their numbers are not


def best_peer(entry: dict[str, Any]) -> tuple[str, float] | None:
    """(name, images/s) of the fastest contender among PyTorch, ONNX Runtime and Keras."""
    speeds = {
        name: found["images_per_second"]
        for name, found in entry["contenders"].items()
        if name.startswith(("torch", "keras", "onnx"))
    }
    return max(speeds.items(), key=lambda pair: pair[1]) if speeds else None


def speed_of(entry: dict[str, Any], contender: str) -> float | None:
    found = entry["contenders"].get(contender)
    return found["images_per_second"] if found else None


def ratio_of(entry: dict[str, Any], contender: str) -> float | None:
    """Speed of the zoo relative to that contender; "best" means the best peer."""
    best = best_peer(entry)
    other = (best[1] if best else None) if contender == "best" else speed_of(entry, contender)
    own = speed_of(entry, "zoo")
    return own / other if own and other else None


def ratio_interval(entry: dict[str, Any]) -> tuple[float, float] | None:
    """Where the median of zoo / best peer is with 95% confidence, from the ratio of each round.

    Between two of the sorted ratios, by the binomial distribution (Conover 1999, section 3.2),
    whatever their own distribution; None for fewer than 6 rounds.
    """
    best, zoo = best_peer(entry), entry["contenders"].get("zoo")
    if not best or not zoo:
        return None
    other = entry["contenders"][best[0]]
    pairs = zip(zoo["rounds"], other["rounds"], strict=True)
    test = stats.quantile_test([own / its for own, its in pairs], p=0.5)
    low, high = test.confidence_interval(0.95)
    return None if math.isnan(low) or math.isnan(high) else (float(low), float(high))


def _ratios(result: dict[str, Any], contender: str) -> Iterator[tuple[str, float]]:
    for name, entry in result["nets"].items():
        ratio = ratio_of(entry, contender)
        if ratio is not None:
            yield name, ratio


def net_line(name: str, entry: dict[str, Any]) -> str:
    """A net's result as one line for the terminal."""
    speeds = [f"{key} {value['images_per_second']:,.0f}" for key, value in _by_speed(entry)]
    speeds += [f"{key} failed: {reason}" for key, reason in entry["failed"].items()]
    ratio = ratio_of(entry, "best")
    best = "" if ratio is None else f"; zoo / best peer {ratio:.2f}"
    return f"{name} (batch {entry['batch_size']}), images/s: {', '.join(speeds)}{best}"


def _by_speed(entry: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return sorted(entry["contenders"].items(), key=lambda pair: -pair[1]["images_per_second"])


def markdown(result: dict[str, Any], chart_name: str) -> str:
    """The page: head, chart, table, means, missing results."""
    header = ["net", "batch", *result["contenders"], "zoo / best peer", "with 95%"]
    header += ["of matmul peak", "zoo's memory, MB", "at later starts", "torch's memory, MB"]
    header += ["zoo's first step, s", "at later starts"]
    lines = [
        results.head_text(result),
        "",
        f"![Training speed of each contender, relative to the zoo]({chart_name})",
        "",
        f"Images/s of training, median of {result['options']['rounds']} rounds; memory is the peak "
        "of the process with all its libraries. The first step includes compilation; later starts "
        "read the compiled programs from disk. The interval holds the median of the rounds' ratios "
        "with 95% confidence. The share of the matmul peak is based on the "
        "arithmetic of plain convolutions, of which Winograd's algorithm saves up to 60%.",
        "",
        f"| {' | '.join(header)} |",
        f"|---|{'---:|' * (len(header) - 1)}",
    ]
    for name, entry in result["nets"].items():
        lines.append(f"| {' | '.join(_cells(name, entry, result['contenders']))} |")
    return "\n".join([*lines, "", *_means(result), *missing_lines(result), ""])


def _cells(name: str, entry: dict[str, Any], contenders: list[str]) -> list[str]:
    best = best_peer(entry)
    cells = [f"`{name}`", str(entry["batch_size"] or "-")]
    for contender in contenders:
        speed = speed_of(entry, contender)
        text = "failed" if speed is None else significant(speed)
        cells.append(f"**{text}**" if best and contender == best[0] else text)
    ratio, fraction = ratio_of(entry, "best"), entry["zoo_fraction_of_matmul"]
    cells.append("-" if ratio is None else f"{ratio:.2f}")
    interval = ratio_interval(entry)
    cells.append("-" if interval is None else "{:.2f} to {:.2f}".format(*interval))
    cells.append("-" if fraction is None else f"{fraction:.0%}")
    zoo, torch = (entry["contenders"].get(contender, {}) for contender in ("zoo", "torch"))
    for found, key in ((zoo, "peak_bytes"), (zoo, "later_peak_bytes"), (torch, "peak_bytes")):
        cells.append(f"{found[key] / 1e6:,.0f}" if key in found else "-")
    for key in ("first_step_seconds", "later_first_step_seconds"):
        cells.append(f"{zoo[key]:.1f}" if key in zoo else "-")
    return cells


def significant(speed: float) -> str:
    return f"{speed:,.0f}" if speed >= 100 else f"{speed:.3g}"


def _means(result: dict[str, Any]) -> Iterator[str]:
    yield "Bold is the best peer: the fastest of PyTorch and Keras. Geometric means:"
    yield ""
    for contender, text in (
        ("best", "best peer"),
        ("flax", "stock Flax"),
        ("keras-jax", "Keras on JAX"),
    ):
        yield f"- zoo / {text}: {measure.ratios_text(_ratios(result, contender))}"
    peaks = [
        entry["matmul"]["gflop_per_second"] for entry in result["nets"].values() if entry["matmul"]
    ]
    if peaks:
        yield (
            f"- matmul peak: {statistics.median(peaks):,.0f} GFLOP/s, a float32 product of two "
            f"matrices of 2048x2048 in JAX, measured in the rounds of each net (from "
            f"{min(peaks):,.0f} to {max(peaks):,.0f})"
        )


def missing_lines(result: dict[str, Any]) -> Iterator[str]:
    lines = [
        f"- `{contender}` is skipped: {' and '.join(packages)} not installed"
        for contender, packages in result["not_installed"].items()
    ]
    lines += [
        f"- `{contender}` failed on `{name}`: {reason}"
        for name, entry in result["nets"].items()
        for contender, reason in entry["failed"].items()
    ]
    if lines:
        yield from ("", "Missing results:", "", *lines)


def draw(result: dict[str, Any], path: Path) -> None:
    """One panel of bars per contender, one row per net; the zoo's speed is 1."""
    nets = result["nets"]
    contenders = [name for name in STYLES if name in result["contenders"]]
    figure = Figure(figsize=(7, 1.35 + 0.33 * len(nets)), layout="constrained")
    panels = figure.subplots(1, max(1, len(contenders)), sharey=True, squeeze=False)[0]
    for axes, contender in zip(panels, contenders, strict=False):
        _draw_panel(axes, contender, list(nets.values()))
    panels[0].set_yticks(range(len(nets)), [_label(*item) for item in nets.items()], fontsize=7)
    panels[0].set_ylim(len(nets) - 0.4, -0.6)  # the first net on top
    figure.supxlabel("training speed relative to the zoo (dashed line: the zoo = 1)", fontsize=8)
    batches = {entry["batch_size"] for entry in nets.values()}
    batch = f"batch {batches.pop()}" if len(batches) == 1 else "each net's own batch"
    hardware = environment.hardware_text(result["environment"]["hardware"])
    figure.suptitle(f"{result['title']}\n{hardware}, float32, {batch}", fontsize=9, linespacing=1.4)
    figure.savefig(path, dpi=150)


def _label(name: str, entry: dict[str, Any]) -> str:
    speed = speed_of(entry, "zoo")
    return f"{name}\n{'zoo failed' if speed is None else f'zoo {significant(speed)} images/s'}"


def _draw_panel(axes: Axes, contender: str, entries: list[dict[str, Any]]) -> None:
    label, color = STYLES[contender]
    for row, entry in enumerate(entries):
        ratio = ratio_of(entry, contender)
        if ratio is None:
            text = "failed" if contender in entry["failed"] else "-"
            axes.text(0.04, row, text, va="center", fontsize=7, color="#777777")
            continue
        length = min(1 / ratio, _MOST)
        axes.barh(row, length, height=0.66, color=color)
        text = f"{1 / ratio:.2f}"
        # Inside the bar if there is no room next to it; never on the line of the zoo.
        inside = length > 0.42
        axes.text(
            min(length, 1) - 0.04 if inside else length + 0.04,
            row,
            text,
            va="center",
            ha="right" if inside else "left",
            fontsize=7,
        )
    axes.axvline(1, color="black", linestyle="--", linewidth=0.8)
    axes.set_xlim(0, _MOST)
    axes.set_xticks([0, 0.5, 1, 1.5], ["0", "0.5", "1", "1.5"], fontsize=7)
    axes.set_title(label, fontsize=8, loc="left")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
