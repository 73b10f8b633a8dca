"""The page of `devices.py`: what was measured here, and a model of what nobody has measured."""

import statistics
from pathlib import Path
from typing import Any, NamedTuple

import environment
import results
from matplotlib.figure import Figure


class Chip(NamedTuple):
    """A published chip and its links; FLOP/s are dense, in bfloat16 with sums in float32."""

    name: str
    flops: float  # FLOP/s
    near: float  # bytes/s of a device in one direction, within `group`
    far: float  # bytes/s of a device in one direction, beyond it
    group: int  # devices that the near links join
    source: str


CHIPS = (
    Chip(
        "H100 SXM",
        989e12,
        450e9,
        50e9,
        8,
        "NVIDIA H100 data sheet: NVLink 900 GB/s both ways; "
        "DGX H100: 400 Gb/s InfiniBand for each GPU",
    ),
    Chip(
        "TPU v5e",
        197e12,
        100e9,
        100e9,
        256,
        "Google Cloud TPU v5e: 1,600 Gbit/s of links a chip, both ways, 256 chips a pod",
    ),
)
UTILIZATION = 0.3  # part of the peak that the layers reach: an assumption
STEP_LATENCY = 5e-6  # seconds of one of the 2 (n - 1) steps of a ring: an assumption
SIZES = (8, 64, 512)


def all_reduce_seconds(size: float, count: int, chip: Chip) -> float:
    """A ring's: 2 (n - 1) / n of the bytes through the slowest link, and its steps' latency."""
    if count == 1:
        return 0.0
    bandwidth = chip.near if count <= chip.group else chip.far
    return 2 * (count - 1) / count * size / bandwidth + 2 * (count - 1) * STEP_LATENCY


def efficiency(facts: dict[str, Any], images: float, count: int, chip: Chip) -> float:
    """The part of a step that is not communication, with so many images on each device."""
    compute = images * facts["train_flop"] / (chip.flops * UTILIZATION)
    return compute / (compute + all_reduce_seconds(4 * facts["parameters"], count, chip))


def largest_count(facts: dict[str, Any], chip: Chip) -> int:
    """The most devices, a power of two, on which a batch of the notebook is faster than on half."""

    def seconds(count: int) -> float:
        compute = facts["batch_size"] / count * facts["train_flop"] / (chip.flops * UTILIZATION)
        return compute + all_reduce_seconds(4 * facts["parameters"], count, chip)

    count = 1
    while count < 512 and seconds(2 * count) < seconds(count):
        count *= 2
    return count


def line(row: dict[str, Any]) -> str:
    """A measurement as a line for the terminal."""
    moved = sum(map(sum, row["collectives"].values()))
    return (
        f"{row['net']} {_layout_text(row['layout'])}: {1e3 * row['step_seconds']:.1f} ms a step, "
        f"{moved:,} bytes, loss {row['loss']:.6f}"
    )


def _layout_text(layout: str) -> str:
    processes, devices = layout.split("x")
    if processes == "1":
        return f"{devices} device{'s' if devices != '1' else ''}"
    return f"{processes} processes"


def _median(rows: list[dict[str, Any]], key: str) -> float:
    return statistics.median(row[key] for row in rows)


