"""The tour is a notebook that was saved as it ran, and that runs."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from test_docs import check_output

TOUR = ROOT / "docs/tour.ipynb"


def printed(cells: list[dict[str, Any]]) -> str:
    """What the cells print, as one text."""
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    streams = [output["text"] for output in outputs if output["output_type"] == "stream"]
    return "".join("".join(text) for text in streams)


def pictures(cells: list[dict[str, Any]]) -> int:
    """How many pictures the cells show."""
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return sum("image/png" in output.get("data", {}) for output in outputs)


def test_it_was_saved_as_it_ran_from_top_to_bottom() -> None:
    cells = json.loads(TOUR.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == [*range(1, len(code) + 1)]
    assert pictures(cells) == 5
    assert "step 10  loss" in printed(cells)
    outputs = [output for cell in code for output in cell["outputs"]]
    assert all(output["output_type"] != "error" for output in outputs)
    assert all(output.get("name") != "stderr" for output in outputs)
    assert str(Path.home()) not in TOUR.read_text()


@pytest.mark.slow
def test_it_runs_without_a_screen_and_prints_what_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbformat = pytest.importorskip("nbformat", reason="needs the extra docs")
    nbclient = pytest.importorskip("nbclient", reason="needs the extra docs")
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    saved = nbformat.read(TOUR, as_version=4)
    tour = nbformat.read(TOUR, as_version=4)
    for cell in tour.cells:
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell.outputs = []
    nbclient.NotebookClient(
        tour, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    check_output(printed(saved.cells), printed(tour.cells))
    assert pictures(tour.cells) == pictures(saved.cells)
    assert (tmp_path / "runs/tour/run/history.json").exists()
