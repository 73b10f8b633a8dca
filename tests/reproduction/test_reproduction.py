"""`zoo reproduce`: runs, table, verdicts, and what happens when it is killed or misused."""

import csv
import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, write_idx_dataset

import zoo.data
import zoo.models
import zoo.reproduction.published
import zoo.reproduction.results
from zoo.configs import default
from zoo.reproduction.claims import ACCURACY, CLAIMS, CONVERGENCE, Claim, judge
from zoo.reproduction.results import FinishedRun
from zoo.reproduction.run import reproduce, write
from zoo.reproduction.table import make_rows, training_flop, training_hours
from zoo.system.errors import DivergedError, ZooError
from zoo.training.numerics import VERSION

Python = Callable[..., subprocess.CompletedProcess[str]]
Zoo = Callable[..., tuple[int, str, str]]
CLAIM = Claim("004", "late is ahead", "pooling_cnn3_late", ("pooling_cnn3", "pooling_cnn5"))
ENVIRONMENT = {
    "platform": "cpu",
    "device": "Some CPU",
    "cpu_count": 2,
    "python": "3.11.7",
    "git_commit": "0123456789abcdef+",
    **dict.fromkeys(("jax", "jaxlib", "flax", "optax", "numpy"), "1.0"),
}


def make_run(net: str, accuracy: float, seed: int = 0, protocol: str = "notebook") -> FinishedRun:
    """A run on MNIST as in a results file."""
    return FinishedRun(
        net=net,
        protocol=protocol,
        seed=seed,
        date="2026-01-02",
        config={**default.get_config().to_dict(), "dataset": "mnist", "num_epochs": 2},
        environment=ENVIRONMENT,
        earlier_environments=[],
        data={"num_train": 60_000, "num_val": 10_000, "num_test": 10_000},
        epochs={
            "accuracy": [0.97, 0.981],
            "val_accuracy": [0.9, 0.95],
            "seconds": [3.0, 1.0],
        },
        test={"accuracy": accuracy, "loss": 0.03, "num_examples": 10_000, "epoch": 2},
    )


def make_runs(**accuracies: list[float]) -> list[FinishedRun]:
    return [
        make_run(net, accuracy, seed)
        for net, values in accuracies.items()
        for seed, accuracy in enumerate(values)
    ]


WEIGHTS_FILE = "pooling_cnn3-mnist.safetensors"
CHEAPEST_FIRST = ["pooling_cnn3", "pooling_cnn5", "pooling_cnn7"]
HIGH, LOW, WIDE = [0.995, 0.9951, 0.9952], [0.985, 0.9851, 0.9852], [0.98, 0.99, 0.999]


@pytest.mark.parametrize(
    ("late", "first", "second", "verdict"),
    [
        (HIGH, LOW, LOW, "holds"),
        (LOW, HIGH, LOW, "does not hold"),
        (HIGH, WIDE, LOW, "cannot be told from noise"),
        (HIGH, HIGH, LOW, "cannot be told from noise"),
        (HIGH, LOW, [0.98], "not enough runs"),
        (HIGH, LOW, [], "not enough runs"),
        ([], LOW, LOW, "not enough runs"),
        ([0.99, 0.99], [0.98, 0.98], LOW, "cannot be told from noise"),  # both constant, p = 1/3
        ([0.99] * 5, [0.98] * 5, [0.98] * 5, "holds"),  # p = 2/252
    ],
)
def test_a_claim_is_tested_on_each_pair(
    late: list[float], first: list[float], second: list[float], verdict: str
) -> None:
    runs = make_runs(pooling_cnn3_late=late, pooling_cnn3=first, pooling_cnn5=second)
    found = judge(CLAIM, runs)
    assert found.verdict == verdict
    assert len(found.details) == 2
    assert "published 99.01% and 98.63%" in found.details[0]


def test_only_runs_of_the_notebooks_protocol_count_for_a_claim() -> None:
    runs = [make_run(net, 0.99, seed, "holdout") for net in zoo.models.MODELS for seed in (0, 1)]
    assert {judge(claim, runs).verdict for claim in CLAIMS} == {"not enough runs"}


