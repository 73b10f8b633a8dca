"""The table of a reproduction as text, CSV and Markdown."""

import csv
import dataclasses
import io
from collections.abc import Iterable, Sequence

from zoo.reproduction.claims import CLAIMS, LEVEL, judge
from zoo.reproduction.results import PACKAGES, PROTOCOLS, FinishedRun
from zoo.reproduction.table import (
    Row,
    commit_text,
    hardware_text,
    is_of_cpu,
    make_rows,
    training_hours,
)
from zoo.training import numerics

_METHOD = f"""\
## How to read it

- **Ours** is the mean ± standard deviation over the seeds; nothing is selected on the test set.
- **Protocol** `notebook`: {PROTOCOLS["notebook"]}.
  Notebook 003 holds out 20% of the training set; the others validate on the test set.
  Protocol `holdout`: {PROTOCOLS["holdout"]}.
- **Place** is how many standard deviations the published value lies above (+) or below (-) our
  mean. The notebooks ran once, so their value is treated as one more sample besides our n: its
  variance is s² (1 + 1/n). For accuracies the binomial variance p (1 - p) / 10,000 is added. All
  runs use the same test images, so this is a deliberate margin, because s is unreliable for few
  seeds. With one seed, both values have only the binomial error. A loss has no such error, so its
  place is given for three or more seeds.
- **Verdict**: *inside* up to 2 standard deviations, else *above ours* or *below ours*.
- **Conclusions** are tested by Welch's two-sided test of each pair of nets, with the notebooks'
  protocol: a conclusion *holds* if the net is better than each other one with p < {LEVEL}, and
  *does not hold* if one of k others is better with p < {LEVEL} / k. Seeds are independent, so the
  test is unpaired. Where neither net's runs differ, the p is that of the exact permutation test.
- **Seconds** are the median over epochs, validation included, on a machine that may also have run
  other jobs; of seeds that were trained together, the share of each. Which device the other one is
  stands below.
"""


def to_csv(rows: Sequence[Row]) -> str:
    """The rows below a header line; accuracies are fractions."""
    text = io.StringIO()
    names = [field.name for field in dataclasses.fields(Row)]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(dataclasses.asdict(row) | {"seeds": " ".join(map(str, row.seeds))})
    return text.getvalue()


def to_text(rows: Sequence[Row]) -> str:
    """A line for each row, for the terminal."""
    names = [
        row.net if row.protocol == "notebook" else f"{row.net}, {row.protocol}" for row in rows
    ]
    width = max(map(len, names), default=0)
    return "\n".join(
        f"{name:{width}}  published {row.published_accuracy:.2%}, ours {_ours_accuracy(row)} "
        f"({_numbers(row.seeds)}): {row.verdict} ({_place(row)} std)"
        for name, row in zip(names, rows, strict=True)
    )


def to_markdown(runs: Sequence[FinishedRun]) -> str:
    """The page: tables, conclusions, method, hardware."""
    rows = make_rows(runs)
    num_nets = len({run.net for run in runs})
    parts = [
        "# The notebooks' results, reproduced",
        f"{len(runs)} runs of {num_nets} of 19 nets on MNIST, {_dates(runs)}: {_hours(runs)}. "
        f"Written by `zoo reproduce`; all runs and epochs are in `reproduction.json`.",
        *_changes(runs),
        "## Test accuracy",
        _accuracies(rows),
        "## Test loss and time",
        _losses_and_times(rows),
        "## What the notebooks conclude",
        _conclusions(runs),
        _METHOD.rstrip(),
        "## Hardware and versions",
        _environments(runs),
    ]
    return "\n\n".join(parts) + "\n"


def _changes(runs: Sequence[FinishedRun]) -> Iterable[str]:
    """A paragraph for each version of the numerics that some of the runs did without."""
    oldest = [
        min(map(numerics.version_of, (*run.earlier_environments, run.environment))) for run in runs
    ]
    for version, text in numerics.CHANGES.items():
        if earlier := sum(used < version for used in oldest):
            yield f"Changed in version {version} of the numerics, after {earlier} runs: {text}"


