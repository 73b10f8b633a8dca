"""Several processes of one run: what they agree on, train and say; real ones, over loopback."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, write_idx_dataset
from processes import member
from test_training import untimed

import zoo.training.history
from zoo.system.errors import ZooError
from zoo.system.processes import Processes, parse
from zoo.training import distributed, joining


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(command: list[str], count: int) -> list[subprocess.Popen[str]]:
    """As many processes; PORT and NUMBER in the command are replaced."""
    port = str(free_port())
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "XLA_FLAGS": ""}
    return [
        subprocess.Popen(
            [word.replace("PORT", port).replace("NUMBER", str(number)) for word in command],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]


def members(directory: Path, case: str, count: int = 2) -> list[dict[str, Any]]:
    """What each of the processes found."""
    program = str(ROOT / "tests/processes/member.py")
    command = [sys.executable, program, "PORT", str(count), "NUMBER", str(directory), case]
    for process in start(command, count):
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    found = (directory / f"found-{number}.json" for number in range(count))
    return [json.loads(path.read_text()) for path in found]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """Of two processes that went through all cases, and their directory."""
    directory = tmp_path_factory.mktemp("processes")
    write_idx_dataset(directory / "data", num_train=400, num_test=40)
    return directory, members(directory, "agree,train,diverge")


@pytest.mark.slow
def test_processes_agree(found: tuple[Path, list[dict[str, Any]]]) -> None:
    directory, of_each = found
    for number, each in enumerate(each["agree"] for each in of_each):
        assert each["largest"] == 8
        assert each["any"] == [True, False]
        assert each["texts"] == ["of 0, with an ü", "of 1, with an ü"]
        assert each["of first"] == ("process 0: " if number else "") + "its disk is full"
        assert each["of last"] == ("" if number else "process 1: ") + "its disk is full"
        assert each["order"] == ["found" if number else "not there"]
        assert "process 1 was started with another configuration" in each["different"]
        assert "b is 1, not 0" in each["different"]
        assert each["same"] == each["shared"] == ""
        assert "is not the directory that process 0 writes" in each["not shared"]
    assert not [*directory.glob("**/.seen-*"), *directory.glob(".coordinator")]


@pytest.mark.slow
def test_processes_train_as_one(found: tuple[Path, list[dict[str, Any]]]) -> None:
    """50 steps with batch normalization and dropout; and seeds over the processes."""
    directory, (first, second) = found
    for name, changes in member.RUNS.items():
        one, other = first["train"][name], second["train"][name]
        assert (losses(one), one["test"]) == (losses(other), other["test"])
        assert one["environment"]["processes"] == 2
        alone = member.run(directory, f"{name}-alone", **changes)
        np.testing.assert_allclose(losses(one), losses(alone), rtol=2e-4)
    whole, again = first["train"]["whole"], first["train"]["again"]
    assert (losses(whole), whole["test"]) == (losses(again), again["test"])


@pytest.mark.slow
def test_a_divergence_is_found_in_all_processes(found: tuple[Path, list[dict[str, Any]]]) -> None:
    _, (first, second) = found
    assert "is the first that is not finite" in first["diverge"]
    assert first["diverge"] == second["diverge"]


@pytest.mark.slow
def test_one_process_goes_on_from_the_checkpoint_of_two(
    found: tuple[Path, list[dict[str, Any]]], capfd: pytest.CaptureFixture[str]
) -> None:
    directory, _ = found
    content = member.run(directory, "whole", num_epochs=3)
    assert [each["processes"] for each in content["earlier_environments"]] == [2]
    assert "not as before: device_count, mesh, processes" in capfd.readouterr().err


def losses(content: dict[str, Any]) -> list[list[float]]:
    return [[epoch["loss"], epoch["val_loss"]] for epoch in content["epochs"]]


NUM_EPOCHS = 100  # of six steps, in the test of ten kills


def train(workdir: Path, count: int = 2, num_epochs: int = 9000) -> list[subprocess.Popen[str]]:
    """As many processes that train and save each second."""
    return start(
        [
            *(sys.executable, "train.py", "--config=configs/pooling_cnn3.py"),
            *("--config.dataset=digits", f"--config.num_epochs={num_epochs}"),
            *("--config.checkpoint.every_minutes=0.02", f"--workdir={workdir}"),
            *("--coordinator=127.0.0.1:PORT", f"--num_processes={count}", "--process_id=NUMBER"),
        ],
        count,
    )


def saved_steps(workdir: Path) -> list[int]:
    """The steps of the checkpoints."""
    return sorted(int(path.name.partition("-")[0]) for path in workdir.glob("checkpoints/[0-9]*"))


def newest(workdir: Path) -> int:
    return saved_steps(workdir)[-1]


def wait_for_checkpoint(workdir: Path, processes: list[subprocess.Popen[str]]) -> None:
    until = time.monotonic() + 120
    while not [*workdir.glob("checkpoints/[0-9]*")]:
        assert time.monotonic() < until
        assert all(process.poll() is None for process in processes)
        time.sleep(0.1)


@pytest.mark.slow
def test_a_stop_of_one_stops_all_and_a_loss_of_one_ends_all(tmp_path: Path) -> None:
    processes = train(tmp_path)
    wait_for_checkpoint(tmp_path, processes)
    processes[1].send_signal(signal.SIGTERM)
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [128 + signal.SIGTERM] * 2
    assert all("the same command goes on" in errors for _, errors in outputs)
    assert outputs[1][0] == ""  # process 0 writes the terminal
    saved = newest(tmp_path)

    processes = train(tmp_path)
    assert processes[0].stdout
    while "going on" not in (line := processes[0].stdout.readline()):
        assert line, processes[0].communicate()
    processes[1].kill()
    _, errors = processes[0].communicate(timeout=120)
    processes[1].communicate()
    assert processes[0].returncode in (2, 128 + signal.SIGABRT), errors
    assert "another process" in errors or "another task" in errors
    assert newest(tmp_path) >= saved  # nothing is lost


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("10.0.0.1:99", 2, None), "needs --coordinator=HOST:PORT, --num_processes=N and"),
        ((None, 2, 0), "needs --coordinator"),
        (("10.0.0.1", 2, 0), "must be HOST:PORT, such as 10.0.0.1:9876, not '10.0.0.1'"),
        (("host:0", 2, 0), "must be HOST:PORT"),
        (("host:99", 2, 2), "must be from 0 to 1, as there are --num_processes=2, not 2"),
        (("host:99", 0, 0), "--num_processes must be 1 or more"),
    ],
)
def test_flags_that_do_not_do(given: tuple[Any, Any, Any], said: str) -> None:
    with pytest.raises(ZooError, match=re.escape(said)):
        parse(*given)


def test_processes_of_flags_and_clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    auto = Processes("auto", 0, 0)
    assert parse(None, None, None) is None
    assert parse("[::1]:99", 4, 3) == Processes("[::1]:99", 4, 3)
    assert parse("auto", None, None) == auto
    monkeypatch.setenv("SLURM_NTASKS", "4")
    assert parse(None, None, None) is None  # a batch script, not one of its tasks
    monkeypatch.setenv("SLURM_STEP_NODELIST", "node[1-4]")
    assert parse(None, None, None) == auto
    assert parse(None, 1, None) is None
    monkeypatch.setenv("SLURM_NTASKS", "1")
    assert parse(None, None, None) is None
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "a,b")
    assert parse(None, None, None) == auto


def test_a_single_process_agrees_with_itself(tmp_path: Path) -> None:
    with distributed.together(), distributed.first_before_others():
        assert (distributed.largest(3), distributed.texts("a")) == (3, ["a"])
    distributed.check_same("configuration", {"a": 1})
    distributed.check_shared(tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ZooError, match=r"^full$"), distributed.loss_as_sentence():
        distributed.on_first(raise_error)


def raise_error() -> None:
    raise ZooError("full")


def test_what_cannot_be_joined_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "_SECONDS_TO_JOIN", 0.3)
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        assert "cannot be had on this machine (in use)" in join(Processes(taken, 2, 0), tmp_path)
    nobody = Processes(f"127.0.0.1:{free_port()}", 2, 1)
    assert "process 0 did not come within 0 s" in join(nobody, tmp_path)
    (tmp_path / ".coordinator").write_text(f"{nobody.coordinator} 2\n")
    assert "cannot be reached (Connection refused)" in join(nobody, tmp_path)


def join(processes: Processes, workdir: Path) -> str:
    with pytest.raises(ZooError) as raised, joining.joined(processes, workdir, quiet=True):
        pytest.fail("joined")
    return str(raised.value)


@pytest.mark.full
def test_ten_kills_lose_nothing(tmp_path: Path) -> None:
    """kill -9 of one process of four at random moments: start-up, steps, saves."""
    chance = random.Random(os.environ.get("ZOO_TEST_SEED", "0"))
    reference, killed = tmp_path / "reference", tmp_path / "killed"
    for _ in range(10):
        before = saved_steps(killed)[-1:]
        processes = train(killed, 4, NUM_EPOCHS)
        victim, seconds = processes[chance.randrange(4)], chance.uniform(0, 8)
        if chance.random() < 0.7:  # else at start-up
            while saved_steps(killed)[-1:] == before and victim.poll() is None:
                time.sleep(0.05)
        time.sleep(seconds)
        victim.kill()
        began = time.monotonic()
        for process in processes:
            process.communicate(timeout=120)
        print(f"at step {max(saved_steps(killed), default=0)}:", end=" ")
        print(f"all ended within {time.monotonic() - began:.1f} s")
    for workdir in (killed, reference):
        for process in train(workdir, 4, NUM_EPOCHS):
            _, errors = process.communicate(timeout=600)
            assert process.returncode == 0, errors
    one, other = (zoo.training.history.read(workdir) for workdir in (reference, killed))
    assert (untimed(one), one.test) == (untimed(other), other.test)
