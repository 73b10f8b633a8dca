"""Commands for trained nets: evaluate, predict, plot, export-weights."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zoo.cli.nets import complete_net
from zoo.cli.options import data_dirs
from zoo.system.errors import ZooError

if TYPE_CHECKING:
    from zoo.data import DataDirs

NET = click.argument("net", metavar="NET|RUN", shell_complete=complete_net)
SEED = click.option(
    "--seed", type=int, help="Seed to use if the run has several; default: the first."
)


@click.command(short_help="Score a trained net: classes, confusions, calibration.")
@NET
@click.option(
    "--dataset",
    metavar="NAME",
    help="Another dataset with images of the same size; default: that of the training.",
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
    net: str,
    dataset: str | None,
    split: str,
    given: "DataDirs",
    seed: int | None,
    as_json: bool,
) -> None:
    """Score a trained net on labelled images.

    It is named by NET, such as lenet3, for the weights that the zoo comes with, or by the directory
    of a run or of exported weights. Of a run the newest checkpoint is taken, or the best epoch so
    far if the run was configured to select it (validation=holdout).
    """
    import zoo.system.compilation
    from zoo.analysis import evaluation, trained
    from zoo.data.names import short
    from zoo.system.waiting import waiting

    zoo.system.compilation.enable_cache()
    loaded = trained.load(net, seed, given)
    chosen = loaded.split(split, dataset)
    with waiting("evaluating"):
        found = evaluation.evaluate(loaded.logits(chosen.images), chosen.labels)
    if as_json:
        click.echo(evaluation.to_json(found, loaded.data.class_names))
        return
    click.echo(
        f"{loaded.name}{loaded.stage} on the {split} split of "
        f"{short(dataset or loaded.data.dataset)} ({found.num_images:,} images)\n\n"
        f"{evaluation.to_text(found, class_names=loaded.data.class_names)}"
    )


@click.command(short_help="Predict the classes of images with trained nets.")
@click.argument(
    "names", nargs=-1, required=True, metavar="NET|RUN... IMAGE...", shell_complete=complete_net
)
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
    names: Sequence[str],
    given: "DataDirs",
    seed: int | None,
    as_json: bool,
    picture: Path | None,
) -> None:
    """Predict the class of each IMAGE with trained nets, which are compared if there are several.

    A net is named by NET, such as lenet3, for the weights that the zoo comes with, or by the
    directory of a run or of exported weights. An IMAGE is a PNG, JPEG, GIF, BMP or WebP file of any
    size and colour, or the number of an image in the test set. What is drawn in a file is brought
    to the form of the net's training images; if these were image files, the whole picture is
    resized as they were.
    """
    import zoo.system.compilation
    from zoo.analysis import prediction, trained

    nets, images = _nets_and_images(names)
    if picture is not None:
        from zoo.system import figures  # only if wanted: half a second of imports

        if len(nets) > 1:
            raise ZooError(f"--plot draws the predictions of one net, not of {len(nets)}")
        figures.check_output(picture)
    zoo.system.compilation.enable_cache()
    loaded = [trained.load(net, seed, given) for net in nets]
    found = [prediction.predict(net, images) for net in loaded]
    click.echo(prediction.to_json(found) if as_json else prediction.to_text(found))
    if picture is not None:
        from zoo.analysis import pictures

        figures.save(pictures.predictions(loaded[0], found[0]), picture, follow=True)


def _nets_and_images(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The first is a net; so is each that follows, up to the first image."""
    from zoo.models import MODELS

    def is_net(name: str) -> bool:
        path = Path(name)
        return path.is_dir() or name.startswith("hf://") or (name in MODELS and not path.exists())

    nets = [names[0], *itertools.takewhile(is_net, names[1:])]
    images = list(names[len(nets) :])
    if not images:
        raise ZooError(
            f"an image is missing after {nets[-1]!r}: name an image file, or the number of an "
            f"image in the test set"
        )
    if late := next(filter(is_net, images), None):
        raise ZooError(f"{late!r} is a net behind an image: name all nets before the images")
    return nets, images


@click.command("export-weights", short_help="Write a run's weights to a directory.")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("directory", type=click.Path(path_type=Path))
@SEED
def export_weights(run: Path, directory: Path, seed: int | None) -> None:
    """Write the weights of the net of the run in directory RUN to DIRECTORY.

    It has the layout of the Hugging Face Hub: config.json, model.safetensors and a model card,
    README.md. Its name can be used wherever that of a run can, and in Python
    zoo.models.from_pretrained reads it.
    """
    from zoo.analysis import weights

    net = weights.export(run, directory, seed)
    click.echo(f"wrote the weights of {net.name} after epoch {net.epoch} to {directory}")


@click.command(short_help="Draw runs and nets: curves, weights, filters, confusions, ...")
@click.argument("nets", nargs=-1, required=True, metavar="NET|RUN...", shell_complete=complete_net)
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
    nets: Sequence[str],
    output: Path,
    kind: str,
    image: str | None,
    given: "DataDirs",
    seed: int | None,
) -> None:
    """Draw runs or a trained net into one picture.

    Curves can show several runs, named by their directories. The other kinds show one net, named as
    for evaluate: violins of each layer's weights before and after training, filters of the first
    layer, activations for an --image; confusions, the worst mistakes and the calibration on the
    test set.
    """
    if (kind == "activations") != (image is not None):
        raise ZooError("--image and --kind=activations need each other: give both or neither")
    if kind == "curves" and seed is not None:
        raise ZooError("--seed has no effect on curves, which show all seeds: omit it")
    if kind != "curves" and len(nets) > 1:
        raise ZooError(f"--kind={kind} draws one net, not {len(nets)}")

    import zoo.system.compilation
    from zoo.analysis import pictures, prediction, trained
    from zoo.system import figures
    from zoo.system.waiting import waiting
    from zoo.training.curves import draw_runs

    figures.check_output(output)
    zoo.system.compilation.enable_cache()
    if kind == "curves":
        _check_have_history(nets)
        figures.save(draw_runs([Path(run) for run in nets]), output, follow=True)
        return
    net = trained.load(nets[0], seed, given)
    with waiting("drawing"):
        if image is not None:
            asked = prediction.predict(net, [image])[0]
            figure = pictures.activations(net, asked.pixels, asked.image)
        elif kind in pictures.OF_NET:
            figure = pictures.OF_NET[kind](net)
        else:
            split = net.split("test")
            figure = pictures.OF_SPLIT[kind](net, split, net.probabilities(split.images))
        figures.save(figure, output, follow=True)


def _check_have_history(nets: Sequence[str]) -> None:
    """Curves are those of a run; a name stands for weights alone."""
    from zoo.models import MODELS

    for net in nets:
        if net in MODELS and not Path(net).exists():
            raise ZooError(
                f"{net} has no run's history to draw curves of: name the directory of a run, or "
                f"another --kind"
            )
