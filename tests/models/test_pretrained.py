"""Trained weights: those of the package, a directory's, the Hub's; damaged and hostile files."""

import contextlib
import hashlib
import json
import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo.models
from zoo.models import (
    ConvNet,
    create_model,
    from_pretrained,
    layer_lists,
    list_models,
    packaged,
    save_pretrained,
    weight_files,
)
from zoo.models.layers import BatchNorm, Conv, Crop, Dense, Dropout, Flatten, Head, MaxPool
from zoo.models.packaged import WEIGHTS, packaged_weights
from zoo.system.errors import DamagedError, ZooError

Python = Callable[..., subprocess.CompletedProcess[str]]
PRETRAINED = list_models(pretrained=True)
SHAPE = (28, 28, 1)


def digits(count: int = 3) -> np.ndarray:
    """Blank at the border, as MNIST: [N, 28, 28, 1] uint8."""
    images = np.zeros((count, *SHAPE), np.uint8)
    images[:, 6:22, 6:22] = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 1))
    return images


def initial(model: ConvNet, shape: tuple[int, int, int] = SHAPE) -> dict[str, Any]:
    """Variables, with moving statistics that are not those of the start."""
    variables = model.init(jax.random.key(1), jnp.zeros((1, *shape)), train=False)
    kept = {part: variables[part] for part in ("params", "batch_stats") if part in variables}
    return jax.tree.map(lambda leaf: leaf + 0.01, kept)


