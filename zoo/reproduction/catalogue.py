"""The list of the nets, with their published and their reproduced accuracy."""

from collections.abc import Sequence

import zoo.models
import zoo.reproduction.published
from zoo.analysis.summary import summarize
from zoo.models.layers import Conv
from zoo.models.packaged import packaged_weights
from zoo.reproduction.results import FinishedRun, by_notebook
from zoo.system.errors import ZooError
from zoo.system.text import mean_text, table_text

_NAMES = (
    "net",
    "notebook",
    "convs",
    "parameters",
    "multiply-adds",
    "published",
    "reproduced",
    "weights",
)


def to_text(pattern: str, runs: Sequence[FinishedRun]) -> str:
    """A table of the nets that match, in the order of the notebooks.

    Args:
        pattern: a shell pattern such as "ablation*".
        runs: finished runs; those with the notebooks' protocol give the reproduced accuracy.

    Raises:
        ZooError: no net matches.
    """
    chosen = zoo.models.list_models(pattern)
    if not chosen:
        raise ZooError(f"no net matches {pattern!r}: `zoo list` lists them all")
    of_weights = {
        entry["net"]: f"{entry['test']['accuracy']:.2%}"
        for entry in packaged_weights()
        if entry["dataset"] == "mnist"
    }
    rows = []
    for net, published in zoo.reproduction.published.load().items():
        if net not in chosen:
            continue
        summary = summarize(net)
        own = [run.test["accuracy"] for run in by_notebook(runs, net)]
        rows.append(
            (
                net,
                published.notebook,
                str(sum(isinstance(layer, Conv) for layer in zoo.models.MODELS[net])),
                f"{summary.parameters:,}",
                f"{summary.macs:,}",
                f"{published.accuracy:.2%}",
                f"{mean_text(own, '.2%')} (n = {len(own)})" if own else "-",
                of_weights.get(net, "-"),
            )
        )
    return table_text([_NAMES, *rows], left=(0, 1, 6))
