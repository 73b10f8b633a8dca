"""Writes a net to a file of the form that its ending names, once that file answers as the zoo."""

import dataclasses
import importlib.util
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, Protocol, get_args

import jax.numpy as jnp
import numpy as np

from zoo.export import (
    keras_file,
    onnx_file,
    stablehlo,
    tflite_file,
    torch_file,
    weights_file,
)
from zoo.export.int8 import Int8
from zoo.export.source import InputType, Source
from zoo.models.layers import Shape
from zoo.models.net import ConvNet
from zoo.models.pretrained import checked
from zoo.system.errors import ZooError
from zoo.system.files import as_sentence, check_target, write_whole

NUM_IMAGES = 100  # of the test of a file
# Of outputs, as a part of the largest. The deepest nets here reach 1e-5 by rounding alone; another
# activation, constant or order of weights makes more than 1e-3.
TOLERANCE = 1e-4
LEAST_AGREEMENT = 0.95  # of a quantized net's classes with the zoo's


class _Exporter(Protocol):
    """A module that writes and reads one kind of file."""

    def write(self, path: Path, source: Source) -> None:
        """Writes the net to a new file."""

    def load(self, path: Path, source: Source) -> Callable[[np.ndarray], np.ndarray]:
        """predict(images [B, H, W, C]) -> output: what the file says, without the zoo."""


class _Format(NamedTuple):
    exporter: _Exporter
    packages: tuple[str, ...] = ()
    extra: str = ""  # of the zoo, that brings them


_FORMATS: dict[str, _Format] = {
    ".onnx": _Format(onnx_file, ("onnx", "onnxruntime"), "onnx"),
    ".stablehlo": _Format(stablehlo, ("flatbuffers",), "stablehlo"),
    ".tflite": _Format(tflite_file, ("ai_edge_litert", "flatbuffers"), "litert"),
    ".keras": _Format(keras_file, ("keras",), "keras"),
    ".pt2": _Format(torch_file, ("torch",), "torch"),
    ".safetensors": _Format(weights_file),
}
ENDINGS = tuple(_FORMATS)


@dataclasses.dataclass(frozen=True)
class Exported:
    """A file that was written, and how it did in its test."""

    path: Path
    num_bytes: int
    image_shape: tuple[int, ...]
    input_type: InputType
    output_name: str  # logits; features of a net without a head
    num_images: int  # of the test
    images_are_random: bool
    difference: float  # the largest of an output to the zoo's, as a part of the zoo's largest
    agreement: float  # part of the images for which the largest output is the same


def export(
    model: ConvNet,
    variables: Mapping[str, Any],
    path: str | PathLike[str],
    *,
    image_shape: Sequence[int] = (28, 28, 1),
    input_type: InputType = "uint8",
    images: np.ndarray | None = None,
    calibration: np.ndarray | None = None,
) -> Exported:
    """Writes a net with its weights to a file that other programs run.

    The file takes images [batch, height, width, channels], one or more, and gives logits
    [batch, classes] float32, before the softmax; without a head, features. It is kept if it answers
    as the zoo does.

    Args:
        model: from `create_model`, or a `ConvNet` of your own layers.
        variables: {"params": ..., "batch_stats": ... if the net has any}.
        path: its ending chooses the form, one of `ENDINGS`; a file of that name is replaced.
        image_shape: (height, width, channels) of one image.
        input_type: "uint8" for pixels in 0..255, which the file divides by 255, or "float32" for
            pixels in [0, 1].
        images: [N, height, width, channels] uint8, on which the file is tested; None: 100 random
            ones, or the first 100 for `calibration`.
        calibration: [N, height, width, channels] uint8, some hundred images of the training: an
            `.onnx` file is quantized to 8 bits for the range of values on these, and 95% of its
            answers must be the zoo's. None: float32; outputs are equal to 1e-4 of the largest.

    Raises:
        ZooError: no such ending or input type; a package is missing; a layer cannot be written in
            that form; the file does not answer as the zoo, or cannot be written.
        ImageTooSmallError: images of that shape are too small for the net.
        ValueError: the variables are not those of the net; images of another shape or type.
        TypeError: the model is another Flax module, of which only JAX knows the layers.
    """
    exporter, path = find(path, int8=calibration is not None), Path(path)
    check_target(path)
    source = _source(model, variables, tuple(image_shape), input_type)
    if calibration is not None:
        if source.model.num_classes == 1:  # whose largest value is always the same
            raise ZooError(
                "a net with one logit cannot be quantized to 8 bits: its answers do not tell "
                "whether the file does; leave out the quantization"
            )
        _check(calibration, source)
        exporter = Int8(calibration)
    are_random = images is None and calibration is None
    if images is None:
        images = _random_images(source) if calibration is None else calibration[:NUM_IMAGES]
    _check(images, source)
    return _write(path, exporter, source, images, are_random)


