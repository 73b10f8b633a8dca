"""A directory of photographs of three classes through all commands, as the guide shows them."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import zoo.cli
import zoo.training.history
from zoo.analysis import prediction, trained
from zoo.data import DataDirs
from zoo.data.images import read, to_pixels
from zoo.data.preparation import Prepared
from zoo.system.errors import ZooError
from zoo.web import watch

Zoo = Callable[..., tuple[int, str, str]]
COLOURS = {"red apple": (200, 40, 30), "leaf <b>": (40, 180, 50), "sky": (60, 90, 220)}


def photograph(folder: Path, count: int, seed: int = 0) -> None:
    """Noisy pictures of several sizes in a directory for each class."""
    rng = np.random.default_rng(seed)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            height, width = rng.integers(20, 50, 2)
            pixels = np.clip(rng.normal(colour, 40, (height, width, 3)), 0, 255)
            kind = "png" if number % 2 else "jpg"
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.{kind}")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that has photographs and the run that `zoo train` made of them."""
    project = tmp_path_factory.mktemp("project")
    photograph(project / "photos", 20)
    before = Path.cwd()
    os.chdir(project)
    try:
        arguments = ("--config.data.image_size=24", "--config.num_epochs=3", "--quiet")
        assert zoo.cli.run(["train", "photos", *arguments]) == 0
    finally:
        os.chdir(before)
    return project


@pytest.fixture
def run(project: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(project)
    return "runs/pooling_cnn3-images-photos-0"


def test_the_history_tells_the_classes_and_how_pictures_are_prepared(run: str) -> None:
    history = zoo.training.history.read(Path(run))
    assert history.data["classes"] == ["leaf <b>", "red apple", "sky"]
    assert history.data["image_shape"] == [24, 24, 3]
    assert history.framing == {}
    assert history.config["dataset"] == f"images:{Path.cwd()}/photos"
    assert history.config["data"]["image_size"] == 24
    assert [history.data[f"num_{name}"] for name in ("train", "val", "test")] == [38, 10, 12]


def test_evaluate_and_predict_name_the_classes(run: str, run_zoo: Zoo) -> None:
    status, printed, _ = run_zoo("evaluate", run)
    assert status == 0
    assert "on the test split of images:photos (12 images)" in printed
    assert "\n red apple  " in printed or "\nred apple  " in printed
    status, printed, _ = run_zoo("predict", run, "photos/sky/1.png", 0, "--plot", "p.png")
    assert status == 0
    assert printed.startswith("photos/sky/1.png\n      sky  ██████")
    assert "test image 0 (labelled leaf <b>)" in printed
    _, printed, _ = run_zoo("predict", run, "photos/sky/1.png", "--json")
    (one,) = json.loads(printed)
    assert one["class_names"][one["predicted"]] == "sky"
    _, printed, _ = run_zoo("evaluate", run, "--json")
    assert json.loads(printed)["class_names"] == ["leaf <b>", "red apple", "sky"]


def test_a_picture_is_seen_as_the_photographs_were(run: str) -> None:
    found = prediction.predict(trained.load(run), ["photos/sky/0.jpg"])[0]
    wanted = to_pixels(read(Path("photos/sky/0.jpg")), 24, 24, 3)
    np.testing.assert_array_equal(found.pixels, wanted)


def test_a_net_that_is_not_sure_of_a_photograph_says_so_and_draws_no_letters() -> None:
    seen = Prepared(np.full((24, 24, 3), 200, np.uint8))
    names = ("leaf", "a very long name of an apple")
    one = prediction.Prediction("net", "x.png", seen, None, np.array([0.45, 0.55]), names)
    lines = prediction.to_text([[one]]).splitlines()
    assert lines[-1] == "not sure: the most probable class has less than 80%"
    assert [line.partition("  ")[0].strip() for line in lines[1:3]] == [names[1], ""]
    assert lines[2].startswith(f"{'leaf':>28}  ")


@pytest.mark.slow
def test_pictures_and_pages_name_the_classes(run: str, run_zoo: Zoo) -> None:
    for kind in ("confusion", "filters", "calibration"):
        status, _, said = run_zoo("plot", run, f"--kind={kind}", "-o", f"{kind}.svg")
        assert (status, said) == (0, "")
    assert "red apple" in Path("confusion.svg").read_text()
    status, _, said = run_zoo("report", run, "-o", "report.html")
    assert status == 0, said
    page = Path("report.html").read_text()
    assert ">red apple</td>" in page
    assert ">leaf &lt;b&gt;</td>" in page
    assert "leaf <b>" not in page
    assert "pooling_cnn3 on images:photos, complete" in page
    client = watch.make_app(Path("runs")).test_client()
    assert "images:photos" in client.get("/parts/runs").text
    assert ">red apple</td>" in client.get(f"/parts/net/{Path(run).name}").text
    content = Path("photos/sky/1.png").read_bytes()
    answer = client.post(f"/answers/{Path(run).name}", data=content).json["run"]
    assert answer["names"][int(np.argmax(answer["probabilities"]))] == "sky"


def test_exported_weights_know_the_classes_and_no_directory(run: str, run_zoo: Zoo) -> None:
    assert run_zoo("export-weights", run, "weights")[0] == 0
    assert str(Path.cwd()) not in Path("weights/config.json").read_text()
    _, printed, _ = run_zoo("predict", "weights", "photos/sky/1.png")
    assert "\n      sky  ██████" in printed
    assert "red apple" in run_zoo("evaluate", "weights")[1]  # of photos, here


def test_a_run_and_its_photographs_may_move(run: str, run_zoo: Zoo, tmp_path: Path) -> None:
    wanted = run_zoo("evaluate", run)
    shutil.copytree(run, tmp_path / "runs/1")
    shutil.copytree("photos", tmp_path / "photos")
    moved = trained.load(tmp_path / "runs/1", given=DataDirs(manual_dir=str(tmp_path / "photos")))
    assert len(moved.split("test")) == 12
    os.rename("photos", "elsewhere")
    try:
        assert len(trained.load(tmp_path / "runs/1").split("test")) == 12  # with its project
        assert run_zoo("evaluate", run)[0] == 2
        assert run_zoo("evaluate", run, "--manual-dir=elsewhere")[1] == wanted[1]
        with pytest.raises(ZooError, match=r"images:photos is not at .* with --manual-dir=PATH"):
            trained.load(run).split("test")
    finally:
        os.rename("elsewhere", "photos")


def test_other_photographs_are_brought_to_the_nets_form(
    run: str, run_zoo: Zoo, tmp_path: Path
) -> None:
    photograph(tmp_path / "more", 3, seed=1)
    status, printed, said = run_zoo("evaluate", run, f"--dataset=images:{tmp_path}/more")
    assert (status, said) == (0, "")
    assert "on the test split of images:more (3 images)" in printed
    assert run_zoo("evaluate", run, f"--manual-dir={tmp_path}/more")[0] == 2
    (tmp_path / "more/sky").rename(tmp_path / "more/water")
    _, _, said = run_zoo("evaluate", run, f"--dataset=images:{tmp_path}/more")
    assert "images:more has the classes leaf <b>, red apple, water, but" in said


def test_a_directory_and_a_dataset_are_one_too_many(run: str, run_zoo: Zoo) -> None:
    status, _, said = run_zoo("train", "photos", "--config.dataset=mnist")
    assert status == 2
    assert "photos names the dataset, and so does '--config.dataset=mnist'" in said
