"""Runs on data of one's own: the same images give the same run, wherever they come from."""

import gzip
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

import zoo.data
import zoo.training.history
import zoo.training.parameters
import zoo.training.resume
from zoo.data import from_arrays, load
from zoo.data.changes import may_have_changed
from zoo.system.errors import ZooError
from zoo.training import train_and_evaluate
from zoo.training.history import TIMINGS, History
from zoo.training.workdir import check_is_outside

Zoo = Callable[..., tuple[int, str, str]]


def write_npz(path: Path, dataset: zoo.data.Dataset) -> None:
    """As Keras's mnist.npz."""
    np.savez(
        path,
        x_train=dataset.train.images[..., 0],
        y_train=dataset.train.labels.astype(np.uint8),
        x_test=dataset.test.images[..., 0],
        y_test=dataset.test.labels.astype(np.uint8),
    )


def write_csv(folder: Path, dataset: zoo.data.Dataset) -> None:
    """As Kaggle's train.csv, and a test.csv with labels."""
    folder.mkdir()
    for name, split in (("train.csv", dataset.train), ("test.csv.gz", dataset.test)):
        rows = split.images.reshape(len(split), -1)
        lines = [",".join(["label", *(f"pixel{number}" for number in range(rows.shape[1]))])]
        lines += [
            ",".join(map(str, (label, *row))) for label, row in zip(split.labels, rows, strict=True)
        ]
        text = "\n".join(lines).encode()
        (folder / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)


def numbers(history: History) -> dict[str, Any]:
    """All of a run's numbers, but for the time that it took."""
    content = history.to_content()
    epochs = [
        {key: value for key, value in record.items() if key not in TIMINGS}
        for record in history.epochs
    ]
    return {"data": content["data"], "framing": content["framing"], "epochs": epochs} | {
        "test": history.test
    }


@pytest.fixture
def dataset(idx_dir: Path) -> zoo.data.Dataset:
    return load("idx", manual_dir=idx_dir)


def test_idx_npz_csv_and_arrays_of_the_same_images_give_the_same_run(
    tiny_config: ConfigDict, dataset: zoo.data.Dataset, tmp_path: Path
) -> None:
    tiny_config.num_epochs = 1
    write_npz(tmp_path / "mnist.npz", dataset)
    write_csv(tmp_path / "csv", dataset)
    histories, params = [], []
    for name in ("idx", f"npz:{tmp_path}/mnist.npz", f"csv:{tmp_path}/csv", "memory"):
        in_memory = None
        if name == "memory":
            splits = dataset.train, dataset.test
            in_memory = from_arrays(*(a for s in splits for a in (s.images[..., 0], s.labels)))
        else:
            tiny_config.dataset = name
        workdir = tmp_path / name.partition(":")[0]
        if name.startswith("csv"):
            workdir = tmp_path / "run on csv"
        histories.append(train_and_evaluate(tiny_config, workdir, quiet=True, dataset=in_memory))
        params.append(zoo.training.parameters.read(workdir).variables)
    for history, own in zip(histories[1:], params[1:], strict=True):
        assert numbers(history) == numbers(histories[0])
        jax.tree.map(np.testing.assert_array_equal, own, params[0])
    assert histories[-1].config["dataset"] == "memory:arrays"


def test_a_run_goes_on_when_its_file_has_moved_and_stops_at_other_content(
    tiny_config: ConfigDict, dataset: zoo.data.Dataset, tmp_path: Path, monkeypatch: Any
) -> None:
    write_npz(tmp_path / "old.npz", dataset)
    monkeypatch.chdir(tmp_path)
    tiny_config.update(dataset="npz:old.npz", num_epochs=1)
    train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)
    (tmp_path / "old.npz").rename(tmp_path / "new.npz")
    tiny_config.update(dataset="npz:new.npz", num_epochs=2)
    history = train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)
    assert len(history.epochs) == 2
    assert history.config["dataset"] == f"npz:{tmp_path}/new.npz"
    again = train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)
    assert again.config["dataset"] == f"npz:{tmp_path}/new.npz"
    np.savez(
        "other.npz",
        x_train=255 - dataset.train.images,
        y_train=dataset.train.labels,
        x_test=dataset.test.images,
        y_test=dataset.test.labels,
    )
    sentence = r"other data \(sha256 .*: name the same data with --config\.dataset=npz:PATH"
    tiny_config.dataset = "npz:other.npz"
    with pytest.raises(ZooError, match=sentence):
        train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)
    tiny_config.dataset = "npz:new.npz"  # which another file takes the place of
    Path("new.npz").rename("kept.npz")
    Path("other.npz").rename("new.npz")
    with pytest.raises(ZooError, match=sentence):
        train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)
    Path("kept.npz").rename("new.npz")
    train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)
    with monkeypatch.context() as patch:
        patch.setattr(zoo.training.resume, "load_data", None)  # it need not be compared again
        train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)
    tiny_config.update(dataset="npz:new.npz", data={"split_seed": 1})
    with pytest.raises(
        ZooError, match=r"another configuration, data\.split_seed \(0 there, 1 here"
    ):
        train_and_evaluate(tiny_config, tmp_path / "run", quiet=True)


