"""Commands for what a person looks at: compare, report, watch."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zoo.cli.options import data_dirs

if TYPE_CHECKING:
    from zoo.data import DataDirs

RUNS_OR_RESULTS = click.argument(
    "runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN|RESULTS..."
)


@click.command(short_help="Compare finished runs: a table, and a picture.")
@RUNS_OR_RESULTS
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Also draw accuracy by depth, size and time, and curves; .png, .svg or .pdf",
)
def compare(runs: Sequence[Path], output: Path | None) -> None:
    """Compare runs: directories, or files such as docs/results/reproduction.json.

    The table is sorted by accuracy. For several seeds it shows mean ± standard deviation.
    """
    from zoo.system import figures
    from zoo.web import comparison

    if output is not None:
        figures.check_output(output)
    entries = comparison.read(runs)
    click.echo(comparison.to_text(entries))
    if output is not None:
        figures.save(comparison.draw(entries), output, follow=True)


@click.command(short_help="Write a report of runs: one HTML file.")
@RUNS_OR_RESULTS
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help=".html")
@data_dirs
def report(runs: Sequence[Path], output: Path, given: "DataDirs") -> None:
    """Write a report of runs: directories, or files such as docs/results/reproduction.json.

    The HTML file is self-contained: curves, scores, pictures of each net, the published results
    next to ours, and a comparison of finished runs.
    """
    import datetime

    import zoo.system.compilation
    from zoo.system.files import write_whole
    from zoo.system.waiting import waiting
    from zoo.web import report

    report.check_output(output)
    zoo.system.compilation.enable_cache()
    with waiting("drawing the report"):
        page = report.make(runs, datetime.date.today(), given)
    write_whole(output, page, follow=True)
    click.echo(f"wrote {output} ({len(page.encode()) / 1e6:.1f} MB)")


@click.command(short_help="Draw digits for trained nets, and follow runs, in a browser.")
@click.argument("folder", required=False, type=click.Path(path_type=Path), metavar="[RUNS]")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65_535),
    help="Port on this machine; 0: any free port.",
)
@data_dirs
def watch(folder: Path | None, port: int, given: "DataDirs") -> None:
    """Show the runs in the directory RUNS (default: runs) live in a browser.

    On one of the pages you draw a digit, and all trained nets of the package, and the net of a run
    if you choose one, answer side by side while you draw. It is the first page while there are no
    runs. The pages are only available on this machine (127.0.0.1).
    """
    import jax

    import zoo.system.compilation
    from zoo.web import watch

    jax.config.update("jax_platforms", "cpu")  # the GPU and its memory are for the runs
    server = watch.serve(folder, port, given)
    zoo.system.compilation.enable_cache()
    click.echo(
        f"http://{watch.HOST}:{server.effective_port} shows the runs in "
        f"{folder or watch.DEFAULT_FOLDER} and answers drawings; Ctrl-C stops"
    )
    server.run()
