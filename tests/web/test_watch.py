"""The live view: its pages, what it refuses, the answers to drawings."""

import collections
import contextlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flask.testing
import numpy as np
import pytest
from conftest import ROOT
from drawings import draw_strokes, write_ten
from ml_collections import ConfigDict
from PIL import Image
from test_history import history_of
from test_report import Page, assert_no_level_is_skipped

import zoo.training.history
import zoo.web.drawing
from zoo.analysis.net import TrainedNet
from zoo.configs import default
from zoo.models import list_models
from zoo.models.packaged import WEIGHTS, packaged_weights
from zoo.system.errors import ZooError
from zoo.training import train_and_evaluate
from zoo.web import loading, watch

Zoo = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, idx_dir: Path) -> Path:
    config: ConfigDict = default.get_config()
    config.update(dataset="idx", manual_dir=str(idx_dir), num_epochs=1, batch_size=16)
    folder = tmp_path_factory.mktemp("runs")
    train_and_evaluate(config, folder / "study/one run", quiet=True)
    (folder / "cut").mkdir()
    (folder / "cut/history.json").write_text("{")
    return folder


@pytest.fixture(scope="module")
def client(folder: Path) -> flask.testing.FlaskClient:
    client = watch.make_app(folder).test_client()
    wait_for_nets(client)
    return client


def wait_for_nets(client: flask.testing.FlaskClient) -> dict[str, str]:
    """Until all nets of the package are loaded; gives the problems."""
    end = time.monotonic() + 600
    while (states := client.get("/nets").json)["loading"]:
        assert time.monotonic() < end, states
        time.sleep(0.2)
    return states["problems"]


@contextlib.contextmanager
def serve(*arguments: object, cwd: Path = ROOT, **variables: str) -> Iterator[str]:
    """Starts `zoo watch` as a process, with environment variables; yields its address."""
    command = [sys.executable, "-m", "zoo.cli", "watch", *map(str, arguments), "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    with subprocess.Popen(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[0]
        finally:
            process.terminate()


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()


def test_every_page_is_complete(client: flask.testing.FlaskClient) -> None:
    for address, expected in (
        ("/", "most recently changed first"),
        ("/runs/study/one%20run", "pooling_cnn3 on idx, complete: 1 of 1 epochs, seed 0"),
        ("/draw", '<option value="study/one%20run"'),
    ):
        response = client.get(address)
        assert response.status_code == 200
        assert expected in response.text
        page = Page(response.text)
        assert all(link.startswith(("#", "/", "data:")) for link in page.links)
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]


def test_the_list_also_shows_damaged_runs(client: flask.testing.FlaskClient) -> None:
    text = client.get("/parts/runs").text
    assert '<a href="/runs/study/one%20run">study/one run</a>' in text
    assert "1 of 1" in text
    assert "cut/history.json is damaged" in text


def test_a_page_follows_its_run(tmp_path: Path) -> None:
    client = watch.make_app(tmp_path).test_client()
    assert "No runs yet" in client.get("/parts/runs").text
    history = history_of(2)
    history.config["num_epochs"] = 3
    (tmp_path / "run").mkdir()
    history.write(tmp_path / "run")
    first = client.get("/parts/history/run")
    assert "2 of 3 epochs" in first.text
    unchanged = client.get("/parts/history/run", headers={"If-None-Match": first.headers["ETag"]})
    assert (unchanged.status_code, unchanged.text) == (304, "")
    history_of(3).write(tmp_path / "run")
    again = client.get("/parts/history/run", headers={"If-None-Match": first.headers["ETag"]})
    assert "3 of 3 epochs" in again.text
    listed = client.get("/parts/runs").text  # which is kept until the history changes
    assert "3 of 3" in listed
    assert client.get("/parts/runs").text == listed
    assert len(Page(again.text).tooltips) == 4  # training and validation of loss and accuracy


