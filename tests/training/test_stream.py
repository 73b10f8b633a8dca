"""A run on images that are read as they are used is the run on images in memory."""

import functools
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from conftest import ROOT
from ml_collections import ConfigDict
from test_training import untimed

import zoo.system.memory
from zoo.models.layers import BatchNorm, Conv, Dropout, Flatten, Head, MaxPool, Net
from zoo.system.errors import StoppedError, ZooError
from zoo.training import streaming, train_and_evaluate
from zoo.training.parameters import read

grain = pytest.importorskip("grain")
NET: Net = (Conv(4, 3), BatchNorm(), MaxPool(4), Dropout(0.3), Flatten(), Head())


@pytest.fixture
def config(tiny_config: ConfigDict, small_records: Path, tmp_path: Path) -> ConfigDict:
    """57 images in batches of 16, 15 held out, 20 for testing in steps of 8."""
    data_dir = shutil.copytree(small_records, tmp_path / "tfds")  # in which they are decoded
    tiny_config.update(dataset="mnist", data_dir=str(data_dir), manual_dir="")
    tiny_config.update(validation="holdout", eval_batch_size=8)
    return tiny_config


def parameters(workdir: Path) -> list[Any]:
    return jax.tree.leaves(read(workdir).variables)


def test_streamed_runs_have_the_bits_of_images_in_memory(
    config: ConfigDict, small_records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over windows of two batches, and when the run is stopped within an epoch and goes on."""
    monkeypatch.setattr(streaming, "WINDOW_BYTES", 2 * 16 * 28 * 28)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    streamed = config.copy_and_resolve_references()
    streamed.data.update(stream=True, workers=1)
    streamed.data_dir = str(small_records)
    wanted = train_and_evaluate(config, tmp_path / "memory", model=NET, quiet=True)
    run = functools.partial(train_and_evaluate, streamed, tmp_path / "run", model=NET, quiet=True)
    calls: list[None] = []

    def should_stop() -> bool:
        calls.append(None)
        return len(calls) == 2

    with pytest.raises(StoppedError, match="stopped after batch 2 of 4 of epoch 1"):
        run(should_stop=should_stop)
    found = run()
    assert untimed(found) == untimed(wanted)
    assert (found.test, found.data) == (wanted.test, wanted.data)
    for one, other in zip(
        parameters(tmp_path / "run"), parameters(tmp_path / "memory"), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert not multiprocessing.active_children()
    assert not [*tmp_path.glob("zoo-orders-*")]


def test_what_does_not_fit_is_said_with_the_way_out(
    config: ConfigDict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zoo.system.memory, "device_bytes", lambda: 70_000.0)
    with pytest.raises(
        ZooError,
        match=r"a dataset of 92 images of 28x28x1 needs about 72\.1 kB of memory, but 70 kB are "
        r"free: read images when they are used, with --config\.data\.stream=True",
    ):
        train_and_evaluate(config, tmp_path, quiet=True)


def test_without_grain_it_is_said_how_to_get_it(
    config: ConfigDict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "grain", None)
    config.data.stream = True
    with pytest.raises(ZooError, match=r'needs Grain: pip install "jax-cnn-zoo\[stream\]"'):
        train_and_evaluate(config, tmp_path, quiet=True)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["Ctrl-C", "a process that reads is killed", "the run is killed"])
def test_nothing_is_left_of_a_run_that_ends_early(
    small_records: Path, tmp_path: Path, how: str
) -> None:
    """Ctrl-C goes to all processes of a terminal; none but the run itself answers."""
    command = [
        *(sys.executable, "train.py", "--config=configs/default.py", "--config.dataset=mnist"),
        *(f"--config.data_dir={small_records}", "--config.data.stream=True"),
        *("--config.num_epochs=100000", "--config.checkpoint.every_epochs=1000"),
        f"--workdir={tmp_path / 'run'}",
    ]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "ZOO_MNIST_DIR": ""}
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if re.match(r"epoch +3/", line):
            break
    children = Path(f"/proc/{process.pid}/task").glob("*/children")
    pids = [int(pid) for path in children for pid in path.read_text().split()]
    workers = [*filter(is_worker, pids)]
    assert workers
    if how == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)
    else:
        os.kill(workers[0] if "reads" in how else process.pid, signal.SIGKILL)
    _, error = process.communicate(timeout=60)
    said = error.strip().splitlines()
    if how == "Ctrl-C":
        assert process.returncode == 130
        assert re.match(
            r"train.py: stopped after .*, saved in .*: the same command goes on", said[1]
        )
        assert len(said) == 2
    elif "reads" in how:
        assert process.returncode == 2
        assert re.fullmatch(
            r"train\.py: images cannot be read \(a process that reads them has ended with exit "
            r"code -9\): the same command goes on from the last checkpoint, .*workers=0.*",
            error.strip(),
        )
    else:
        assert said == []
    deadline = time.monotonic() + 10
    while any(map(is_worker, workers)) or [*tmp_path.glob("zoo-orders-*")]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_worker(pid: int) -> bool:
    """Whether that process, which is not a zombie, is one that reads."""
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
