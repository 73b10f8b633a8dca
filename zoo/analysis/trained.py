"""A trained net, read from the directory of its run."""

import dataclasses
import functools
import sys
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

import zoo.data
import zoo.data.framing
import zoo.models
import zoo.training.history
import zoo.training.parameters
from zoo.data import NOWHERE, DataDirs
from zoo.data.framing import Framing
from zoo.system.errors import ZooError
from zoo.system.settings import check_devices, usual_settings
from zoo.training.history import History

# On two cores, small nets answer in batches of 1,000 at 0.4 of the images/s of 250, in batches of
# 500 at 0.5 to 1. A run's own eval_batch_size stays 500: another order of sums has other last bits.
_BATCH_SIZE = 250


@dataclasses.dataclass(frozen=True)
class TrainedNet:
    """A net with the trained parameters of a run."""

    workdir: Path
    history: History
    model: zoo.models.ConvNet
    variables: dict[str, Any]
    seed: int
    epoch: int  # the parameters are those after this epoch
    given: DataDirs = NOWHERE  # where data lies, if the user says so

    @property
    def name(self) -> str:
        """The net's name."""
        return self.history.config["model"]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the training images."""
        if "image_shape" not in self.history.data:
            raise ZooError(f"{self.workdir} was trained by an older version: train it again")
        height, width, channels = self.history.data["image_shape"]
        return height, width, channels

    @functools.cached_property
    def framing(self) -> Framing | None:
        """How drawings lie in the training images; of an old run, learnt from them now.

        Where an old run's images are not found, drawings are taken to lie as in MNIST.
        """
        if self.history.framing is None:
            try:
                return zoo.data.framing.learn(self.split("train").images)
            except ZooError as error:
                warnings.warn(f"pictures are framed as in MNIST: {error}", stacklevel=2)
                return zoo.data.framing.MNIST if self.image_shape[2] == 1 else None
        return zoo.data.framing.from_content(self.history.framing) if self.history.framing else None

    @usual_settings()
    def logits(self, images: np.ndarray) -> np.ndarray:
        """[N, classes] float32 of images [N, height, width, channels], uint8."""
        check_devices()
        count = min(_BATCH_SIZE, len(images))
        found = []
        for start in range(0, len(images), count):
            batch = images[start : start + count]
            padding = [(0, count - len(batch)), (0, 0), (0, 0), (0, 0)]  # one shape, one program
            logits = _apply(self.model, self.variables, np.pad(batch, padding))
            found.append(np.asarray(logits)[: len(batch)])
        return np.concatenate(found)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """[N, classes], each row with sum 1, of images [N, height, width, channels], uint8."""
        return softmax(self.logits(images))

    @usual_settings()
    def intermediates(self, images: np.ndarray) -> dict[str, tuple[jax.Array]]:
        """{"conv_1_output": ([N, height, width, channels],), ...} of images, uint8."""
        check_devices()
        return _apply_all(self.model, self.variables, images)

    def split(self, name: str, dataset: str | None = None) -> zoo.data.Split:
        """The split "test", "validation" or "train" of the run's dataset or of another dataset.

        The run's dataset must have the content with which it was trained. Any content will do
        where both the dataset and, in `given`, its directory are named.

        Raises:
            ZooError: unknown dataset; it is not found or, of the run's, has other content; images
                or classes do not match the net.
        """
        config = self.history.config
        wanted = dataset or config["dataset"]
        elsewhere = self.given.manual_dir if wanted == "idx" else any(self.given)
        own = wanted == config["dataset"] and not (dataset and elsewhere)
        if wanted == "idx" and not (own or self.given.manual_dir):
            raise ZooError(
                f"{self.workdir} was not trained on idx, so its IDX files are not known: name "
                f"their directory with --manual-dir=DIR"
            )
        hint = DataDirs(config["data_dir"], config["manual_dir"] if own else "")
        sha256 = self.history.data.get("sha256") if own else None
        loaded = zoo.data.find(wanted, self.given, hint, self.workdir, sha256)
        found = (loaded.train.images.shape[1:], loaded.num_classes)
        if found != (self.image_shape, self.history.data["num_classes"]):
            raise ZooError(
                f"{loaded.name} has {found[1]} classes and images of "
                f"{'x'.join(map(str, found[0]))}, but {self.workdir} was trained on "
                f"{self.history.data['num_classes']} classes and images of "
                f"{'x'.join(map(str, self.image_shape))}"
            )
        if own and len(loaded.test) != self.history.data["num_test"]:  # there may be no checksum
            raise ZooError(
                f"{loaded.name} has {len(loaded.test):,} test images here, but had "
                f"{self.history.data['num_test']:,} where {self.workdir} was trained: name the "
                f"directory of that data with --data-dir=DIR or --manual-dir=DIR"
            )
        train, validation = zoo.data.split_validation(loaded, config["validation"])
        return {"train": train, "validation": validation, "test": loaded.test}[name]


@functools.partial(jax.jit, static_argnums=0)
def _apply(model: zoo.models.ConvNet, variables: dict[str, Any], images: np.ndarray) -> Any:
    return model.apply(variables, images, train=False)


@functools.partial(jax.jit, static_argnums=0)
def _apply_all(model: zoo.models.ConvNet, variables: dict[str, Any], images: np.ndarray) -> Any:
    _, outputs = model.apply(variables, images, train=False, mutable=["intermediates"])
    return outputs["intermediates"]


@usual_settings()
def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities [N, classes] float64 of logits [N, classes]."""
    return np.asarray(jax.nn.softmax(logits), np.float64)