def test_the_current_net_is_drawn_or_the_page_says_why_not(
    client: flask.testing.FlaskClient, tmp_path: Path
) -> None:
    page = Page(client.get("/parts/net/study/one%20run").text)
    assert page.tags["svg"] == 5
    (tmp_path / "run").mkdir()
    history_of(2).write(tmp_path / "run")
    response = watch.make_app(tmp_path).test_client().get("/parts/net/run")
    assert response.status_code == 422
    assert "checkpoint" in response.text


def test_a_drawing_is_answered_by_all_nets(client: flask.testing.FlaskClient) -> None:
    """Those of the package, and that of a run; each says which picture it sees."""
    drawing = png(draw_strokes(7, 280, "white", "black"))
    content = client.post("/answers/study/one%20run", data=drawing).json
    assert (content["loading"], content["problems"]) == ([], {})
    assert sorted(content["answers"]) == list_models(pretrained=True)
    assert content["run"]["epoch"] == 1
    for answer in (content["run"], *content["answers"].values()):
        assert sum(answer["probabilities"]) == pytest.approx(1)
        seen = content["seen"][answer["seen"]]
        assert (len(seen), len(seen[0])) == (28, 28)
    for answer in content["answers"].values():
        assert np.argmax(answer["probabilities"]) == 7
    without_run = client.post("/answers", data=drawing).json
    assert without_run["run"] is None
    assert without_run["answers"].keys() == content["answers"].keys()


def test_every_net_knows_ten_digits(client: flask.testing.FlaskClient, tmp_path: Path) -> None:
    """At least 9 of them, of many looks and sizes, without any dataset."""
    right: collections.Counter[str] = collections.Counter()
    for path, digit in write_ten(tmp_path):
        with Image.open(path) as picture:
            drawing = png(picture.convert("RGBA"))
        for net, answer in client.post("/answers", data=drawing).json["answers"].items():
            right[net] += int(np.argmax(answer["probabilities"]) == digit)
    assert sorted(right) == list_models(pretrained=True)
    assert min(right.values()) >= 9, right


