"""Commands for the nets themselves: list, summary."""

import re

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
@click.argument("net", shell_complete=complete_net)
@click.option(
    "--image-size",
    default="28x28x1",
    show_default=True,
    help="Height, width and channels; 28x28 means one channel.",
)
@click.option("--num-classes", default=10, show_default=True, type=click.IntRange(1))
@click.option(
    "--batch-size",
    default=128,
    show_default=True,
    type=click.IntRange(1),
    help="Batch size of the training step for the memory estimate.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def summary(net: str, image_size: str, num_classes: int, batch_size: int, as_json: bool) -> None:
    """Show the layers of NET: output shapes, parameters, multiply-adds.

    NET is the name of a net, or FILE.py:NAME for a tuple of layers in a file, which is executed.
    """
    from zoo.analysis.summary import summarize, to_json, to_text
    from zoo.models import net_files

    shape = _image_shape(image_size)
    try:
        layers = net_files.find(net)
    except ValueError as error:
        raise ZooError(str(error)) from None
    found = summarize(layers, shape, num_classes, batch_size, net_files.short_name(net))
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
