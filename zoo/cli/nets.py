"""Commands for the nets themselves: list, summary."""

import dataclasses
import re
from typing import Any

import click

from zoo.system.errors import ZooError


def complete_net(context: click.Context, parameter: click.Parameter, start: str) -> list[str]:
    from zoo.models import list_models

    return list_models(f"{start}*")


@click.command("list", short_help="List the nets with their size and accuracy.")
@click.argument("pattern", default="*", shell_complete=complete_net)
def list_nets(pattern: str) -> None:
    """List the nets, or those that match PATTERN, such as "ablation*".

    The last two columns show the results of `zoo reproduce` that this version came with, and the
    test accuracy of the trained weights in the package.
    """
    from zoo.reproduction.catalogue import to_text
    from zoo.reproduction.results import committed, read

    click.echo(to_text(pattern, read(committed())))


@click.command(short_help="Show a net's layers: shapes, parameters, multiply-adds.")
@click.argument("net", metavar="NET|FILE.py:NAME|RUN", shell_complete=complete_net)
@click.option(
    "--image-size",
    metavar="TEXT",
    help="Height, width and channels; 28x28 means one channel.  [default: 28x28x1, or a run's]",
)
@click.option("--num-classes", type=click.IntRange(1), help="[default: 10, or a run's]")
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    help="Of the training step for the memory estimate.  [default: 128, or a run's]",
)
@click.option(
    "--freeze",
    metavar="PATTERNS",
    help="Show what is trained with --config.freeze=PATTERNS, such as conv_.*",
)
@click.option(
    "--rates",
    metavar="RATES",
    help="The same of --config.optimizer.rates=RATES, such as conv_.*=0.1",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def summary(net: str, image_size: str | None, as_json: bool, **others: Any) -> None:
    """Show the layers of NET, or of the net of a RUN: output shapes, parameters, multiply-adds.

    NET is the name of a net, or FILE.py:NAME for a tuple of layers in a file, which is executed.
    Where parameters are frozen or have learning rates of their own, it shows them, too.
    """
    from zoo.analysis.summary import to_json, to_text
    from zoo.analysis.trainable import summarize_task, task_of

    given = {key: value for key, value in others.items() if value is not None}
    if image_size is not None:
        given["image_shape"] = _image_shape(image_size)
    if "freeze" in given or "rates" in given:
        given["factors"] = None
    found = summarize_task(dataclasses.replace(task_of(net), **given))
    click.echo(to_json(found) if as_json else to_text(found))


def _image_shape(text: str) -> tuple[int, int, int]:
    """(height, width, channels) of "28x28x1" or "28x28"."""
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})(?:x(\d{1,5}))?", text)
    height, width, channels = (
        (int(number or 1) for number in match.groups()) if match else (0, 0, 0)
    )
    if not min(height, width, channels):
        raise ZooError(f"--image-size must be HEIGHTxWIDTHxCHANNELS, such as 28x28x1, not {text!r}")
    return height, width, channels
