"""The model cards in docs/nets are what benchmarks/cards.py makes of the results."""

import json
import re
from pathlib import Path

import cards
import cards_pages
import numpy as np
import pictures
import pytest
from cards_facts import FOLDER, measured_of, weights_of
from conftest import REAL_MNIST_DIR
from PIL import Image

import zoo.models
import zoo.reproduction.published
from zoo.analysis import trained
from zoo.data import DataDirs
from zoo.models.packaged import packaged_weights

MOST_BYTES = 4_000_000  # of all pictures
PRETRAINED = zoo.models.list_models(pretrained=True)


def test_the_cards_are_those_of_the_results() -> None:
    """If they are not: python benchmarks/cards.py write"""
    written = {path.name: path.read_text() for path in FOLDER.glob("*.md")}
    assert written == cards_pages.pages()


def test_every_net_has_a_card_with_what_its_notebook_says_wrongly() -> None:
    for net, published in zoo.reproduction.published.load().items():
        page = (FOLDER / f"{net}.md").read_text()
        assert f"{published.accuracy:.2%}" in page
        assert page.count("\n- ") == len(published.wrong)
        assert ("from_pretrained" in page) == (net in PRETRAINED)


def test_every_picture_on_a_card_is_there_and_all_are_small() -> None:
    shown = [
        name
        for page in FOLDER.glob("*.md")
        for name in re.findall(r"\((\S*\.png)\)", page.read_text())
    ]
    there = {path.name: path.stat().st_size for path in FOLDER.glob("*.png")}
    assert set(shown) <= set(there)
    assert {name.rsplit("-", 1)[0] for name in there} <= set(zoo.models.MODELS)
    assert sum(there.values()) <= MOST_BYTES


def test_what_was_measured_is_of_the_weights_in_the_package() -> None:
    entries = {entry["net"]: entry for entry in packaged_weights() if entry["dataset"] == "mnist"}
    assert {path.stem for path in FOLDER.glob("*.json")} <= set(entries)
    for net, entry in entries.items():
        if measured := measured_of(net):  # else its card leaves it out
            test = measured["test"]
            assert test["accuracy"]["value"] == entry["test"]["accuracy"]
            assert test["num_images"] == entry["test"]["num_examples"]


def test_a_card_leaves_out_what_was_measured_of_other_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = json.loads(min(FOLDER.glob("*.json")).read_text())
    net = measured["net"]
    measured["sha256"] = weights_of(net)["sha256"]
    monkeypatch.setattr("cards_facts.FOLDER", tmp_path)
    (tmp_path / f"{net}.json").write_text(json.dumps(measured))
    assert "## Mistakes" in cards_pages.pages()[f"{net}.md"]
    (tmp_path / f"{net}.json").write_text(json.dumps(measured | {"sha256": "0" * 64}))
    page = cards_pages.pages()[f"{net}.md"]
    assert "## Mistakes" not in page
    assert "from_pretrained" in page


def test_curves_show_the_notebook_and_what_there_is_of_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cards, "FOLDER", tmp_path)
    for net in ("custom7", "pooling_cnn3"):  # never trained here; several seeds
        cards._save(cards.curves(net, "accuracy"), net, "accuracy")
        with Image.open(tmp_path / f"{net}-accuracy.png") as image:
            assert image.mode == "P"
            assert image.width > 600


@pytest.mark.slow
@pytest.mark.skipif(not REAL_MNIST_DIR, reason="ZOO_MNIST_DIR does not name MNIST's files")
def test_pictures_are_scored_for_a_net_by_its_name(mnist_data_dir: Path) -> None:
    net = trained.load(PRETRAINED[0], given=DataDirs(str(mnist_data_dir), ""))
    made = pictures.for_net(net, num_images=4)
    assert pictures.for_net(net, num_images=4) is made  # for the next net
    right = pictures.scores(net, made)
    assert len(right) == 51
    assert sum(map(len, right.values())) == 4 * 26 + 500
    assert np.concatenate(list(right.values())).mean() > 0.5