def test_a_net_that_comes_while_others_answer_is_told_as_loading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the page would never ask it: it asks again when a net is no longer loading."""
    client = watch.make_app(tmp_path).test_client()
    answer = zoo.web.drawing._Drawing.answer

    def answer_when_all_are_loaded(drawing: Any, net: TrainedNet) -> dict[str, Any]:
        wait_for_nets(client)
        return answer(drawing, net)

    monkeypatch.setattr("zoo.web.drawing._Drawing.answer", answer_when_all_are_loaded)
    names = set(list_models(pretrained=True))
    while set(client.get("/nets").json["loading"]) == names:
        time.sleep(0.01)
    content = client.post("/answers", data=png(draw_strokes(7, 280, "white", "black"))).json
    assert content["answers"].keys() < names  # some came too late
    assert content["answers"].keys() | content["loading"] == names


def test_nets_with_the_same_framing_share_a_picture(client: flask.testing.FlaskClient) -> None:
    drawing = png(draw_strokes(3, 280, "white", "black"))
    content = client.post("/answers", data=drawing).json
    assert len(content["seen"]) == 1


def test_a_net_that_fails_does_not_hold_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> TrainedNet:
        raise MemoryError(f"no memory for\n{name}")

    monkeypatch.setattr(loading.trained, "load_packaged", load)
    nets = loading.PackagedNets()
    nets.load()
    assert nets._thread
    nets._thread.join(60)
    problems = nets.problems()
    assert problems["vgg5"] == "MemoryError: no memory for vgg5"
    assert len(problems) == len(loading.about_packaged())
    assert not nets.loading()


def test_answers_are_those_of_zoo_predict(
    client: flask.testing.FlaskClient, tmp_path: Path, run_zoo: Zoo
) -> None:
    """Also what they are not sure of."""
    levels = np.asarray(draw_strokes(7, 100, "#202020", "black").convert("L"), float)
    noise = np.random.default_rng(0).normal(0, 9, levels.shape)
    faint = png(Image.fromarray(np.clip(levels + 20 + noise, 0, 255).astype(np.uint8)))
    (tmp_path / "drawing.png").write_bytes(faint)
    answers = client.post("/answers", data=faint).json["answers"]
    status, said, error = run_zoo("predict", "--json", *answers, tmp_path / "drawing.png")
    assert status == 0, error
    for one in json.loads(said):
        answer = answers[one["net"]]
        assert answer["probabilities"] == pytest.approx(one["probabilities"])
        assert bool(answer["doubt"]) == one["unsure"]
        assert answer["doubt"] == "the drawing is faint"


def test_the_page_tells_parameters_and_accuracy(client: flask.testing.FlaskClient) -> None:
    text = client.get("/draw").text
    for entry in packaged_weights():
        assert f'<li data-net="{entry["net"]}">' in text
        assert f"{entry['num_parameters']:,} parameters" in text
        assert f"test {entry['test']['accuracy']:.2%}" in text
    chosen = '<option value="study/one%20run" data-facts="pooling_cnn3 on idx, 87,914 parameters'
    assert chosen in client.get("/draw?run=study/one%20run").text


def test_a_damaged_file_is_told_in_its_row_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And read again when the page is opened again."""
    shutil.copytree(WEIGHTS, tmp_path / "weights")
    broken, *others = packaged_weights()
    file = tmp_path / "weights" / broken["file"]
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    monkeypatch.setattr("zoo.models.pretrained.WEIGHTS", tmp_path / "weights")
    client = watch.make_app(tmp_path).test_client()
    assert client.get("/draw").status_code == 200
    problems = wait_for_nets(client)
    assert list(problems) == [broken["net"]]
    assert "is damaged" in problems[broken["net"]]
    drawing = png(draw_strokes(7, 100, "white", "black"))
    content = client.post("/answers", data=drawing).json
    assert content["problems"] == problems
    assert sorted(content["answers"]) == sorted(entry["net"] for entry in others)
    file.write_bytes(whole)
    client.get("/draw")
    assert wait_for_nets(client) == {}
    assert broken["net"] in client.post("/answers", data=drawing).json["answers"]


