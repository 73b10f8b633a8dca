"""A run's history: one JSON file that is always whole::

    {"format": 2, "config": {...}, "environment": {...}, "model": {"name", "num_params", "layers"},
     "data": {"num_train", "num_val", "num_test", "num_classes", "image_shape", "sha256",
              "classes"},
     "epochs": [{"epoch", "step", "loss", "accuracy", "val_loss", "val_accuracy",
                 "learning_rate", "seconds", "images_per_second"}, ...],
     "test": {"loss", "accuracy", "num_examples", "epoch"} or null until the run is complete,
     "earlier_environments": [{..., "until_epoch"}, ...],
     "framing": {...}}

Losses are in nats per image, accuracies are fractions; in a run of many seeds (num_seeds above 1
in its configuration) each is a list with a number per seed. `test.epoch` is the epoch whose
parameters were tested. `loss` and `accuracy` are those of the
training batches, with dropout and before each update, as Keras reports them.
`seconds` is the wall time of the epoch with its validation, which the first epoch may have to wait
for until it is compiled, but without the compilation of training; `images_per_second` is that of
training alone. `learning_rate` is that of the epoch's last update.
With on_nan=skip, `skipped` is the number of images in batches that were left out. In float16,
`loss_scale` is the factor of the loss at the epoch's end (`zoo.training.loss_scale`), and
`skipped_steps` the number of steps since the first that were left out for it. `environment` is
that of the last start, with the version of the numerics (`zoo.training.numerics`); where a run went
on with other versions or on another device, the earlier ones follow. `data.sha256` is the checksum
of all images and labels (`zoo.data.Dataset.sha256`), by which the data is known wherever it lies;
`data_dir` and `manual_dir` in `config`, and the path in a `dataset` such as "npz:FILE", only tell
where it was at the last start. `data.classes` has the names of the classes, by label, where they
have some.
`model.layers` is there where the net is not one of the zoo: its layers, as in
`zoo.models.layer_lists`, or null if it was another Flax module, which `model.module` describes.
`framing` tells how drawings lie in the training images (`zoo.data.framing`), so that pictures of
one's own are brought to that; it is empty where they are in colour or not drawings, as those of a
directory of images: then pictures are resized as these were. It is null in runs of before.
With `freeze`, `model.num_trained` is the number of parameters that are trained. With `freeze` or
`optimizer.rates`, `model.rates` has the factor of the learning rate of each parameter for which it
is not 1: {"conv_1/kernel": 0.1, ...}, 0 if it is frozen. With `init_from`,
`model.init_from` tells of the weights that the run started from: {"source", "sha256" of them all,
"net", "dataset" of their training, "new_head": whether the head was drawn from the seed}.
"""

import dataclasses
import functools
import importlib.metadata
import json
import math
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

import zoo
import zoo.config
import zoo.data.framing
import zoo.training.numerics
from zoo.models import layer_lists
from zoo.system import forms
from zoo.system.errors import DamagedError, ZooError
from zoo.system.files import as_text, write_whole

FILENAME = "history.json"
_FORMAT = 2
_DATA = {
    "num_train": forms.whole(1),
    "num_val": forms.whole(0),
    "num_test": forms.whole(1),
    "num_classes": forms.whole(1, 1_000_000),
}
_INIT_FROM: forms.Form = {
    **dict.fromkeys(("source", "sha256", "net", "dataset"), forms.text),
    "new_head": lambda value: isinstance(value, bool),
}
_LARGEST = 1e39  # above every float32
MOST_VALUES = 10_000_000  # of an image: nothing that is trained here comes near
TIMINGS = ("seconds", "images_per_second")  # what may differ between two equal runs


@dataclasses.dataclass
class History:
    """What is known of a run."""

    config: dict[str, Any]
    environment: dict[str, Any]
    model: dict[str, Any]
    data: dict[str, Any]
    epochs: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    test: dict[str, Any] | None = None
    earlier_environments: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    framing: dict[str, Any] | None = None

    @property
    def num_seeds(self) -> int:
        """How many seeds it trains."""
        return self.config["num_seeds"]

    @property
    def seeds(self) -> range:
        """The seeds that it trains."""
        first = self.config["seed"]
        return range(first, first + self.num_seeds)

    @property
    def seconds_per_epoch(self) -> float:
        """The median epoch's wall time, of one seed; there must be an epoch."""
        return statistics.median(record["seconds"] for record in self.epochs) / self.num_seeds

    @property
    def is_complete(self) -> bool:
        """All epochs are done and the test set is scored."""
        return self.test is not None and len(self.epochs) == self.config["num_epochs"]

    def to_content(self) -> dict[str, Any]:
        """What the file holds."""
        return {"format": _FORMAT, **dataclasses.asdict(self)}

    def write(self, workdir: Path) -> None:
        """Replaces workdir/history.json in one step: a reader sees the old or the new one."""
        write_whole(workdir / FILENAME, json.dumps(self.to_content(), indent=1, allow_nan=False))


def names(workdirs: Sequence[Path]) -> list[str]:
    """What the runs are called: their directories' names, or whole paths where two are the same."""
    short = [workdir.resolve().name for workdir in workdirs]
    are_different = len(set(short)) == len(short)
    return [as_text(name) for name in (short if are_different else map(str, workdirs))]


def numbers(history: History, record: dict[str, Any]) -> dict[str, float]:
    """An epoch's entry for a log: of many seeds the means, and each as "seed_3/loss"."""
    flat: dict[str, float] = {}
    for name, value in record.items():
        if isinstance(value, list):
            flat[name] = statistics.fmean(value)
            for seed, own in enumerate(value, start=history.config["seed"]):
                flat[f"seed_{seed}/{name}"] = own
        else:
            flat[name] = value
    return flat


