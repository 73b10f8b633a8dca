"""The command that writes a net for other programs: export."""

from typing import TYPE_CHECKING, Literal

import click

from zoo.cli.options import data_dirs
from zoo.cli.runs import NET, SEED

if TYPE_CHECKING:
    from zoo.data import DataDirs


@click.command(short_help="Write a net for other programs: ONNX, LiteRT, Keras, ...")
@NET
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=str),  # of which the last slash can be seen
    help=".onnx, .stablehlo, .tflite, .keras, .pt2 or .safetensors",
)
@click.option(
    "--input",
    "input_type",
    default="uint8",
    show_default=True,
    type=click.Choice(["uint8", "float32"]),
    help="Type of the images' pixels: 0..255, or floats in [0, 1].",
)
@click.option(
    "--int8",
    is_flag=True,
    help="Quantize .onnx to 8 bits, calibrated on the training images.",
)
@data_dirs
@SEED
def export(
    net: str,
    output: str,
    input_type: Literal["uint8", "float32"],
    int8: bool,
    given: "DataDirs",
    seed: int | None,
) -> None:
    """Write a trained net to a file that other programs run.

    The net is named as for evaluate. The file takes images [batch, height, width, channels], one
    or more, and gives logits, before the softmax. It is kept if it answers as the zoo on 100 test
    images, or random ones where the net's dataset is not found.
    """
    import zoo.system.compilation
    from zoo.analysis import trained
    from zoo.export.files import find
    from zoo.export.trained import export_trained, to_text
    from zoo.system.waiting import waiting

    find(output, int8=int8)  # an error before the net is loaded
    zoo.system.compilation.enable_cache()
    loaded = trained.load(net, seed, given)
    with waiting("writing"):
        found = export_trained(loaded, output, input_type, int8=int8)
    click.echo(to_text(found))