@usual_settings()
def load(workdir: Path, seed: int | None = None, given: DataDirs = NOWHERE) -> TrainedNet:
    """Loads the net of a run's newest checkpoint, or of its best epoch so far with holdout.

    Args:
        workdir: directory of the run, which may still be in progress.
        seed: one of the run's seeds; None: the first.
        given: where its data lies on this machine; none: as `zoo.data.find` finds it.

    Raises:
        ZooError: there is no run, no checkpoint, or no such seed.
    """
    zoo.training.history.read(workdir)  # raises an error if there is no run
    try:
        found = zoo.training.parameters.read(workdir)
    except ZooError:  # a run in progress may have replaced it by a newer one
        found = zoo.training.parameters.read(workdir)
    for note in found.notes:
        tqdm.write(f"note: {note}", file=sys.stderr)  # above whatever moves on the terminal
    history = zoo.training.history.read(
        workdir
    )  # a run in progress writes it before each checkpoint
    config = history.config
    first, count = config["seed"], config["num_seeds"]
    seed = first if seed is None else seed
    if seed not in range(first, first + count):
        raise ZooError(
            f"{workdir} has no seed {seed}, only {zoo.training.history.seeds_text(history)}"
        )
    epochs = [record["epoch"] for record in history.epochs if record["step"] == found.step]
    epoch = np.full(count, epochs[0] if epochs else 0)
    if found.best_epoch is not None:
        epoch = np.atleast_1d(found.best_epoch)
    variables = found.variables
    axes = {leaf.shape[:1] for leaf in jax.tree.leaves(variables)} if count > 1 else {(1,)}
    if axes != {(count,)} or len(epoch) != count:  # the history was edited
        raise ZooError(_mismatch(workdir))
    if count > 1:
        variables = jax.tree.map(lambda leaf: leaf[seed - first], variables)
    try:
        model = zoo.models.create_model(
            config["model"],
            num_classes=history.data["num_classes"],
            dtype=jnp.dtype(config["dtype"]),
        )
    except ValueError as error:
        raise ZooError(f"{workdir}: {error}") from None
    net = TrainedNet(workdir, history, model, variables, seed, int(epoch[seed - first]), given)
    _check_shapes(net)
    return net


def _check_shapes(net: TrainedNet) -> None:
    """Raises ZooError unless the checkpoint matches the net in the history."""
    images = jax.ShapeDtypeStruct((1, *net.image_shape), jnp.float32)
    try:
        wanted = jax.eval_shape(
            lambda images: net.model.init(jax.random.key(0), images, train=False), images
        )
    except zoo.models.ImageTooSmallError as error:
        raise ZooError(f"{net.workdir}: {error}") from None
    found = {key: net.variables[key] for key in wanted if key in net.variables}
    if _shapes(found) != _shapes({key: wanted[key] for key in wanted if key != "intermediates"}):
        raise ZooError(_mismatch(net.workdir))


def _mismatch(workdir: Path) -> str:
    return (
        f"the checkpoint in {workdir} does not match the net and the seeds in its history: they "
        f"belong to different runs, or the history was edited; without {workdir}/history.json the "
        f"command that started the run makes it again"
    )


def _shapes(variables: Any) -> Any:
    return jax.tree.map(lambda leaf: tuple(leaf.shape), dict(variables))
