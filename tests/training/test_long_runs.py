"""A run of many epochs takes no more memory, files or threads at its end than at its beginning."""

import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT


def look(pid: int) -> tuple[int, int, int]:
    """(resident kilobytes, open files, threads) of a process."""
    status = Path(f"/proc/{pid}/status").read_text().split()
    kilobytes, threads = (int(status[status.index(key) + 1]) for key in ("VmRSS:", "Threads:"))
    return kilobytes, len(os.listdir(f"/proc/{pid}/fd")), threads


@pytest.mark.parametrize(
    ("num_epochs", "first", "growth"),
    [
        pytest.param(300, 10, 1.02, marks=pytest.mark.full),  # of a quiet machine
        # On a busy one, what is loaded once may still be on its way after epoch 10.
        pytest.param(50, 20, 1.06, marks=pytest.mark.slow),
    ],
)
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads Linux's /proc")
def test_memory_files_and_threads_stay(
    num_epochs: int, first: int, growth: float, tmp_path: Path
) -> None:
    command = [
        *(sys.executable, "train.py", "--config=configs/default.py"),
        *(f"--config.num_epochs={num_epochs}", f"--workdir={tmp_path / 'run'}"),
    ]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        epochs = [look(process.pid) for line in process.stdout if line.startswith("epoch ")]
    assert process.returncode == 0
    assert len(epochs) == num_epochs
    # The line of an epoch is read while the next is under way, so of each a median of five.
    early, late = (
        statistics.median(each[0] for each in part)
        for part in (epochs[first - 2 : first + 3], epochs[-5:])
    )
    # Saving opens files and starts threads for a moment: so the least of five.
    counts, counts_late = (
        [min(each[index] for each in part) for index in (1, 2)]
        for part in (epochs[first - 2 : first + 3], epochs[-6:-1])
    )
    print("resident MB:", *(f"{each[0] / 1024:.0f}" for each in epochs[::20]))
    print(f"{early / 1024:.1f} MB after epoch {first}, {late / 1024:.1f} MB after {num_epochs}")
    print(f"files and threads {counts} and {counts_late}")
    assert late <= growth * early
    assert counts_late[0] == counts[0]
    assert counts_late[1] <= counts[1] + 1  # a pool may start one more thread when it is busy
    names = {path.name for path in (tmp_path / "run/checkpoints").iterdir()}
    assert len(names) <= 3, "two of the newest and one of the best"
