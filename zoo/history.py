"""A run's history: one JSON file that is always whole.

    {"format": 2, "config": {...}, "environment": {...}, "model": {"name", "num_params"},
     "data": {"num_train", "num_val", "num_test", "num_classes", "image_shape"},
     "epochs": [{"epoch", "step", "loss", "accuracy", "val_loss", "val_accuracy",
                 "learning_rate", "seconds", "images_per_second"}, ...],
     "test": {"loss", "accuracy", "num_examples", "epoch"} or null until the run is complete,
     "earlier_environments": [{..., "until_epoch"}, ...]}

Losses are in nats per image, accuracies are fractions; in a run of many seeds (num_seeds above 1
in its configuration) each is a list with a number per seed. `test.epoch` is the epoch whose
parameters were tested. `loss` and `accuracy` are those of the
training batches, with dropout and before each update, as Keras reports them. `seconds` is the wall
time of the epoch with its validation, compilation included in the first; `images_per_second` is
that of training alone. `learning_rate` is that of the epoch's last update. `environment` is that
of the last start; where a run went on with other versions or on another device, the earlier ones
follow.
"""

import dataclasses
import functools
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

import zoo
from zoo.errors import ZooError
from zoo.files import write_whole

FILENAME = "history.json"
_FORMAT = 2
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

    @property
    def num_seeds(self) -> int:
        """How many seeds it trains."""
        return self.config["num_seeds"]

    @property
    def seconds_per_epoch(self) -> float:
        """The median epoch's wall time, of one seed; there must be an epoch."""
        return statistics.median(record["seconds"] for record in self.epochs) / self.num_seeds

    @property
    def is_complete(self) -> bool:
        """All epochs are done and the test set is scored."""
        return self.test is not None and len(self.epochs) == self.config["num_epochs"]

    def write(self, workdir: Path) -> None:
        """Replaces workdir/history.json in one step: a reader sees the old or the new one."""
        content = {"format": _FORMAT, **dataclasses.asdict(self)}
        write_whole(workdir / FILENAME, json.dumps(content, indent=1, allow_nan=False))


def names(workdirs: Sequence[Path]) -> list[str]:
    """What the runs are called: their folders' names, or whole paths where two are the same."""
    short = [workdir.resolve().name for workdir in workdirs]
    return short if len(set(short)) == len(short) else [str(workdir) for workdir in workdirs]


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


def seeds_text(history: History) -> str:
    """Such as "seed 0" or "seeds 0 to 3"."""
    first = history.config["seed"]
    last = first + history.num_seeds - 1
    return f"seed {first}" if first == last else f"seeds {first} to {last}"


def read(workdir: Path) -> History:
    """The history in a run's folder.

    Raises:
        ZooError: there is none, it is damaged, or it is of another format.
    """
    path = workdir / FILENAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content.pop("format") != _FORMAT:
            raise ZooError(
                f"{path} is of another format than this version of the zoo reads: use that "
                f"version, or another folder"
            )
        history = History(**content)
        _check_form(history)
        return history
    except FileNotFoundError:
        raise ZooError(f"{path} does not exist: name the folder of a run") from None
    except OSError as error:
        raise ZooError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ZooError(
            f"{path} is damaged: move it away together with its folder, or use another folder"
        ) from None


def _check_form(history: History) -> None:
    """Raises TypeError or KeyError unless the parts have the form that readers rely on."""
    for part in (history.config, history.environment, history.model, history.data):
        if not isinstance(part, dict):
            raise TypeError
    num_seeds = history.num_seeds
    if not all(isinstance(history.config[key], str) for key in ("model", "dataset", "validation")):
        raise TypeError
    _check_numbers(history.config, ("num_epochs", "num_seeds", "seed", "batch_size"))
    _check_numbers(history.model, ("num_params",))
    _check_numbers(history.data, ("num_train", "num_val", "num_test", "num_classes"))
    shape = history.data.get("image_shape", [1, 1, 1])  # the first runs do not tell it
    if len(shape) != 3 or not all(type(side) is int and 0 < side <= 10_000 for side in shape):
        raise ValueError
    for record in history.epochs:
        _check_numbers(record, ("epoch", "step", "learning_rate", *TIMINGS))
        _check_numbers(record, ("loss", "accuracy", "val_loss", "val_accuracy"), num_seeds)
    if history.test is not None:
        _check_numbers(history.test, ("num_examples",))
        _check_numbers(history.test, ("loss", "accuracy", "epoch"), num_seeds)


def _check_numbers(part: dict[str, Any], keys: tuple[str, ...], num_seeds: int = 1) -> None:
    """Raises TypeError unless each is a number, or a list with one for each of many seeds."""
    for key in keys:
        values = part[key] if num_seeds > 1 else [part[key]]
        if not isinstance(values, list) or len(values) != num_seeds:
            raise TypeError
        if not all(isinstance(value, int | float) for value in values):
            raise TypeError
        if key.endswith("accuracy") and not all(0 <= value <= 1 for value in values):
            raise ValueError


def environment() -> dict[str, Any]:
    """Versions, device and commit that a run's numbers depend on."""
    device = jax.devices()[0]
    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
    return {
        "zoo": zoo.__version__,
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
