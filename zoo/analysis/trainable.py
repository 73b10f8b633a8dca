"""Which parameters of a net are trained, and at what learning rate: for `zoo summary`."""

import dataclasses
import math
from pathlib import Path

import zoo.models
import zoo.training.history
from zoo.analysis.summary import Summary, summarize, training_bytes
from zoo.models import paths
from zoo.models.net import variable_shapes
from zoo.models.weight_files import flatten
from zoo.system.errors import ZooError


@dataclasses.dataclass(frozen=True)
class Task:
    """What a net is summarized for."""

    net: str
    image_shape: tuple[int, int, int] = (28, 28, 1)
    num_classes: int = 10
    batch_size: int = 128
    freeze: str = ""  # as in configs/default.py
    rates: str = ""


def task_of(source: str) -> Task:
    """That of a run, if it names the directory of one, else of a net of that name.

    Raises:
        ZooError: the run's history cannot be read.
    """
    workdir = Path(source)
    if not (workdir / zoo.training.history.FILENAME).exists():
        return Task(source)
    history = zoo.training.history.read(workdir)
    config, data = history.config, history.data
    height, width, channels = data.get("image_shape", (28, 28, 1))  # the first runs do not tell it
    return Task(
        net=config["model"],
        image_shape=(height, width, channels),
        num_classes=data["num_classes"],
        batch_size=config["batch_size"],
        freeze=config.get("freeze", ""),
        rates=config["optimizer"].get("rates", ""),
    )


def summarize_task(task: Task) -> Summary:
    """The summary, which tells of each layer what is trained if anything is frozen or has a rate.

    Raises:
        ZooError: as `summarize`; the patterns do not suit the net.
    """
    summary = summarize(task.net, task.image_shape, task.num_classes, task.batch_size)
    if not (task.freeze or task.rates):
        return summary
    net = zoo.models.create_model(task.net).net
    shapes = flatten(variable_shapes(net, task.image_shape, task.num_classes)["params"])
    try:
        frozen = paths.frozen(shapes, task.freeze)
        factors = paths.factors([path for path in shapes if path not in frozen], task.rates)
    except paths.PatternError as error:
        raise ZooError(f"--{error}") from None
    of_layer: dict[str, dict[str, float]] = {}
    for path in shapes:
        layer, _, name = path.rpartition("/")
        of_layer.setdefault(layer, {})[name] = factors.get(path, 0.0)
    sizes = {path: math.prod(leaf.shape) for path, leaf in shapes.items()}
    num_trained = sum(sizes[path] for path in factors)
    outputs = [row.output_shape for row in summary.layers]
    params = sum(sizes.values())
    return dataclasses.replace(
        summary,
        layers=tuple(
            dataclasses.replace(row, rates=of_layer.get(row.name, {})) for row in summary.layers
        ),
        training_bytes=training_bytes(params, outputs, task.batch_size, num_trained),
        num_trained=num_trained,
    )
