"""The benchmarks run and report their measurements."""

import json
import statistics
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import accelerator
import answers
import devices
import devices_report
import inference
import inference_report
import jax
import numpy as np
import operations
import peers_report
import pytest
from conftest import REAL_MNIST_DIR

import zoo.models
from zoo.models.net import variable_shapes

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.slow
def test_peers_measures_the_zoo_and_stock_flax(run_python: Run, tmp_path: Path) -> None:
    arguments = ["--nets=pooling_cnn3", "--contenders=zoo,flax", "--batch-size=8", "--rounds=2"]
    result = run_python(
        "benchmarks/peers.py", *arguments, "--seconds=0.05", f"--output={tmp_path}", "--stem=here"
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert {path.name for path in tmp_path.iterdir()} == {"here.json", "here.md", "here.png"}
    measured = json.loads((tmp_path / "here.json").read_text())
    net = measured["nets"]["pooling_cnn3"]
    assert net["failed"] == {}
    assert len(net["matmul"]["rounds"]) == 2
    for contender in ("zoo", "flax"):
        entry = net["contenders"][contender]
        assert len(entry["rounds"]) == 2
        assert entry["images_per_second"] > 0
        assert entry["peak_bytes"] > entry["resident_bytes"] / 2 > 0
    zoo = net["contenders"]["zoo"]
    assert zoo["later_first_step_seconds"] < zoo["first_step_seconds"]
    assert 0 < zoo["later_peak_bytes"] < zoo["peak_bytes"]

    page = (tmp_path / "here.md").read_text()
    assert "`pooling_cnn3`" in page
    again = run_python("benchmarks/peers.py", f"--render={tmp_path / 'here.json'}")
    assert again.returncode == 0
    assert (tmp_path / "here.md").read_text() == page


@pytest.mark.parametrize(
    ("script", "argument", "said"),
    [
        ("peers", "--contenders=zoo,caffe", "unknown contender caffe; known: zoo, flax, torch"),
        ("peers", "--nets=lenet5", "no net of the zoo matches --nets"),
        ("peers", "--rounds=0", "must be above 0"),
        ("inference", "--contenders=torch", "zoo must be among --contenders"),
        ("export", "--nets=lenet5", "there are no trained weights of 'lenet5'"),
        ("inference", "--sizes=1,x", "--sizes must be whole numbers above 0, not 1,x"),
    ],
)
def test_a_wrong_argument_of_a_comparison_is_one_sentence(
    run_python: Run, script: str, argument: str, said: str
) -> None:
    result = run_python(f"benchmarks/{script}.py", argument)
    assert result.returncode == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.slow
def test_fast99_trains_each_seed_and_writes_a_page(run_python: Run, tmp_path: Path) -> None:
    output = tmp_path / "fast99.json"
    arguments = ["--dataset=digits", "--seeds=2", "--set=num_epochs=2", f"--output={output}"]
    done = run_python("benchmarks/fast99.py", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "zoo: 2 seeds, 2,884 images seen" in done.stdout
    result = json.loads(output.read_text())
    seeds = result["contenders"]["zoo"]["seeds"]
    assert [each["seed"] for each in seeds] == [1, 2]
    assert result["config"]["num_epochs"] == 2
    assert all(each["seconds"] > 0 and 0.8 < each["accuracy"] <= 1 for each in seeds)
    assert "| 2 |" in output.with_suffix(".md").read_text()


@pytest.mark.slow
def test_operations_of_a_step_are_told_with_their_layer(run_python: Run) -> None:
    result = run_python("benchmarks/operations.py", "pooling_cnn3", "--steps=2", "--top=40")
    assert (result.returncode, result.stderr) == (0, "")
    head, columns, *rows = result.stdout.splitlines()
    assert "ms of cores are traced" in head
    assert (columns.split()[:2], len(rows)) == (["core", "ms"], 40)
    core_ms = [float(row.split()[0]) for row in rows]
    assert core_ms == sorted(core_ms, reverse=True)
    assert any("conv_2" in row for row in rows)


def test_the_time_within_a_loop_is_not_the_loops() -> None:
    times = [("while.1", 0, 10), ("add", 1, 3), ("add", 5, 4), ("call.2", 10, 7)]
    events = [SimpleNamespace(name=n, start_ns=at, duration_ns=ns) for n, at, ns in times]
    core_ns, runs = Counter[str](), Counter[str]()
    operations._add(events, core_ns, runs)
    assert core_ns == {"while.1": 3, "add": 7, "call.2": 7}
    assert runs == {"while.1": 1, "add": 2, "call.2": 1}


def test_the_interval_of_a_ratio_leaves_out_one_round_of_nine_at_either_end() -> None:
    """2 P(B < 2) = 0.039 for B of 9 throws of a coin, and 0.18 for B < 3."""
    rounds = {"zoo": [9, 1, 8, 2, 7, 3, 6, 4, 5], "torch": [1] * 9}

    def entry(number: int) -> dict[str, Any]:
        found = {
            name: {"rounds": each[:number], "images_per_second": statistics.median(each[:number])}
            for name, each in rounds.items()
        }
        return {"contenders": found}

    assert peers_report.ratio_interval(entry(9)) == (2, 8)
    assert peers_report.ratio_interval(entry(5)) is None


def test_inference_measures_the_zoo(run_python: Run, tmp_path: Path) -> None:
    arguments = ["--nets=pooling_cnn3", "--contenders=zoo", "--sizes=1,8", "--rounds=2"]
    result = run_python(
        "benchmarks/inference.py", *arguments, "--seconds=0.02", f"--output={tmp_path}", "--stem=a"
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", "a.md", "a.png"}
    net = json.loads((tmp_path / "a.json").read_text())["nets"]["pooling_cnn3"]
    assert (net["weights"], net["failed"], list(net["sizes"])) == ("trained", {}, ["1", "8"])
    for size, entry in net["sizes"].items():
        zoo = entry["contenders"]["zoo"]
        assert len(zoo["seconds_rounds"]) == 2
        assert 0 < zoo["seconds"] <= zoo["p99_seconds"]
        assert zoo["images_per_second"] == int(size) / zoo["seconds"]


def _answers(**seconds_rounds: list[float]) -> dict[str, Any]:
    """What is measured of batches of 128, of which one contender's rounds took those seconds."""
    contenders = {}
    for name, rounds in seconds_rounds.items():
        median = statistics.median(rounds)
        contenders[name] = {
            "seconds": median,
            "p99_seconds": 2 * median,
            "images_per_second": 128 / median,
            "seconds_rounds": rounds,
        }
    return {"contenders": contenders}


def test_inference_compares_the_zoo_with_the_best_peer_round_by_round() -> None:
    entry = _answers(zoo=[1, 2, 2], torch=[9, 9, 9], onnxruntime=[3, 4, 2])
    assert inference_report.ratio_range(entry) == (1, 3)
    net = {"weights": "random", "sizes": {"128": entry}, "failed": {"keras-jax": "it broke"}}
    *rows, ratio, ends, failed = inference_report.net_line("vgg5", net).split("\n")
    assert rows[0].split("  ") == ["vgg5, random weights", "batches of 128"]
    assert rows[2].split() == ["zoo", "64"]
    assert ratio.split()[-1] == "1.50"
    assert ends.endswith("1.00 to 3.00")
    assert failed == "keras-jax failed: it broke"


@pytest.mark.parametrize("found", [[[1.0, 2.02]], [[1.0, float("nan")]], [[1.0, 2.0, 3.0]]])
def test_a_contender_with_other_logits_ends_inference(found: list[list[float]]) -> None:
    logits: dict[str, Any] = {"zoo": {1: {"jax.jit": [[1.0, 2.0]]}}}
    inference.check_logits("vgg5", "torch", logits | {"torch": {1: {"eager": [[1.0, 2.001]]}}})
    with pytest.raises(SystemExit, match=r"torch \(eager\) gives other logits than the zoo"):
        inference.check_logits("vgg5", "torch", logits | {"torch": {1: {"eager": found}}})


def test_random_weights_fit_the_net_and_are_the_same_for_every_contender() -> None:
    without_weights = {*zoo.models.list_models()} - {*zoo.models.list_models(pretrained=True)}
    name = min(without_weights - {"custom7"})  # which is large
    variables, kind = answers.weights_of(name)
    assert kind == "random"
    again, _ = answers.weights_of(name)
    jax.tree.map(np.testing.assert_array_equal, variables, again)
    shapes = variable_shapes(zoo.models.MODELS[name], (28, 28, 1), 10)
    assert jax.tree.map(np.shape, variables) == jax.tree.map(lambda leaf: leaf.shape, shapes)


@pytest.mark.slow
@pytest.mark.skipif(not REAL_MNIST_DIR, reason="needs MNIST in ZOO_MNIST_DIR")
def test_export_asks_files_for_all_test_images(run_python: Run, tmp_path: Path) -> None:
    arguments = ["--nets=pooling_cnn3", "--files=zoo,stablehlo", "--rounds=1", "--seconds=0.02"]
    result = run_python("benchmarks/export.py", *arguments, f"--output={tmp_path}", "--stem=a")
    assert (result.returncode, result.stderr) == (0, "")
    files = json.loads((tmp_path / "a.json").read_text())["nets"]["pooling_cnn3"]
    for name, file in files.items():
        assert file["test"]["same"] == file["test"]["num_images"] == 10_000
        assert file["test"]["difference"] <= (1e-5 if name == "stablehlo" else 0)
        assert file["seconds"].keys() == {"1", "128"}
    page = (tmp_path / "a.md").read_text()
    assert f"| `pooling_cnn3` | stablehlo | {files['stablehlo']['bytes']:,} | " in page


def test_the_model_of_many_devices() -> None:
    """Against sums done by hand."""
    chip = devices_report.Chip("test", 1e12, 1e9, 1e8, 8, "")
    facts = {"parameters": 250_000, "train_flop": 3e8, "batch_size": 64}  # 1 MB of gradients
    latency = devices_report.STEP_LATENCY
    assert devices_report.all_reduce_seconds(1e6, 1, chip) == 0
    assert devices_report.all_reduce_seconds(1e6, 8, chip) == pytest.approx(1.75e-3 + 14 * latency)
    assert devices_report.all_reduce_seconds(1e6, 16, chip) == pytest.approx(
        18.75e-3 + 30 * latency
    )
    compute = 64 * 3e8 / (1e12 * devices_report.UTILIZATION)  # 64 ms
    assert devices_report.efficiency(facts, 64, 8, chip) == pytest.approx(
        compute / (compute + 1.75e-3 + 14 * latency)
    )
    assert devices_report.largest_count(facts, chip) == 8  # beyond, the links are slower


def test_the_page_of_an_accelerator_tells_the_part_of_its_peak() -> None:
    row = {"num_seeds": 1, "seeds_at_once": 1, "train_flop": 10**6, "images_per_second": 6.7e6}
    rows = [
        row | {"net": "pooling_cnn3", "precision": precision} for precision in ("float32", "tf32")
    ]
    rows.append(rows[1] | {"num_seeds": 32, "images_per_second": 13.4e6})
    rows.append({"net": "vgg5", "precision": "tf32", "num_seeds": 1, "error": "out of memory"})
    result = accelerator.results.new("accelerator.py", "On a GPU", {})
    page = accelerator.markdown(result | {"device": "NVIDIA H200", "rows": rows})
    cells = "6,700,000 | 0.01 | 10.0% | 6,700,000 | 0.01 | 1.4% | - | - | -"
    assert f"| `pooling_cnn3` | {cells} |" in page
    assert "13,400,000 one after another (2.00 of one seed's)." in page
    assert "vgg5" not in page


def test_the_bytes_of_collectives_are_read_off_a_program() -> None:
    program = """
      %a = f32[10,2]{1,0} all-reduce(%x), channel_id=1
      %b = (f32[3]{0}, /*index=1*/s32[]) all-reduce-start(%y), channel_id=2
      %c = bf16[4]{0} all-gather(%z), dimensions={0}
    """
    assert devices.collectives(program) == {"all-reduce": [80, 16], "all-gather": [8]}


def test_memory_of_reading_a_net_is_not_counted_as_a_peers(run_python: Run) -> None:
    """In a process that has not imported JAX before."""
    code = (
        "import sys; sys.path.insert(0, 'benchmarks'); import worker; "
        "print(worker.reading_bytes('zoo'), worker.reading_bytes('torch'))"
    )
    done = run_python("-c", code)
    assert (done.returncode, done.stderr) == (0, "")
    own, of_peer = map(int, done.stdout.split())
    assert own == 0
    assert of_peer > 5e7
