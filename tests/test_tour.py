"""The tour runs from its first cell to its last."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT


@pytest.mark.slow
def test_the_tour_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs/tour.py")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "step 10  loss" in done.stdout
    pictures = {path.name for path in (tmp_path / "runs/tour").glob("*.png")}
    assert pictures == {"activations.png", "curves.png", "filters.png", "mistakes.png"}
