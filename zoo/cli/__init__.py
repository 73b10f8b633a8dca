"""The `zoo` command, and the command line of training that it shares with `train.py`."""

import re
import sys
from collections.abc import Sequence

import click

import zoo
import zoo.system.process
from zoo.cli import export, nets, pages, runs, training
from zoo.system.errors import ZooError

__all__ = ["cli", "main", "run"]


class _InOrder(click.Group):
    """Lists its commands in the order of their definition."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(zoo.__version__, prog_name="zoo")
def cli() -> None:
    """Nineteen small CNNs for small images, from five notebooks."""


for _command in (
    nets.list_nets,
    nets.summary,
    training.train,
    training.sweep,
    runs.evaluate,
    runs.predict,
    runs.plot,
    runs.export_weights,
    export.export,
    pages.compare,
    pages.report,
    pages.watch,
    training.reproduce,
):
    cli.add_command(_command)


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs the command with these arguments, or those of the process; returns the exit status.

    Raises:
        ZooError: the command line or a file of the user is wrong.
    """
    try:
        status = cli.main(arguments, prog_name="zoo", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:  # no command: the list of them
        print(error.format_message())
        return 2
    except click.ClickException as error:
        raise ZooError(_sentence(error)) from None
    except SystemExit as error:  # raised by click after a completion or a closed pipe
        return error.code if isinstance(error.code, int) else 1
    return status if isinstance(status, int) else 0


def _sentence(error: click.ClickException) -> str:
    """What click says and, where something is missing, an example of it or where to look."""
    text = error.format_message()
    if not isinstance(error, click.MissingParameter) or error.ctx is None:
        return text
    suffix = re.match(r"\.\w+", getattr(error.param, "help", None) or "")
    if error.param and suffix:  # a file to write
        way = f"{error.param.opts[0]} {error.ctx.command.name}{suffix[0]}"
    else:
        way = f"{error.ctx.command_path} --help"
    return f"{text.removesuffix('.')}: try {way}"


def main() -> None:
    """The entry point of the console script."""
    trains = sys.argv[1:2] in (["train"], ["sweep"], ["reproduce"])
    on_stop = zoo.system.process.GOES_ON if trains else ""
    zoo.system.process.run("zoo", run, on_stop, saves=trains)
