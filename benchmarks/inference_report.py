"""The tables and the chart of `inference.py`, from its JSON file."""

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import environment
import measure
import results
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator
from peers_report import STYLES, best_peer, missing_lines, ratio_of, significant

_LEAST, _MOST = 0.05, 8  # ends of the axis; a speed outside is drawn at the end
_TICKS = (0.1, 0.25, 1, 2, 4, 8)


def size_text(size: str) -> str:
    """A size of a batch, for people."""
    return "one image" if size == "1" else f"batches of {int(size):,}"


def ratio_range(entry: dict[str, Any]) -> tuple[float, float] | None:
    """The least and the greatest of the rounds' ratios of speed, the zoo to the best peer."""
    best = best_peer(entry)
    if not best or "zoo" not in entry["contenders"]:
        return None
    own, other = (entry["contenders"][name]["seconds_rounds"] for name in ("zoo", best[0]))
    ratios = [peer / zoo for zoo, peer in zip(own, other, strict=True)]
    return min(ratios), max(ratios)


def _ratio_cells(entry: dict[str, Any]) -> list[str]:
    ratio, ends = ratio_of(entry, "best"), ratio_range(entry)
    if ratio is None or ends is None:
        return ["-", "-"]
    return [f"{ratio:.2f}", f"{ends[0]:.2f} to {ends[1]:.2f}"]


def _cell(size: str, entry: dict[str, Any], contender: str) -> str:
    """Milliseconds of one image, or images/s of a batch."""
    found = entry["contenders"].get(contender)
    if not found:
        return "failed"
    if size != "1":
        return significant(found["images_per_second"])
    return f"{1000 * found['seconds']:#.3g} ({1000 * found['p99_seconds']:#.3g})"


