"""Requests to stop: the piece in progress is finished, all is saved, the way on is said."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import HANGUP, ROOT, write_idx_dataset
from ml_collections import ConfigDict
from test_resume import assert_same_run

import zoo.training.history

SIGNALS = {
    signal.SIGINT: "Ctrl-C",
    signal.SIGTERM: "SIGTERM",
    signal.SIGHUP: "SIGHUP",
}


@pytest.fixture(scope="module")
def long_epochs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set whose epoch takes a few seconds, and in "run" a run of one epoch.

    Its programs are compiled already: beside other tests that can take longer than a stop may.
    """
    folder = tmp_path_factory.mktemp("long")
    write_idx_dataset(folder, num_train=24_000, num_test=100)
    arguments = command(folder, folder / "run", "--config.num_epochs=1")
    subprocess.run(arguments, cwd=ROOT, capture_output=True, check=True)
    return folder


def command(data: Path, workdir: Path, *more: str) -> list[str]:
    return [
        *(sys.executable, "train.py", "--config=configs/default.py", "--config.dataset=idx"),
        *(f"--config.manual_dir={data}", "--config.validation=test", f"--workdir={workdir}"),
        *("--config.num_epochs=2", *more),
    ]


def start(arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(seen: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_for_the_middle_of_the_first_epoch(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if "writing to" in line:
            break
    time.sleep(1.5)  # it compiles first; wherever it is then, it must answer


def stop(process: subprocess.Popen[str], *numbers: int) -> tuple[int, float, list[str]]:
    """Its status, the seconds from the first signal to its end, what it said on standard error."""
    began = time.monotonic()
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.05)
    _, error = process.communicate(timeout=60)
    return process.returncode, time.monotonic() - began, error.strip().splitlines()


def stopped_in_its_epoch(data: Path, workdir: Path, number: signal.Signals) -> str:
    """Starts a run of one epoch and stops it; gives the place at which it says that it stopped."""
    process = start(command(data, workdir, "--config.num_epochs=1"))
    wait_for_the_middle_of_the_first_epoch(process)
    status, seconds, said = stop(process, number)
    print(f"{SIGNALS[number]}: {seconds:.2f} s to exit")
    assert status == 128 + number
    assert seconds < 10
    assert said[0] == (
        f"train.py: {SIGNALS[number]}: saving, at most 8 s; a second signal stops at once"
    )
    assert said[1].startswith("train.py: stopped after batch ")
    assert said[1].endswith(f" of epoch 1, saved in {workdir}: the same command goes on")
    assert len(said) == 2
    (partial,) = workdir.glob("checkpoints/*-partial")
    assert 0 < int(partial.name.removesuffix("-partial")) < 750  # batches of an epoch
    return said[1].partition("stopped ")[2].partition(",")[0]


@pytest.mark.parametrize("number", [signal.SIGINT, HANGUP])
def test_a_stop_within_an_epoch_saves_and_says_so(
    long_epochs: Path, tmp_path: Path, number: signal.Signals
) -> None:
    stopped_in_its_epoch(long_epochs, tmp_path / "run", number)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, HANGUP])
def test_a_run_that_was_stopped_within_an_epoch_goes_on_bit_for_bit(
    long_epochs: Path, tmp_path: Path, number: signal.Signals
) -> None:
    workdir, whole = tmp_path / "run", long_epochs / "run"
    place = stopped_in_its_epoch(long_epochs, workdir, number)
    arguments = command(long_epochs, workdir, "--config.num_epochs=1")
    again = subprocess.run(arguments, cwd=ROOT, check=True, capture_output=True, text=True)
    assert f"going on {place}" in again.stdout
    assert_same_run(ConfigDict(zoo.training.history.read(whole).config), workdir, whole)


@pytest.mark.slow
def test_a_second_ctrl_c_stops_at_once_and_leaves_the_last_checkpoint_good(
    long_epochs: Path, tmp_path: Path
) -> None:
    workdir = tmp_path / "run"
    process = start(command(long_epochs, workdir, "--config.checkpoint.every_minutes=0.001"))
    wait_for(lambda: list(workdir.glob("checkpoints/[0-9]*-partial")))
    status, seconds, said = stop(process, signal.SIGINT, signal.SIGINT)
    assert status == 128 + signal.SIGINT
    assert seconds < 2
    assert said[-1].startswith("train.py: stopped")
    assert said[-1].endswith("goes on from the last checkpoint, if there is one") or (
        "saved in" in said[-1]  # it was faster than the second signal
    )
    result = subprocess.run(
        command(long_epochs, workdir),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "going on after batch" in result.stdout
    assert result.stderr == ""


@pytest.mark.slow
def test_a_run_that_is_busy_compiling_stops_within_ten_seconds(
    long_epochs: Path, tmp_path: Path
) -> None:
    """A deep net without a compilation cache: the answer does not wait for the compiler."""
    process = subprocess.Popen(
        command(long_epochs, tmp_path / "run", "--config.model=pairs_cnn14"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "0"},
    )
    wait_for_the_middle_of_the_first_epoch(process)
    status, seconds, said = stop(process, signal.SIGTERM)
    print(f"SIGTERM while compiling: {seconds:.2f} s to exit")
    assert status == 128 + signal.SIGTERM
    assert seconds < 10
    assert (
        said[-1]
        == "train.py: stopped; the same command goes on from the last checkpoint, if there is one"
    )


@pytest.mark.slow
def test_a_run_that_keeps_no_checkpoints_says_so_when_it_is_stopped(
    long_epochs: Path, tmp_path: Path
) -> None:
    process = start(command(long_epochs, tmp_path / "run", "--config.checkpoint.every_epochs=0"))
    wait_for_the_middle_of_the_first_epoch(process)
    status, _, said = stop(process, signal.SIGTERM)
    assert status == 128 + signal.SIGTERM
    assert said[-1].endswith("(checkpoint.every_epochs=0): the same command starts over")
