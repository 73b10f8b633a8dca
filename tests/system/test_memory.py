"""A run that does not fit in memory is refused early, with an estimate and what to reduce."""

import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from conftest import ROOT, write_idx_dataset

from zoo.system.memory import available_bytes, bytes_text, program_bytes

Run = Callable[..., subprocess.CompletedProcess[str]]


def arguments(data: Path, workdir: Path, *more: str) -> list[str]:
    return [
        *("train.py", "--config=configs/default.py", "--config.dataset=idx", *more),
        *(f"--config.manual_dir={data}", f"--workdir={workdir}", "--config.validation=test"),
    ]


def gigabytes(text: str) -> float:
    found = re.search(r"about ([\d,.]+) GB of memory, but .* are free", text)
    assert found, text
    return float(found[1].replace(",", ""))


LIMITED = (
    "import resource, runpy; resource.setrlimit(resource.RLIMIT_AS, (2**34, 2**34)); "
    "runpy.run_path('train.py', run_name='__main__')"
)


@pytest.mark.slow
def test_a_batch_too_large_for_the_machine_is_refused_before_the_run(
    run_python: Run, tmp_path: Path
) -> None:
    """600 images of 300x300 at once need more than the 17 GB that this process may have."""
    write_idx_dataset(tmp_path / "idx", num_train=600, num_test=10, size=300)
    _, *more = arguments(tmp_path / "idx", tmp_path / "run", "--config.batch_size=600")
    result = run_python("-c", LIMITED, *more)
    assert result.returncode == 2, result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "a training step of pooling_cnn3 with batches of 600 needs about" in result.stderr
    assert result.stderr.endswith("are free: use a smaller config.batch_size\n")
    # At least the output of the first convolution, 32 channels of 298x298, in float32.
    assert gigabytes(result.stderr) > 600 * 32 * 298**2 * 4 / 1e9
    assert not list((tmp_path / "run").glob("checkpoints/*"))


def test_too_many_seeds_for_the_machine_are_refused_before_the_run(
    run_python: Run, idx_dir: Path, tmp_path: Path
) -> None:
    result = run_python(
        *arguments(
            idx_dir,
            tmp_path / "run",
            "--config.model=custom7",
            "--config.num_seeds=10000",
            "--config.optimizer.name=adam",
        )
    )
    assert result.returncode == 2
    assert "the state of custom7 of 10,000 seeds needs about" in result.stderr
    assert result.stderr.endswith("are free: use a smaller net or fewer seeds\n")
    weights = 56_753_866 * 3 * 4 * 10_000  # parameters and Adam's two moments, float32
    assert gigabytes(result.stderr) == pytest.approx(weights / 1e9, rel=0.01)
    assert not (tmp_path / "run").exists()


def test_a_limit_on_the_process_counts() -> None:
    free = available_bytes()
    assert 0 < free < 1e15
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30));"
        "import zoo.system.memory; print(zoo.system.memory.available_bytes())"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert 0 < float(result.stdout) < 8 * 2**30
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY


def test_the_estimate_is_the_compilers() -> None:
    """x @ x is kept for a second multiplication: 1 MB besides arguments and result."""
    side = 500
    compiled = jax.jit(lambda x: jnp.sin(x @ x) @ x).lower(jnp.ones((side, side))).compile()
    one = 4 * side**2
    assert 2 * one <= program_bytes(compiled) <= 3 * one


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (5, "5 bytes"),
        (999, "999 bytes"),
        (1.5e4, "15 kB"),
        (999_400, "999 kB"),
        (999_700, "1 MB"),
        (2.5e6, "2.5 MB"),
        (999.6e6, "1.0 GB"),
        (1e12, "1,000.0 GB"),
    ],
)
def test_sizes_are_given_in_units(count: float, text: str) -> None:
    assert bytes_text(count) == text


COUNTS_HEAPS = """
import ctypes, threading
from zoo.system import process

def main():
    threads = [threading.Thread(target=bytearray, args=(100_000,)) for _ in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    libc = ctypes.CDLL("libc.so.6")
    libc.fdopen.restype = ctypes.c_void_p
    output = ctypes.c_void_p(libc.fdopen(1, b"w"))
    libc.malloc_info(0, output)
    return libc.fflush(output)

process.run("test", main)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="malloc_info is of glibc")
def test_all_threads_of_a_command_share_one_heap(run_python: Run) -> None:
    """Also the thread that waits for signals, which is there before anything is imported."""
    result = run_python("-c", COUNTS_HEAPS)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("<heap nr=") == 1