def _source(
    model: ConvNet, variables: Mapping[str, Any], image_shape: Shape, input_type: InputType
) -> Source:
    if input_type not in get_args(InputType):
        allowed = " or ".join(get_args(InputType))
        raise ZooError(f"the input must be {allowed}, not {input_type!r}")
    if not isinstance(model, ConvNet):
        raise TypeError(
            f"only a ConvNet, a list of layers, is exported, not {type(model).__name__}"
        )
    kept = checked(model, variables, image_shape)
    try:
        hash(model)
    except TypeError:
        raise ZooError(
            "the net cannot be compiled, because a layer or an initializer of it cannot be hashed: "
            "give it tuples in place of lists"
        ) from None
    return Source(model.clone(dtype=jnp.float32), kept, image_shape, input_type)


def _check(images: np.ndarray, source: Source) -> None:
    if images.dtype != np.uint8 or images.shape[1:] != source.image_shape or not len(images):
        raise ValueError(
            f"images must be [N, {', '.join(map(str, source.image_shape))}] uint8, not "
            f"{images.shape} {images.dtype}"
        )


def _random_images(source: Source) -> np.ndarray:
    shape = (NUM_IMAGES, *source.image_shape)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def _ending(path: Path) -> str:
    """Such as ".onnx", of a.ONNX, too."""
    return path.suffix.lower()


def find(path: str | PathLike[str], *, int8: bool = False) -> _Exporter:
    """The exporter for a file's ending.

    Raises:
        ZooError: there is none, or a package that it needs is not installed; it is the name of a
            directory; with `int8`, it is of a form that is not quantized to 8 bits.
    """
    if os.fspath(path).endswith(("/", os.sep)):
        raise ZooError(f"cannot write {os.fspath(path)}: it names a directory; name a file")
    path = Path(path)
    found = _FORMATS.get(_ending(path))
    if found is None:
        raise ZooError(
            f"cannot write {path.name!r}: its ending must be one of {', '.join(ENDINGS)}"
        )
    if int8 and found.exporter is not onnx_file:
        raise ZooError(f"only .onnx can be quantized to 8 bits, not {_ending(path)}")
    for package in found.packages:
        if importlib.util.find_spec(package) is None:
            raise ZooError(
                f"{_ending(path)} needs {package}, which is not installed: "
                f'pip install "jax-cnn-zoo[{found.extra}]"'
            )
    return found.exporter


def _write(
    path: Path, exporter: _Exporter, source: Source, images: np.ndarray, are_random: bool
) -> Exported:
    """Writes the file if it answers as the zoo does.

    Raises:
        ZooError: it does not, or it cannot be written.
    """
    inputs = source.inputs(images)
    expected = source.logits(inputs)
    if not np.isfinite(expected).all():
        raise ZooError(
            f"{path.name} was not written: the net's {source.output_name} are not finite numbers; "
            f"train it again, with a smaller learning rate"
        )
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder, f"net{_ending(path)}")
        try:
            exporter.write(draft, source)
            predict = exporter.load(draft, source)
        except ImportError as error:  # such as Keras without its backend
            raise ZooError(
                f"{_ending(path)} needs packages of which one cannot be imported ({error}): "
                f"install what is missing"
            ) from None
        found = np.concatenate([predict(part) for part in (inputs[:1], inputs[1:]) if len(part)])
        content = draft.read_bytes()
    result = Exported(
        path=path,
        num_bytes=len(content),
        image_shape=source.image_shape,
        input_type=source.input_type,
        output_name=source.output_name,
        num_images=len(images),
        images_are_random=are_random,
        difference=difference(found, expected),
        agreement=agreement(found, expected),
    )
    if isinstance(exporter, Int8):
        if result.agreement < LEAST_AGREEMENT:
            raise ZooError(
                f"{path.name} was not written: with 8 bits only {result.agreement:.0%} of its "
                f"answers on {len(images)} images are those of the zoo, and "
                f"{LEAST_AGREEMENT:.0%} must be; a net that was trained little is unsure, and its "
                f"answers change: train it longer, or leave out the quantization"
            )
    elif not result.difference <= TOLERANCE:  # as it is if it is not a number
        raise ZooError(
            f"{path.name} would not answer as the zoo and was not written: on {len(images)} images "
            f"its {source.output_name} differ by {result.difference:.2g} of the largest, and "
            f"{result.agreement:.0%} of its answers are the same; choose another ending"
        )
    with as_sentence(path):
        write_whole(path, content, follow=True)
    return result


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference, as a part of the largest expected value."""
    if found.shape != expected.shape:
        return float("inf")
    largest = np.abs(expected).max() or 1  # all may be zero
    return float(np.abs(found - expected).max() / largest)


def agreement(found: np.ndarray, expected: np.ndarray) -> float:
    """The part of the rows whose largest value stands at the same place."""
    if found.shape != expected.shape:
        return 0.0
    axes = (len(expected), -1)
    same = found.reshape(axes).argmax(axis=1) == expected.reshape(axes).argmax(axis=1)
    return float(same.mean())
