"""The `zoo` command."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import click

import zoo
import zoo.system.process
from zoo.system.errors import ZooError


class _InOrder(click.Group):
    """Lists its commands in the order of their definition."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(zoo.__version__, prog_name="zoo")
def cli() -> None:
    """Nineteen small CNNs for small images, from five notebooks."""


def _complete_net(context: click.Context, parameter: click.Parameter, start: str) -> list[str]:
    from zoo.models import list_models

    return list_models(f"{start}*")


@cli.command("list", short_help="List the nets with their size and accuracy.")
@click.argument("pattern", default="*", shell_complete=_complete_net)
def list_nets(pattern: str) -> None:
    """List the nets, or those that match PATTERN, such as "ablation*".

    The last column shows the results of `zoo reproduce` that this version came with.
    """
    from zoo.reproduction.catalogue import to_text
    from zoo.reproduction.results import committed, read

    click.echo(to_text(pattern, read(committed())))


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
    help="Batch size of the training step for the memory estimate.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
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
_SEED = click.option(
    "--seed", type=int, help="Seed to use if the run has several; default: the first."
)


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
    help="Another dataset with images of the same size; default: the dataset of the run.",
)
@click.option(
    "--split",
    default="test",
    show_default=True,
    type=click.Choice(["test", "validation", "train"]),
)
@_SEED
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def evaluate(run: Path, dataset: str | None, split: str, seed: int | None, as_json: bool) -> None:
    """Score the net of the run in directory RUN on labelled images.

    Uses the parameters of the newest checkpoint, or of the best epoch so far if the run was
    configured to select it (validation=holdout).
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


@cli.command(short_help="Predict the classes of images with a run's net.")
@_RUN
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@_SEED
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@click.option(
    "--plot",
    "picture",
    type=click.Path(path_type=Path),
    help="Also draw images and probabilities; .png, .svg or .pdf",
)
def predict(
    run: Path, images: Sequence[str], seed: int | None, as_json: bool, picture: Path | None
) -> None:
    """Predict the class of each IMAGE with the net of the run in directory RUN.

    An IMAGE is a PNG, JPEG, GIF, BMP or WebP file of any size and colour, or the number of an image
    in the test set. The drawing in a file is cropped, centred, and inverted if it is dark on light.
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
@click.option("--image", help="Image for --kind=activations: a file or the number of a test image.")
@_SEED
def plot(
    runs: Sequence[Path], output: Path, kind: str, image: str | None, seed: int | None
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
        figures.save(comparison.draw(entries), output)


@cli.command(short_help="Write a report of runs: one HTML file.")
@_RUNS_OR_RESULTS
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help=".html")
def report(runs: Sequence[Path], output: Path) -> None:
    """Write a report of runs: directories, or files such as docs/results/reproduction.json.

    The HTML file is self-contained: curves, scores, pictures of each net, the published results
    next to ours, and a comparison of finished runs.
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


@cli.command(short_help="Show runs live in a browser, with a page to draw digits.")
@click.argument("folder", default="runs", type=click.Path(path_type=Path), metavar="[RUNS]")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65_535),
    help="Port on this machine; 0: any free port.",
)
def watch(folder: Path, port: int) -> None:
    """Show the runs in the directory RUNS live in a browser.

    The pages are only available on this machine (127.0.0.1). On one of them you can draw a digit
    and see a net's prediction while you draw.
    """
    import jax

    import zoo.system.compilation
    from zoo.web import watch

    jax.config.update("jax_platforms", "cpu")  # the GPU and its memory are for the runs
    server = watch.serve(folder, port)
    zoo.system.compilation.enable_cache()
    click.echo(
        f"http://{watch.HOST}:{server.effective_port} shows the runs in {folder}; Ctrl-C stops"
    )
    server.run()


@cli.command(short_help="Train nets again and compare with the published results.")
@click.argument("nets", nargs=-1, shell_complete=_complete_net)
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
@click.option("--quiet", is_flag=True, help="Print only the results.")
def reproduce(
    nets: Sequence[str],
    seeds: int,
    first_seed: int,
    protocol: str,
    runs_dir: Path,
    output: Path,
    quiet: bool,
) -> None:
    """Train NETS (shell patterns; default: all 19) again and compare with the published results.

    Interrupted runs are resumed, complete runs are used as they are, cheapest nets first. The table
    is written after each run; its results for other nets and seeds are kept.
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
        raise ZooError(error.format_message()) from None
    except SystemExit as error:  # raised by click after a completion or a closed pipe
        return error.code if isinstance(error.code, int) else 1
    return status if isinstance(status, int) else 0


def main() -> None:
    """The entry point of the console script."""
    trains = sys.argv[1:2] in (["train"], ["reproduce"])
    on_stop = zoo.system.process.GOES_ON if trains else ""
    zoo.system.process.run("zoo", run, on_stop, saves=trains)
