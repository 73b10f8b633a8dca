"""The report: one self-contained page, for good runs and for bad ones."""

import contextlib
import datetime
import html
import itertools
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

import zoo.training.history
from zoo.system.errors import ZooError
from zoo.training import train_and_evaluate
from zoo.web import report

Zoo = Callable[..., tuple[int, str, str]]
RESULTS = ROOT / "docs/results/reproduction.json"
TODAY = datetime.date(2026, 1, 2)
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """The elements of a page; raises ValueError if they do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: Counter[str] = Counter()
        self.headings: list[int] = []  # their levels
        self.tooltips: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)
        if self._open:
            raise ValueError(f"not closed: {self._open}")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href"):
                self.links.append(value or "")
            if name == "data-tooltips":
                self.tooltips |= json.loads(value or "")

    def handle_endtag(self, tag: str) -> None:
        if self._open.pop() != tag:
            raise ValueError(f"{tag} closes another element")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, idx_dir: Path) -> Path:
    from zoo.configs import default

    config = default.get_config()
    config.update(dataset="idx", manual_dir=str(idx_dir), num_epochs=2, batch_size=16, num_seeds=2)
    workdir = tmp_path_factory.mktemp("runs") / "a <b> & $c$"  # must be shown unchanged
    train_and_evaluate(config, workdir, quiet=True)
    return workdir


@pytest.fixture(scope="module")
def text(run: Path) -> str:
    """The report of the run beside the committed results."""
    return report.make([run, RESULTS], TODAY)


def test_a_report_is_self_contained(run: Path, text: str) -> None:
    page = Page(text)
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert "@import" not in text
    assert not [name for name, count in Counter(page.ids).items() if count > 1]
    targets = {link[1:] for link in page.links if link.startswith("#")}
    targets |= set(re.findall(r"url\(#([^)]*)\)", text))
    assert targets <= set(page.ids)
    assert set(page.tooltips) <= set(page.ids)
    said = [one for texts in page.tooltips.values() for one in texts]
    history = zoo.training.history.read(run)
    loss = sum(history.epochs[1]["val_loss"]) / 2
    start = f"{run.name} (mean ± std of 2), held out, epoch 2: {loss:.4g} ± "
    assert [one for one in said if one.startswith(start)]
    for heading in ("Comparison", html.escape(run.name), "The worst mistakes", "Configuration"):
        assert heading in text
    assert "zoo report</code> 0.1.0 on 2026-01-02" in text
    assert page.tags["svg"] == 1 + 2 + 5  # comparison; loss and accuracy; the net


def assert_no_level_is_skipped(text: str) -> None:
    levels = Page(text).headings
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert len(levels) > 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels)), levels


def test_headings_skip_no_level(run: Path, text: str, tmp_path: Path) -> None:
    """Beside results, and beside another run; of one alone, below."""
    assert_no_level_is_skipped(text)
    paths = [tmp_path / "one", tmp_path / "two"]
    for path in paths:
        shutil.copytree(run, path, ignore=shutil.ignore_patterns("checkpoints"))  # as none is drawn
    assert_no_level_is_skipped(report.make(paths, TODAY))


def test_the_same_run_gives_the_same_page(run: Path, text: str) -> None:
    assert report.make([run, RESULTS], TODAY) == text


def test_a_run_in_progress_or_without_a_checkpoint_is_shown_by_its_history(
    run: Path, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    shutil.copytree(run, begun)
    history = zoo.training.history.read(begun)
    history.epochs, history.test = history.epochs[:1], None
    history.write(begun)
    shutil.rmtree(begun / "checkpoints")
    text = report.make([begun], TODAY)
    assert "not complete: 1 of 2 epochs, seeds 0 to 1" in text
    assert "validation accuracy so far" in text
    assert re.search(r'class="problem">[^<]*begun[^<]*checkpoint', text)
    assert Page(text).tags["svg"] == 2
    history.epochs = []
    history.write(begun)
    assert "No epoch is finished yet." in report.make([begun], TODAY)
    nameless = begun.rename(tmp_path / os.fsdecode(b"caf\xe9"))
    assert re.search(r'class="problem">[^<]*caf\?[^<]*checkpoint', report.make([nameless], TODAY))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The position of an item in a JSON value."""
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in parts:
        yield (*place, key)
        if isinstance(part, dict | list):
            yield from places(part, (*place, key))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_edited_run_is_reported_or_refused(
    run: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = json.loads((run / "history.json").read_text())
    *outer, key = data.draw(st.sampled_from(sorted(places(content), key=str)))
    part = content
    for name in outer:
        part = part[name]
    part[key] = data.draw(JSON)
    folder = tmp_path_factory.getbasetemp() / f"edited-{os.getpid()}"
    folder.mkdir(exist_ok=True)
    (folder / "history.json").write_text(json.dumps(content))
    with contextlib.suppress(ZooError):  # anything else fails the test
        Page(report.make([folder], TODAY))


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "![x](https://elsewhere.example/x.png)",
        "[x](https://elsewhere.example)",
        "<https://elsewhere.example>",
        '"><img src=x onerror=alert(1)>',
    ],
)
def test_untrusted_results_bring_no_script_and_no_link(text: str, tmp_path: Path) -> None:
    content = json.loads(RESULTS.read_text())
    for entry in content["runs"]:
        entry["environment"]["device"] = text
    path = tmp_path / "results.json"
    path.write_text(json.dumps(content))
    made = report.make([path], TODAY)
    assert html.escape(text) in made  # as text
    page = Page(made)
    assert page.tags["img"] == 0
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)


