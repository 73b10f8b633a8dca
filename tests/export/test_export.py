"""Exported files answer as the zoo, in their own runtimes."""

import os
import re
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import jax
import numpy as np
import pytest
from conftest import REAL_MNIST_DIR, ROOT
from ml_collections import ConfigDict
from nets_to_export import AVERAGED, EVERY_LAYER, IMAGE_SHAPE, SMALL, images, with_weights

import zoo.analysis.trained
import zoo.export
import zoo.models
from zoo.export import files
from zoo.export.source import InputType, Source
from zoo.models.layers import Conv, Net
from zoo.training import train_and_evaluate

Zoo = Callable[..., tuple[int, str, str]]
Run = Callable[..., subprocess.CompletedProcess[str]]

os.environ.setdefault("KERAS_BACKEND", "jax")

NEEDS = {  # by ending: the package that a test needs
    ".onnx": "onnxruntime",
    ".tflite": "ai_edge_litert",
    ".keras": "keras",
    ".pt2": "torch",
}


def endings(**marks: Any) -> Any:
    """Each ending; those that need a package run with -m slow, if not marked otherwise."""
    return pytest.mark.parametrize(
        "ending",
        [
            pytest.param(end, marks=marks.get(end[1:], pytest.mark.slow if end in NEEDS else ()))
            for end in zoo.export.ENDINGS
        ],
    )


every_ending = endings(pt2=pytest.mark.full)
pytestmark = [  # what others import or do, not what is told by their results
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def need(ending: str) -> None:
    if ending in NEEDS:
        pytest.importorskip(NEEDS[ending], reason=f"{ending} needs it")


@endings(
    stablehlo=pytest.mark.slow,
    safetensors=pytest.mark.full,
    keras=pytest.mark.full,
    pt2=pytest.mark.full,
)
def test_every_layer_answers_as_the_zoo(ending: str, tmp_path: Path) -> None:
    check(EVERY_LAYER, ending, "uint8", tmp_path)


@every_ending
@pytest.mark.parametrize("input_type", ["uint8", "float32"])
def test_a_file_answers_as_the_zoo(ending: str, input_type: Any, tmp_path: Path) -> None:
    check(SMALL, ending, input_type, tmp_path)


def check(net: Net, ending: str, input_type: Any, folder: Path) -> None:
    """Also of a batch of another size than those of the file's own test."""
    need(ending)
    model, variables = with_weights(net)
    path = folder / f"net{ending}"
    found = zoo.export.export(
        model,
        variables,
        path,
        image_shape=IMAGE_SHAPE,
        input_type=input_type,
        images=images(100),
    )
    assert found.num_bytes == path.stat().st_size
    assert found.difference < 5e-6
    assert (found.agreement, found.num_images, found.output_name) == (1, 100, "logits")
    source = Source(model, variables, IMAGE_SHAPE, input_type)
    inputs = source.inputs(images(100))
    expected = source.logits(inputs)[:7]
    output = files.find(path).load(path, source)(inputs[:7])
    assert output.dtype == np.float32
    np.testing.assert_allclose(output, expected, atol=5e-6 * np.abs(expected).max())
    assert [path.name for path in folder.iterdir()] == [path.name]


def test_the_zoo_that_files_are_tested_against_is_the_model() -> None:
    model, variables = with_weights(SMALL)
    expected = model.apply(variables, images(5), train=False)
    for input_type in get_args(InputType):
        source = Source(model, variables, IMAGE_SHAPE, input_type)
        np.testing.assert_allclose(source.logits(source.inputs(images(5))), expected, atol=1e-5)


@every_ending
def test_a_net_without_head_gives_its_features(ending: str, tmp_path: Path) -> None:
    """Images with their channels last, too, if the net does not flatten them."""
    need(ending)
    for number, net in enumerate([AVERAGED, (Conv(4, 3, "SAME"),)]):
        model, variables = with_weights(net, num_classes=0)
        path = tmp_path / f"net{number}{ending}"
        found = zoo.export.export(model, variables, path, image_shape=IMAGE_SHAPE)
        assert (found.output_name, found.agreement) == ("features", 1)


@pytest.mark.full
@pytest.mark.parametrize("name", zoo.models.list_models())
def test_every_net_as_onnx(name: str, tmp_path: Path) -> None:
    need(".onnx")
    model = zoo.models.create_model(name)
    if name in zoo.models.list_models(pretrained=True):
        variables = zoo.models.load_pretrained(name)
    else:
        shape = jax.ShapeDtypeStruct((1, 28, 28, 1), np.float32)
        variables = model.init(jax.random.key(0), shape, train=False)
    found = zoo.export.export(model, variables, tmp_path / "net.onnx")
    assert found.difference < 1e-5


ONLY_JAX = r"""
import re, sys
for name in ("zoo", "flax", "optax"):
    sys.modules[name] = None  # importing it raises an error
import jax.export, numpy as np
exported = jax.export.deserialize(bytearray(open(sys.argv[1], "rb").read()))
logits = exported.call(np.load(sys.argv[2]))
np.save(sys.argv[3], logits)
print(exported.platforms, exported.in_avals[0].str_short())
print(set(re.findall(r"custom_call @(\w+)", exported.mlir_module())))
"""


def test_stablehlo_needs_only_jax(run_python: Run, tmp_path: Path) -> None:
    """For three platforms, of plain operations, and any batch size."""
    model, variables = with_weights(SMALL)
    zoo.export.export(model, variables, tmp_path / "net.stablehlo", image_shape=IMAGE_SHAPE)
    np.save(tmp_path / "images.npy", images(3))
    names = ("net.stablehlo", "images.npy", "logits.npy")
    done = run_python("-c", ONLY_JAX, *(tmp_path / name for name in names))
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout.splitlines() == [
        "('cpu', 'cuda', 'tpu') uint8[batch,20,18,2]",
        "{'shape_assertion'}",  # JAX's own, that the batch is not empty
    ]
    expected = np.asarray(model.apply(variables, images(3), train=False))
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), expected, rtol=1e-5, atol=1e-5)


