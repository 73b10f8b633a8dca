"""Runs whose data is not where it was: read, resumed and told from runs on other data."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import write_idx_dataset
from ml_collections import ConfigDict
from PIL import Image
from test_checkpoint import rewrite
from test_resume import assert_same_run

import zoo.analysis.trained
import zoo.data
import zoo.training.history
from zoo.analysis.net import TrainedNet, TrainingData
from zoo.configs import default
from zoo.data import DataDirs, Options
from zoo.system.errors import ZooError
from zoo.training import train_and_evaluate

Zoo = Callable[..., tuple[int, str, str]]
RUN = "runs/study/a"


def make_config(manual_dir: str | Path, num_epochs: int = 1) -> ConfigDict:
    config = default.get_config()
    config.update(dataset="idx", manual_dir=str(manual_dir), validation="test", batch_size=24)
    config.num_epochs = num_epochs
    return config


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with its data in data/bars, named as such, and a run of one epoch."""
    project = tmp_path_factory.mktemp("trained") / "project"
    write_idx_dataset(project / "data/bars", num_train=72, num_test=20)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        train_and_evaluate(make_config("data/bars"), RUN, quiet=True)
    return project


@pytest.fixture
def project(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That project, copied to where it was never trained; the first one is out of sight."""
    monkeypatch.chdir(tmp_path)
    project = Path(shutil.copytree(trained, tmp_path / "project"))
    edit(project / RUN, lambda content: content["config"].update(manual_dir=str(project / BARS)))
    return project


BARS = "data/bars"


def edit(workdir: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes a run's history."""
    path = workdir / "history.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def num_test(workdir: Path, given: DataDirs = zoo.data.NOWHERE) -> int:
    return len(zoo.analysis.trained.load(workdir, given=given).split("test"))


def test_the_history_keeps_the_content_and_no_relative_directory(trained: Path) -> None:
    history = zoo.training.history.read(trained / RUN)
    assert history.config["manual_dir"] == str(trained / BARS)
    assert history.data["sha256"] == zoo.data.load("idx", manual_dir=trained / BARS).sha256


def test_the_data_is_found_from_another_current_directory(project: Path) -> None:
    assert num_test(project / RUN) == 20
    os.chdir("/")
    assert num_test(project / RUN) == 20


def test_a_run_that_is_moved_away_from_its_data_finds_it(project: Path, tmp_path: Path) -> None:
    (project / RUN).rename(tmp_path / "run")
    assert num_test(Path("run")) == 20


def test_a_project_that_is_moved_as_a_whole_finds_its_data(project: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    project.rename(tmp_path / "elsewhere/renamed")
    assert num_test(Path("elsewhere/renamed") / RUN) == 20
    os.chdir("elsewhere/renamed/runs")
    assert num_test(Path("study/a")) == 20


@pytest.mark.parametrize("hint", [BARS, "./data/bars", "../project/data/bars"])
def test_relative_directories_in_older_histories_are_found(project: Path, hint: str) -> None:
    def make_older(content: dict[str, Any]) -> None:
        content["config"]["manual_dir"] = hint
        del content["data"]["sha256"]

    edit(project / RUN, make_older)
    os.chdir("/")
    assert num_test(project / RUN) == 20


def test_a_directory_of_the_same_name_with_other_data_is_passed_over(
    project: Path, tmp_path: Path
) -> None:
    edit(project / RUN, lambda content: content["config"].update(manual_dir="/anna/data/bars"))
    write_idx_dataset(project / "runs/bars", num_train=72, num_test=20, seed=1)
    (project / "runs/data/bars").mkdir(parents=True)
    assert num_test(project / RUN) == 20
    (project / BARS).rename(tmp_path / "gone")
    with pytest.raises(ZooError, match=r"^idx is not in /anna/data/bars: name"):
        num_test(project / RUN)


def test_data_of_which_nothing_is_known_is_asked_for_in_one_sentence(
    project: Path, tmp_path: Path
) -> None:
    (project / BARS).rename(tmp_path / "brought here")
    with pytest.raises(ZooError, match=r"^idx is not in .*bars: name the .* with --manual-dir=DIR"):
        num_test(project / RUN)
    assert num_test(project / RUN, DataDirs(manual_dir="brought here")) == 20


def test_the_commands_take_the_directory(
    project: Path, tmp_path: Path, run_zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / BARS).rename(tmp_path / "brought here")
    run = project / RUN
    commands = (
        ["evaluate", run],
        ["evaluate", run, "--split=train"],
        ["predict", run, 3],
        ["plot", run, "--kind=confusion", "-o", "confusion.png"],
        ["plot", run, "--kind=activations", "--image=3", "-o", "activations.png"],
    )
    for command in commands:
        status, said, error = run_zoo(*command)
        assert (status, said) == (2, "")
        assert error.startswith("zoo: idx is not in ")
        assert error.count("\n") == 1
        assert run_zoo(*command, "--manual-dir=brought here")[::2] == (0, "")
    assert run_zoo("report", run, "-o", "without.html")[0] == 0
    assert "idx is not in" in Path("without.html").read_text()
    assert run_zoo("report", run, "-o", "with.html", "--manual-dir=brought here")[0] == 0
    assert "on 20 test images" in Path("with.html").read_text()
    served = []
    monkeypatch.setattr("zoo.web.watch.serve", lambda *arguments: served.append(arguments) or Stop)
    run_zoo("watch", project, "--manual-dir=brought here")
    assert served == [(project, 8000, DataDirs("", "brought here"))]


class Stop:
    """A server that serves nothing."""

    effective_port = 8000

    @staticmethod
    def run() -> None:
        pass


def test_watch_shows_a_run_by_the_directory(project: Path, tmp_path: Path) -> None:
    from zoo.web import watch

    (project / BARS).rename(tmp_path / "brought here")
    answer = watch.make_app(project).test_client().get(f"/parts/net/{RUN}")
    assert (answer.status_code, answer.text[:13]) == (422, "idx is not in")
    client = watch.make_app(project, DataDirs(manual_dir="brought here")).test_client()
    assert "on 20 test images" in client.get(f"/parts/net/{RUN}").text


def test_other_data_is_not_scored_as_the_runs_but_on_request(project: Path, run_zoo: Zoo) -> None:
    write_idx_dataset(Path("other"), num_train=72, num_test=20, seed=1)
    status, said, error = run_zoo("evaluate", project / RUN, "--manual-dir=other")
    assert (status, said) == (2, "")
    assert error.startswith(f"zoo: idx in other is not the data that {project / RUN} was trained")
    assert error.count("\n") == 1
    status, said, _ = run_zoo("evaluate", project / RUN, "--dataset=idx", "--manual-dir=other")
    assert status == 0
    assert "on the test split of idx (20 images)" in said


def test_the_same_images_are_split_as_they_were_wherever_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another seed or share would mix images of the training into the test images."""
    for index in range(24):
        (tmp_path / f"here/{index % 2}").mkdir(parents=True, exist_ok=True)
        Image.new("L", (9, 9), 10 * index).save(tmp_path / f"here/{index % 2}/{index}.png")
    options = Options(image_size=8, test_share=0.4, split_seed=5)
    found = zoo.data.load(f"images:{tmp_path / 'here'}", options=options)
    data = TrainingData(found.name, 2, (8, 8, 1), 10, found.sha256, options=options)
    net = TrainedNet("run", "net", None, {}, data, 0, 1)  # type: ignore[arg-type]
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    monkeypatch.chdir(tmp_path)
    for place in ("images:here", f"images:{tmp_path}/here", "images:here/../there"):
        np.testing.assert_array_equal(net.split("test", place).images, found.test.images)
    (tmp_path / "here/0/0.png").unlink()
    with pytest.raises(ZooError, match=r"not the data .*--dataset=images:here --manual-dir=PATH$"):
        net.split("test", "images:here")
    asked = dataclasses.replace(net, given=DataDirs(manual_dir=str(tmp_path / "here")))
    assert len(asked.split("test", "images:here")) == 9
    np.savez("x.npz", pictures=found.train.images, kinds=found.train.labels)
    fields = dataclasses.replace(data, dataset="csv:x", options=Options(fields="label"))
    with pytest.raises(ZooError, match=r"x\.npz has no arrays x_train and y_train"):
        dataclasses.replace(net, data=fields).split("test", "npz:x.npz")


def test_an_older_run_without_a_checksum_is_not_scored_on_data_of_another_size(
    project: Path,
) -> None:
    edit(project / RUN, lambda content: content["data"].pop("sha256"))
    write_idx_dataset(Path("other"), num_train=72, num_test=30)
    with pytest.raises(ZooError, match=r"idx has 30 test images here, but had 20 where"):
        num_test(project / RUN, DataDirs(manual_dir="other"))


def test_the_directory_of_another_machine_is_not_made(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_zoo: Zoo
) -> None:
    """A run on MNIST whose TFDS directory exists there alone, evaluated here."""
    dataset = zoo.data.load("idx", manual_dir=trained / BARS)
    for place in ("there", "here"):
        (tmp_path / place / "mnist/3.0.1").mkdir(parents=True)
        zoo.data.cache.write(
            tmp_path / place / "mnist/3.0.1/decoded",
            {
                name: (split.images, split.labels)
                for name, split in (("train", dataset.train), ("test", dataset.test))
            },
        )
    config = make_config("")
    config.update(dataset="mnist", data_dir=str(tmp_path / "there"))
    train_and_evaluate(config, tmp_path / "run", quiet=True)
    assert zoo.training.history.read(tmp_path / "run").data["sha256"] == dataset.sha256
    shutil.rmtree(tmp_path / "there")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ZOO_MNIST_DIR", raising=False)
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    for environment in ({}, {"TFDS_DATA_DIR": str(tmp_path / "here")}):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        status, _, error = run_zoo("evaluate", tmp_path / "run")
        assert status == (0 if environment else 2)
        assert error.count("\n") == (0 if environment else 1)
        assert not (tmp_path / "there").exists()
        assert not (tmp_path / "home").exists()
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert run_zoo("evaluate", tmp_path / "run", f"--data-dir={tmp_path / 'here'}")[0] == 0


def test_a_run_goes_on_with_its_data_wherever_that_lies(
    project: Path, trained: Path, tmp_path: Path
) -> None:
    train_and_evaluate(make_config(trained / BARS, 2), tmp_path / "whole", quiet=True)
    (project / BARS).rename(tmp_path / "bars")
    (project / RUN).rename(tmp_path / "run")
    history = train_and_evaluate(make_config("bars", 2), tmp_path / "run", quiet=True)
    assert history.config["manual_dir"] == str(tmp_path / "bars")
    assert_same_run(make_config("bars", 2), tmp_path / "run", tmp_path / "whole")
    assert num_test(tmp_path / "run") == 20


@pytest.mark.parametrize("num_epochs", [1, 2], ids=["complete", "goes on"])
def test_other_data_of_the_same_form_is_another_run(
    project: Path, capsys: pytest.CaptureFixture[str], num_epochs: int
) -> None:
    write_idx_dataset(Path("other"), num_train=72, num_test=20, seed=1)
    there = zoo.training.history.read(project / RUN).data["sha256"][:16]
    here = zoo.data.load("idx", manual_dir="other").sha256[:16]
    sentence = rf"a run on other data \(sha256 {there} there, {here} here\): name the directory"
    before = {path: path.read_bytes() for path in (project / RUN).rglob("*") if path.is_file()}
    with pytest.raises(ZooError, match=sentence):
        train_and_evaluate(make_config("other", num_epochs), project / RUN, quiet=True)
    assert {path: path.read_bytes() for path in before} == before
    capsys.readouterr()
    (project / BARS).rename("moved")
    train_and_evaluate(make_config("moved", num_epochs), project / RUN)
    assert ("nothing to do" in capsys.readouterr().out) == (num_epochs == 1)


def test_an_older_run_gets_the_checksum_of_its_data(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rewrite(
        project / RUN / "checkpoints/3",
        lambda content: content["history"]["data"].pop("sha256"),
    )
    history = train_and_evaluate(make_config(project / BARS, 2), project / RUN, quiet=True)
    assert "kept no checksum of the data, began this run" in capsys.readouterr().err
    assert history.data["sha256"] == zoo.data.load("idx", manual_dir=project / BARS).sha256


@pytest.mark.parametrize("value", [None, 5, ["x"], "\x1b[2J"])
def test_a_checksum_of_another_form_is_damage(project: Path, value: Any) -> None:
    edit(project / RUN, lambda content: content["data"].update(sha256=value))
    with pytest.raises(ZooError, match="is damaged"):
        zoo.training.history.read(project / RUN)