def net_line(name: str, entry: dict[str, Any]) -> str:
    """A net's results as a table for the terminal."""
    sizes = entry["sizes"]
    units = ["ms (99th percentile)" if size == "1" else "images/s" for size in sizes]
    rows = [[f"{name}, {entry['weights']} weights", *map(size_text, sizes)], ["", *units]]
    for contender in dict.fromkeys(c for own in sizes.values() for c in own["contenders"]):
        rows.append([contender, *(_cell(size, own, contender) for size, own in sizes.items())])
    ratios = [_ratio_cells(own) for own in sizes.values()]
    rows.append(["zoo / best peer", *(ratio for ratio, _ in ratios)])
    rows.append(["range of rounds", *(ends for _, ends in ratios)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in rows
    ]
    lines += [f"{key} failed: {reason}" for key, reason in entry["failed"].items()]
    return "\n".join(lines)


def markdown(result: dict[str, Any], chart_name: str) -> str:
    """The page: head, chart, means, a table for each size of batch, missing results."""
    options = result["options"]
    random = [f"`{name}`" for name, own in result["nets"].items() if own["weights"] == "random"]
    lines = [
        results.head_text(result),
        "",
        f"![Speed of each contender, relative to the zoo]({chart_name})",
        "",
        "From a float32 NumPy array of images in memory to a NumPy array of logits. All contenders "
        "have the same weights, and gave the same logits before they were measured. Each number "
        f"is the median of {options['rounds']} rounds, and in each round that of the calls of "
        f"{options['seconds']:g} s. Of several ways to call a contender, the fastest is measured; "
        "the JSON file names it."
        + (f" Weights are random for {', '.join(random)}, else trained." if random else ""),
        "",
        *_means(result),
    ]
    for size in map(str, options["sizes"]):
        lines += ["", *_table(result, size)]
    lines += ["", "Bold is the best peer, with which the zoo is compared."]
    return "\n".join([*lines, *missing_lines(result), ""])


def _entries(result: dict[str, Any], size: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, entry in result["nets"].items():
        yield name, entry["sizes"][size]


def _means(result: dict[str, Any]) -> Iterator[str]:
    peers = [name for name in result["contenders"] if name != "zoo"]
    yield "Speed of the zoo relative to each contender, geometric mean of the nets:"
    yield ""
    yield f"| | {' | '.join(['best peer', *peers])} |"
    yield f"|---|{'---:|' * (1 + len(peers))}"
    for size in map(str, result["options"]["sizes"]):
        cells = [size_text(size)]
        for contender in ("best", *peers):
            ratios = [ratio_of(entry, contender) for _, entry in _entries(result, size)]
            known = [ratio for ratio in ratios if ratio is not None]
            cells.append(f"{statistics.geometric_mean(known):.2f}" if known else "-")
        yield f"| {' | '.join(cells)} |"
    yield ""
    for size in map(str, result["options"]["sizes"]):
        ratios_by_net = [(name, ratio_of(entry, "best")) for name, entry in _entries(result, size)]
        text = measure.ratios_text((name, ratio) for name, ratio in ratios_by_net if ratio)
        yield f"- zoo / best peer, {size_text(size)}: {text}"


def _table(result: dict[str, Any], size: str) -> Iterator[str]:
    unit = "milliseconds (99th percentile)" if size == "1" else "images/s"
    header = ["net", *result["contenders"], "zoo / best peer", "range of rounds"]
    text = size_text(size)
    yield f"## {text[0].upper()}{text[1:]}: {unit}"
    yield ""
    yield f"| {' | '.join(header)} |"
    yield f"|---|{'---:|' * (len(header) - 1)}"
    for name, entry in _entries(result, size):
        best = best_peer(entry)
        cells = [f"`{name}`"]
        for contender in result["contenders"]:
            cell = _cell(size, entry, contender)
            cells.append(f"**{cell}**" if best and contender == best[0] else cell)
        yield f"| {' | '.join([*cells, *_ratio_cells(entry)])} |"


def draw(result: dict[str, Any], path: Path) -> None:
    """One panel per size of batch, one row per net, one dot per contender; the zoo's speed is 1."""
    names = list(result["nets"])
    sizes = [str(size) for size in result["options"]["sizes"]]
    figure = Figure(figsize=(9, 1.75 + 0.28 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(sizes), sharey=True, squeeze=False)[0]
    for axes, size in zip(panels, sizes, strict=True):
        _draw_panel(axes, [entry for _, entry in _entries(result, size)])
        axes.set_title(size_text(size), fontsize=8, loc="left")
    panels[0].set_yticks(range(len(names)), names, fontsize=7)
    panels[0].set_ylim(len(names) - 0.5, -0.5)  # the first net on top
    hardware = environment.hardware_text(result["environment"]["hardware"])
    about = f"{hardware}, float32; speed relative to the zoo (dashed line: the zoo = 1)"
    figure.suptitle(f"{result['title']}\n{about}", fontsize=9, linespacing=1.4)
    drawn = {line.get_label(): line for axes in panels for line in axes.lines}
    labels = [STYLES[name][0].replace("\n", " ") for name in STYLES if name in drawn]
    if labels:
        lines = [drawn[name] for name in STYLES if name in drawn]
        figure.legend(
            lines, labels, loc="outside lower center", ncols=len(labels), fontsize=7, frameon=False
        )
    figure.savefig(path, dpi=150)


def _draw_panel(axes: Axes, entries: list[dict[str, Any]]) -> None:
    for contender, (_, color) in STYLES.items():
        ratios = [(row, ratio_of(entry, contender)) for row, entry in enumerate(entries)]
        known = [(row, ratio) for row, ratio in ratios if ratio]
        if known:
            rows = [row for row, _ in known]
            speeds = [min(max(1 / ratio, _LEAST), _MOST) for _, ratio in known]
            axes.plot(speeds, rows, "o", color=color, markersize=4.5, alpha=0.9, label=contender)
    axes.axvline(1, color="black", linestyle="--", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlim(_LEAST * 0.9, _MOST * 1.1)
    axes.xaxis.set_major_locator(FixedLocator(_TICKS))
    axes.set_xticks(_TICKS, [f"{tick:g}" for tick in _TICKS], fontsize=7)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
