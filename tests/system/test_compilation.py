"""Compiled programs on disk: a damaged one is compiled again and is valid at the next start."""

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT
from test_training import untimed

import zoo.training.history


def flipped(content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(3):
        changed[random.Random(len(content)).randrange(len(changed))] ^= 16
    return bytes(changed)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[: len(content) // 2],
    "emptied": lambda content: b"",
    "garbage": lambda content: b"garbage" * 50,
    "flipped": flipped,
}


Train = Callable[..., str]


@pytest.fixture
def train(idx_dir: Path, tmp_path: Path) -> Train:
    """Trains one epoch in a process of its own with an empty cache; gives its stderr."""

    def run(name: str, *options: str) -> str:
        command = [
            *(sys.executable, "train.py", "--config=configs/default.py", "--config.dataset=idx"),
            *(f"--config.manual_dir={idx_dir}", "--config.num_epochs=1", "--quiet", *options),
        ]
        result = subprocess.run(
            [*command, f"--workdir={tmp_path / name}"],
            cwd=ROOT,
            env={**os.environ, "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled")},
            capture_output=True,
            text=True,
            check=True,
        )
        return result.stderr

    return run


def entries(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "compiled").glob("*-cache"))


@pytest.mark.slow
def test_programs_serve_any_seed_learning_rate_and_number_of_epochs(
    train: Train, tmp_path: Path
) -> None:
    train("first", "--config.num_epochs=2")
    before = entries(tmp_path)
    train(
        "other", "--config.seed=5", "--config.optimizer.learning_rate=0.02", "--config.num_epochs=3"
    )
    assert entries(tmp_path) == before
    losses = [
        zoo.training.history.read(tmp_path / name).epochs[0]["loss"] for name in ("first", "other")
    ]
    assert losses[0] != losses[1]


@pytest.mark.slow
def test_damaged_programs_are_compiled_again_once(train: Train, tmp_path: Path) -> None:
    assert train("first") == ""
    expected = untimed(zoo.training.history.read(tmp_path / "first"))
    assert len(entries(tmp_path)) > 20
    for number, entry in enumerate(entries(tmp_path)):
        entry.write_bytes(list(DAMAGE.values())[number % len(DAMAGE)](entry.read_bytes()))
    assert train("damaged") == (
        f"note: the cache of compiled programs {tmp_path / 'compiled'} has damaged entries: these "
        f"programs are compiled again\n"
    )
    assert untimed(zoo.training.history.read(tmp_path / "damaged")) == expected
    assert train("after") == ""
