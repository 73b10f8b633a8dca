"""The command of a comparison of contenders, net by net: its options, its result, its loop."""

import argparse
import shlex
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import contenders
import results

MeasureNet = Callable[[str, Sequence[str], dict[str, Any]], dict[str, Any]]


class Report(results.Report, Protocol):
    """Also tells of one net as soon as it is measured."""

    def net_line(self, name: str, entry: dict[str, Any]) -> str:
        """A net's result for the terminal."""


def parser(doc: str | None, known: Mapping[str, Sequence[str]]) -> argparse.ArgumentParser:
    """The options that every comparison has; the caller gives --stem and --title their defaults.

    Args:
        doc: the text of --help.
        known: the contenders, with the packages that each needs.
    """
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "--nets", default="*", help="comma-separated patterns; default: all except custom7"
    )
    made.add_argument("--contenders", default=",".join(known), help="comma-separated names")
    made.add_argument("--seconds", type=float, default=1.5, help="length of a contender's round")
    made.add_argument("--rounds", type=int, default=3, help="number of rounds; results are medians")
    made.add_argument("--timeout", type=float, default=300, help="maximum seconds for any answer")
    made.add_argument("--output", type=Path, default=Path("docs/results"), metavar="DIR")
    made.add_argument("--stem", help="name of the files, without suffix")
    made.add_argument("--title")
    made.add_argument(
        "--resume", action="store_true", help="skip nets that are already in the JSON file"
    )
    made.add_argument(
        "--render",
        type=Path,
        metavar="JSON",
        help="only write the table and the chart of this file",
    )
    return made


def parse(made: argparse.ArgumentParser, known: Mapping[str, Sequence[str]]) -> argparse.Namespace:
    """The checked options; nets and contenders are lists of names."""
    args = made.parse_args()
    args.contenders = args.contenders.split(",")
    args.nets = contenders.matching_nets(args.nets.split(","))
    unknown = [name for name in args.contenders if name not in known]
    if unknown:
        made.error(f"unknown contender {unknown[0]}; known: {', '.join(known)}")
    if not args.nets:
        made.error("no net of the zoo matches --nets")
    if min(args.seconds, args.rounds, args.timeout) <= 0:
        made.error("--seconds, --rounds and --timeout must be above 0")
    return args


def _begin(
    script: str,
    args: argparse.Namespace,
    known: Mapping[str, Sequence[str]],
    options: dict[str, Any],
    path: Path,
) -> dict[str, Any]:
    """A new result, or with --resume the one in the file."""
    missing = contenders.missing_packages({name: known[name] for name in args.contenders})
    fresh = results.new(script, args.title, options) | {
        "contenders": [name for name in args.contenders if name not in missing],
        "not_installed": missing,
        "nets": {},
    }
    if not (args.resume and path.exists()):
        return fresh
    old = results.read(path)
    for key in ("contenders", "options"):
        if old[key] != fresh[key]:
            sys.exit(f"{path} was measured with different {key}: {old[key]}; use another --stem")
    for key in ("hardware", "versions"):
        if old["environment"][key] != fresh["environment"][key]:
            sys.exit(f"{path} was measured with different {key}: use another --stem")
    earlier = old.setdefault("earlier_commands", [])
    earlier.append({key: old[key] for key in ("command", "date")} | old["environment"])
    return old | {key: fresh[key] for key in ("command", "date", "environment", "title")}


def run(
    script: str,
    args: argparse.Namespace,
    known: Mapping[str, Sequence[str]],
    options: Sequence[str],
    measure_net: MeasureNet,
    report: Report,
) -> int:
    """Measures net by net and writes the page, or renders it; returns the exit status.

    Args:
        script: name of the command's file.
        args: from `parse`.
        known: the contenders, with the packages that each needs.
        options: the names of those that `measure_net` gets, and that the result holds.
        measure_net: (net, contenders, options) -> the net's entry in the result.
        report: makes the table and the chart.
    """
    if args.render:
        print(*results.write_page(results.read(args.render), args.render, report), sep="\n")
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    path = args.output / f"{args.stem}.json"
    result = _begin(script, args, known, {key: getattr(args, key) for key in options}, path)
    for contender, packages in result["not_installed"].items():
        print(f"{contender} is skipped: {' and '.join(packages)} not installed", flush=True)
    try:
        for name in args.nets:
            if name not in result["nets"]:
                start = time.perf_counter()
                entry = measure_net(name, result["contenders"], result["options"])
                result["nets"][name] = entry
                results.write(result, path)
                line = report.net_line(name, entry)
                print(f"{line}  ({time.perf_counter() - start:.0f} s)", flush=True)
    except KeyboardInterrupt:
        resume = shlex.join(["--resume", "--output", str(args.output), "--stem", args.stem])
        print(f"stopped; to continue, use the same options and {resume}", file=sys.stderr)
        return 130
    print(*results.write_page(result, path, report), sep="\n")
    return 0
