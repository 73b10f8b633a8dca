"""The benchmarks run and report their measurements."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.slow
def test_peers_measures_the_zoo_and_stock_flax(run_python: Run, tmp_path: Path) -> None:
    arguments = ["--nets=pooling_cnn3", "--contenders=zoo,flax", "--batch-size=8", "--rounds=2"]
    result = run_python(
        "benchmarks/peers.py", *arguments, "--seconds=0.05", f"--output={tmp_path}", "--stem=here"
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert {path.name for path in tmp_path.iterdir()} == {"here.json", "here.md", "here.png"}
    measured = json.loads((tmp_path / "here.json").read_text())
    net = measured["nets"]["pooling_cnn3"]
    assert net["failed"] == {}
    assert len(net["matmul"]["rounds"]) == 2
    for contender in ("zoo", "flax"):
        entry = net["contenders"][contender]
        assert len(entry["rounds"]) == 2
        assert entry["images_per_second"] > 0
        assert entry["peak_bytes"] > entry["resident_bytes"] / 2 > 0
    zoo = net["contenders"]["zoo"]
    assert zoo["later_first_step_seconds"] < zoo["first_step_seconds"]
    assert 0 < zoo["later_peak_bytes"] < zoo["peak_bytes"]

    page = (tmp_path / "here.md").read_text()
    assert "`pooling_cnn3`" in page
    again = run_python("benchmarks/peers.py", f"--render={tmp_path / 'here.json'}")
    assert again.returncode == 0
    assert (tmp_path / "here.md").read_text() == page


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--contenders=zoo,caffe", "unknown contender caffe; known: zoo, flax, torch"),
        ("--nets=lenet5", "no net of the zoo matches --nets"),
        ("--rounds=0", "must be above 0"),
    ],
)
def test_a_wrong_argument_of_peers_is_one_sentence(
    run_python: Run, argument: str, said: str
) -> None:
    result = run_python("benchmarks/peers.py", argument)
    assert result.returncode == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_fast99_trains_each_seed_and_writes_a_page(run_python: Run, tmp_path: Path) -> None:
    output = tmp_path / "fast99.json"
    arguments = ["--dataset=digits", "--seeds=2", "--set=num_epochs=2", f"--output={output}"]
    done = run_python("benchmarks/fast99.py", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 seeds, 2,884 images seen" in done.stdout
    result = json.loads(output.read_text())
    assert [each["seed"] for each in result["seeds"]] == [1, 2]
    assert result["config"]["num_epochs"] == 2
    assert all(each["seconds"] > 0 and 0.8 < each["accuracy"] <= 1 for each in result["seeds"])
    assert "| 2 |" in output.with_suffix(".md").read_text()
