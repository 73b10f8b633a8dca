"""The JSON file of a measurement, and the page made from it."""

import datetime
import json
import shlex
import sys
from pathlib import Path
from typing import Any, Protocol

import environment


def new(script: str, title: str, options: dict[str, Any]) -> dict[str, Any]:
    """The first entries of a result: command, date, options, environment."""
    return {
        "title": title,
        "command": environment.without_paths(f"python benchmarks/{script} {command_options()}"),
        "date": datetime.date.today().isoformat(),
        "options": options,
        "environment": environment.describe(),
    }


def command_options() -> str:
    """The options of this process, quoted for a shell."""
    return shlex.join(sys.argv[1:])


def write(result: dict[str, Any], path: Path) -> None:
    """Replaces the file atomically: after a kill it is either the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def read(path: Path) -> dict[str, Any]:
    """Reads a file written by `write`."""
    return json.loads(path.read_text(encoding="utf-8"))


class Report(Protocol):
    """A module that makes the table and the chart of one kind of result."""

    def markdown(self, result: dict[str, Any], chart_name: str) -> str:
        """The page, with the chart of that name."""

    def draw(self, result: dict[str, Any], path: Path) -> None:
        """Draws the chart into the file."""


def write_page(result: dict[str, Any], path: Path, report: Report) -> list[Path]:
    """Writes the table and the chart next to the JSON file `path`; returns all paths."""
    table, chart = path.with_suffix(".md"), path.with_suffix(".png")
    table.write_text(report.markdown(result, chart.name), encoding="utf-8")
    report.draw(result, chart)
    return [path, table, chart]


def head_text(result: dict[str, Any]) -> str:
    """Markdown: title, hardware, versions, date, command."""
    about = result["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return "\n".join(
        (
            f"# {result['title']}",
            "",
            f"{result['date']}, {environment.hardware_text(about['hardware'])} "
            f"({about['hardware']['vector_extension'] or about['hardware']['system']}), "
            f"commit {about['commit'] or 'unknown'}.  ",
            f"{versions}.",
            "",
            f"`{result['command']}`",
        )
    )
