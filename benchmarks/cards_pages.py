"""The pages of the model cards, from the package, the results file and what was measured."""

import re
import statistics
from collections.abc import Sequence
from typing import Any

from cards_facts import (
    FOLDER,
    count_text,
    duration_text,
    escaped,
    estimate_text,
    folded,
    is_busy,
    latency_text,
    measured_of,
    num_convolutions,
    reproduced_text,
    runs_of,
    scores_of,
    size_text,
    speed_text,
    table_of,
    weights_of,
)

import zoo.reproduction.published
from zoo.analysis.evaluation import Estimate, wilson
from zoo.analysis.summary import summarize
from zoo.reproduction import table
from zoo.reproduction.published import TITLES, Published
from zoo.system.text import mean_text

_NUM_WORST = 3
_SIZES = ("net", "convs", "parameters", "multiply-adds", "published", "reproduced")
_WEIGHTS = ("net", "test accuracy", "file", "altered", "drawn", "one image")


def write() -> None:
    """Writes all pages."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """The text of each page by its file's name."""
    nets = zoo.reproduction.published.load()
    return {f"{net}.md": _card(net) for net in nets} | {"index.md": _index(list(nets))}


def _index(nets: Sequence[str]) -> str:
    sizes = [
        (
            f"[`{net}`]({net}.md)",
            str(num_convolutions(net)),
            f"{summarize(net).parameters:,}",
            f"{summarize(net).macs / 1e6:,.1f} M",
            f"{zoo.reproduction.published.load()[net].accuracy:.2%}",
            reproduced_text(net),
        )
        for net in nets
    ]
    trained = [_weights_cells(net, own) for net in nets if (own := weights_of(net))]
    return f"""# Model cards

A page for each net: how accurate it is, in its notebook and here; what it takes for what, and how
far to believe it; how fast it answers; its layers; what its notebook says wrongly of it.

{_unbroken(table_of(_SIZES, sizes, right=(1, 2, 3, 4)))}

Multiply-adds are millions for one image of 28x28. *Reproduced* is the mean ± standard deviation of
n seeds under the notebook's settings.

## Trained weights

{_unbroken(table_of(_WEIGHTS, trained, right=(1, 2, 3, 4, 5)))}

*Altered* and *drawn* is the part that a net reads rightly of test images altered in 25 ways, and of
digits drawn with pens and fonts; *one image* is the median time to answer one on two cores. A dash:
not measured yet. A star: measured while other programs ran.

```{{toctree}}
:hidden:

{chr(10).join(nets)}
```
"""


def _weights_cells(net: str, weights: dict[str, Any]) -> tuple[str, ...]:
    cells = (f"[`{net}`]({net}.md)", f"{weights['test']['accuracy']:.2%}", size_text(weights))
    measured = measured_of(net)
    if not measured:
        return *cells, "-", "-", "-"
    scores = [f"{score.value:.1%}" for score in scores_of(measured)]
    return *cells, *scores, latency_text(measured) + ("\\*" if is_busy(measured) else "")


def _unbroken(table: str) -> str:
    """The table with cells that break nowhere."""
    return re.sub(r"(?<=[^| ]) (?=[^| ])", "\N{NO-BREAK SPACE}", table)


def _card(net: str) -> str:
    published, summary = zoo.reproduction.published.load()[net], summarize(net)
    measured = measured_of(net)
    depth = count_text(num_convolutions(net), "convolution")
    sections = [
        f"# {net}",
        f"**{depth}**, **{summary.parameters:,}** parameters, **{summary.macs:,}** multiply-adds "
        f"for an image of 28x28.\nFrom notebook {published.notebook}, "
        f"*{TITLES[published.notebook]}*; [all nets](index.md).",
        *_use(net, published),
        *_accuracy(net, published),
        *(_mistakes(net, measured) if measured else ()),
        *(_of_people(net, measured) if measured else ()),
        *_layers(net),
        *_remarks(published),
    ]
    return "\n\n".join(sections) + "\n"


def _use(net: str, published: Published) -> list[str]:
    weights = weights_of(net)
    if weights is None:
        duration = duration_text(3600 * table.training_hours(net))
        return [
            "## Train it",
            f"The package has no trained weights of this net yet. Its notebook's "
            f"{published.num_epochs} epochs of MNIST take about\n{duration} on two cores, by its "
            f"multiply-adds:",
            f"<!-- not run: it trains -->\n```bash\nzoo train {net} --workdir runs/{net}\n"
            f"zoo predict runs/{net} digit.png\n```",
        ]
    return [
        "## Use it",
        f"""```python
import jax, zoo.models

model, variables = zoo.models.from_pretrained("{net}")
predict = jax.jit(lambda images: model.apply(variables, images, train=False))
images = jax.numpy.zeros((1, 28, 28, 1), "uint8")  # bright digits on black, 0 to 255
logits = predict(images)  # [1, 10]
```""",
        f"<!-- not run: needs a picture -->\n```bash\nzoo predict {net} digit.png\n```",
        _file_table(weights, measured_of(net)),
    ]


def _file_table(weights: dict[str, Any], measured: dict[str, Any] | None) -> str:
    test, training = weights["test"], weights["training"]
    right = wilson(round(test["accuracy"] * test["num_examples"]), test["num_examples"])
    rows = [
        ("size", f"{size_text(weights)}, {weights['num_parameters']:,} numbers in "
                 f"{weights['weights_dtype']}"),
        ("accuracy", f"{estimate_text(right, '.2%')} of {test['num_examples']:,} test images"),
        ("trained", f"seed {training['seed']}, {training['epochs']} epochs, "
                    f"`{training['command']}`"),
        ("licence", weights["license"]),
    ]  # fmt: skip
    if measured:
        rows.append(("speed", speed_text(measured)))
    return table_of(("weights", f"`{weights['file']}`"), rows)


