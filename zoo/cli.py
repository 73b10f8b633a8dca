"""The `zoo` command."""

from collections.abc import Sequence
from pathlib import Path

import click

import zoo
import zoo.process
from zoo.errors import ZooError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(zoo.__version__, prog_name="zoo")
def cli() -> None:
    """Nineteen small CNNs for small images: reproduce what five notebooks claimed."""


def _complete_net(context: click.Context, parameter: click.Parameter, start: str) -> list[str]:
    from zoo.models import list_models

    return list_models(f"{start}*")


@cli.command()
@click.argument("nets", nargs=-1, shell_complete=_complete_net)
@click.option(
    "--seeds",
    default=1,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="Runs of each net.",
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
    help="As the notebook trained and tested, or: hold out, choose the best epoch, test once.",
)
@click.option(
    "--runs",
    "runs_dir",
    default="runs/reproduction",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder of the runs.",
)
@click.option(
    "--output",
    default="docs/results",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder for reproduction.csv, .json and .md.",
)
@click.option("--quiet", is_flag=True, help="Print the results alone.")
def reproduce(
    nets: Sequence[str],
    seeds: int,
    first_seed: int,
    protocol: str,
    runs_dir: Path,
    output: Path,
    quiet: bool,
) -> None:
    """Train NETS (shell patterns; none: all 19) again, and compare with what was published.

    Runs that were interrupted go on, complete ones are taken as they are, cheapest nets first. The
    table is written after each run; it keeps what it holds of other nets and seeds.
    """
    from zoo.models import list_models  # only now: a second of imports

    names = [name for net in nets or ["*"] for name in list_models(net) or [net]]

    import zoo.compilation
    from zoo.reproduction import reproduce as reproduce_nets
    from zoo.results import PROTOCOLS

    zoo.compilation.enable_cache()
    protocols = list(PROTOCOLS) if protocol == "both" else [protocol]
    last = first_seed + seeds
    reproduce_nets(names, range(first_seed, last), protocols, runs_dir, output, quiet=quiet)


def _run() -> int:
    try:
        status = cli.main(prog_name="zoo", standalone_mode=False)
    except click.ClickException as error:
        raise ZooError(error.format_message()) from None
    return status if isinstance(status, int) else 0


def main() -> None:
    """The entry point of the console script."""
    zoo.process.run("zoo", _run)


if __name__ == "__main__":
    main()
