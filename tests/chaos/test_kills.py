"""A run that is killed again and again ends as one that was never killed, bit for bit."""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import ROOT
from ml_collections import ConfigDict
from test_training import last_state, untimed

import zoo.training.history

# What is killed, by the names of files that are touched just then; and the most such things that a
# process is let do first, so that the run comes on a little between two kills.
MOMENTS = {
    "start-up": (r"^/\.lock", 1),
    "checkpoint": (r"\.saving-", 60),
    "history": (r"history\.json", 8),
    "cleanup": (r"\.deleted-", 30),
    "any file": ("", 150),
}
KILLS = 12  # of each run below

RUNS = {
    "many seeds, accumulation, schedule, the best epoch": [
        "--config.model=pooling_cnn3",
        "--config.num_seeds=2",
        "--config.validation=holdout",
        "--config.optimizer.accumulate_steps=3",
        "--config.optimizer.schedule=cosine",
        "--config.optimizer.warmup_epochs=2.0",
    ],
    "batch normalization, adadelta, event files": [
        "--config.model=kernels_cnn3",
        "--config.validation=test",
        "--config.optimizer.name=adadelta",
        "--config.optimizer.learning_rate=1.0",
        "--config.tensorboard=True",
    ],
}


def killed(command: list[str], moment: str, rng: random.Random) -> bool:
    """Whether the process was killed: by its own hand at that moment, or from outside."""
    if moment == "time":
        process = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        time.sleep(rng.uniform(0.2, 6.0))
        process.kill()
    else:
        pattern, most = MOMENTS[moment]
        number = str(rng.randint(1, most))
        process = subprocess.Popen(
            [sys.executable, "tests/chaos/victim.py", pattern, number, *command],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
    _, error = process.communicate(timeout=300)
    assert process.returncode in (0, -signal.SIGKILL), error.decode()
    assert b"damaged" not in error, error.decode()
    return process.returncode != 0


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.full if number else pytest.mark.slow)
        for number, name in enumerate(RUNS)
    ],
)
def test_a_run_killed_at_random_moments_ends_as_one_never_killed(
    name: str, idx_dir: Path, tmp_path: Path
) -> None:
    def command(workdir: Path) -> list[str]:
        return [
            *("train.py", "--config=configs/default.py", "--config.dataset=idx"),
            *(f"--config.manual_dir={idx_dir}", "--config.batch_size=16"),
            *("--config.num_epochs=6", "--config.checkpoint.every_minutes=1e-9"),
            *(*RUNS[name], f"--workdir={workdir}"),
        ]

    whole = tmp_path / "whole"
    subprocess.run(
        [sys.executable, *command(whole)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL
    )
    expected = zoo.training.history.read(whole)
    config = ConfigDict(expected.config)
    state = last_state(config, whole)
    names = {path.name for path in (whole / "checkpoints").iterdir()}

    rng = random.Random(name)
    kills: Counter[str] = Counter()
    resumed_exactly = 0
    while kills.total() < KILLS:
        workdir = tmp_path / f"killed-{resumed_exactly}"
        moments = [moment for each in MOMENTS for moment in (each, "time")]
        rng.shuffle(moments)
        while killed(command(workdir), moment := moments[kills.total() % len(moments)], rng):
            kills[moment] += 1
        history = zoo.training.history.read(workdir)
        assert untimed(history) == untimed(expected)
        assert history.test == expected.test
        jax.tree.map(np.testing.assert_array_equal, last_state(config, workdir), state)
        assert {path.name for path in (workdir / "checkpoints").iterdir()} == names
        assert (workdir / "history.png").exists()
        resumed_exactly += 1
    print(f"{name}: {kills.total()} kills ({dict(kills)}), {resumed_exactly} runs exact")
    assert set(kills) == {*MOMENTS, "time"}