def _accuracy(net: str, published: Published) -> list[str]:
    runs = runs_of(net)
    here = ["-", "-", "-"]
    if runs:
        own_epochs = runs[0].config["num_epochs"]
        own = statistics.median(s for run in runs for s in run.epochs["seconds"])
        hardware = "; ".join(dict.fromkeys(table.hardware_text(run.environment) for run in runs))
        here = [
            reproduced_text(net),
            mean_text([run.test["loss"] for run in runs], ".4f"),
            f"{_training_text(own_epochs, own)} ({hardware})",
        ]
    there = [
        f"{published.accuracy:.2%}",
        f"{published.loss:.4f}",
        f"{_training_text(published.num_epochs, published.seconds_per_epoch)} (unknown hardware)",
    ]
    names = ("test accuracy", "test loss", "training time")
    parts = [
        "## Accuracy",
        table_of(("", "notebook", "here"), zip(names, there, here, strict=True)),
    ]
    if (FOLDER / f"{net}-loss.png").exists():
        parts.append(
            f"![Loss of {net} by epoch]({net}-loss.png)\n"
            f"![Part of the images that {net} reads wrongly by epoch]({net}-accuracy.png)"
        )
    return [
        *parts,
        "The notebook trained once, without a seed. "
        + (
            "Here: mean ± standard deviation of n seeds\nunder its settings, drawn as a band"
            if runs
            else "Here this net has not been trained\nto its end yet"
        )
        + " ([more](../results/reproduction.md)).",
    ]


def _training_text(num_epochs: int, seconds: float) -> str:
    return f"{duration_text(num_epochs * seconds)}: {num_epochs} epochs of {seconds:,.0f} s"


def _mistakes(net: str, measured: dict[str, Any]) -> list[str]:
    test = measured["test"]
    wrong = sum(confusion["count"] for confusion in test["confusions"])
    most = "; ".join(
        f"{one['label']} for {one['predicted']} ({count_text(one['count'], 'time')})"
        for one in test["confusions"][:_NUM_WORST]
    )
    classes = [
        (
            str(one["label"]),
            f"{one['num_images']:,}",
            estimate_text(Estimate(**one["recall"]), ".2%"),
            f"{one['precision']:.2%}",
        )
        for one in test["classes"]
    ]
    columns = ("digit", "images", "recognized", "right when it says so")
    return [
        "## Mistakes",
        f"{wrong:,} of {test['num_images']:,} test images are read wrongly. Most often taken for "
        f"another: {most}.\nOn average its confidence is {test['calibration_error']:.2%} off its "
        f"accuracy (expected calibration error, 15 bins).",
        f"![The worst mistakes of {net}]({net}-mistakes.png)",
        f"![Confusions of {net}]({net}-confusion.png)\n![Calibration of {net}]"
        f"({net}-calibration.png)",
        folded("Accuracy by digit", table_of(columns, classes, right=(1, 3))),
    ]


def _of_people(net: str, measured: dict[str, Any]) -> list[str]:
    kinds = {
        kind: wilson(own["right"], own["images"]) for kind, own in measured["pictures"].items()
    }
    altered, drawn = scores_of(measured)
    usual, *_ = kinds.values()  # the images as they are
    worst = sorted(kinds, key=lambda kind: kinds[kind].value)[:_NUM_WORST]
    hard = ", ".join(
        f"{kind} {kinds[kind].value:.1%}" for kind in worst if kinds[kind].value < usual.value
    )
    rows = [
        (kind, f"{own['images']:,}", estimate_text(kinds[kind], ".1%"))
        for kind, own in measured["pictures"].items()
    ]
    return [
        "## Pictures that people make",
        f"Of test images made to look like photographs and scans it reads "
        f"**{estimate_text(altered, '.1%')}** rightly,\nof digits drawn with pens and fonts "
        f"**{estimate_text(drawn, '.1%')}**.\n"
        f"{f'The hardest: {hard}. ' if hard else ''}"
        "In brackets: Wilson's intervals of 95%.",
        folded("Score by kind of picture", table_of(("pictures", "number", "right"), rows, (1,))),
    ]


def _layers(net: str) -> list[str]:
    summary = summarize(net)
    rows = [
        (
            f"`{layer.name}`",
            layer.settings,
            "x".join(map(str, layer.output_shape)),
            f"{layer.parameters:,}" if layer.parameters else "",
            f"{layer.macs:,}" if layer.macs else "",
        )
        for layer in summary.layers
    ]
    names = ("layer", "settings", "output", "parameters", "multiply-adds")
    dead = sum(layer.without_gradient for layer in summary.layers)
    notes = []
    if summary.non_trainable:
        notes.append(f"{summary.non_trainable:,} of the parameters are moving statistics.")
    if dead:
        notes.append(f"{dead:,} weights only meet padding and never get a gradient.")
    return ["## Layers", table_of(names, rows, right=(3, 4)), *([" ".join(notes)] if notes else [])]


def _remarks(published: Published) -> list[str]:
    if not published.wrong:
        return []
    return [
        "## What its notebook says wrongly",
        "And what cannot be read off its printout. Where text and code differ, the net is that of "
        "the code.",
        "\n".join(f"- {escaped(text)}" for text in published.wrong),
    ]
