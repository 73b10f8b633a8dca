"""The `zoo` command."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import click

import zoo
import zoo.system.process
from zoo.system.errors import ZooError

RESULTS_FILE = Path("docs/results/reproduction.json")


class _InOrder(click.Group):
    """Lists its commands in the order in which they are defined."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(zoo.__version__, prog_name="zoo")
def cli() -> None:
    """Nineteen small CNNs for small images, as five notebooks define them."""


def _complete_net(context: click.Context, parameter: click.Parameter, start: str) -> list[str]:
    from zoo.models import list_models

    return list_models(f"{start}*")


@cli.command("list", short_help="List the nets with their size and accuracy.")
@click.argument("pattern", default="*", shell_complete=_complete_net)
def list_nets(pattern: str) -> None:
    """List the nets, or those that match PATTERN, such as "ablation*".

    The last column is what `zoo reproduce` found, where this is the project's folder.
    """
    from zoo.reproduction.catalogue import to_text
    from zoo.reproduction.results import read

    click.echo(to_text(pattern, read(Path(zoo.__file__).parents[1] / RESULTS_FILE)))


@cli.command(short_help="Show a net's layers: shapes, parameters, multiply-adds.")
@click.argument("net", shell_complete=_complete_net)
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
    help="Images in the training step whose memory is told.",
)
@click.option("--json", "as_json", is_flag=True, help="Print an object in JSON.")
def summary(net: str, image_size: str, num_classes: int, batch_size: int, as_json: bool) -> None:
    """Show the layers of NET: output shapes, parameters, multiply-adds."""
    from zoo.analysis.summary import summarize, to_json, to_text

    found = summarize(net, _image_shape(image_size), num_classes, batch_size)
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


_RUN = click.argument("run", type=click.Path(path_type=Path))
_RUNS_OR_RESULTS = click.argument(
    "runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN|RESULTS..."
)
_SEED = click.option("--seed", type=int, help="Which seed of a run of many; default: the first.")


@cli.command(
    short_help="Train a net, or go on with its run.",
    context_settings={"ignore_unknown_options": True},
)
@click.argument("net", metavar="NET|FILE", shell_complete=_complete_net)
@click.argument(
    "arguments",
    nargs=-1,
    type=click.UNPROCESSED,
    metavar="[--config.KEY=VALUE]... [--workdir DIR] [--quiet]",
)
def train(net: str, arguments: Sequence[str]) -> None:
    """Train NET as its notebook did, or as a configuration file of your own says.

    Any key can be set by --config.KEY=VALUE. History, checkpoints and plots go to the directory
    given by --workdir, or to runs/NET-DATASET-SEED. --quiet prints nothing but the result. A run
    that was interrupted goes on when the same command is given again.
    """
    from zoo.cli.training import parse_named

    config, workdir, quiet = parse_named(net, arguments)
    import zoo.system.compilation  # only now: these take a second to import
    import zoo.system.memory
    from zoo.training import train_and_evaluate

    zoo.system.memory.use_one_arena()
    zoo.system.compilation.enable_cache()
    stop = zoo.system.process.stop_requested
    train_and_evaluate(config, workdir, quiet=quiet, should_stop=stop)


@cli.command(short_help="Score a run's net: classes, confusions, calibration.")
@_RUN
@click.option(
    "--dataset",
    metavar="NAME",
    help="Another dataset with images of the same size; default: that of the run.",
)
@click.option(
    "--split",
    default="test",
    show_default=True,
    type=click.Choice(["test", "validation", "train"]),
)
@_SEED
@click.option("--json", "as_json", is_flag=True, help="Print an object in JSON.")
def evaluate(run: Path, dataset: str | None, split: str, seed: int | None, as_json: bool) -> None:
    """Score the net of the run in folder RUN on labelled images.

    It has the parameters of the newest checkpoint, or of the best epoch so far if the run was told
    to choose one (validation=holdout).
    """
    import zoo.system.compilation
    from zoo.analysis import evaluation, trained

    zoo.system.compilation.enable_cache()
    net = trained.load(run, seed)
    chosen = net.split(split, dataset)
    found = evaluation.evaluate(net.logits(chosen.images), chosen.labels)
    if as_json:
        click.echo(evaluation.to_json(found))
        return
    click.echo(
        f"{net.name} after epoch {net.epoch}, seed {net.seed}, on the {split} split of "
        f"{dataset or net.history.config['dataset']} ({found.num_images:,} images)\n\n"
        f"{evaluation.to_text(found)}"
    )


@cli.command(short_help="Ask a run's net what is on images.")
@_RUN
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@_SEED
@click.option("--json", "as_json", is_flag=True, help="Print a list in JSON.")
@click.option(
    "--plot",
    "picture",
    type=click.Path(path_type=Path),
    help="Draw images and probabilities too; .png, .svg or .pdf",
)
def predict(
    run: Path, images: Sequence[str], seed: int | None, as_json: bool, picture: Path | None
) -> None:
    """Ask the net of the run in folder RUN what is on each IMAGE.

    An IMAGE is a PNG, JPEG, GIF, BMP or WebP file of any size and colour, or the number of an image
    in the test set. What is drawn is cut out, centred, and inverted if it is dark on light.
    """
    import zoo.system.compilation
    from zoo.analysis import pictures, prediction, trained
    from zoo.system import figures

    if picture is not None:
        figures.check_output(picture)
    zoo.system.compilation.enable_cache()
    net = trained.load(run, seed)
    found = prediction.predict(net, images)
    click.echo(prediction.to_json(found) if as_json else prediction.to_text(found))
    if picture is not None:
        figures.save(pictures.predictions(net, found), picture)


