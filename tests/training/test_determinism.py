"""The same seed gives the same bits: in another process, beside other work."""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import ROOT
from ml_collections import ConfigDict
from test_training import last_state, untimed

import zoo.training.history
from zoo.training import train_and_evaluate


def command(idx_dir: Path, workdir: Path) -> list[str]:
    return [
        *(sys.executable, "train.py", "--config=configs/default.py", "--config.dataset=idx"),
        *(f"--config.manual_dir={idx_dir}", "--config.batch_size=16", "--config.num_epochs=3"),
        *("--config.model=kernels_cnn3", "--config.num_seeds=2", f"--workdir={workdir}", "--quiet"),
    ]


@pytest.fixture
def load() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Background processes, ended afterwards."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_processes_beside_any_load_give_the_same_bits(
    idx_dir: Path, tmp_path: Path, load: list[subprocess.Popen[bytes]]
) -> None:
    """Alone, beside five busy processes, and two runs at once."""
    digests = {}
    for count in (0, 5):
        while len(load) < count:
            load.append(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
        subprocess.run(
            command(idx_dir, tmp_path / f"{count}"), cwd=ROOT, check=True, capture_output=True
        )
        digests[f"beside {count}"] = digest(tmp_path / f"{count}")
    for process in load:
        process.kill()
    runs = [
        subprocess.Popen(command(idx_dir, tmp_path / f"at-once-{n}"), cwd=ROOT) for n in range(2)
    ]
    assert [run.wait() for run in runs] == [0] * 2
    for number in range(2):
        digests[f"at once {number}"] = digest(tmp_path / f"at-once-{number}")
    assert len(set(digests.values())) == 1, digests


def digest(workdir: Path) -> str:
    """Of the history, the clock left out, and of all numbers of the last state."""
    history = zoo.training.history.read(workdir)
    found = hashlib.sha256(repr((untimed(history), history.test)).encode())
    for leaf in jax.tree.leaves(last_state(ConfigDict(history.config), workdir)):
        found.update(np.asarray(leaf).tobytes())
    return found.hexdigest()


@pytest.mark.slow
def test_the_flag_for_gpus_is_harmless_on_a_cpu(tiny_config: ConfigDict, tmp_path: Path) -> None:
    plain = train_and_evaluate(tiny_config, tmp_path / "plain", quiet=True)
    tiny_config.deterministic = True
    flagged = train_and_evaluate(tiny_config, tmp_path / "flagged", quiet=True)
    assert untimed(flagged) == untimed(plain)