def test_a_run_among_its_own_images_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_zoo: Zoo
) -> None:
    for name in ("bright", "dark"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path / "pictures")
    for options, other in (([], "pooling_cnn3-images-pictures-0"), (["--workdir=dark/run"], "run")):
        status, said, error = run_zoo("train", ".", *options)
        assert (status, said) == (2, "")
        assert "is within images:., where every file counts as an image: name anoth" in error
        assert error.endswith(f", such as --workdir=../runs/{other}\n")
    assert sorted(tmp_path.rglob("*")) == before
    check_is_outside(tmp_path / "run", "images:.")
    check_is_outside(Path("run"), "csv:.")  # where only some files count


@pytest.mark.parametrize("kind", ["images", "csv", "idx"])
def test_changes_of_files_are_found_without_reading_them(
    tmp_path: Path, kind: str, idx_dir: Path
) -> None:
    root = Path(shutil.copytree(idx_dir, tmp_path / "data/some"))
    (root / "x.csv").touch()
    (root.parent / ".decoded").mkdir()
    name, manual_dir = ("idx", str(root)) if kind == "idx" else (f"{kind}:{root.parent}", "")
    last = max(file.stat().st_ctime for file in (*root.iterdir(), root, root.parent))
    assert not may_have_changed(name, manual_dir, last)
    assert may_have_changed(name, manual_dir, last - 1)
    time.sleep(0.05)  # systems count the times of files in steps
    (root.parent / ".decoded/manifest.json").touch()  # which is no change of the data
    assert not may_have_changed(name, manual_dir, last)
    (tmp_path / "moved").touch()
    os.utime(tmp_path / "moved", (0, 0))  # it was written long ago
    seen = {"images": "new.png", "csv": "new.csv", "idx": "t10k-labels-idx1-ubyte.gz"}[kind]
    (tmp_path / "moved").rename(root / seen)
    assert may_have_changed(name, manual_dir, last)
    shutil.rmtree(root.parent)
    assert not may_have_changed(name, manual_dir, last - 1)


def test_a_run_on_arrays_goes_on_with_the_same_ones_alone(
    tiny_config: ConfigDict, dataset: zoo.data.Dataset, tmp_path: Path
) -> None:
    tiny_config.num_epochs = 1
    names = [f"class {number}" for number in range(10)]
    arrays = (dataset.train.images, dataset.train.labels, dataset.test.images, dataset.test.labels)
    named = from_arrays(*arrays, class_names=names, name="mine")
    history = train_and_evaluate(tiny_config, tmp_path / "run", quiet=True, dataset=named)
    assert history.config["dataset"] == "memory:mine"
    assert tiny_config.dataset == "idx"  # as the caller had it
    assert zoo.training.history.read(tmp_path / "run").data["classes"] == names
    tiny_config.num_epochs = 2
    train_and_evaluate(tiny_config, tmp_path / "run", quiet=True, dataset=named)
    renamed = from_arrays(*arrays, class_names=names[::-1], name="mine")
    with pytest.raises(ZooError, match=r"run on other data \(classes .*: give the same arrays, or"):
        train_and_evaluate(tiny_config, tmp_path / "run", quiet=True, dataset=renamed)
    tiny_config.dataset = "memory:mine"
    with pytest.raises(
        ZooError, match="given in Python and are kept nowhere: give them again, as d"
    ):
        train_and_evaluate(tiny_config, tmp_path / "other run", quiet=True)


@pytest.mark.parametrize(
    ("classes", "at_fault"),
    [
        (["a"], r"^\['a'\]$"),
        (["a"] * 10, r"^\['a', 'a', "),
        ("0123456789", "^0123456789$"),
        ([f"{number}\n" for number in range(10)], r"^0\n$"),
    ],
)
def test_class_names_of_a_history_are_checked(
    tiny_config: ConfigDict, classes: object, at_fault: str
) -> None:
    content = History(
        tiny_config.to_dict(),
        {},
        {"name": "x", "num_params": 1},
        {"num_train": 1, "num_val": 1, "num_test": 1, "num_classes": 10, "classes": classes},
    ).to_content()
    with pytest.raises(ValueError, match=at_fault):
        zoo.training.history.from_content(content, Path("history.json"))