@cli.command(short_help="Draw runs: curves, weights, filters, confusions, ...")
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
@click.option("--image", help="Of which activations are drawn: a file or a test image's number.")
@_SEED
def plot(
    runs: Sequence[Path], output: Path, kind: str, image: str | None, seed: int | None
) -> None:
    """Draw the runs in the folders RUN into one picture.

    Curves may be of several runs, the other kinds are of one: violins of each layer's weights
    before and after training, filters of the first layer, activations for an --image; confusions,
    the worst mistakes and the calibration on the test set.
    """
    if (kind == "activations") != (image is not None):
        raise ZooError("--image goes with --kind=activations, which needs it")
    if kind == "curves" and seed is not None:
        raise ZooError("--seed is for the other kinds: curves show all seeds")
    if kind != "curves" and len(runs) > 1:
        raise ZooError(f"--kind={kind} draws one run, not {len(runs)}")

    import zoo.system.compilation
    from zoo.analysis import pictures, prediction, trained
    from zoo.system import figures
    from zoo.training.curves import draw_runs

    figures.check_output(output)
    zoo.system.compilation.enable_cache()
    if kind == "curves":
        figures.save(draw_runs(runs), output)
        return
    net = trained.load(runs[0], seed)
    if image is not None:
        asked = prediction.predict(net, [image])[0]
        figure = pictures.activations(net, asked.pixels, asked.image)
    elif kind in pictures.OF_NET:
        figure = pictures.OF_NET[kind](net)
    else:
        split = net.split("test")
        figure = pictures.OF_SPLIT[kind](net, split, net.probabilities(split.images))
    figures.save(figure, output)


@cli.command(short_help="Compare finished runs: a table, and a picture.")
@_RUNS_OR_RESULTS
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="A picture too: accuracy by depth, size and time, and curves; .png, .svg or .pdf",
)
def compare(runs: Sequence[Path], output: Path | None) -> None:
    """Compare runs: folders, or files such as docs/results/reproduction.json.

    The table has the most accurate first. Of many seeds it gives mean ± standard deviation.
    """
    from zoo.system import figures
    from zoo.web import comparison

    if output is not None:
        figures.check_output(output)
    entries = comparison.read(runs)
    click.echo(comparison.to_text(entries))
    if output is not None:
        figures.save(comparison.draw(entries), output)


@cli.command(short_help="Write a report of runs: one HTML file.")
@_RUNS_OR_RESULTS
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help=".html")
def report(runs: Sequence[Path], output: Path) -> None:
    """Write a report of runs: folders, or files such as docs/results/reproduction.json.

    The file holds all that it shows and loads nothing: curves, scores, pictures of each net, the
    published numbers beside ours, a comparison of what is finished.
    """
    import datetime

    import zoo.system.compilation
    from zoo.system.files import write_whole
    from zoo.web import report

    report.check_output(output)
    zoo.system.compilation.enable_cache()
    page = report.make(runs, datetime.date.today())
    write_whole(output, page)
    click.echo(f"wrote {output} ({len(page.encode()) / 1e6:.1f} MB)")


@cli.command(short_help="Show runs live in a browser, and a page to draw digits.")
@click.argument("folder", default="runs", type=click.Path(path_type=Path), metavar="[RUNS]")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65_535),
    help="Of this machine; 0: any that is free.",
)
def watch(folder: Path, port: int) -> None:
    """Show the runs in the folder RUNS in a browser, while they go on.

    The pages are for this machine alone (127.0.0.1). On one of them, draw a digit and see what a
    net answers as you draw.
    """
    import jax

    import zoo.system.compilation
    from zoo.web import watch

    jax.config.update("jax_platforms", "cpu")  # a GPU and its memory are the runs'
    server = watch.serve(folder, port)
    zoo.system.compilation.enable_cache()
    click.echo(
        f"http://{watch.HOST}:{server.effective_port} shows the runs in {folder}; Ctrl-C stops"
    )
    server.run()


@cli.command(short_help="Train nets again and compare with what was published.")
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

    import zoo.system.compilation
    import zoo.system.memory
    from zoo.reproduction.results import PROTOCOLS
    from zoo.reproduction.run import reproduce as reproduce_nets

    zoo.system.memory.use_one_arena()
    zoo.system.compilation.enable_cache()
    protocols = list(PROTOCOLS) if protocol == "both" else [protocol]
    each = range(first_seed, first_seed + seeds)
    reproduce_nets(
        names,
        each,
        protocols,
        runs_dir,
        output,
        quiet=quiet,
        should_stop=zoo.system.process.stop_requested,
    )


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs the command with these arguments, or those of the process; gives the exit status.

    Raises:
        ZooError: something that the user gave is wrong.
    """
    try:
        status = cli.main(arguments, prog_name="zoo", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:  # no command: the list of them
        print(error.format_message())
        return 2
    except click.ClickException as error:
        raise ZooError(error.format_message()) from None
    except SystemExit as error:  # so click ends a completion, and a pipe whose reader has left
        return error.code if isinstance(error.code, int) else 1
    return status if isinstance(status, int) else 0


def main() -> None:
    """The entry point of the console script."""
    trains = sys.argv[1:2] in (["train"], ["reproduce"])
    on_stop = zoo.system.process.GOES_ON if trains else ""
    zoo.system.process.run("zoo", run, on_stop, saves=trains)