def test_a_run_without_a_net_is_told_in_its_row_alone(
    client: flask.testing.FlaskClient, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    history_of(2).write(tmp_path / "run")
    client = watch.make_app(tmp_path).test_client()
    wait_for_nets(client)
    content = client.post("/answers/run", data=png(draw_strokes(7, 100, "white", "black"))).json
    assert "checkpoint" in content["run"]["problem"]
    assert sorted(content["answers"]) == list_models(pretrained=True)


def test_nets_of_the_package_are_not_directories_of_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when `zoo watch .` is started among runs."""
    monkeypatch.chdir(tmp_path)
    for name in list_models(pretrained=True):
        Path(name).mkdir()
        history_of(1).write(Path(name))
    assert wait_for_nets(watch.make_app(Path()).test_client()) == {}


def test_without_a_run_the_first_page_is_the_drawing_page(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        client = watch.make_app(folder).test_client()
        page = client.get("/", follow_redirects=True)
        assert page.request.path == "/draw"
        assert "holds no run yet" in page.text
        assert '<select id="run"' not in page.text
    history_of(1).write(tmp_path)
    assert "most recently changed first" in watch.make_app(tmp_path).test_client().get("/").text


def test_only_the_default_directory_may_be_missing(tmp_path: Path, run_zoo: Zoo) -> None:
    with (
        serve(cwd=tmp_path) as address,
        urllib.request.urlopen(address, timeout=60) as response,
    ):
        assert response.url == f"{address}/draw"
    status, _, error = run_zoo("watch", tmp_path / "runs", "--port", "0")
    assert (status, "is not a directory" in error) == (2, True)
    (tmp_path / "runs").write_text("")
    with (
        contextlib.chdir(tmp_path),
        pytest.raises(ZooError, match="runs is not a directory"),
    ):
        watch.serve(None, 0)


def test_bad_requests_are_answered_with_a_sentence(client: flask.testing.FlaskClient) -> None:
    address = "/answers/study/one%20run"
    for data, status, sentence in (
        (b"no image", 422, "the drawing is not an image of a known format"),
        (png(Image.new("L", (280, 280))), 422, "nothing is drawn on it"),
        (png(draw_strokes(7, 280, "white", "black"))[:300], 422, "the drawing cannot be read"),
        (bytes(3_000_000), 413, "exceeds the capacity limit"),
    ):
        answer = client.post(address, data=data)
        assert (answer.status_code, sentence in answer.text) == (status, True), answer.text
        assert len(answer.text.splitlines()) == 1
    large = client.post(address, data=png(Image.new("L", (2000, 1000))))
    assert "has 2,000x1,000 pixels, more than the limit of 1,000,000 in all" in large.text
    names = ("nowhere", "..", "../runs", "%2e%2e/%2e%2e", "cut/../study/one run", "<b>", ".", "")
    for name in names:
        for answer in (client.get(f"/runs/{name}"), client.post(f"/answers/{name}", data=b"")):
            assert answer.status_code == 404
            assert answer.mimetype == "text/plain"  # so nothing in it is HTML
    assert client.get("/runs/cut").status_code == 422
    assert client.post("/").status_code == 405


def test_names_of_directories_are_text(tmp_path: Path) -> None:
    client = watch.make_app(tmp_path).test_client()
    strange = (b"<img src=x onerror=alert(1)>", "a#b?c%20 ü".encode(), b"caf\xe9")
    for name in strange:
        (tmp_path / os.fsdecode(name)).mkdir()
        (tmp_path / os.fsdecode(name) / "history.json").write_text("{")
    listed = client.get("/parts/runs")
    assert listed.status_code == 200
    page = Page(listed.text)
    assert page.tags["img"] == 0
    assert "&lt;img src=x onerror=alert(1)&gt;" in listed.text
    for name in strange:
        history_of(1).write(tmp_path / os.fsdecode(name))
    page = Page(client.get("/parts/runs").text)
    assert len(page.links) == 2  # the other name cannot be part of an address
    for link in page.links:
        assert client.get(link).status_code == 200


def test_runs_in_directories_whose_names_are_no_text_have_no_address(tmp_path: Path) -> None:
    """Two such names may be the same text."""
    for parent in (b"\xe8", b"\xe9"):
        (tmp_path / os.fsdecode(parent) / "run").mkdir(parents=True)
        history_of(1).write(tmp_path / os.fsdecode(parent) / "run")
    listed = watch.make_app(tmp_path).test_client().get("/parts/runs")
    assert not Page(listed.text).links
    assert listed.text.count("its name cannot be part of an address: rename the directory") == 2


def test_a_run_whose_name_is_no_text_is_watched_alone(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    history_of(1).write(folder)
    client = watch.make_app(folder).test_client()
    assert client.get("/draw").status_code == 200
    (link,) = Page(client.get("/parts/runs").text).links
    assert client.get(link).status_code == 200


@pytest.mark.parametrize(
    "name", ["a\nb/run", "a/ru\nn", "\n/run", "a\r\nb\t/x\x1b/run\n", "a\n\nb"]
)
def test_line_breaks_in_names_are_part_of_an_address(tmp_path: Path, name: str) -> None:
    """Those of a run and of directories above it."""
    (tmp_path / name).mkdir(parents=True)
    history_of(1).write(tmp_path / name)
    client = watch.make_app(tmp_path).test_client()
    (link,) = Page(client.get("/parts/runs").text).links
    assert client.get(link).status_code == 200
    assert client.get(link.replace("/runs/", "/parts/history/")).status_code == 200
    draw = Page(client.get(link).text).links[-1]
    assert client.get(draw).status_code == 200


def test_headings_skip_no_level(client: flask.testing.FlaskClient) -> None:
    """The page of a run has a title alone; its part, loaded into it, has headings below that."""
    page = client.get("/runs/study/one%20run").text
    assert Page(page).headings == [1]
    part = client.get("/parts/net/study/one%20run").text
    assert_no_level_is_skipped(page + part)


def test_a_directory_that_is_a_run_is_shown(tmp_path: Path) -> None:
    history_of(1).write(tmp_path)
    client = watch.make_app(tmp_path).test_client()
    (link,) = Page(client.get("/parts/runs").text).links
    assert link == f"/runs/{tmp_path.name}"
    assert client.get(link).status_code == 200


def test_a_newer_checkpoint_is_used(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "study/one run", tmp_path / "run")
    history = zoo.training.history.read(tmp_path / "run")
    config = ConfigDict(history.config)
    config.num_epochs = 2
    client = watch.make_app(tmp_path).test_client()
    drawing = png(draw_strokes(7, 100, "white", "black"))
    assert client.post("/answers/run", data=drawing).json["run"]["epoch"] == 1
    history.epochs.append({**history.epochs[-1], "epoch": 2, "step": 10})
    history.test = None
    history.write(tmp_path / "run")  # as a run does before it saves the checkpoint
    assert client.post("/answers/run", data=drawing).json["run"]["epoch"] == 1
    train_and_evaluate(config, tmp_path / "run", quiet=True)
    assert client.post("/answers/run", data=drawing).json["run"]["epoch"] == 2


def test_other_sites_are_refused(client: flask.testing.FlaskClient) -> None:
    assert client.get("/", headers={"Host": "attacker.example:8000"}).status_code == 403
    assert client.get("/", headers={"Host": "localhost:8000"}).status_code == 200
    elsewhere = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert client.get("/parts/runs", headers=elsewhere).status_code == 403
    assert client.post("/answers/study/one%20run", headers=elsewhere).status_code == 403
    assert client.post("/answers", headers=elsewhere).status_code == 403
    assert client.get("/nets", headers=elsewhere).status_code == 403
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/", headers=link).status_code == 200
    assert client.get("/", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[str]:
    with serve(folder) as address:
        yield address


def test_it_listens_only_to_this_machine(server: str) -> None:
    with urllib.request.urlopen(server, timeout=10) as response:
        assert response.status == 200
    port = int(server.rsplit(":", 1)[1])
    with socket.socket() as other, pytest.raises(OSError, match="refused"):
        other.connect(("127.0.0.2", port))  # another address of this machine


def test_a_port_in_use_and_a_missing_directory_are_a_sentence(
    server: str, folder: Path, tmp_path: Path, run_zoo: Zoo
) -> None:
    port = server.rsplit(":", 1)[1]
    for arguments, sentence in (
        ([folder, "--port", port], f"port {port} of 127.0.0.1 cannot be used"),
        ([tmp_path / "no"], "is not a directory: name the one with the runs"),
        ([folder, "--port", "70000"], "70000 is not in the range"),
    ):
        status, _, error = run_zoo("watch", *arguments)
        assert (status, sentence in error, len(error.splitlines())) == (2, True, 1), error


def test_runs_in_too_deep_directories_are_not_listed(tmp_path: Path) -> None:
    for depth in ("a/b/c", "a/b/c/d"):
        (tmp_path / depth).mkdir(parents=True)
        history_of(1).write(tmp_path / depth)
    client = watch.make_app(tmp_path).test_client()
    assert client.get("/runs/a/b/c").status_code == 200
    assert client.get("/runs/a/b/c/d").status_code == 404
    with pytest.raises(ZooError, match="is not a directory"):
        watch.serve(tmp_path / "a/b/c/history.json", 0)
    assert zoo.training.history.read(tmp_path / "a/b/c").is_complete is False
