"""A disk that is full or refuses, and odd places: one sentence, status 2, nothing lost."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import unprivileged
from conftest import ROOT
from test_training import files_of, untimed

import zoo.training.history

# Larger than the limit, no file can become: every write from the first to the last fails in one of
# these runs. The limit is set as a shell's ulimit sets it, before Python starts.
LIMITS = (0, 32, 128)  # kilobytes

LIMITED = (
    "import resource, runpy, sys; size = int(sys.argv.pop(1)); "
    "resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)); "
    "runpy.run_path('train.py', run_name='__main__')"
)


def arguments(data: Path, workdir: Path, *more: str) -> list[str]:
    return [
        *("--config=configs/default.py", "--config.dataset=idx", f"--config.manual_dir={data}"),
        *("--config.validation=test", "--config.batch_size=16", f"--workdir={workdir}", *more),
    ]


@pytest.fixture
def own_compilation_cache(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For tests with a limit: what is cut off must not get into the cache of other tests."""
    folder = tmp_path_factory.getbasetemp() / "compiled_within_limits"
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(folder))


def train(*more: str, limit: int | None = None) -> tuple[int, str]:
    """Trains in a process whose files may have `limit` bytes; gives its status and errors."""
    start = ["train.py"] if limit is None else ["-c", LIMITED, str(limit)]
    result = subprocess.run(
        [sys.executable, *start, *more],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return result.returncode, result.stderr


def is_one_sentence(error: str) -> bool:
    lines = [line for line in error.splitlines() if not line.startswith("note: ")]
    return len(lines) == 1 and lines[0].startswith("train.py: ") and "Traceback" not in error


@pytest.mark.usefixtures("own_compilation_cache")
@pytest.mark.slow
def test_a_full_disk_is_one_sentence_and_the_run_goes_on_bit_for_bit(
    idx_dir: Path, tmp_path: Path
) -> None:
    assert train(*arguments(idx_dir, tmp_path / "whole", "--config.num_epochs=3"))[0] == 0
    whole = zoo.training.history.read(tmp_path / "whole")
    failures = 0
    for kilobytes in LIMITS:
        run = tmp_path / f"run-{kilobytes}"
        assert train(*arguments(idx_dir, run, "--config.num_epochs=1"))[0] == 0
        before = files_of(run / "checkpoints")
        more = arguments(idx_dir, run, "--config.num_epochs=3")
        status, error = train(*more, limit=1024 * kilobytes)
        print(f"files of at most {kilobytes} kB: status {status}, {error.strip()}")
        assert status in (0, 2), error
        if status == 2:
            failures += 1
            assert is_one_sentence(error), error
            assert files_of(run / "checkpoints").items() >= before.items(), "something is lost"
            assert train(*more)[0] == 0
        parts = zoo.training.history.read(run)
        assert untimed(parts) == untimed(whole)
        assert parts.test == whole.test
        assert not list(run.rglob(".saving-*")), "a half written checkpoint is left"
        assert not list(run.rglob("*.tmp")), "a half written file is left"
    assert failures >= 2


@pytest.mark.usefixtures("own_compilation_cache")
@pytest.mark.slow
def test_a_full_disk_names_what_could_not_be_written(idx_dir: Path, tmp_path: Path) -> None:
    assert train(*arguments(idx_dir, tmp_path / "first", "--config.num_epochs=1"))[0] == 0
    status, error = train(*arguments(idx_dir, tmp_path / "run"), limit=100)
    assert status == 2
    assert is_one_sentence(error)
    assert "File too large" in error
    assert "make room" in error


UNPRIVILEGED = f"""
{unprivileged.PREAMBLE}
import runpy

runpy.run_path("train.py", run_name="__main__")
"""


@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_a_folder_without_permission_is_one_sentence(
    idx_dir: Path, tmp_path: Path, mode: int
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode)
    locked.chmod(mode)
    result = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED, *arguments(idx_dir, locked / "run")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    locked.chmod(0o755)
    assert result.returncode == 2, result.stderr
    assert is_one_sentence(result.stderr), result.stderr
    assert f"the run's directory {locked / 'run'} cannot be " in result.stderr
    assert result.stderr.endswith("name another\n")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("x" * 300, "File name too long"),
        ("/".join(["long-folder-name"] * 300), "File name too long"),
    ],
    ids=["name", "path"],
)
def test_a_path_that_cannot_be_is_one_sentence(
    idx_dir: Path, tmp_path: Path, name: str, sentence: str
) -> None:
    status, error = train(*arguments(idx_dir, tmp_path / name))
    assert status == 2, error
    assert is_one_sentence(error), error
    assert sentence in error


@pytest.mark.parametrize(
    "name",
    [
        "lr=[1e-3], Zähler-数字-🔢*",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("new\nline", "-dash", "quote'\"$HOME", "back\\slash")
        ),
    ],
)
def test_any_name_of_a_folder_does(idx_dir: Path, tmp_path: Path, name: str) -> None:
    data = tmp_path / f"{name} data"
    shutil.copytree(idx_dir, data)
    run = tmp_path / name
    for epochs in (1, 2):
        more = (f"--config.num_epochs={epochs}", "--quiet")
        status, error = train(*arguments(data, run, *more))
        assert status == 0, error
        assert error == ""
    assert len(zoo.training.history.read(run).epochs) == 2


def test_a_folder_on_another_file_system_does(idx_dir: Path, tmp_path: Path) -> None:
    """Where there is one: renaming works only within a file system."""
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK):
        shared = tmp_path
    other = shared / f"zoo-test-{os.getpid()}"
    other.mkdir()
    (tmp_path / "run").symlink_to(other)
    try:
        for epochs in (1, 2):
            number = f"--config.num_epochs={epochs}"
            assert train(*arguments(idx_dir, tmp_path / "run", number)) == (0, "")
        assert len(zoo.training.history.read(other).epochs) == 2
    finally:
        shutil.rmtree(other)


@pytest.mark.usefixtures("own_compilation_cache")
@pytest.mark.slow
def test_two_runs_in_one_folder_the_second_is_refused_and_a_dead_one_holds_nothing(
    idx_dir: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    more = arguments(idx_dir, run, "--config.num_epochs=100000", "--config.checkpoint.keep_best=0")
    first = subprocess.Popen(
        [sys.executable, "train.py", *more], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert first.stdout is not None
    for line in first.stdout:
        if line.startswith("epoch"):
            break
    status, error = train(*more)
    assert status == 2
    assert "another process is training in" in error
    assert is_one_sentence(error)
    first.kill()
    first.communicate()
    assert (run / ".lock").exists()
    done = len(zoo.training.history.read(run).epochs)
    (run / "history.json").unlink()
    status, error = train(*arguments(idx_dir, run, f"--config.num_epochs={done + 100000}"), limit=0)
    assert status == 2
    assert "another process" not in error, "a dead process holds the lock"
