"""A report of runs and results files: one self-contained HTML file."""

import dataclasses
import datetime
from collections.abc import Sequence
from pathlib import Path

from markdown_it import MarkdownIt
from markupsafe import Markup

import zoo
import zoo.reproduction.results
import zoo.training.history
from zoo.data import NOWHERE, DataDirs
from zoo.reproduction import page
from zoo.system import figures
from zoo.system.errors import ZooError
from zoo.system.files import as_text, check_target
from zoo.web import comparison, pages, views


@dataclasses.dataclass(frozen=True)
class Section:
    """A run, or a results file."""

    name: str
    run: views.RunView | None = None
    net: views.NetView | None = None
    problem: str = ""  # why there is no trained net to show
    page: Markup | None = None  # of a results file


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The comparison of finished runs."""

    names: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: Sequence[int]
    picture: Markup


def check_output(path: Path) -> None:
    """Raises ZooError unless a page can be written there; call it before the work is done."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise ZooError(f"cannot write {path}: a report's name must end in .html")
    check_target(path)


def make(paths: Sequence[Path], date: datetime.date, given: DataDirs = NOWHERE) -> str:
    """The report of run directories and results files.

    A run may still be in progress; without a checkpoint or its data, which is looked for in the
    given directories as `zoo.data.find` does, only its history is shown.

    Raises:
        ZooError: neither a run directory nor a results file.
    """
    finished = [path for path in paths if _is_finished(path)]
    names = zoo.training.history.names(paths)
    views_of_runs = [  # of all, before the first net is scored: a wrong name is told at once
        None if path.is_file() else views.view_run(path, name, f"p{number}")
        for number, (path, name) in enumerate(zip(paths, names, strict=True), 1)
    ]
    sections = [
        _section(path, run, f"p{number}", given, level=3 if len(paths) > 1 else 2)
        for number, (path, run) in enumerate(zip(paths, views_of_runs, strict=True), 1)
    ]
    title = sections[0].name if len(sections) == 1 else "Runs of the CNN zoo"
    return pages.render(
        "report.html",
        title=title,
        version=zoo.__version__,
        date=date.isoformat(),
        sections=sections,
        comparison=_compare(finished),
        kinds=views.KINDS,
    )


def _section(
    path: Path, run: views.RunView | None, prefix: str, given: DataDirs, level: int
) -> Section:
    """The section of a run or of a results file (None), whose headings are of that level."""
    if run is None:
        return Section("The notebooks' results, reproduced", page=_results_page(path, level))
    try:
        return Section(run.name, run, views.view_net(path, prefix, given))
    except ZooError as error:
        return Section(run.name, run, problem=as_text(str(error)))


def _results_page(path: Path, level: int) -> Markup:
    """The page of a results file without its title."""
    text = page.to_markdown(zoo.reproduction.results.read(path)).split("\n", 1)[1]
    # The file may be untrusted: no HTML from it is kept, except the line breaks of our own tables,
    # and no link.
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    body = parser.disable(["image", "link", "autolink"]).render(text)
    for old, new in (
        ("&lt;br&gt;", "<br>"),
        ("<table>", '<div class="wide"><table>'),
        ("</table>", "</table></div>"),
        ("h2>", f"h{level}>"),
    ):
        body = body.replace(old, new)
    return Markup(body)


def _is_finished(path: Path) -> bool:
    """Whether it is a finished run, or a results file.

    Raises:
        ZooError: it is neither that nor a run in progress.
    """
    if path.is_file():
        if not zoo.reproduction.results.read(path):
            raise ZooError(f"{path} contains no runs: zoo reproduce adds them")
        return True
    return zoo.training.history.read(path).is_complete


def _compare(paths: Sequence[Path]) -> Comparison | None:
    """None if there are fewer than two finished runs."""
    entries = comparison.read(paths) if paths else []
    if len(entries) < 2:
        return None
    names, *rows = comparison.to_rows(entries)
    label = "accuracy by depth, parameters and seconds; curves"
    picture = figures.to_svg(comparison.draw(entries), "comparison", label)
    return Comparison(names, rows, comparison.TEXT_COLUMNS, Markup(picture))