def _hours(runs: Sequence[FinishedRun]) -> str:
    """What they took, such as "12.3 hours on a CPU and 1.2 on another device"."""
    hours = {True: 0.0, False: 0.0}
    for run in runs:
        hours[is_of_cpu(run)] += sum(run.epochs["seconds"]) / 3600
    text = f"{hours[True]:.1f} hours on a CPU"
    return f"{text} and {hours[False]:.1f} on another device" if hours[False] else text


def _accuracies(rows: Iterable[Row]) -> str:
    return _table(
        ["net", "notebook", "protocol", "seeds", "published", "ours", "place", "verdict"],
        "lllrrrrl",
        [
            [
                f"`{row.net}`",
                row.notebook,
                row.protocol,
                str(len(row.seeds)),
                f"{row.published_accuracy:.2%}",
                _ours_accuracy(row),
                _place(row),
                row.verdict,
            ]
            for row in rows
        ],
    )


def _losses_and_times(rows: Iterable[Row]) -> str:
    return _table(
        [
            "net",
            "protocol",
            "parameters",
            "epochs",
            "published loss",
            "ours",
            "place",
            "published s/epoch",
            "our s/epoch, CPU",
            "other device",
            "approx. h per seed on 2 cores",
        ],
        "llrrrrrrrrr",
        [
            [
                f"`{row.net}`",
                row.protocol,
                f"{row.parameters:,}",
                str(row.epochs),
                f"{row.published_loss:.4f}",
                _with_spread(row.loss, row.loss_std, ".4f"),
                _signed(row.loss_distance),
                f"{row.published_seconds_per_epoch:.1f}",
                _seconds(row.seconds_per_epoch),
                _seconds(row.seconds_per_epoch_elsewhere),
                f"{training_hours(row.net):.2g}",
            ]
            for row in rows
        ],
    )


def _conclusions(runs: Sequence[FinishedRun]) -> str:
    rows = []
    for claim in CLAIMS:
        judgement = judge(claim, runs)
        details = "<br>".join(judgement.details)
        rows.append([claim.notebook, claim.text, claim.measure.name, judgement.verdict, details])
    return _table(["notebook", "conclusion", "measured by", "verdict", "details"], "lllll", rows)


def _environments(runs: Sequence[FinishedRun]) -> str:
    """One line for each combination of machine, versions and commit, with its runs."""
    nets_of: dict[str, dict[str, list[int]]] = {}
    for run in runs:
        name = f"`{run.net}`" if run.protocol == "notebook" else f"`{run.net}` ({run.protocol})"
        for environment in (*run.earlier_environments, run.environment):
            versions = ", ".join(f"{package} {environment[package]}" for package in PACKAGES)
            count = environment.get("seeds_together", 1)
            together = f", {count} seeds together" if count > 1 else ""
            text = (
                f"{hardware_text(environment)}{together}; python {environment['python']}, "
                f"{versions}; commit {commit_text(environment)}"
            )
            until = environment.get("until_epoch")
            part = name if until is None else f"{name} until epoch {until}"
            nets_of.setdefault(text, {}).setdefault(part, []).append(run.seed)
    return "\n".join(
        f"- {text}: " + ", ".join(f"{net} {_numbers(seeds)}" for net, seeds in nets.items())
        for text, nets in nets_of.items()
    )


def _table(names: Sequence[str], align: str, rows: Iterable[Sequence[str]]) -> str:
    rule = ["---:" if side == "r" else "---" for side in align]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (names, rule, *rows))


def _ours_accuracy(row: Row) -> str:
    return _with_spread(row.accuracy, row.accuracy_std, ".2%")


def _with_spread(mean: float | None, std: float | None, form: str) -> str:
    if mean is None:
        return "-"
    return f"{mean:{form}}" + ("" if std is None else f" ± {std:{form}}")


def _place(row: Row) -> str:
    return _signed(row.accuracy_distance)


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f}"


def _signed(distance: float | None) -> str:
    return "-" if distance is None else f"{distance:+.1f}"


def _numbers(seeds: Sequence[int]) -> str:
    """Such as "seed 0" or "seeds 0, 1, 2"."""
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _dates(runs: Sequence[FinishedRun]) -> str:
    dates = sorted({run.date for run in runs})
    return dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
