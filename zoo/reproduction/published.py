"""The results that the notebooks printed for the 19 nets (published.json)."""

import dataclasses
import functools
import importlib.resources
import json
from typing import Any

TITLES = {  # what each notebook is about
    "000": "kernel sizes",
    "001": "LeNet, VGGNet, custom",
    "002": "pairs",
    "003": "alternate pooling",
    "004": "dropout",
}


@dataclasses.dataclass(frozen=True)
class Published:
    """One net's training in its notebook: a single run, without a seed."""

    notebook: str  # "000" to "004"
    num_epochs: int
    accuracy: float  # fraction of the 10,000 test images, after the last epoch
    loss: float  # nats per test image
    seconds_per_epoch: float  # on unknown hardware
    history: dict[str, list[float | None]]  # by epoch; None: cut off in the notebook
    wrong: list[str]  # where the notebook contradicts itself


@functools.cache
def load() -> dict[str, Published]:
    """By the net's name, in the order of the notebooks."""
    text = (
        importlib.resources.files("zoo.reproduction")
        .joinpath("published.json")
        .read_text(encoding="utf-8")
    )
    nets = {name: _published(facts) for name, facts in json.loads(text).items()}
    return dict(sorted(nets.items(), key=lambda item: item[1].notebook))


def _published(facts: dict[str, Any]) -> Published:
    loss = facts["test"]["loss"]
    if loss is None:  # notebook 004 prints it only as the last validation loss, on the test set
        loss = facts["history"]["val_loss"][-1]
    return Published(
        notebook=facts["notebook"],
        num_epochs=facts["num_epochs"],
        accuracy=facts["test"]["accuracy"],
        loss=loss,
        seconds_per_epoch=facts["seconds_per_epoch"],
        history=facts["history"],
        wrong=facts["wrong"],
    )