def logits(model: ConvNet, variables: Any) -> np.ndarray:
    return np.asarray(
        jax.jit(model.apply, static_argnames="train")(variables, digits(), train=False)
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A directory with the weights of a net, good as they are."""
    model = create_model("pooling_cnn3")
    save_pretrained(tmp_path, model, initial(model))
    return tmp_path


def assert_equal(first: Any, second: Any) -> None:
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_index_and_the_files_are_each_others() -> None:
    """Each file has its entry, sizes and sums are right, and all together are at most 40 MB."""
    entries = packaged_weights()
    assert "lenet3" in PRETRAINED
    files = {path.name for path in WEIGHTS.glob("*.safetensors")}
    assert {entry["file"] for entry in entries} == files
    names = [(entry["net"], entry["dataset"]) for entry in entries]
    assert len(set(names)) == len(names)
    for entry in entries:
        content = (WEIGHTS / entry["file"]).read_bytes()
        assert entry["file"] == f"{entry['net']}-{entry['dataset']}.safetensors"
        assert entry["bytes"] == len(content)
        assert entry["sha256"] == hashlib.sha256(content).hexdigest()
        assert entry["training"]["seed"] == 0
        assert entry["training"]["numerics"] == 2  # not from before the gradient was repaired
        arrays = safetensors.numpy.load(content)
        assert {array.dtype.name for array in arrays.values()} == {entry["weights_dtype"]}
        assert sum(array.size for array in arrays.values()) == entry["num_parameters"]
    assert sum(entry["bytes"] for entry in entries) <= 40_000_000


@pytest.mark.parametrize("name", PRETRAINED)
def test_pretrained_weights_are_those_of_the_net(name: str) -> None:
    variables = zoo.models.load_pretrained(name)
    model, same = from_pretrained(name)
    assert model == create_model(name)
    assert_equal(variables, same)
    images = jax.ShapeDtypeStruct((1, *SHAPE), jnp.float32)
    expected = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), images)
    expected.pop("intermediates", None)
    assert jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), variables) == jax.tree.map(
        lambda leaf: (leaf.shape, "float32"), expected
    )


def test_what_the_package_does_not_hold_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="unknown net 'lenet4': did you mean lenet3"):
        zoo.models.load_pretrained("lenet4")
    with pytest.raises(ValueError, match=r"no trained weights of lenet3 for 'kmnist'.*zoo train"):
        zoo.models.load_pretrained("lenet3", dataset="kmnist")
    assert list_models("custom*", pretrained=True) == []


def test_a_packaged_file_that_was_changed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytearray((WEIGHTS / "lenet3-mnist.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "lenet3-mnist.safetensors").write_bytes(content)
    monkeypatch.setattr("zoo.models.pretrained.WEIGHTS", tmp_path)
    with pytest.raises(DamagedError, match=r"is damaged \(another sha256\): install the zoo again"):
        zoo.models.load_pretrained("lenet3")


@pytest.mark.parametrize("name", ["pooling_cnn3", "kernels_cnn5", "ablation_cnn3"])
def test_saved_and_read_again_logits_are_the_same_bits(name: str, tmp_path: Path) -> None:
    """With batch normalization too."""
    model = create_model(name)
    variables = initial(model)
    save_pretrained(tmp_path / "deep/er", model, variables, about={"dataset": "mnist"})
    files = {path.name for path in (tmp_path / "deep/er").iterdir()}
    assert files == {"config.json", "model.safetensors", "README.md"}
    found, read = from_pretrained(tmp_path / "deep/er")
    assert found == model
    assert_equal(read, variables)
    np.testing.assert_array_equal(logits(found, read), logits(model, variables))
    assert json.loads((tmp_path / "deep/er/config.json").read_text())["net"] == name


def test_what_is_told_of_the_source_does_not_overwrite_what_is_saved(tmp_path: Path) -> None:
    known = zoo.models.pretrained.read("lenet3").config
    model = create_model("lenet3", num_classes=3, dtype=jnp.bfloat16)
    save_pretrained(tmp_path, model, initial(model), about={**known, "layers": []})
    found, _ = from_pretrained(tmp_path)
    assert (found.num_classes, found.dtype) == (3, jnp.bfloat16)
    assert zoo.models.pretrained.read(str(tmp_path)).config["dataset"] == known["dataset"]


def test_keras_weights_survive_the_way_there_and_back(tmp_path: Path) -> None:
    model = create_model("kernels_cnn5")
    weights = zoo.models.to_keras_weights(model, initial(model))
    variables = zoo.models.from_keras_weights(model, weights)
    save_pretrained(tmp_path, model, variables)
    again = zoo.models.to_keras_weights(*from_pretrained(tmp_path))
    for before, after in zip(weights, again, strict=True):
        np.testing.assert_array_equal(before, after)


def test_a_net_of_ones_own_is_saved_with_its_layers(tmp_path: Path) -> None:
    net = (
        Conv(4, 3, "SAME", kernel_init="he_normal"),
        BatchNorm(momentum=0.9),
        MaxPool(3, 2, "SAME"),
        Dropout(0.25),
        Flatten(),
        Dense(7),
        Head("glorot_normal"),
    )
    model = ConvNet(net, num_classes=3, dtype=jnp.bfloat16)
    variables = initial(model, (9, 12, 3))
    save_pretrained(tmp_path, model, variables, image_shape=(9, 12, 3), about={"license": "mit"})
    found, read = from_pretrained(tmp_path)
    assert found.net == net
    assert (found.num_classes, found.dtype) == (3, jnp.bfloat16)
    assert_equal(read, variables)
    card = (tmp_path / "README.md").read_text()
    assert 'license: "mit"' in card
    assert "images of 9x12x3 and 3 classes" in card


def test_float16_is_exact_to_its_own_precision(tmp_path: Path) -> None:
    model = create_model("pooling_cnn3")
    variables = initial(model)
    save_pretrained(tmp_path, model, variables, dtype="float16")
    assert_equal(
        from_pretrained(tmp_path)[1],
        jax.tree.map(lambda leaf: leaf.astype("float16").astype("float32"), variables),
    )


def test_another_number_of_classes_gives_a_new_head_and_says_so() -> None:
    trained = zoo.models.load_pretrained("lenet3")
    with pytest.warns(
        UserWarning, match="the head for 26 classes is new: lenet3 was trained on 10"
    ):
        model, variables = from_pretrained("lenet3", num_classes=26)
    assert logits(model, variables).shape == (3, 26)
    body = {name: leaf for name, leaf in variables["params"].items() if name != "head"}
    assert_equal(body, {key: leaf for key, leaf in trained["params"].items() if key != "head"})
    with pytest.warns(UserWarning, match="is new"):
        other = from_pretrained("lenet3", num_classes=26, key=jax.random.key(1))[1]
    kernels = [each["params"]["head"]["kernel"] for each in (variables, other)]
    assert not np.array_equal(*kernels)
    model, variables = from_pretrained("lenet3", num_classes=0)  # the features, without a warning
    assert "head" not in variables["params"]
    assert logits(model, variables).shape == (3, 64)
    with pytest.raises(ValueError, match="must be 0"):
        from_pretrained("lenet3", num_classes=-1)


def test_what_cannot_be_saved_is_a_value_error(tmp_path: Path) -> None:
    model = create_model("pooling_cnn3")
    variables = initial(model)
    with pytest.raises(ValueError, match="dtype must be float16, float32, float64, not 'int8'"):
        save_pretrained(tmp_path, model, variables, dtype="int8")
    with pytest.raises(ValueError, match=r"params/dense_1/kernel has shape \(96, 128\)"):
        save_pretrained(tmp_path, model, variables, image_shape=(64, 64, 1))
    with pytest.raises(ValueError, match=r"params/conv_1/bias has shape None"):
        save_pretrained(tmp_path, model, {"params": {}})
    with pytest.raises(ValueError, match="about cannot be written as JSON"):
        save_pretrained(tmp_path, model, variables, about={"x": object()})
    by_function = ConvNet((Conv(2, 3, kernel_init=jax.nn.initializers.zeros), Flatten(), Head()))
    with pytest.raises(ValueError, match=r"is a function, which cannot be saved"):
        save_pretrained(tmp_path, by_function, initial(by_function))
    assert not [*tmp_path.iterdir()]  # nothing half


def test_a_name_is_a_name_also_beside_a_directory_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lenet3").mkdir()
    assert from_pretrained("lenet3")[0] == create_model("lenet3")
    small = create_model("pooling_cnn3")
    save_pretrained("lenet3", small, initial(small))
    assert from_pretrained("lenet3")[0] == small  # as a user who saves there expects


def header(arrays: dict[str, Any], data: bytes = b"") -> bytes:
    text = json.dumps(arrays).encode()
    return struct.pack("<Q", len(text)) + text + data


def one(**changes: Any) -> dict[str, Any]:
    return {
        "params/conv_1/bias": {"dtype": "F32", "shape": [32], "data_offsets": [0, 128]} | changes
    }


DAMAGED = {
    "empty": b"",
    "not safetensors": b"PK\x03\x04 a pickle or a zip archive",
    "a pickle": b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.",
    "a header of 2**63 bytes": struct.pack("<Q", 2**63) + b"{}",
    "a header longer than the file": struct.pack("<Q", 10**6) + b"{}",
    "a header that is not JSON": struct.pack("<Q", 4) + b"oops",
    "deep JSON": struct.pack("<Q", 200_000) + b"[" * 200_000,
    "offsets beyond the end": header(one(data_offsets=[0, 2**40])),
    "offsets that overlap": header(one() | {"x": one()["params/conv_1/bias"]}, bytes(128)),
    "a shape that overflows": header(one(shape=[2**40, 2**40]), bytes(128)),
    "a negative shape": header(one(shape=[-1]), bytes(128)),
    "an unknown dtype": header(one(dtype="X99"), bytes(128)),
    "bfloat16": header(one(dtype="BF16", data_offsets=[0, 64]), bytes(64)),
}
FOREIGN = {
    "another net's": header(one(), bytes(128)),
    "a strange name": header({"params/\u001b[2J": one()["params/conv_1/bias"]}, bytes(128)),
    "larger than any such net": b"\0" * 3_000_000,
}


@pytest.mark.parametrize("what", [*DAMAGED, *FOREIGN])
def test_a_damaged_or_foreign_file_is_one_sentence(what: str, saved: Path) -> None:
    (saved / "model.safetensors").write_bytes({**DAMAGED, **FOREIGN}[what])
    with pytest.raises(ZooError) as caught:
        from_pretrained(saved)
    text = str(caught.value)
    print(f"{what}: {text}")
    assert str(saved) in text
    assert text.isprintable()
    assert len(text) < 400
    assert isinstance(caught.value, DamagedError) == (what in DAMAGED)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"params/conv_1/bias": np.full(32, np.nan, np.float32)}, "conv_1/bias with values that"),
        ({"params/conv_1/bias": np.zeros(32, np.int32)}, "conv_1/bias of type int32, not float"),
        ({"params/conv_1/bias": np.zeros(31, np.float32)}, r"of shape \(31,\), not \(32,\)"),
        ({"params/conv_9/bias": np.zeros(1, np.float32)}, "holds params/conv_9/bias, which"),
        ({"params/conv_1/bias": None}, "has no params/conv_1/bias: it holds the weights of"),
    ],
)
def test_arrays_that_do_not_match_are_one_sentence(
    change: dict[str, Any], sentence: str, saved: Path
) -> None:
    path = saved / "model.safetensors"
    arrays = safetensors.numpy.load_file(path) | change
    arrays = {key: array for key, array in arrays.items() if array is not None}
    safetensors.numpy.save_file(arrays, path)
    with pytest.raises(ZooError, match=sentence) as caught:
        from_pretrained(saved)
    print(caught.value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": 2}, "is not of format 1"),
        ({"net": "vgg99"}, r"damaged or edited \(unknown net"),
        ({"net": 5}, "damaged or edited"),
        ({"net": None}, "layers must be a list"),
        ({"num_classes": -1}, "damaged or edited"),
        ({"num_classes": 10**9}, "damaged or edited"),
        ({"num_classes": 11}, r"head/bias of shape \(10,\), not \(11,\)"),
        ({"image_shape": [28, 28]}, r"image_shape must be \[height, width, channels\]"),
        ({"image_shape": [5, 5, 1]}, "a 5x5 image is too small for this net"),
        ({"image_shape": [28, 28, 10**9]}, "damaged or edited"),
        ({"dtype": "object"}, "damaged or edited"),
        ({"dtype": "a\nb"}, "damaged or edited"),
        ({"net": None, "layers": [{"kind": "Conv", "features": 10**9}]}, "has features=1000000000"),
        ({"net": None, "layers": [{"kind": "Lambda", "code": "x"}]}, "layer 1 has no known kind"),
        ({"net": None, "layers": [{"kind": "Dense", "features": 3}]}, "dense_1 needs vectors"),
        ({"net": None, "layers": [{"kind": "Conv", "features": 3}]}, "has no kernel_size"),
        ({"net": None, "layers": [{"kind": "Flatten", "x": "__import__"}]}, "has x="),
        ({"net": None, "layers": [{"kind": "Flatten"}] * 2000}, "list of 1 to 200 layers"),
        ({"net": None, "layers": [{"kind": "MaxPool", "window": 10**5}]}, "has window=100000"),
    ],
)
def test_a_config_that_was_edited_is_one_sentence(
    change: dict[str, Any], sentence: str, saved: Path
) -> None:
    path = saved / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ZooError, match=sentence) as caught:
        from_pretrained(saved)
    print(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"nonsense", b"\xff\xfe", b"[" * 100_000])
def test_a_config_that_is_no_config_is_one_sentence(content: bytes, saved: Path) -> None:
    (saved / "config.json").write_bytes(content)
    with pytest.raises(ZooError, match=r"config\.json is"):
        from_pretrained(saved)


def test_missing_files_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match=r"config.json does not exist: name a directory that zoo"):
        from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="unknown net 'vgg55': did you mean vgg5"):
        from_pretrained("vgg55")
    model = create_model("pooling_cnn3")
    save_pretrained(tmp_path, model, initial(model))
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ZooError, match=r"model\.safetensors does not exist"):
        from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").mkdir()
    with pytest.raises(ZooError, match="is not a file"):
        from_pretrained(tmp_path)
    (tmp_path / "config.json").unlink()
    os.mkfifo(tmp_path / "config.json")  # reading a pipe would wait for ever
    with pytest.raises(ZooError, match="it is not a file"):
        from_pretrained(tmp_path)


LAYERS = st.sampled_from(
    [
        Conv(1, 2),
        Conv(3, 3, "SAME", "he_normal"),
        Crop(1),
        MaxPool(2),
        MaxPool(3, 1, "SAME"),
        BatchNorm(),
    ]
)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(LAYERS, max_size=5), st.lists(st.sampled_from([Dense(4), Dropout(0.5)]), max_size=3)
)
def test_lists_of_layers_come_back_from_json(images: list[Any], vectors: list[Any]) -> None:
    net = (*images, Flatten(), *vectors, Head())
    assert layer_lists.from_content(json.loads(json.dumps(layer_lists.to_content(net)))) == net


def test_every_net_comes_back_from_json() -> None:
    for net in zoo.models.MODELS.values():
        assert layer_lists.from_content(layer_lists.to_content(net)) == net


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(max_examples=200, deadline=None)
@given(JSON | st.lists(st.fixed_dictionaries({"kind": st.sampled_from(["Conv", "Head"])}, optional={
    "features": JSON, "kernel_size": JSON, "padding": JSON, "kernel_init": JSON})))  # fmt: skip
def test_any_json_is_a_net_or_a_value_error(content: Any) -> None:
    with contextlib.suppress(ValueError):
        net = layer_lists.from_content(content)
        assert layer_lists.from_content(layer_lists.to_content(net)) == net


def test_keys_and_arrays_of_a_file_are_those_that_others_read(tmp_path: Path) -> None:
    """safetensors' own reader, with the keys that the documentation promises."""
    model = create_model("kernels_cnn5")
    variables = initial(model)
    weight_files.write(tmp_path / "x.safetensors", variables, "float32")
    arrays = safetensors.numpy.load_file(tmp_path / "x.safetensors")
    np.testing.assert_array_equal(
        arrays["params/conv_1/kernel"], variables["params"]["conv_1"]["kernel"]
    )
    np.testing.assert_array_equal(
        arrays["batch_stats/batch_norm_1/mean"], variables["batch_stats"]["batch_norm_1"]["mean"]
    )


@pytest.fixture
def hub_cache(tmp_path: Path) -> dict[str, str]:
    """A cache of the Hub's client that holds one repository, and no network."""
    snapshot = tmp_path / "hub/models--someone--small/snapshots/0123abcd"
    model = create_model("pooling_cnn3")
    save_pretrained(snapshot, model, initial(model))
    refs = tmp_path / "hub/models--someone--small/refs"
    refs.mkdir()
    (refs / "main").write_text("0123abcd")
    return {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}


@pytest.mark.slow
def test_the_hub_is_read_through_its_client(hub_cache: dict[str, str], run_python: Python) -> None:
    pytest.importorskip("huggingface_hub")  # an extra
    code = (
        "import zoo.models; model, variables = zoo.models.from_pretrained('hf://someone/small');"
        "print(variables['params']['conv_1']['kernel'].shape)"
    )
    result = run_python("-c", code, **hub_cache)
    assert result.stdout == "(3, 3, 1, 32)\n", result.stderr
    result = run_python("-c", code.replace("small", "absent"), **hub_cache)
    last = result.stderr.strip().splitlines()[-1]
    assert "hf://someone/absent cannot be downloaded" in last


@pytest.mark.parametrize("address", ["hf://", "hf://x", "hf://a/b/c", "hf://a/../b", "hf://a/b@"])
def test_an_address_that_is_none_is_one_sentence(address: str) -> None:
    with pytest.raises(ZooError, match="is not an address: it is hf://OWNER/NAME"):
        from_pretrained(address)


def test_without_an_index_there_are_no_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a package that was built without them."""
    monkeypatch.setattr(packaged, "WEIGHTS", tmp_path)
    packaged_weights.cache_clear()
    try:
        assert list_models(pretrained=True) == []
    finally:
        packaged_weights.cache_clear()