def test_a_file_has_whole_float32_where_a_gpu_has_less(tmp_path: Path) -> None:
    """A GPU rounds the operands of a product to 10 bits, unless it is told not to."""
    model, variables = with_weights(SMALL)
    path = tmp_path / "net.stablehlo"
    zoo.export.export(model, variables, path, image_shape=IMAGE_SHAPE)
    text = jax.export.deserialize(bytearray(path.read_bytes())).mlir_module()
    products = re.findall(r"stablehlo\.(?:dot_general|convolution)\b.*", text)
    assert len(products) > 2
    assert all("HIGHEST, HIGHEST" in product or "HIGHEST>" in product for product in products)


@every_ending
def test_a_file_names_no_file_of_the_machine_that_wrote_it(ending: str, tmp_path: Path) -> None:
    need(ending)
    model, variables = with_weights(SMALL)
    path = tmp_path / f"net{ending}"
    zoo.export.export(model, variables, path, image_shape=IMAGE_SHAPE)
    contents = [path.read_bytes()]
    if zipfile.is_zipfile(path):  # .keras, .pt2
        with zipfile.ZipFile(path) as archive:
            contents = [archive.read(name) for name in archive.namelist()]
    assert not [found for content in contents for found in re.findall(rb"[\w./-]+\.py\b", content)]


def test_safetensors_is_the_file_of_save_pretrained(tmp_path: Path) -> None:
    model, variables = with_weights(SMALL)
    zoo.models.save_pretrained(tmp_path / "all", model, variables, image_shape=IMAGE_SHAPE)
    path = tmp_path / "net.safetensors"
    zoo.export.export(model, variables, path, image_shape=IMAGE_SHAPE)
    assert path.read_bytes() == (tmp_path / "all/model.safetensors").read_bytes()