def test_convergence_counts_epochs_and_fewer_is_better() -> None:
    run = make_run("vgg5", 0.99)
    assert CONVERGENCE.of_run(run) == 2
    run.epochs["accuracy"][1] = 0.979
    assert CONVERGENCE.of_run(run) == 3  # never: the number of epochs + 1
    published = zoo.reproduction.published.load()
    assert CONVERGENCE.of_published(published["vgg5"]) == 5  # 0.9803 is the first above 98%
    assert CONVERGENCE.of_published(published["lenet3"]) == 6
    assert not CONVERGENCE.larger_is_better
    assert ACCURACY.larger_is_better


def test_claims_name_nets_of_their_notebook() -> None:
    published = zoo.reproduction.published.load()
    for claim in CLAIMS:
        assert {published[net].notebook for net in (claim.ahead, *claim.others)} == {claim.notebook}


@pytest.mark.parametrize(
    ("accuracies", "verdict"),
    [
        ([0.9863], "inside"),
        ([0.980], "above ours"),
        ([0.992], "below ours"),
        ([0.9850, 0.9860, 0.9870], "inside"),
        ([0.9900, 0.9901, 0.9902], "below ours"),
    ],
)
def test_the_published_value_has_a_place_in_our_distribution(
    accuracies: list[float], verdict: str
) -> None:
    rows = {row.net: row for row in make_rows(make_runs(pooling_cnn3=accuracies))}
    assert len(rows) == 19
    row = rows["pooling_cnn3"]  # published: 98.63%
    assert row.verdict == verdict
    assert row.accuracy_distance is not None
    assert (abs(row.accuracy_distance) <= 2) == (verdict == "inside")
    assert row.parameters == 87_914
    assert row.seconds_per_epoch == 2.0
    assert row.commits == "0123456789ab+"
    assert rows["custom7"].verdict == "not run: needs a GPU"
    assert rows["custom7"].accuracy is None


def test_a_run_on_other_data_gets_no_verdict() -> None:
    run = make_run("pooling_cnn3", 0.99)
    run.data["num_train"] = 600
    rows = {row.net: row for row in make_rows([run])}
    assert rows["pooling_cnn3"].verdict == "not on MNIST: no verdict"
    assert rows["pooling_cnn3"].accuracy_distance is None
    runs = [make_run(net, 0.99, seed) for net in zoo.models.MODELS for seed in (0, 1)]
    for run in runs:
        run.config["dataset"] = "digits"
    assert {judge(claim, runs).verdict for claim in CLAIMS} == {"not enough runs"}


def test_a_run_that_was_resumed_elsewhere_names_both_machines(tmp_path: Path) -> None:
    run = make_run("vgg5", 0.99)
    run.earlier_environments.append({**ENVIRONMENT, "device": "Old CPU", "until_epoch": 1})
    write([run], tmp_path)
    page = (tmp_path / "reproduction.md").read_text()
    assert "Old CPU, 2 cores" in page
    assert "`vgg5` until epoch 1 seed 0" in page


@pytest.mark.parametrize("diverging", ["pooling_cnn3-1", None])
def test_a_run_that_diverges_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, diverging: str | None
) -> None:
    done = []

    def train(config: Any, workdir: Path, **options: Any) -> None:
        if workdir.name == diverging:
            raise DivergedError("loss is nan")
        done.append(workdir.name)

    def finished(protocol: str, workdir: Path) -> list[FinishedRun]:
        return [make_run("pooling_cnn3", 0.99, int(workdir.name[-1]))]

    monkeypatch.setattr("zoo.reproduction.run.train_and_evaluate", train)
    monkeypatch.setattr("zoo.reproduction.results.from_history", finished)
    arguments = (["pooling_cnn3"], range(3), ["notebook"], tmp_path / "runs", tmp_path / "out")
    if diverging:
        with pytest.raises(ZooError, match="training diverged in pooling_cnn3-1: not in the table"):
            reproduce(*arguments, quiet=True)
    else:
        reproduce(*arguments, quiet=True)
    expected = [f"pooling_cnn3-{seed}" for seed in range(3)]
    assert done == [name for name in expected if name != diverging]
    runs = zoo.reproduction.results.read(tmp_path / "out" / "reproduction.json")
    assert [f"{run.net}-{run.seed}" for run in runs] == done


