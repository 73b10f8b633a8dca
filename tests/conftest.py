"""Fixtures: golden facts of the nets, tiny data in the IDX format, tiny configurations."""

import contextlib
import fcntl
import gzip
import io
import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import zoo.cli
import zoo.data
import zoo.system.process
import zoo.system.waiting
from zoo.configs import default
from zoo.data.idx import FILES
from zoo.training import train_and_evaluate

ROOT = Path(__file__).parent.parent
GOLDEN = json.loads((ROOT / "tests/golden/nets.json").read_text())
REAL_MNIST_DIR = os.environ.get("ZOO_MNIST_DIR")
EIGHT_DEVICES = "--xla_force_host_platform_device_count=8"  # a flag of XLA: virtual ones
HANGUP = pytest.param(
    signal.SIGHUP,
    marks=pytest.mark.skipif(
        signal.getsignal(signal.SIGHUP) == signal.SIG_IGN, reason="these tests run under nohup"
    ),
)
# Tests that need eight devices; tests/training/test_mesh.py runs them in a process that has them.
collect_ignore = [] if EIGHT_DEVICES in os.environ.get("XLA_FLAGS", "") else ["eight_devices"]


def write_idx(path: Path, array: np.ndarray) -> None:
    """Writes a gzipped IDX file of unsigned bytes."""
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


def write_idx_dataset(
    folder: Path, num_train: int, num_test: int, size: int = 28, seed: int = 0
) -> None:
    """Four IDX files: images of ten classes that a net can tell apart, with noise."""
    rng = np.random.default_rng(seed)
    patterns = rng.integers(0, 200, (10, size, size))
    folder.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", num_train), ("test", num_test)):
        labels = (9 - np.arange(count)) % 10  # the largest label comes first: ten classes always
        images = patterns[labels] + rng.integers(0, 56, (count, size, size))
        write_idx(folder / FILES[split][0], images)
        write_idx(folder / FILES[split][1], labels)


def directory_of_all_workers(factory: pytest.TempPathFactory) -> Path:
    """A temporary directory that the processes of one test session share."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Compiles a program once for all tests, those in other processes included.

    And for the next run of pytest, where JAX_COMPILATION_CACHE_DIR names a directory.
    """
    chosen = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    folder = chosen or directory_of_all_workers(tmp_path_factory) / "compilation_cache"
    settings = {
        "jax_compilation_cache_dir": str(Path(folder).absolute()),
        "jax_persistent_cache_min_compile_time_secs": 0.5,
    }
    for name, value in settings.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)


@pytest.fixture(scope="session")
def idx_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an IDX data set of 72 training and 20 test images."""
    folder = tmp_path_factory.mktemp("idx")
    write_idx_dataset(folder, num_train=72, num_test=20)
    return folder


@pytest.fixture(scope="session")
def small_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data_dir in which TFDS's mnist is prepared of 72 and 20 images; nothing is decoded."""
    from zoo.data import mnist_tfds
    from zoo.data.idx_files import find_idx_files

    folder, data_dir = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("records")
    write_idx_dataset(folder, num_train=72, num_test=20)
    mnist_tfds._prepare_mnist("mnist", "3.0.1", data_dir, find_idx_files(folder))
    return data_dir


@pytest.fixture
def tiny_config(idx_dir: Path) -> ConfigDict:
    """A run that takes seconds: dropout, a partial last batch, two epochs."""
    config = default.get_config()
    config.model = "pooling_cnn3"
    config.dataset = "idx"
    config.manual_dir = str(idx_dir)
    config.validation = "test"
    config.num_epochs = 2
    config.batch_size = 16
    return config


@pytest.fixture(scope="session")
def mnist_manual_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The genuine MNIST files where ZOO_MNIST_DIR names them, else small ones of the same form."""
    if REAL_MNIST_DIR:
        return Path(REAL_MNIST_DIR).absolute()
    folder = tmp_path_factory.mktemp("small_mnist")
    write_idx_dataset(folder, num_train=600, num_test=100)
    return folder


@pytest.fixture(scope="session")
def mnist_data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """Where the genuine MNIST is prepared, once for all tests; None without ZOO_MNIST_DIR."""
    if not REAL_MNIST_DIR:
        return None
    data_dir = directory_of_all_workers(tmp_path_factory) / "tensorflow_datasets"
    data_dir.mkdir(exist_ok=True)
    with (data_dir / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be preparing it
        is_there = (data_dir / "mnist").exists()
        with contextlib.redirect_stderr(io.StringIO()) as said:
            zoo.data.load("mnist", data_dir=data_dir, manual_dir=REAL_MNIST_DIR)
        assert is_there or f"Preparing mnist in {data_dir} (only once" in said.getvalue()
    return data_dir


def train_for_drawings(workdir: Path, data_dir: Path | None) -> None:
    """Trains a small net on MNIST if it is there, else on scikit-learn's blurred 8x8 digits."""
    config = default.get_config()
    if data_dir:
        config.update(dataset="mnist", num_epochs=3, batch_size=200, data_dir=str(data_dir))
    train_and_evaluate(config, workdir, quiet=True)


@pytest.fixture
def run_zoo(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str, str]]:
    """Runs `zoo ARGUMENTS...` in this process; gives its status, output and errors.

    However slow the machine, it does not say what it waits for.
    """
    monkeypatch.setattr(zoo.system.waiting, "SILENT_SECONDS", 3600.0)

    def run(*arguments: object) -> tuple[int, str, str]:
        status = zoo.system.process.status_of("zoo", lambda: zoo.cli.run([*map(str, arguments)]))
        return status, *capsys.readouterr()

    return run


@pytest.fixture(scope="session")
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `python ARGUMENTS...` in the repository's root, as a user does."""

    def run(*arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run