def test_anything_else_than_a_run_is_one_sentence_and_nothing_is_written(
    run: Path, tmp_path: Path, run_zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any net is scored, whatever comes before it."""
    monkeypatch.setattr(report.views, "view_net", None)
    cut, unknown = tmp_path / "cut", tmp_path / "unknown"
    cut.mkdir()
    text = (run / "history.json").read_text()
    (cut / "history.json").write_text(text[: len(text) // 2])
    shutil.copytree(run, unknown)
    content = json.loads(text)
    content["config"].update(model="pooling_cnn4", dataset="mnist")
    content["data"].update(num_train=60_000, num_test=10_000)
    (unknown / "history.json").write_text(json.dumps(content))
    page, empty = tmp_path / "page.html", tmp_path / "results.json"
    empty.write_text('{"format": 1, "runs": []}')
    for arguments, sentence in (
        ([run, cut, "-o", page], "history.json is damaged"),
        ([run, unknown, "-o", page], "the net pooling_cnn4 is unknown to this version"),
        ([run, tmp_path, "-o", page], "history.json does not exist: name the directory of a run"),
        ([run, "-o", tmp_path / "page.pdf"], "a report's name must end in .html"),
        ([run, "-o", tmp_path / "no" / "page.html"], "no does not exist"),
        ([run, empty, "-o", page], "results.json contains no runs"),
        ([run], "Missing option '-o' / '--output': try -o"),
    ):
        status, _, error = run_zoo("report", *arguments)
        assert (status, sentence in error, len(error.splitlines())) == (2, True, 1), error
    assert not page.exists()


def test_a_run_of_a_net_without_a_notebook_has_no_published_numbers(
    run: Path, tmp_path: Path
) -> None:
    """As one of fast99 on all of MNIST; its checkpoints stay behind."""
    content = json.loads((run / "history.json").read_text())
    content["config"].update(model="fast99", dataset="mnist")
    content["data"].update(num_train=60_000, num_test=10_000)
    (tmp_path / "history.json").write_text(json.dumps(content))
    text = report.make([tmp_path], TODAY)
    Page(text)
    assert "fast99" in text
    assert "without a seed, on unknown" not in text


def test_the_command_writes_a_page(run: Path, tmp_path: Path, run_zoo: Zoo) -> None:
    status, output, error = run_zoo("report", run, "-o", tmp_path / "page.html")
    assert (status, error) == (0, "")
    assert re.fullmatch(r"wrote .*page\.html \(0\.\d MB\)", output.splitlines()[-1])
    assert_no_level_is_skipped((tmp_path / "page.html").read_text(encoding="utf-8"))