def test_nets_are_trained_in_the_order_given_and_only_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_zoo: Zoo
) -> None:
    """A result of an older version of the numerics is missing, too."""
    done: list[str] = []

    def train(config: Any, workdir: Path, **options: Any) -> None:
        done.append(workdir.name)

    def finished(protocol: str, workdir: Path) -> list[FinishedRun]:
        net, seed = workdir.name.split("-")
        run = make_run(net, 0.99, int(seed))
        return [dataclasses.replace(run, environment={**ENVIRONMENT, "numerics": VERSION})]

    monkeypatch.setattr("zoo.reproduction.run.train_and_evaluate", train)
    monkeypatch.setattr("zoo.reproduction.results.from_history", finished)
    folders = ("--runs", tmp_path / "runs", "--output", tmp_path)
    nets = ("vgg5", "pooling_cnn?", "lenet3", "pooling_cnn3")
    assert run_zoo("reproduce", *nets, *folders)[0] == 0
    assert done == [f"{net}-0" for net in ("vgg5", *CHEAPEST_FIRST, "lenet3")]
    done.clear()
    content = json.loads((tmp_path / "reproduction.json").read_text())
    for run in content["runs"]:
        if run["net"] == "lenet3":
            run["environment"]["numerics"] = 1
    (tmp_path / "reproduction.json").write_text(json.dumps(content))
    status, said, _ = run_zoo("reproduce", *nets, "--seeds=2", "--missing", *folders)
    assert status == 0
    assert done == [f"{net}-1" for net in ("vgg5", *CHEAPEST_FIRST)] + ["lenet3-0", "lenet3-1"]
    done.clear()
    status, said, _ = run_zoo("reproduce", *nets, "--seeds=2", "--missing", *folders)
    assert (status, done) == (0, [])
    assert said.startswith("0 runs of 0 nets in ")
    assert "wrote" not in said


def test_times_on_a_cpu_and_on_other_devices_are_kept_apart(tmp_path: Path) -> None:
    seconds = {"seconds": [3600.0, 7200.0]}
    runs = [
        dataclasses.replace(
            make_run("vgg5", 0.99, seed),
            environment=ENVIRONMENT | environment,
            epochs=make_run("vgg5", 0.99).epochs | seconds,
        )
        for seed, environment in enumerate(
            [{}, {"platform": "gpu", "device": "Some GPU", "seeds_together": 5}]
        )
    ]
    runs[1].epochs["seconds"] = [36.0, 36.0]
    (row,) = (row for row in make_rows(runs) if row.net == "vgg5")
    assert (row.seconds_per_epoch, row.seconds_per_epoch_elsewhere) == (5400, 36)
    write(runs, tmp_path)
    page = (tmp_path / "reproduction.md").read_text()
    assert "3.0 hours on a CPU and 0.0 on another device." in page
    assert "| 10.3 | 5400.0 | 36.0 |" in page
    assert "Some GPU, 5 seeds together; python" in page


def test_the_holdout_protocol_has_separate_rows() -> None:
    runs = [make_run("vgg5", 0.99), make_run("vgg5", 0.98, protocol="holdout")]
    rows = [row for row in make_rows(runs) if row.net == "vgg5"]
    assert [(row.protocol, row.accuracy) for row in rows] == [("notebook", 0.99), ("holdout", 0.98)]


def test_cost_follows_from_the_arithmetic() -> None:
    """pooling_cnn3, by hand: the multiply-adds of three convolutions and two dense layers."""
    macs = 26**2 * 9 * 32 + 11**2 * 9 * 32 * 64 + 3**2 * 9 * 64 * 96 + 96 * 128 + 128 * 10
    assert training_flop("pooling_cnn3") == 6 * macs * 48_000 * 10
    assert min(zoo.models.MODELS, key=training_flop) == "pooling_cnn3"
    assert max(zoo.models.MODELS, key=training_flop) == "custom7"
    assert training_hours("custom7") > 24


def test_published_results_are_those_printed() -> None:
    published = zoo.reproduction.published.load()
    assert next(iter(published)) == "kernels_cnn3"
    assert published["pooling_cnn3"].loss == pytest.approx(0.0468, abs=5e-5)
    assert published["ablation_cnn3"].loss == published["ablation_cnn3"].history["val_loss"][-1]