def _groups(result: dict[str, Any]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in result["rows"]:
        groups.setdefault((row["net"], row["layout"]), []).append(row)
    return groups


def _measured(result: dict[str, Any]) -> list[str]:
    groups = _groups(result)
    lines = [
        "| net | layout | images/s | of one device | bytes a step | all-reduces | "
        "their time alone, ms | loss |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for (net, layout), rows in groups.items():
        speed = rows[0]["batch_size"] / _median(rows, "step_seconds")
        ratios = [
            one["step_seconds"] / row["step_seconds"]
            for row in rows
            for one in groups.get((net, "1x1"), [])
            if one["round"] == row["round"]
        ]
        moved = rows[0]["collectives"]
        cells = (
            f"`{net}`",
            _layout_text(layout),
            f"{speed:,.0f}",
            f"{statistics.median(ratios):.2f}" if ratios else "-",
            f"{sum(map(sum, moved.values())):,}",
            ", ".join(f"{len(sizes)}" for sizes in moved.values()) or "0",
            f"{1e3 * _median(rows, 'collective_seconds'):.2f}",
            f"{rows[0]['loss']:.6f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _modelled(result: dict[str, Any], chip: Chip) -> list[str]:
    columns = [f"{count} devices" for count in SIZES]
    lines = [
        f"### {chip.name}",
        "",
        f"{chip.flops / 1e12:,.0f} TFLOP/s, links of {chip.near / 1e9:.0f} GB/s in groups of "
        f"{chip.group}, {chip.far / 1e9:.0f} GB/s beyond ({chip.source}).",
        "",
        f"| net | gradients, MB | MFLOP an image | {' | '.join(columns)} | "
        "devices for one batch of its notebook |",
        f"|---|---:|---:|{'---:|' * (len(SIZES) + 1)}",
    ]
    for net, facts in result["nets"].items():
        cells = (
            f"`{net}`",
            f"{4 * facts['parameters'] / 1e6:.1f}",
            f"{facts['train_flop'] / 1e6:,.0f}",
            *(f"{efficiency(facts, facts['batch_size'], count, chip):.0%}" for count in SIZES),
            f"{largest_count(facts, chip)} (batch {facts['batch_size']})",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def markdown(result: dict[str, Any], chart_name: str) -> str:
    """The page: head, chart, measurements, model."""
    return "\n".join(
        (
            results.head_text(result),
            "",
            f"![Speed over devices and processes]({chart_name})",
            "",
            "## Measured here",
            "",
            f"Medians of {result['options']['rounds']} round(s), in each of which the layouts "
            "follow one another. Virtual devices share the cores; each of several processes "
            "is held to a core. The bytes are those of the arrays that the compiled step adds up "
            "over the devices: gradients, metrics, sums of batch normalization.",
            "",
            *_measured(result),
            "",
            "Where a process has one core, Gloo's thread takes a part of it: while numbers of a "
            "faster process wait to be taken, it polls for them without a pause.",
            "",
            "## A model of more",
            "",
            "Not measured: nobody here has such machines. A step takes the time of its FLOP at "
            f"{UTILIZATION:.0%} of the chip's peak, and then that of a ring all-reduce of its "
            "gradients in float32,",
            "",
            "$$",
            r"t = \frac{F B}{u P} + \frac{2 (n - 1)}{n} \frac{4 p}{b} + 2 (n - 1) \ell",
            "$$",
            "",
            "with $F$ FLOP an image, $B$ images on a device, $P$ the chip's peak, $p$ parameters, "
            rf"$b$ bytes/s of a link, $n$ devices and $\ell$ = {1e6 * STEP_LATENCY:.0f} µs a step "
            "of the ring. Nothing overlaps. The columns say which part of the step is "
            "computation, with a whole batch of the notebook on each device; the last says over "
            "how many devices one such batch can be spread before more make it slower.",
            "",
            *(text for chip in CHIPS for text in (*_modelled(result, chip), "")),
            "Where a batch is not worth spreading, seeds are: they move nothing "
            "(`config.mesh.seed`), so 512 devices train 512 seeds in the time of one.",
            "",
        )
    )


def draw(result: dict[str, Any], path: Path) -> None:
    """A panel for each net: images/s of each layout, as a part of one device's."""
    groups = _groups(result)
    nets = list(dict.fromkeys(net for net, _ in groups))
    figure = Figure(figsize=(3.2 * max(2, len(nets)), 2.9), layout="constrained")
    panels = figure.subplots(1, len(nets), squeeze=False)[0]
    for axes, net in zip(panels, nets, strict=True):
        layouts = [layout for name, layout in groups if name == net]
        speeds = [
            groups[net, layout][0]["batch_size"] / _median(groups[net, layout], "step_seconds")
            for layout in layouts
        ]
        colors = ["#0072B2" if layout.startswith("1x") else "#D55E00" for layout in layouts]
        axes.barh([_layout_text(layout) for layout in layouts], speeds, color=colors, height=0.6)
        axes.invert_yaxis()
        axes.set_title(net, fontsize=9)
        axes.set_xlabel("images/s", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    hardware = environment.hardware_text(result["environment"]["hardware"])
    figure.suptitle(f"{result['title']}\n{hardware}", fontsize=9, linespacing=1.4)
    figure.savefig(path, dpi=120)
