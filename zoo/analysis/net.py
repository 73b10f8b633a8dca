"""A trained net, whatever its parameters came from, and what is known of its data."""

import dataclasses
import functools
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np

import zoo.data
import zoo.data.framing
import zoo.models
from zoo.data import NOWHERE, DataDirs, Options
from zoo.data.dataset import DEFAULTS
from zoo.data.framing import Framing
from zoo.data.names import absolute, is_place, kind_of, short
from zoo.system.errors import ZooError
from zoo.system.settings import check_devices, usual_settings

# On two cores, small nets answer in batches of 1,000 at 0.4 of the images/s of 250, in batches of
# 500 at 0.5 to 1. A run's own eval_batch_size stays 500: another order of sums has other last bits.
_BATCH_SIZE = 250


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """What is known of the data that a net was trained on."""

    dataset: str
    num_classes: int
    image_shape: tuple[int, int, int]  # height, width, channels
    num_test: int | None = None
    sha256: str | None = None  # `zoo.data.Dataset.sha256`
    framing: dict[str, Any] | None = None  # {}: they are not drawings; None: not known
    validation: zoo.data.Validation = "test"
    hint: DataDirs = NOWHERE  # where it was
    workdir: Path | None = None  # of the run, with which it may have moved
    is_from_seed: bool = True  # training started from weights that the seed determines
    class_names: tuple[str, ...] = ()  # by label; empty: classes are known by their numbers
    options: Options = DEFAULTS  # with which it was made
    stream: bool = False  # the training images stayed on disk


