"""Which parameters of a net are trained, and at what learning rate: for `zoo summary`."""

import dataclasses
import math
from collections.abc import Iterable, Mapping

import zoo.models
import zoo.training.history
from zoo.analysis.summary import Summary, summarize, training_bytes
from zoo.models import net_files, paths
from zoo.models.catalogue import NETS
from zoo.models.layers import Net
from zoo.models.net import variable_shapes
from zoo.models.weight_files import flatten
from zoo.system.errors import ZooError
from zoo.system.files import expanded
from zoo.training import nets
from zoo.training.history import History


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
    # Of a run, what its patterns came to, as its history holds it, in place of these two.
    factors: Mapping[str, float] | None = None


def task_of(source: str) -> Task:
    """That of a run, if it names the directory of one, else of a net by name or FILE.py:NAME.

    Raises:
        ZooError: there is no such net; the run's history cannot be read, or does not hold its net.
    """
    workdir = expanded(source)
    try:
        is_path = "/" in source or workdir.exists()
        is_net = net_files.is_reference(source) or source in NETS or not is_path
        if is_net and not (workdir / zoo.training.history.FILENAME).exists():
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
        factors=_factors_of(history, source),
    )


def summarize_task(task: Task) -> Summary:
    """The summary, which tells of each layer what is trained if anything is frozen or has a rate.

    Raises:
        ZooError: as `summarize`; the patterns do not suit the net.
    """
    summary = summarize(task.net, task.image_shape, task.num_classes, task.batch_size, task.name)
    if not (task.freeze or task.rates or task.factors):
        return summary
    shapes = flatten(variable_shapes(task.net, task.image_shape, task.num_classes)["params"])
    factors = _factors(task, shapes)
    of_layer: dict[str, dict[str, float]] = {}
    for path in shapes:
        layer, _, name = path.rpartition("/")
        of_layer.setdefault(layer, {})[name] = factors[path]
    sizes = {path: math.prod(leaf.shape) for path, leaf in shapes.items()}
    num_trained = sum(size for path, size in sizes.items() if factors[path])
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


def _factors_of(history: History, source: str) -> dict[str, float]:
    """What a history holds of the patterns of its run, which are not matched here.

    They may be a stranger's, and a regular expression can be such that matching takes forever.
    """
    config = history.config
    if "rates" not in history.model and (config.get("freeze") or config["optimizer"].get("rates")):
        raise ZooError(
            f"{source} does not hold which parameters are trained, because an earlier version "
            f"began it: name its net in its place, with --freeze and --rates"
        )
    return history.model.get("rates", {})


def _factors(task: Task, names: Iterable[str]) -> dict[str, float]:
    """Of each parameter, that of the learning rate; 0: it is frozen."""
    if task.factors is not None:
        return {name: task.factors.get(name, 1.0) for name in names}
    try:
        return paths.all_factors(names, task.freeze, task.rates)
    except paths.PatternError as error:
        raise ZooError(f"--{error}") from None
