"""What is wrong with an export is one sentence, and no file is left."""

import dataclasses
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen
import jax
import numpy as np
import pytest
from nets_to_export import AVERAGED, IMAGE_SHAPE, images, with_weights
from test_export import NEEDS, every_ending, need
from test_export import pytestmark as pytestmark

import zoo.export
import zoo.models
from zoo.export import files
from zoo.export.source import Source
from zoo.models.layers import Flatten, Head, Layer, Shape
from zoo.system.errors import ZooError

Zoo = Callable[..., tuple[int, str, str]]


class _Wrong:
    """An exporter that loses the weights."""

    def write(self, path: Path, source: Source) -> None:
        lost = jax.tree.map(np.zeros_like, dict(source.variables))
        files.find(Path("net.safetensors")).write(path, source.with_variables(lost))

    def load(self, path: Path, source: Source) -> Callable[[np.ndarray], np.ndarray]:
        return files.find(Path("net.safetensors")).load(path, source)


def test_a_file_that_answers_otherwise_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(files._FORMATS, ".wrong", files._Format(_Wrong()))
    model, variables = with_weights(AVERAGED)
    path = tmp_path / "net.wrong"
    path.write_text("of before")
    with pytest.raises(ZooError, match=r"net\.wrong would not answer as the zoo .* differ by 1 of"):
        zoo.export.export(model, variables, path, image_shape=IMAGE_SHAPE)
    assert [each.name for each in tmp_path.iterdir()] == ["net.wrong"]
    assert path.read_text() == "of before"


class _WrongInt8(files.Int8):
    """One that loses the weights, too."""

    write, load = _Wrong.write, _Wrong.load


def test_eight_bits_that_change_answers_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "Int8", _WrongInt8)
    monkeypatch.setitem(files._FORMATS, ".onnx", files._Format(files.onnx_file))
    model, variables = with_weights(AVERAGED)
    said = r"with 8 bits only \d+% of its answers on 60 .* and 95% must be; .* leave out the quanti"
    with pytest.raises(ZooError, match=said):
        zoo.export.export(
            *(model, variables, tmp_path / "a.onnx"),
            image_shape=IMAGE_SHAPE,
            calibration=images(60),
        )
    assert not list(tmp_path.iterdir())


def test_an_ending_may_have_capitals(tmp_path: Path) -> None:
    model, variables = with_weights(AVERAGED)
    path = tmp_path / "net.SafeTensors"
    zoo.export.export(model, variables, path, image_shape=IMAGE_SHAPE)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@dataclasses.dataclass(frozen=True)
class Doubled(Layer):
    """A layer that no exporter can know."""

    kind = "doubled"

    def output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def __call__(self, x: jax.Array, context: Any) -> jax.Array:
        return 2 * x


@every_ending
def test_a_layer_that_is_not_known_is_named(ending: str, tmp_path: Path) -> None:
    """StableHLO takes any: it is what the net computes."""
    need(ending)
    model, variables = with_weights((Doubled(), Flatten(), Head()))
    path = tmp_path / f"net{ending}"
    if ending in (".stablehlo", ".safetensors"):
        zoo.export.export(model, variables, path, image_shape=IMAGE_SHAPE)
        return
    with pytest.raises(ZooError, match=rf"doubled_1 is Doubled\(\), .* to \{ending}: choose"):
        zoo.export.export(model, variables, path, image_shape=IMAGE_SHAPE)
    assert not list(tmp_path.iterdir())


@dataclasses.dataclass(frozen=True)
class Counted(Doubled):
    """A layer that asks for the number of images, which a file does not fix."""

    def __call__(self, x: jax.Array, context: Any) -> jax.Array:
        return x * len(x)


