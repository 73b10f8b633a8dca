"""Commands that train: train, sweep, reproduce."""

from collections.abc import Sequence
from pathlib import Path

import click

from zoo.cli.nets import complete_net
from zoo.system.errors import ZooError
from zoo.system.process import stop_requested

NET = click.argument("net", metavar="NET|FILE|DIRECTORY", shell_complete=complete_net)
TAKES_KEYS = {"ignore_unknown_options": True}  # --config.KEY=VALUE


@click.command(
    short_help="Train a net, or go on with its run.",
    context_settings=TAKES_KEYS,
)
@NET
@click.argument(
    "arguments",
    nargs=-1,
    type=click.UNPROCESSED,
    metavar="[--config.KEY=VALUE]... [--workdir DIR] [--quiet]",
)
def train(net: str, arguments: Sequence[str]) -> None:
    """Train NET as its notebook did, or as a configuration FILE of your own says.

    With a DIRECTORY of images, in a directory for each class, train a small net on them.

    Any key can be set by --config.KEY=VALUE. History, checkpoints and plots go to the directory
    given by --workdir, or to runs/NET-DATASET-SEED. --quiet prints nothing but the result. A run
    that was interrupted goes on when the same command is given again. --coordinator HOST:PORT,
    --num_processes N and --process_id K make it one of several processes of a run.
    """
    from zoo.cli.arguments import parse_named, start

    start(parse_named(net, arguments))


@click.command(
    short_help="Train a net with each of several settings, and compare.",
    context_settings=TAKES_KEYS,
)
@NET
@click.option(
    "--over",
    multiple=True,
    metavar="KEY=VALUE,VALUE...",
    help="A key and its values, such as optimizer.learning_rate=1e-4,1e-3 or seed=0:4 (0 to 3); "
    "of several, all combinations.",
)
@click.option(
    "--runs",
    type=click.Path(path_type=Path),
    help="Directory of the runs, sweep.csv and sweep.png.  [default: runs/sweep-NET-DATASET]",
)
@click.option("--quiet", is_flag=True, help="Print only the results.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[--config.KEY=VALUE]...")
def sweep(
    net: str, over: Sequence[str], runs: Path | None, quiet: bool, arguments: Sequence[str]
) -> None:
    """Train a net, as `zoo train` does, with each combination of settings, and compare them.

    Each run has a directory of its own; those that are complete are taken as they are, so the same
    command goes on where it was interrupted, and one with more values adds their runs. Settings
    that differ in the seed alone are one row of the table.
    """
    from zoo.cli.arguments import sweep_cells

    cells, runs = sweep_cells(net, over, runs, arguments)
    import zoo.system.compilation  # only now: these take a second to import
    from zoo.analysis import sweeps
    from zoo.training.sweep import finished, run

    zoo.system.compilation.enable_cache()
    known = {each.cell.workdir: sweeps.row_of(each) for each in finished(cells)}
    for outcome in run(cells, stop_requested, quiet=quiet):
        known[outcome.cell.workdir] = sweeps.row_of(outcome)
        rows = [known[cell.workdir] for cell in cells if cell.workdir in known]
        sweeps.write(rows, runs)
    click.echo(f"\n{sweeps.to_text(sweeps.grouped(rows))}")
    picture = " and sweep.png" if sweeps.draw_or_tell(rows, runs) else ""
    if not quiet:
        click.echo(f"wrote sweep.csv{picture} to {runs}")
    if all(row.num_diverged for row in rows):
        raise ZooError(
            "training diverged in each run of the sweep: try lower values of "
            "config.optimizer.learning_rate, and another directory with --runs"
        )


@click.command(short_help="Train nets again and compare with the published results.")
@click.argument("nets", nargs=-1, shell_complete=complete_net)
@click.option(
    "--seeds",
    default=1,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="Number of runs of each net.",
)
@click.option(
    "--first-seed",
    default=0,
    show_default=True,
    type=click.IntRange(0, 2**31),
    help="The seed of the first run.",
)
@click.option(
    "--protocol",
    default="notebook",
    show_default=True,
    type=click.Choice(["notebook", "holdout", "both"]),
    help="notebook: as the notebook; holdout: select the best epoch on held-out data, test once.",
)
@click.option(
    "--runs",
    "runs_dir",
    default="runs/reproduction",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Directory of the runs.",
)
@click.option(
    "--output",
    default="docs/results",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Directory for reproduction.csv, .json and .md.",
)
@click.option(
    "--missing",
    is_flag=True,
    help="Leave out runs that the results in that directory hold already.",
)
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    help="Also keep the weights of seed 0 there, in float16 if that changes no test answer.",
)
@click.option("--quiet", is_flag=True, help="Print only the results.")
def reproduce(
    nets: Sequence[str],
    seeds: int,
    first_seed: int,
    protocol: str,
    runs_dir: Path,
    output: Path,
    missing: bool,
    weights: Path | None,
    quiet: bool,
) -> None:
    """Train NETS (shell patterns; default: all 19) again and compare with the published results.

    Nets are trained in the order given, those of one pattern cheapest first. Interrupted runs are
    resumed, complete runs are used as they are. The table is written after each run; its results
    for other nets and seeds are kept.
    """
    import zoo.system.compilation
    from zoo.models import list_models  # only now: a second of imports
    from zoo.reproduction.results import PROTOCOLS
    from zoo.reproduction.run import reproduce as reproduce_nets
    from zoo.reproduction.table import training_flop

    zoo.system.compilation.enable_cache()
    protocols = list(PROTOCOLS) if protocol == "both" else [protocol]
    names: list[str] = []
    for pattern in nets or ["*"]:
        names += sorted(list_models(pattern), key=training_flop) or [pattern]
    each = range(first_seed, first_seed + seeds)
    reproduce_nets(
        names,
        each,
        protocols,
        runs_dir,
        output,
        missing=missing,
        weights=weights,
        quiet=quiet,
        should_stop=stop_requested,
    )
