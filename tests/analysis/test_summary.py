"""`zoo list` and `zoo summary`, compared with the notebooks and with XLA."""

import json
import subprocess
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
import pytest
from conftest import GOLDEN

import zoo.models
import zoo.reproduction.catalogue
from zoo.analysis.summary import summarize, to_json, to_text
from zoo.system.errors import ZooError
from zoo.training.step import create_train_state, make_train_step

Python = Callable[..., subprocess.CompletedProcess[str]]
Zoo = Callable[..., tuple[int, str, str]]


@pytest.mark.parametrize("name", zoo.models.list_models())
def test_a_summary_agrees_with_the_notebook(name: str) -> None:
    summary, golden = summarize(name), GOLDEN[name]
    assert [
        (layer.name, list(layer.output_shape), layer.parameters) for layer in summary.layers
    ] == [(layer["name"], layer["output_shape"], layer["params"]) for layer in golden["layers"]]
    assert summary.parameters == golden["params"]["total"]
    assert summary.non_trainable == golden["params"]["non_trainable"]
    dead = sum(layer.without_gradient for layer in summary.layers)
    assert dead == golden["weights_without_gradient"]
    assert summary.macs == sum(layer.macs for layer in summary.layers)


@pytest.mark.parametrize("name", zoo.models.list_models())
def test_the_table_lists_each_layer_in_order(name: str) -> None:
    lines = to_text(summarize(name)).splitlines()
    golden = GOLDEN[name]["layers"]
    rows = lines[4 : 4 + len(golden)]
    assert [row.split()[0] for row in rows] == [layer["name"] for layer in golden]
    assert max(map(len, rows)) <= 100
    assert lines[5 + len(golden)].startswith("total ")
    assert f"{GOLDEN[name]['params']['total']:,}" in lines[5 + len(golden)]


def test_weights_that_only_overlap_padding_are_listed() -> None:
    last = to_text(summarize("pairs_cnn10")).splitlines()[-1]
    assert "14,336 of conv_7, 55,296 of conv_8" in last
    assert to_text(summarize("vgg5")).endswith("weights that never get a gradient: none")


@pytest.mark.parametrize("name", ["pooling_cnn3", pytest.param("lenet3", marks=pytest.mark.slow)])
def test_the_memory_of_a_step_is_close_to_xlas(name: str) -> None:
    """Within a factor of two of a step without the zoo's own workspaces."""
    model, batch_size = zoo.models.create_model(name), 64
    tx = optax.adam(1e-3)
    state = create_train_state(model, tx, 0, (28, 28, 1))
    batch = {
        "image": jnp.zeros((batch_size, 28, 28, 1), jnp.uint8),
        "label": jnp.zeros(batch_size, jnp.int32),
        "mask": jnp.ones(batch_size, bool),
    }
    step = jax.jit(make_train_step(model, tx), donate_argnums=0)
    taken = step.lower(state, batch).compile().memory_analysis()
    estimate = summarize(name, batch_size=batch_size).training_bytes
    assert 0.5 < estimate / (taken.temp_size_in_bytes + taken.argument_size_in_bytes) < 2


def test_json_has_the_same_content() -> None:
    content = json.loads(to_json(summarize("lenet3", (32, 40, 3), num_classes=7)))
    assert content["image_shape"] == [32, 40, 3]
    assert content["layers"][-1]["name"] == "head"
    assert content["layers"][-1]["output_shape"] == [7]
    assert content["parameters"] == sum(layer["parameters"] for layer in content["layers"])


def test_the_list_gives_the_published_results() -> None:
    lines = zoo.reproduction.catalogue.to_text("*", []).splitlines()
    assert len(lines) == 20
    assert lines[0].split()[:3] == ["net", "notebook", "convs"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:]}
    for name, golden in GOLDEN.items():
        assert rows[name][0] == golden["notebook"]
        assert int(rows[name][1]) == golden["num_convolutions"]
        assert rows[name][2] == f"{golden['params']['total']:,}"
        assert rows[name][4] == f"{golden['published_accuracy']:.2%}"
        assert (rows[name][-1] == "-") == (name not in zoo.models.list_models(pretrained=True))
    assert len(zoo.reproduction.catalogue.to_text("pairs*", []).splitlines()) == 4
    with pytest.raises(ZooError, match="no net matches 'x'"):
        zoo.reproduction.catalogue.to_text("x", [])


def test_the_commands_print_them(run_python: Python) -> None:
    done = run_python("-m", "zoo.cli", "summary", "pooling_cnn3", "--image-size=32x32x3", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == to_json(summarize("pooling_cnn3", (32, 32, 3)))
    done = run_python("-m", "zoo.cli", "list", "pooling*")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == [
        "pooling_cnn3",
        "pooling_cnn5",
        "pooling_cnn7",
        "pooling_cnn3_late",
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["summary", "vgg"], "zoo: unknown net 'vgg': did you mean vgg5?"),
        (["summary"], "zoo: Missing argument 'NET|FILE.py:NAME|RUN': try zoo summary --help"),
        (["summary", "vgg5", "--image-size=9x9"], "the smallest image that works is 28x28"),
        (["summary", "vgg5", "--image-size=0x28"], "zoo: --image-size must be HEIGHTxWIDTHxCHANN"),
        (["summary", "vgg5", "--image-size=big"], "zoo: --image-size must be HEIGHTxWIDTHxCHANN"),
        (["list", "resnet*"], "zoo: no net matches 'resnet*': `zoo list` lists them all"),
        (["list", "a", "b"], "zoo: Got unexpected extra argument (b)"),
    ],
)
def test_a_mistake_is_one_sentence(run_zoo: Zoo, arguments: list[str], sentence: str) -> None:
    status, said, error = run_zoo(*arguments)
    assert (status, said) == (2, "")
    assert sentence in error
    assert len(error.splitlines()) == 1


def test_the_shell_completes_commands_and_names(run_python: Python) -> None:
    def completed(words: str) -> list[str]:
        environment = {
            "_ZOO_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        }
        done = run_python("-c", "from zoo.cli import main; main()", **environment)
        assert done.returncode == 0
        return [line.split(",")[1] for line in done.stdout.splitlines()]

    assert completed("zoo su") == ["summary"]
    assert completed("zoo summary pairs") == ["pairs_cnn10", "pairs_cnn14", "pairs_cnn6"]
    assert completed("zoo plot run --kind c") == ["curves", "confusion", "calibration"]