def test_results_are_written_read_and_merged(tmp_path: Path) -> None:
    runs = zoo.reproduction.results.merged([], make_runs(vgg5=[0.99, 0.98], lenet3=[0.97]))
    write(runs, tmp_path)
    assert zoo.reproduction.results.read(tmp_path / "reproduction.json") == runs
    again = zoo.reproduction.results.merged(
        runs, [make_run("vgg5", 0.5, seed=1), make_run("vgg5", 0.6, seed=7)]
    )
    assert [(run.net, run.seed, run.test["accuracy"]) for run in again] == [
        ("lenet3", 0, 0.97),
        ("vgg5", 0, 0.99),
        ("vgg5", 1, 0.5),
        ("vgg5", 7, 0.6),
    ]
    with open(tmp_path / "reproduction.csv", newline="") as file:
        rows = {row["net"]: row for row in csv.DictReader(file)}
    assert rows["vgg5"]["seeds"] == "0 1"
    assert float(rows["vgg5"]["accuracy"]) == pytest.approx(0.985)
    assert rows["custom7"]["accuracy"] == ""
    page = (tmp_path / "reproduction.md").read_text()
    assert "| `vgg5` | 001 | notebook | 2 | 99.49% | 98.50% ± 0.71% |" in page
    assert "2026-01-02: 0.0 hours on a CPU. Written" in page
    assert "Some CPU, 2 cores" in page
    assert "`vgg5` seeds 0, 1" in page
    assert not list(tmp_path.glob("*.tmp"))


def test_a_missing_results_file_means_no_runs(tmp_path: Path) -> None:
    assert zoo.reproduction.results.read(tmp_path / "reproduction.json") == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"format": 9, "runs": []}', "is of format 9, and this version of the zoo reads format 1"),
        ("", "is damaged"),
        ("[]", "is damaged"),
        ('{"format": 1}', "is damaged"),
        ('{"format": 1, "runs": [{"net": "vgg5"}]}', "is damaged"),
        ("[" * 100_000, "is damaged"),
    ],
)
def test_a_results_file_that_cannot_be_used_is_one_sentence(
    tmp_path: Path, content: str, sentence: str
) -> None:
    (tmp_path / "reproduction.json").write_text(content)
    with pytest.raises(ZooError, match=sentence):
        zoo.reproduction.results.read(tmp_path / "reproduction.json")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("net", "vgg6"),
        ("protocol", "none"),
        ("seed", "0"),
        ("epochs", {}),
        ("environment", {}),
        ("config", {}),
        ("test", {"accuracy": 1.2, "loss": 1.0, "num_examples": 5}),
        ("test", {"accuracy": 0.2, "loss": 1.0, "num_examples": 0}),
    ],
)
def test_a_run_with_invalid_content_is_damage(tmp_path: Path, key: str, value: Any) -> None:
    write([make_run("vgg5", 0.99)], tmp_path)
    path = tmp_path / "reproduction.json"
    content = json.loads(path.read_text())
    content["runs"][0][key] = value
    path.write_text(json.dumps(content))
    with pytest.raises(ZooError, match="is damaged"):
        zoo.reproduction.results.read(path)