@dataclasses.dataclass(frozen=True)
class Listed(Doubled):
    """A layer that cannot be hashed."""

    values: Any = dataclasses.field(default_factory=list)


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (Counted(), r"JAX cannot export the net for any number of images .* \(TypeError: "),
        (Listed(), r"the net cannot be compiled, because .* cannot be hashed: give it tuples"),
    ],
    ids=str,
)
def test_a_layer_that_jax_cannot_export_is_one_sentence(
    layer: Layer, said: str, tmp_path: Path
) -> None:
    model, variables = with_weights((layer, Flatten(), Head()))
    with pytest.raises(ZooError, match=said):
        zoo.export.export(model, variables, tmp_path / "net.stablehlo", image_shape=IMAGE_SHAPE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", [".stablehlo", ".safetensors"])
def test_weights_that_are_not_finite_are_not_written(ending: str, tmp_path: Path) -> None:
    model, variables = with_weights(AVERAGED)
    broken = jax.tree.map(lambda leaf: leaf * np.nan, variables)
    said = f"net{ending} was not written: the net's logits are not finite numbers; train it again"
    with pytest.raises(ZooError, match=said):
        zoo.export.export(model, broken, tmp_path / f"net{ending}", image_shape=IMAGE_SHAPE)


def test_a_net_with_one_logit_is_not_quantized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(files._FORMATS, ".onnx", files._Format(files.onnx_file))
    model, variables = with_weights(AVERAGED, num_classes=1)
    with pytest.raises(ZooError, match="a net with one logit cannot be quantized to 8 bits"):
        zoo.export.export(
            *(model, variables, tmp_path / "a.onnx"),
            image_shape=IMAGE_SHAPE,
            calibration=images(60),
        )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "net.h5"], "cannot write 'net.h5': its ending must be one of .onnx, .stablehlo, "),
        (["-o", "net"], "cannot write 'net': its ending must be one of "),
        (["-o", "no/net.stablehlo"], "cannot write no/net.stablehlo: the directory no does not"),
        (
            ["-o", "net.stablehlo/"],
            "cannot write net.stablehlo/: it names a directory; name a file",
        ),
        (["-o", "x.safetensors", "--manual-dir=no"], "mnist is not in no: name the directory in"),
        (["-o", "x.stablehlo", "--int8"], "only .onnx can be quantized to 8 bits, not .stablehlo"),
        (["-o", "x.stablehlo", "--seed=3"], "pooling_cnn3 has the weights of seed 0, not 3"),
        ([], "Missing option '-o' / '--output'"),
    ],
)
def test_a_wrong_command_is_one_sentence(
    arguments: list[str],
    said: str,
    run_zoo: Zoo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    status, output, error = run_zoo("export", "pooling_cnn3", *arguments)
    assert (status, output) == (2, "")
    assert error.startswith(f"zoo: {said}")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", [*NEEDS, ".stablehlo"])
def test_a_missing_package_is_told_with_its_extra(
    ending: str, run_zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files.importlib.util, "find_spec", lambda name: None)
    status, _, error = run_zoo("export", "pooling_cnn3", "-o", tmp_path / f"net{ending}")
    assert status == 2
    pattern = (
        rf'zoo: \{ending} needs \w+, which is not installed: pip install "jax-cnn-zoo\[(\w+)\]"\n'
    )
    extra = re.fullmatch(pattern, error)
    assert extra
    assert extra[1] in ("onnx", "stablehlo", "litert", "keras", "torch")


def test_a_package_that_cannot_be_imported_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "keras", None)
    monkeypatch.setattr(files.importlib.util, "find_spec", lambda name: name)
    model, variables = with_weights(AVERAGED)
    with pytest.raises(ZooError, match=r"\.keras needs packages of which one cannot be imported"):
        zoo.export.export(model, variables, tmp_path / "net.keras", image_shape=IMAGE_SHAPE)
    assert not list(tmp_path.iterdir())


def test_wrong_arguments_are_told(tmp_path: Path) -> None:
    model, variables = with_weights(AVERAGED)
    path = tmp_path / "net.safetensors"
    with pytest.raises(ValueError, match=r"images must be \[N, 20, 18, 2\] uint8, not \(3, 20,"):
        zoo.export.export(model, variables, path, image_shape=IMAGE_SHAPE, images=images(3) / 255)
    with pytest.raises(zoo.models.ImageTooSmallError, match="a 2x2 image is too small"):
        zoo.export.export(model, variables, path, image_shape=(2, 2, 2))
    with pytest.raises(ValueError, match=r"params/conv_1/bias has shape None, but this net for"):
        zoo.export.export(model, {"params": {}}, path, image_shape=IMAGE_SHAPE)
    wrong: Any = flax.linen.Dense(3)
    with pytest.raises(TypeError, match="only a ConvNet, a list of layers, is exported, not Dense"):
        zoo.export.export(wrong, variables, path, image_shape=IMAGE_SHAPE)
    wrong = "int8"
    with pytest.raises(ZooError, match="the input must be uint8 or float32, not 'int8'"):
        zoo.export.export(model, variables, path, input_type=wrong)