@pytest.mark.slow
def test_onnx_tells_of_itself(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model, variables = with_weights(EVERY_LAYER)
    path = tmp_path / "net.onnx"
    zoo.export.export(model, variables, path, image_shape=IMAGE_SHAPE)
    found = onnx.load(path)
    onnx.checker.check_model(found, full_check=True)
    assert [(each.domain, each.version) for each in found.opset_import] == [("", 20)]
    (inputs,), (outputs,) = found.graph.input, found.graph.output
    kinds = [each.type.tensor_type.elem_type for each in (inputs, outputs)]
    assert kinds == [onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT]
    sizes = [
        [size.dim_param or size.dim_value for size in each.type.tensor_type.shape.dim]
        for each in (inputs, outputs)
    ]
    assert sizes == [["batch", *IMAGE_SHAPE], ["batch", 10]]
    assert "before any softmax" in found.doc_string
    names = {array.name for array in found.graph.initializer}
    assert {"conv_1/kernel", "residual_1/shortcut/conv_1/kernel"} <= names


@pytest.mark.slow
@pytest.mark.skipif(not REAL_MNIST_DIR, reason="needs MNIST in ZOO_MNIST_DIR")
def test_int8_keeps_the_accuracy(run_zoo: Zoo, tmp_path: Path) -> None:
    """Of all test images within 0.1 points, in a third of the bytes."""
    need(".onnx")
    path = tmp_path / "net.onnx"
    status, said, error = run_zoo("export", "pooling_cnn3", "-o", path, "--int8")
    assert (status, error) == (0, "")
    assert said.startswith(f"wrote {path} ({path.stat().st_size:,} bytes): uint8 images")
    net = zoo.analysis.trained.load("pooling_cnn3")
    test = net.split("test")
    predict = files.find(path).load(path, Source(net.model, net.variables, (28, 28, 1), "uint8"))
    found = np.concatenate([predict(test.images[i : i + 500]) for i in range(0, len(test), 500)])
    accuracies = [
        (logits.argmax(1) == test.labels).mean() for logits in (found, net.logits(test.images))
    ]
    assert abs(accuracies[0] - accuracies[1]) <= 0.001
    assert path.stat().st_size < 4 * 87_914 / 3


@pytest.mark.slow
def test_a_run_is_tested_on_its_own_images(
    tiny_config: ConfigDict, run_zoo: Zoo, tmp_path: Path
) -> None:
    tiny_config.update(num_epochs=1, num_seeds=2)
    train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)
    path = tmp_path / "net.stablehlo"
    status, said, error = run_zoo("export", tmp_path / "run", "-o", path, "--seed=1")
    assert (status, error) == (0, "")
    first, second = said.splitlines()[-2:]  # the run's own lines come before
    assert first == (
        f"wrote {path} ({path.stat().st_size:,} bytes): uint8 images [batch, 28, 28, 1] to logits"
    )
    pattern = r"on 20 test images its logits differ from the zoo's by at most \d\.\de-\d\d of the "
    assert re.match(f"{pattern}largest, and 100% of its answers are the same", second)
    net = zoo.analysis.trained.load(tmp_path / "run", 1)
    batch = net.split("test").images
    source = Source(net.model, net.variables, (28, 28, 1), "uint8")
    np.testing.assert_allclose(
        files.find(path).load(path, source)(batch), net.logits(batch), atol=1e-5
    )


def test_a_net_without_its_dataset_is_tested_on_random_images(
    run_zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("ZOO_MNIST_DIR", raising=False)
    path = tmp_path / "net.safetensors"
    status, said, error = run_zoo("export", "pooling_cnn3", "-o", path)
    assert (status, error) == (0, "")
    assert "\non 100 random images its logits differ from the zoo's by at most " in said


@pytest.mark.slow
def test_the_guide_calls_onnx_without_jax(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need(".onnx")
    monkeypatch.chdir(tmp_path)
    model, variables = zoo.models.from_pretrained("pooling_cnn3")
    zoo.export.export(model, variables, "pooling_cnn3.onnx")
    page = (ROOT / "docs/guide/export.md").read_text()
    (block,) = (
        block
        for block in re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
        if "import onnxruntime" in block
    )
    assert "jax" not in block
    found: dict[str, Any] = {}
    exec(block, found)
    expected = model.apply(variables, found["images"], train=False)
    np.testing.assert_allclose(found["logits"], expected, atol=1e-5)


def test_a_net_whose_answers_are_all_zero_can_be_exported() -> None:
    """As before training, with a head of zeros: there is no largest answer to divide by."""
    zeros = np.zeros((3, 10))
    assert files.difference(zeros, zeros) == 0
    assert files.difference(zeros + 0.5, zeros) == 0.5
    assert files.difference(zeros + 1.5, zeros + 1) == 0.5