def of_seed(record: dict[str, Any], index: int) -> dict[str, Any]:
    """The entry of one seed, by its place among the seeds, of an epoch or the test of many."""
    return {
        name: value[index] if isinstance(value, list) else value for name, value in record.items()
    }


def seeds_text(seeds: range) -> str:
    """Such as "seed 0" or "seeds 0 to 3"."""
    return f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"


def read(workdir: Path) -> History:
    """The history in a run's directory.

    Raises:
        DamagedError: it is damaged.
        ZooError: there is none, or it is of another format.
    """
    path = workdir / FILENAME
    try:
        return from_content(forms.read_json(path), path)
    except FileNotFoundError:
        raise ZooError(f"{path} does not exist: name the directory of a run") from None
    except NotADirectoryError:
        raise ZooError(f"{workdir} is not a directory: name the directory of a run") from None
    except OSError as error:
        raise ZooError(
            f"cannot read {path} ({error.strerror}): get read permission, or name another run"
        ) from None
    except ValueError:
        raise DamagedError(
            f"{path} is damaged: the command that started the run makes it again from the newest "
            f"checkpoint"
        ) from None


def from_content(content: Any, path: Path) -> History:
    """The history that `to_content` made that content of; `path` is where it was read.

    Raises:
        ValueError: it is none.
        ZooError: it is of another format.
    """
    try:
        content = dict(content)
        if (found := content.pop("format")) != _FORMAT:
            raise ZooError(
                f"{path} is of format {found!r}, and this version of the zoo reads format "
                f"{_FORMAT} of histories: use the version that wrote it, or another directory"
            )
        history = History(**content)
        _check_form(history)
        return history
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(error) from None


def _check_form(history: History) -> None:
    """Raises an error of Python's unless the parts have the form that readers rely on."""
    zoo.config.check_values(history.config)
    forms.check(history.environment, {})
    if "mesh" in history.environment:
        forms.check(history.environment["mesh"], dict.fromkeys(("seed", "data"), forms.whole(1)))
    forms.check(history.environment.get("processes", 2), forms.whole(2))
    forms.check(zoo.training.numerics.version_of(history.environment), forms.whole(1))
    forms.check(history.earlier_environments, [{}])
    for each in (history.environment, *history.earlier_environments):
        forms.check(each.get("device", ""), forms.text)
    if history.framing:
        zoo.data.framing.from_content(history.framing)
    forms.check(history.model, {"name": forms.text, "num_params": forms.whole(1)})
    if history.model.get("layers") is not None:
        layer_lists.from_content(history.model["layers"])
    forms.check(history.model.get("module", ""), forms.text)
    forms.check(history.model.get("num_trained", 1), forms.whole(1))
    rates = history.model.get("rates", {})
    forms.check([*rates], [forms.text])
    forms.check([*rates.values()], [forms.number(0)])
    if "init_from" in history.model:
        forms.check(history.model["init_from"], _INIT_FROM)
    forms.check(history.data, _DATA)
    forms.check(history.data.get("sha256", ""), forms.text)
    check_classes(history.data)
    shape = history.data.get("image_shape", [1, 1, 1])  # the first runs do not tell it
    forms.check(shape, [forms.whole(1)])
    if len(shape) != 3 or math.prod(shape) > MOST_VALUES:
        raise ValueError(shape)
    loss = forms.per_seed(forms.number(0, _LARGEST), history.num_seeds)
    accuracy = forms.per_seed(forms.number(0, 1), history.num_seeds)
    record = {name: forms.number(0) for name in TIMINGS} | {
        "learning_rate": forms.number(0, _LARGEST),
        "epoch": forms.whole(1),
        "step": forms.whole(1),
        "loss": loss,
        "accuracy": accuracy,
        "val_loss": loss,
        "val_accuracy": accuracy,
    }
    forms.check(history.epochs, [record])
    if [each["epoch"] for each in history.epochs] != [*range(1, len(history.epochs) + 1)]:
        raise ValueError("epochs")
    if history.test is not None:
        epoch = forms.per_seed(forms.whole(0, len(history.epochs)), history.num_seeds)
        test = {"num_examples": forms.whole(1), "epoch": epoch}
        forms.check(history.test, test | {"loss": loss, "accuracy": accuracy})


def check_classes(data: dict[str, Any]) -> None:
    """Raises ValueError unless the names of the classes, if it tells some, are one for each."""
    names = data.get("classes", [])
    forms.check(names, [forms.text])
    if names and (len(names) != data["num_classes"] or len(set(names)) != len(names)):
        raise ValueError(names)


def environment() -> dict[str, Any]:
    """Versions, device and commit that a run's numbers depend on."""
    device = jax.devices()[0]
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    return {
        "zoo": zoo.__version__,
        "numerics": zoo.training.numerics.VERSION,
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in packages},
        "platform": device.platform,
        "device": processor_name() if device.platform == "cpu" else device.device_kind,
        "device_count": jax.device_count(),
        "cpu_count": os.cpu_count(),
        "git_commit": _git_commit(),
    }


def processor_name() -> str:
    """The CPU's name, such as "AMD EPYC"."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line for line in lines if line.startswith("model name")).split(":")[1].strip()
    except (OSError, StopIteration):  # not Linux, or not on x86
        return platform.processor() or platform.machine()


@functools.cache  # what runs is what was imported, whatever is checked out later
def _git_commit() -> str | None:
    """The commit of the zoo's source, "+" if it was changed since; None outside a checkout."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        tracked = subprocess.run(
            [*git, "ls-files", "--error-unmatch", "__init__.py"], capture_output=True, check=False
        )
        if tracked.returncode:
            return None  # installed, perhaps inside somebody else's checkout
        commit = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changes = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no", "."],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changes.strip() else "")
