"""The table and the chart of `scaling.py`, from its JSON file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import environment
import numpy as np
import results
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

# Title, axis, what is timed, and the colour (Okabe & Ito 2008, for any colour vision).
_STYLES = {
    "batch": ("batch size", "images of a step", "step", "#0072B2", "o"),
    "width": ("width", "GFLOP of a step (features x 1, 2, 4)", "step", "#D55E00", "s"),
    "depth": ("depth", "3x3 convolutions of 32 features", "step", "#009E73", "^"),
    "images": ("images", "images of an epoch", "epoch", "#CC79A7", "D"),
    "seeds": ("seeds", "runs one after another, with compilation", "all runs", "#E69F00", "v"),
}


def _size(sweep: str, point: dict[str, Any]) -> float:
    """The size for the slope: the work, if the value is not proportional to it."""
    return point["gflop"] if sweep == "width" else point["value"]


def slope(sizes: Sequence[float], seconds: Sequence[float]) -> float | None:
    """The exponent of a power law of seconds by size, by least squares."""
    if len(set(sizes)) < 2:
        return None
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def _slope(sweep: str, points: list[dict[str, Any]], key: str = "") -> float | None:
    sizes = [point[key] if key else _size(sweep, point) for point in points]
    return slope(sizes, [point["seconds"] for point in points])


def point_line(sweep: str, point: dict[str, Any]) -> str:
    """A point as one line for the terminal."""
    of = _STYLES[sweep][2]
    per_seed = point.get("seconds_per_seed")
    extra = f", {per_seed:.2f} s per seed" if per_seed else ""
    peak = point["peak_bytes"] / 1e6
    seconds = _significant(point["seconds"])
    return f"{sweep} {point['value']:,}: {seconds} s ({of}){extra}, peak {peak:,.0f} MB"


def slope_line(sweep: str, points: list[dict[str, Any]]) -> str:
    """The slope of a sweep as a sentence."""
    exponent = _slope(sweep, points)
    if exponent is None:
        return f"{sweep}: one point has no slope"
    if sweep != "width":
        return f"{sweep}: time grows with power {exponent:.2f}"
    by_width = _slope(sweep, points, "value")
    return f"width: time grows with power {exponent:.2f} of FLOP, {by_width:.2f} of features"


def _significant(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def markdown(result: dict[str, Any], chart_name: str) -> str:
    """The page: head, chart, slopes, table."""
    lines = [
        results.head_text(result),
        "",
        f"![Time and memory by size]({chart_name})",
        "",
        "Least-squares slopes of log(time) by log(size); 1 means proportional:",
        "",
    ]
    sweeps = result["sweeps"]
    lines += [f"- {slope_line(sweep, points)}" for sweep, points in sweeps.items()]
    lines += [
        "",
        f"Medians of {result['options']['rounds']} rounds; seeds are measured once. Peak memory is "
        "that of the process (on a GPU: of the device) with libraries and compilation.",
        "",
        "| sweep | value | timed | seconds | GFLOP | GFLOP/s | s per seed | peak memory, MB |",
        "|---|---:|---|---:|---:|---:|---:|---:|",
    ]
    lines += [_row(sweep, point) for sweep, points in sweeps.items() for point in points]
    return "\n".join([*lines, ""])


def _row(sweep: str, point: dict[str, Any]) -> str:
    gflop, per_seed = point.get("gflop"), point.get("seconds_per_seed")
    cells = (
        sweep,
        f"{point['value']:,}",
        _STYLES[sweep][2],
        _significant(point["seconds"]),
        _significant(gflop) if gflop else "-",
        _significant(gflop / point["seconds"]) if gflop else "-",
        _significant(per_seed) if per_seed else "-",
        f"{point['peak_bytes'] / 1e6:,.0f}",
    )
    return f"| {' | '.join(cells)} |"


def draw(result: dict[str, Any], path: Path) -> None:
    """Time by size in one panel per sweep, and the peak memory of all sweeps in another."""
    figure = Figure(figsize=(9, 5.6), layout="constrained")
    panels = figure.subplots(2, 3).flat
    memory_axes = panels[len(_STYLES)]
    for axes, sweep in zip(panels, _STYLES, strict=False):
        points = result["sweeps"].get(sweep)
        if points:
            _draw_time(axes, sweep, points)
            _draw_memory(memory_axes, sweep, points)
        else:
            axes.set_axis_off()
    memory_axes.set_title("peak memory", fontsize=9)
    memory_axes.set_xlabel("size, as a multiple of the smallest", fontsize=8)
    memory_axes.set_ylabel("megabytes", fontsize=8)
    memory_axes.set_ylim(bottom=0)
    memory_axes.legend(fontsize=7, frameon=False, loc="best")
    hardware = environment.hardware_text(result["environment"]["hardware"])
    figure.suptitle(f"{result['title']}\n{hardware}, float32", fontsize=10, linespacing=1.4)
    figure.savefig(path, dpi=120)


def _draw_time(axes: Axes, sweep: str, points: list[dict[str, Any]]) -> None:
    title, label, of, color, marker = _STYLES[sweep]
    sizes = [_size(sweep, point) for point in points]
    seconds = [point["seconds"] for point in points]
    ideal = [seconds[-1] * size / sizes[-1] for size in sizes]
    axes.plot(sizes, ideal, "--", color="black", linewidth=0.9, label="in proportion (slope 1)")
    exponent = _slope(sweep, points)
    fitted = "measured" if exponent is None else f"measured, slope {exponent:.2f}"
    axes.plot(sizes, seconds, color=color, marker=marker, markersize=5, label=fitted)
    axes.set_xscale("log")
    axes.set_yscale("log")
    low, high = min(*seconds, *ideal), max(seconds)
    axes.set_ylim(low / 1.5, high * 1.5)
    axes.set_title(title, fontsize=9)
    axes.set_ylabel(f"seconds ({of})", fontsize=8)
    axes.set_xlabel(label, fontsize=8)
    axes.legend(fontsize=7, frameon=False, loc="upper left")
    _style(axes, sizes)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _draw_memory(axes: Axes, sweep: str, points: list[dict[str, Any]]) -> None:
    title, _, _, color, marker = _STYLES[sweep]
    sizes = [point["value"] / points[0]["value"] for point in points]
    megabytes = [point["peak_bytes"] / 1e6 for point in points]
    axes.plot(sizes, megabytes, color=color, marker=marker, markersize=5, label=title)
    axes.set_xscale("log")
    _style(axes, [1, 2, 4, 8, 16, 32, 60])


def _style(axes: Axes, ticks: Sequence[float]) -> None:
    axes.set_xticks(ticks, [f"{tick:,.3g}" if tick < 1000 else f"{tick:,.0f}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
