"""The live view: its pages, what it refuses, the answers to drawings."""

import contextlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import flask.testing
import pytest
from conftest import ROOT
from drawings import draw_strokes
from ml_collections import ConfigDict
from PIL import Image
from test_history import history_of
from test_report import Page, assert_no_level_is_skipped

import zoo.training.history
from zoo.configs import default
from zoo.system.errors import ZooError
from zoo.training import train_and_evaluate
from zoo.web import watch

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
    return watch.make_app(folder).test_client()


@contextlib.contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Starts `zoo watch` as a process; yields its address."""
    command = [sys.executable, "-m", "zoo.cli", "watch", str(folder), "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
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
        ("/draw", "/answers/study/one%20run"),
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


def test_a_drawing_is_answered(client: flask.testing.FlaskClient, folder: Path) -> None:
    drawing = draw_strokes(7, 280, "white", "black")
    answer = client.post("/answers/study/one%20run", data=png(drawing))
    assert answer.status_code == 200
    content = json.loads(answer.text)
    assert content["epoch"] == 1
    assert sum(content["probabilities"]) == pytest.approx(1)
    assert (len(content["pixels"]), len(content["pixels"][0])) == (28, 28)


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


@pytest.mark.parametrize("address", ["/runs/study/one%20run", "/parts/net/study/one%20run"])
def test_headings_skip_no_level(client: flask.testing.FlaskClient, address: str) -> None:
    """A part of a page has those below its title."""
    text = client.get(address).text
    assert_no_level_is_skipped(text if "/runs/" in address else f"<h1></h1>{text}")


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
    assert client.post("/answers/run", data=drawing).json["epoch"] == 1
    history.epochs.append({**history.epochs[-1], "epoch": 2, "step": 10})
    history.test = None
    history.write(tmp_path / "run")  # as a run does before it saves the checkpoint
    assert client.post("/answers/run", data=drawing).json["epoch"] == 1
    train_and_evaluate(config, tmp_path / "run", quiet=True)
    assert client.post("/answers/run", data=drawing).json["epoch"] == 2


def test_other_sites_are_refused(client: flask.testing.FlaskClient) -> None:
    assert client.get("/", headers={"Host": "attacker.example:8000"}).status_code == 403
    assert client.get("/", headers={"Host": "localhost:8000"}).status_code == 200
    elsewhere = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert client.get("/parts/runs", headers=elsewhere).status_code == 403
    assert client.post("/answers/study/one%20run", headers=elsewhere).status_code == 403
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
