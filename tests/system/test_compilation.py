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


@pytest.mark.slow
def test_damaged_programs_are_compiled_again_once(idx_dir: Path, tmp_path: Path) -> None:
    cache = tmp_path / "compiled"

    def train(name: str) -> str:
        command = [
            *(sys.executable, "train.py", "--config=configs/default.py", "--config.dataset=idx"),
            *(f"--config.manual_dir={idx_dir}", "--config.num_epochs=1", "--quiet"),
        ]
        result = subprocess.run(
            [*command, f"--workdir={tmp_path / name}"],
            cwd=ROOT,
            env={**os.environ, "JAX_COMPILATION_CACHE_DIR": str(cache)},
            capture_output=True,
            text=True,
            check=True,
        )
        return result.stderr

    assert train("first") == ""
    expected = untimed(zoo.training.history.read(tmp_path / "first"))
    entries = sorted(cache.glob("*-cache"))
    assert len(entries) > 20
    for number, entry in enumerate(entries):
        entry.write_bytes(list(DAMAGE.values())[number % len(DAMAGE)](entry.read_bytes()))
    assert train("damaged") == (
        f"note: the cache of compiled programs {cache} has damaged entries: these programs are "
        f"compiled again\n"
    )
    assert untimed(zoo.training.history.read(tmp_path / "damaged")) == expected
    assert train("after") == ""