@dataclasses.dataclass(frozen=True)
class TrainedNet:
    """A net with trained parameters, those of a run or weights that were saved."""

    source: str  # the directory of its run or of its weights, or its name, for messages
    name: str
    model: zoo.models.ConvNet
    variables: dict[str, Any]
    data: TrainingData
    seed: int
    epoch: int  # the parameters are those after this epoch
    given: DataDirs = NOWHERE  # where data lies, if the user says so
    is_of_run: bool = True  # else seed and epoch are not known, and 0

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the training images."""
        return self.data.image_shape

    @property
    def stage(self) -> str:
        """Such as " after epoch 3, seed 0,", behind a name; empty if that is not known."""
        return f" after epoch {self.epoch}, seed {self.seed}," if self.is_of_run else ""

    @functools.cached_property
    def framing(self) -> Framing | None:
        """How drawings lie in the training images; of an old run, learnt from them now.

        Where an old run's images are not found, drawings are taken to lie as in MNIST.
        """
        if self.data.framing is None:
            try:
                return zoo.data.framing.learn(self.split("train").images)
            except ZooError as error:
                warnings.warn(f"pictures are framed as in MNIST: {error}", stacklevel=2)
                return zoo.data.framing.MNIST if self.image_shape[2] == 1 else None
        return zoo.data.framing.from_content(self.data.framing) if self.data.framing else None

    @usual_settings()
    def logits(self, images: np.ndarray) -> np.ndarray:
        """[N, classes] float32 of images [N, height, width, channels], uint8.

        Raises:
            ZooError: one of them is not finite.
        """
        check_devices()
        count = min(_BATCH_SIZE, len(images))
        found = []
        for start in range(0, len(images), count):
            batch = images[start : start + count]
            padding = [(0, count - len(batch)), (0, 0), (0, 0), (0, 0)]  # one shape, one program
            logits = _apply(self.model, self.variables, np.pad(batch, padding))
            found.append(np.asarray(logits, np.float32)[: len(batch)])
        answers = np.concatenate(found)
        if not np.isfinite(answers).all():
            raise ZooError(
                f"the answers of {self.name} are not finite numbers, so its weights are of no use: "
                f"train it again, with a smaller learning rate"
            )
        return answers

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """[N, classes], each row with sum 1, of images [N, height, width, channels], uint8."""
        return softmax(self.logits(images))

    @usual_settings()
    def intermediates(self, images: np.ndarray) -> dict[str, tuple[jax.Array]]:
        """{"conv_1_output": ([N, height, width, channels],), ...} of images, uint8."""
        check_devices()
        return _apply_all(self.model, self.variables, images)

    def split(self, name: str, dataset: str | None = None) -> zoo.data.Split:
        """The split "test", "validation" or "train" of the net's dataset or of another dataset.

        The training images stay on disk if they did so in the run.

        The net's dataset must have the content with which it was trained. Any content will do
        where both the dataset and, in `given`, its directory are named.

        Raises:
            ZooError: unknown dataset; it is not found or, of the net's, has other content; images
                or classes do not match the net.
        """
        data = self.data
        wanted = dataset or data.dataset
        if not wanted:
            raise ZooError(
                f"{self.source} does not tell on which dataset it was trained: save it with "
                f'save_pretrained(..., about={{"dataset": NAME}}), or name one with '
                f"zoo evaluate --dataset=NAME"
            )
        from_files = wanted == "idx" or is_place(wanted)
        elsewhere = self.given.manual_dir if from_files else any(self.given)
        own = absolute(wanted) == absolute(data.dataset) and not (dataset and elsewhere)
        if wanted == "idx" and not (own or self.given.manual_dir):
            raise ZooError(
                f"{self.source} was not trained on idx, so its IDX files are not known: name "
                f"their directory with --manual-dir=DIR"
            )
        hint = data.hint if own else data.hint._replace(manual_dir="")
        sha256 = data.sha256 if own else None
        options = data.options if own else self._options_of_other(wanted)
        loaded = zoo.data.find(
            wanted, self.given, hint, data.workdir, sha256, options, data.stream and own
        )
        self._check_form(loaded)
        if own and data.num_test not in (None, len(loaded.test)):  # there may be no checksum
            raise ZooError(
                f"{loaded.name} has {len(loaded.test):,} test images here, but had "
                f"{data.num_test or 0:,} where {self.source} was trained: name the "
                f"directory of that data with --data-dir=DIR or --manual-dir=DIR"
            )
        train, validation = zoo.data.split_validation(loaded, data.validation)
        if name == "train":
            return train
        chosen = validation if name == "validation" else loaded.test
        return zoo.data.Split(np.asarray(chosen.images), chosen.labels)

    def _check_form(self, loaded: zoo.data.Dataset) -> None:
        """Raises ZooError unless the images and the classes are of the form of the net's."""
        data = self.data
        found = (loaded.train.images.shape[1:], loaded.num_classes)
        if found != (self.image_shape, data.num_classes):
            raise ZooError(
                f"{short(loaded.name)} has {found[1]} classes and images of "
                f"{'x'.join(map(str, found[0]))}, but {self.source} was trained on "
                f"{data.num_classes} classes and images of "
                f"{'x'.join(map(str, self.image_shape))}"
            )
        names = loaded.class_names, data.class_names
        if all(names) and names[0] != names[1]:
            raise ZooError(
                f"{short(loaded.name)} has the classes {_listed(names[0])}, but {self.source} was "
                f"trained on {_listed(names[1])}: give them the same names"
            )

    def _options_of_other(self, dataset: str) -> Options:
        """Those of the net's dataset, so that the same images elsewhere are split as they were.

        Image files are brought to the form of the net's images. What is said of a dataset of one
        kind, the names of its fields and whether it is transposed, is not of another.
        """
        options = self.data.options
        if kind_of(dataset) != kind_of(self.data.dataset):
            options = dataclasses.replace(
                options, fields=DEFAULTS.fields, transposed=DEFAULTS.transposed
            )
        if kind_of(dataset) not in ("images", "parquet", "tfds"):
            return options
        height, width, channels = self.image_shape
        size = height if height == width else options.image_size
        return dataclasses.replace(options, image_size=size, channels=channels)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


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