@pytest.fixture(scope="module")
def small_mnist(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A TFDS directory with an MNIST of 300 training and 40 test images."""
    folder = tmp_path_factory.mktemp("small")
    write_idx_dataset(folder, num_train=300, num_test=40)
    dataset = zoo.data.load("idx", manual_dir=folder)
    cache = folder / "tfds/mnist/3.0.1/decoded"
    cache.mkdir(parents=True)
    splits = {"train": dataset.train, "test": dataset.test}
    zoo.data.cache.write(cache, {name: (one.images, one.labels) for name, one in splits.items()})
    return str(folder / "tfds")


def results_of(output: Path) -> Any:
    """The results file without the times, which differ between equal runs."""
    content = json.loads((output / "reproduction.json").read_text())
    for run in content["runs"]:
        del run["epochs"]["seconds"]
    for row in content["rows"]:
        del row["seconds_per_epoch"], row["seconds_per_epoch_elsewhere"]
    return content


@pytest.mark.slow
def test_reproduce_trains_reports_and_resumes(
    run_python: Python, small_mnist: str, tmp_path: Path
) -> None:
    folders = ["--runs", tmp_path / "runs", "--output", tmp_path / "out"]
    folders += ["--weights", tmp_path / "weights"]
    command = ["-m", "zoo.cli", "reproduce", "pooling_cnn3", "--protocol=both", *folders]
    done = run_python(*command, TFDS_DATA_DIR=small_mnist)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("2 runs of 1 net in ")
    assert "[2/2] pooling_cnn3, seed 0, protocol holdout" in lines
    assert lines[-3].startswith("pooling_cnn3           published 98.63%, ours ")
    assert lines[-2].startswith("pooling_cnn3, holdout  published 98.63%, ours ")
    first = results_of(tmp_path / "out")
    assert first["runs"][0]["test"]["epoch"] == 10
    assert [run["config"]["validation"] for run in first["runs"]] == ["holdout_last", "holdout"]

    done = run_python(*command, "--quiet", TFDS_DATA_DIR=small_mnist)
    assert done.returncode == 0
    assert results_of(tmp_path / "out") == first

    done = run_python(*command[:4], "--first-seed=1", *folders, TFDS_DATA_DIR=small_mnist)
    assert done.returncode == 0
    runs = results_of(tmp_path / "out")["runs"]
    assert [(run["protocol"], run["seed"]) for run in runs] == [
        ("notebook", 0),
        ("notebook", 1),
        ("holdout", 0),
    ]
    check_weights(tmp_path / "weights", runs)


@pytest.mark.slow
def test_on_a_gpu_the_seeds_that_are_missing_are_one_run(
    small_mnist: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", small_mnist)
    folders = (tmp_path / "runs", tmp_path / "out")
    reproduce(["pooling_cnn3"], range(2, 3), ["notebook"], *folders, quiet=True)
    (alone,) = results_of(tmp_path / "out")["runs"]
    monkeypatch.setattr("zoo.reproduction.run.jax.default_backend", lambda: "gpu")
    reproduce(["pooling_cnn3"], range(2), ["notebook"], *folders, missing=True, quiet=True)
    names = sorted(path.name for path in (tmp_path / "runs").iterdir() if path.is_dir())
    assert names == ["pooling_cnn3-0-1", "pooling_cnn3-2"]
    runs = results_of(tmp_path / "out")["runs"]
    assert [run["seed"] for run in runs] == [0, 1, 2]
    assert [run["environment"].get("seeds_together") for run in runs] == [2, 2, None]
    assert runs[0]["config"] == alone["config"] | {"seed": 0}
    assert runs[0]["test"]["accuracy"] != runs[1]["test"]["accuracy"]
    (two_together,) = (tmp_path / "runs").glob("*-0-1")
    history = zoo.training.history.read(two_together)
    shared = zoo.reproduction.results.from_history("notebook", two_together)[0].epochs["seconds"]
    assert sum(shared) * 2 == pytest.approx(sum(each["seconds"] for each in history.epochs))


def check_weights(directory: Path, runs: list[dict[str, Any]]) -> None:
    """Those of seed 0 of the notebook's protocol, and an index that tells how good they are."""
    assert {path.name for path in directory.iterdir()} == {WEIGHTS_FILE, "index.json"}
    (entry,) = json.loads((directory / "index.json").read_text())["weights"]
    content = (directory / WEIGHTS_FILE).read_bytes()
    assert (entry["file"], entry["bytes"]) == (WEIGHTS_FILE, len(content))
    assert entry["sha256"] == hashlib.sha256(content).hexdigest()
    assert entry["training"]["seed"] == 0
    assert entry["license"] == "apache-2.0"
    assert entry["test"]["accuracy"] == runs[0]["test"]["accuracy"]
    assert entry["test"]["loss"] == pytest.approx(runs[0]["test"]["loss"], rel=1e-2)
    assert entry["data"]["sha256"]
    assert entry["framing"] == {}  # patterns with noise are not drawings
    assert "seeds" not in entry  # only those on the whole of MNIST are told


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"format": 7, "weights": []}', "index.json is of format 7, and this version of the zoo"),
        ("", "index.json is damaged or tells of no weights: move it away, or use another"),
        ("{}", "index.json is damaged"),
        ("[]", "index.json is damaged"),
        ('{"format": 1, "weights": [{"net": "vgg5", "file": "x"}]}', "index.json is damaged"),
        (
            '{"format": 1, "weights": [{"net": "vgg6", "file": "x", "dataset": "mnist"}]}',
            "index.json is damaged",
        ),
        (None, "weights is not a directory: name one for the weights"),
    ],
)
def test_a_directory_of_weights_that_cannot_be_used_is_told_before_the_training(
    run_zoo: Zoo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: str | None,
    sentence: str,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("zoo.reproduction.run.train_and_evaluate", None)
    weights = tmp_path / "weights"
    if content is None:
        weights.touch()
    else:
        weights.mkdir()
        (weights / "index.json").write_text(content)
    folders = ("--runs", tmp_path / "runs", "--output", tmp_path / "out")
    status, _, error = run_zoo("reproduce", "vgg5", "--weights=~/weights", *folders)
    assert status == 2
    assert sentence in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["vgg6"], "zoo: unknown net 'vgg6': did you mean vgg5?"),
        (["fast99"], "zoo: fast99 has no published result to compare with: try zoo train fast99"),
        (["vgg5", "--seeds=0"], "zoo: Invalid value for '--seeds': 0 is not in the range"),
        (["vgg5", "--seeds=many"], "zoo: Invalid value for '--seeds': 'many' is not a valid"),
        (["vgg5", "--protocol=mine"], "zoo: Invalid value for '--protocol': 'mine' is not one of"),
        (["vgg5", "--sedes=2"], "zoo: No such option '--sedes'"),
        (["vgg5", "--output={old}"], "reproduction.json is of format 0, and this version"),
    ],
)
def test_reproduce_reports_a_mistake_in_one_sentence(
    run_zoo: Zoo, tmp_path: Path, arguments: list[str], sentence: str
) -> None:
    (tmp_path / "reproduction.json").write_text('{"format": 0}')
    runs = tmp_path / "runs"
    arguments = [argument.format(old=tmp_path) for argument in arguments]
    status, _, error = run_zoo("reproduce", *arguments, "--runs", runs)
    assert status == 2
    assert sentence in error
    assert len(error.splitlines()) == 1
    assert not runs.exists()


