"""Commands for trained nets: evaluate, predict, plot."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zoo.cli.options import data_dirs
from zoo.system.errors import ZooError

if TYPE_CHECKING:
    from zoo.data import DataDirs

RUN = click.argument("run", type=click.Path(path_type=Path))
SEED = click.option(
    "--seed", type=int, help="Seed to use if the run has several; default: the first."
)


@click.command(short_help="Score a run's net: classes, confusions, calibration.")
@RUN
@click.option(
    "--dataset",
    metavar="NAME",
    help="Another dataset with images of the same size; default: the dataset of the run.",
)
@click.option(
    "--split",
    default="test",
    show_default=True,
    type=click.Choice(["test", "validation", "train"]),
)
@data_dirs
@SEED
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def evaluate(
    run: Path,
    dataset: str | None,
    split: str,
    given: "DataDirs",
    seed: int | None,
    as_json: bool,
) -> None:
    """Score the net of the run in directory RUN on labelled images.

    Uses the parameters of the newest checkpoint, or of the best epoch so far if the run was
    configured to select it (validation=holdout).
    """
    import zoo.system.compilation
    from zoo.analysis import evaluation, trained
    from zoo.system.waiting import waiting

    zoo.system.compilation.enable_cache()
    net = trained.load(run, seed, given)
    chosen = net.split(split, dataset)
    with waiting("evaluating"):
        found = evaluation.evaluate(net.logits(chosen.images), chosen.labels)
    if as_json:
        click.echo(evaluation.to_json(found))
        return
    click.echo(
        f"{net.name} after epoch {net.epoch}, seed {net.seed}, on the {split} split of "
        f"{dataset or net.history.config['dataset']} ({found.num_images:,} images)\n\n"
        f"{evaluation.to_text(found)}"
    )


@click.command(short_help="Predict the classes of images with a run's net.")
@RUN
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@data_dirs
@SEED
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@click.option(
    "--plot",
    "picture",
    type=click.Path(path_type=Path),
    help="Also draw images and probabilities; .png, .svg or .pdf",
)
def predict(
    run: Path,
    images: Sequence[str],
    given: "DataDirs",
    seed: int | None,
    as_json: bool,
    picture: Path | None,
) -> None:
    """Predict the class of each IMAGE with the net of the run in directory RUN.

    An IMAGE is a PNG, JPEG, GIF, BMP or WebP file of any size and colour, or the number of an image
    in the test set. What is drawn in a file is brought to the form of the run's training images.
    """
    import zoo.system.compilation
    from zoo.analysis import pictures, prediction, trained
    from zoo.system import figures

    if picture is not None:
        figures.check_output(picture)
    zoo.system.compilation.enable_cache()
    net = trained.load(run, seed, given)
    found = prediction.predict(net, images)
    click.echo(prediction.to_json(found) if as_json else prediction.to_text(found))
    if picture is not None:
        figures.save(pictures.predictions(net, found), picture)


@click.command(short_help="Draw runs: curves, weights, filters, confusions, ...")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help=".png, .svg or .pdf"
)
@click.option(
    "--kind",
    default="curves",
    show_default=True,
    type=click.Choice(
        ["curves", "weights", "filters", "activations", "confusion", "mistakes", "calibration"]
    ),
)
@click.option("--image", help="Image for --kind=activations: a file or the number of a test image.")
@data_dirs
@SEED
def plot(
    runs: Sequence[Path],
    output: Path,
    kind: str,
    image: str | None,
    given: "DataDirs",
    seed: int | None,
) -> None:
    """Draw the runs in the directories RUN into one picture.

    Curves can show several runs, the other kinds one run: violins of each layer's weights before
    and after training, filters of the first layer, activations for an --image; confusions, the
    worst mistakes and the calibration on the test set.
    """
    if (kind == "activations") != (image is not None):
        raise ZooError("--image and --kind=activations need each other: give both or neither")
    if kind == "curves" and seed is not None:
        raise ZooError("--seed has no effect on curves, which show all seeds: omit it")
    if kind != "curves" and len(runs) > 1:
        raise ZooError(f"--kind={kind} draws one run, not {len(runs)}")

    import zoo.system.compilation
    from zoo.analysis import pictures, prediction, trained
    from zoo.system import figures
    from zoo.system.waiting import waiting
    from zoo.training.curves import draw_runs

    figures.check_output(output)
    zoo.system.compilation.enable_cache()
    if kind == "curves":
        figures.save(draw_runs(runs), output)
        return
    net = trained.load(runs[0], seed, given)
    with waiting("drawing"):
        if image is not None:
            asked = prediction.predict(net, [image])[0]
            figure = pictures.activations(net, asked.pixels, asked.image)
        elif kind in pictures.OF_NET:
            figure = pictures.OF_NET[kind](net)
        else:
            split = net.split("test")
            figure = pictures.OF_SPLIT[kind](net, split, net.probabilities(split.images))
        figures.save(figure, output)
