"""Which parameters of a net are trained, and at what learning rate: for `zoo summary`."""

import dataclasses
import math
from pathlib import Path

import zoo.models
import zoo.training.history
from zoo.analysis.summary import Summary, summarize, training_bytes
from zoo.models import net_files, paths
from zoo.models.layers import Net
from zoo.models.net import variable_shapes
from zoo.models.weight_files import flatten
from zoo.system.errors import ZooError
from zoo.training import nets


@dataclasses.dataclass(frozen=True)
class Task:
    """What a net is summarized for."""

    net: Net
    name: str
    image_shape: tuple[int, int, int] = (28, 28, 1)
    num_classes: int = 10
    batch_size: int = 128
    freeze: str = ""  # as in configs/default.py
    rates: str = ""


def task_of(source: str) -> Task:
    """That of a run, if it names the directory of one, else of a net by name or FILE.py:NAME.

    Raises:
        ZooError: there is no such net; the run's history cannot be read, or does not hold its net.
    """
    workdir = Path(source)
    try:
        if not (workdir / zoo.training.history.FILENAME).exists():
            return Task(net_files.find(source), net_files.short_name(source))
        history = zoo.training.history.read(workdir)
        layers = nets.layers_of(history)
        if layers is None:
            raise ZooError(
                f"the net of {source} is a module, which a run does not hold: name a run of a net "
                f"by name or of layers"
            )
        net = zoo.models.create_model(layers).net  # by name or layers: no file is executed
    except ValueError as error:
        raise ZooError(str(error)) from None
    config, data = history.config, history.data
    height, width, channels = data.get("image_shape", (28, 28, 1))  # the first runs do not tell it
    return Task(
        net=net,
        name=history.model["name"],
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
    summary = summarize(task.net, task.image_shape, task.num_classes, task.batch_size, task.name)
    if not (task.freeze or task.rates):
        return summary
    shapes = flatten(variable_shapes(task.net, task.image_shape, task.num_classes)["params"])
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