def test_a_device_that_is_missing_is_told_before_the_training(
    run_zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JAX raises an AssertionError without a message where the plugin is not installed."""

    def find() -> None:
        raise AssertionError

    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    monkeypatch.setattr("jax.devices", find)
    monkeypatch.setattr("jax.default_backend", find)
    folders = ("--runs", tmp_path / "runs", "--output", tmp_path / "out")
    status, _, error = run_zoo("reproduce", "lenet3", *folders)
    assert status == 2
    assert error.startswith("zoo: JAX cannot use JAX_PLATFORMS=cuda: unset it, set it to cpu, or ")


def test_zoo_without_a_command_and_with_a_wrong_one(run_python: Python) -> None:
    for arguments in ([], ["--help"]):
        done = run_python("-m", "zoo.cli", *arguments)
        assert (done.returncode, done.stderr) == (0 if arguments else 2, "")
        assert "reproduce       Train nets again" in done.stdout
    done = run_python("-m", "zoo.cli", "repoduce")
    assert done.returncode == 2
    assert done.stderr.startswith("zoo: No such command 'repoduce'. Did you mean 'reproduce'?")


@pytest.mark.full
def test_reproduce_killed_and_started_again_gives_the_same_table(
    run_python: Python, small_mnist: str, tmp_path: Path
) -> None:
    """Killed twice: during the first net, and during the second."""
    command = ["-m", "zoo.cli", "reproduce", "pooling_cnn3", "kernels_cnn5", "--seeds=2"]

    def folders(name: str) -> list[str]:
        return ["--runs", str(tmp_path / name / "runs"), "--output", str(tmp_path / name / "out")]

    done = run_python(*command, *folders("whole"), TFDS_DATA_DIR=small_mnist)
    assert done.returncode == 0
    for net_and_seed, num_epochs in (("pooling_cnn3-1", 2), ("kernels_cnn5-0", 3)):
        process = subprocess.Popen(
            [sys.executable, *command, *folders("killed")],
            cwd=ROOT,
            env={**os.environ, "TFDS_DATA_DIR": small_mnist},
            stdout=subprocess.DEVNULL,
        )
        history = tmp_path / "killed/runs" / net_and_seed / "history.json"
        deadline = time.monotonic() + 200
        while (
            not history.exists()
            or len(zoo.training.history.read(history.parent).epochs) < num_epochs
        ):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = run_python(*command, *folders("killed"), TFDS_DATA_DIR=small_mnist)
    assert done.returncode == 0
    assert "going on after epoch" in done.stdout
    assert results_of(tmp_path / "killed/out") == results_of(tmp_path / "whole/out")
