"""Where datasets are found, and what TFDS's directories may be called."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import absl.logging
import numpy as np
import pytest
import unprivileged
from conftest import write_idx_dataset

import zoo.data
from zoo.data import DataDirs, Dataset, Split, find, load, mnist_tfds
from zoo.data.idx import FILES
from zoo.system.errors import ZooError


def prepare_small(data_dir: Path, seed: int = 0) -> Dataset:
    """Makes data_dir hold an MNIST of ten images, as far as reading it goes."""
    rng = np.random.default_rng(seed)
    images, labels = rng.integers(0, 256, (10, 28, 28, 1), np.uint8), np.arange(10, dtype=np.int32)
    (data_dir / "mnist/3.0.1").mkdir(parents=True)
    zoo.data.cache.write(
        data_dir / "mnist/3.0.1/decoded", {name: (images, labels) for name in ("train", "test")}
    )
    return Dataset("mnist", Split(images, labels), Split(images, labels), 10)


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home and a current directory of its own, and no variable that names data."""
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.delenv("ZOO_MNIST_DIR", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def small_published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Four small files that count as the published ones of MNIST."""
    write_idx_dataset(tmp_path / "files", num_train=30, num_test=10)
    url = mnist_tfds._STOCK_BUILDERS["mnist"].URL
    names = [name for pair in FILES.values() for name in pair]
    infos = {
        **mnist_tfds.get_all_url_infos(),
        **{url + name: mnist_tfds.compute_url_info(tmp_path / "files" / name) for name in names},
    }
    monkeypatch.setattr(mnist_tfds, "get_all_url_infos", lambda: infos)
    monkeypatch.setattr(
        "tensorflow_datasets.core.download.checksums.get_all_url_infos", lambda: infos
    )
    return tmp_path / "files"


def listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_the_checksum_is_of_the_content_alone(idx_dir: Path, tmp_path: Path) -> None:
    dataset = load("idx", manual_dir=idx_dir)
    split = Split(dataset.train.images.copy(order="F"), dataset.train.labels.astype(np.int64))
    assert Dataset("other", split, dataset.test, 10).sha256 == dataset.sha256
    labels = dataset.test.labels.copy()
    labels[0] ^= 1
    assert Dataset("idx", dataset.train, Split(dataset.test.images, labels), 10).sha256 != (
        dataset.sha256
    )
    write_idx_dataset(tmp_path / "other", num_train=72, num_test=20, seed=1)
    assert load("idx", manual_dir=tmp_path / "other").sha256 != dataset.sha256


def test_directories_are_looked_through_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_published: Path
) -> None:
    """--data-dir, --manual-dir, the environment, the hint, the default."""
    names = ("given", "environment", "hint", "home/tensorflow_datasets")
    sums = [prepare_small(tmp_path / name, seed).sha256 for seed, name in enumerate(names)]
    monkeypatch.setenv("TFDS_DATA_DIR", "environment")
    monkeypatch.setenv("ZOO_MNIST_DIR", str(small_published))
    files = find("mnist", DataDirs(manual_dir=str(small_published)))
    assert len(files.train) == 30
    given, hint = DataDirs("given", str(small_published)), DataDirs("hint")
    assert find("mnist", given, hint).sha256 == sums[0]
    shutil.rmtree(tmp_path / "given/mnist")
    assert find("mnist", given, hint).sha256 == files.sha256
    assert find("mnist", hint=hint).sha256 == sums[1]
    shutil.rmtree(tmp_path / "environment/mnist")
    assert find("mnist", hint=hint).sha256 == files.sha256
    monkeypatch.delenv("ZOO_MNIST_DIR")
    assert find("mnist", hint=hint).sha256 == sums[2]
    shutil.rmtree(tmp_path / "hint/mnist")
    assert find("mnist", hint=hint).sha256 == sums[3]


def test_the_directory_with_the_right_content_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare_small(tmp_path / "environment", seed=1)
    wanted = prepare_small(tmp_path / "hint", seed=2).sha256
    monkeypatch.setenv("TFDS_DATA_DIR", "environment")
    assert find("mnist", hint=DataDirs("hint"), sha256=wanted).sha256 == wanted
    with pytest.raises(ZooError, match=r"^mnist in environment is not the data that run was train"):
        find("mnist", DataDirs("environment"), DataDirs("hint"), Path("run"), wanted)


def test_published_files_are_read_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_published: Path
) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", "environment")
    monkeypatch.setenv("ZOO_MNIST_DIR", "files")
    before = listing(tmp_path)
    dataset = find("mnist", hint=DataDirs(str(tmp_path / "other/machine")))
    assert listing(tmp_path) == before
    assert dataset.sha256 == load("idx", manual_dir=small_published).sha256
    write_idx_dataset(tmp_path / "files", num_train=30, num_test=10, seed=5)
    with pytest.raises(ZooError, match="is not the file that mnist was published with"):
        find("mnist")


@pytest.mark.parametrize("name", ["mnist", "kmnist", "idx"])
@pytest.mark.parametrize("given", [DataDirs(), DataDirs("no/data", "no/files")])
def test_what_is_nowhere_is_one_sentence_and_makes_no_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, given: DataDirs
) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", "environment")
    hint = DataDirs(str(tmp_path / "other/data"), "~nobody-has-this-name/files\x1b[2J\n")
    before = listing(tmp_path)
    with pytest.raises(ZooError, match=f"^{name} is not in .*--manual-dir=DIR") as error:
        find(name, given, hint, tmp_path / "run")
    assert listing(tmp_path) == before
    sentence = str(error.value)
    assert sentence.isprintable()
    assert ("no/files" in sentence) == any(given)
    if name != "idx":
        assert "--data-dir=DIR" in sentence
        assert f"zoo.data.load('{name}')" in sentence
        assert ("ZOO_MNIST_DIR" in sentence) == (name == "mnist")


def test_a_hint_without_end_is_no_work(tmp_path: Path) -> None:
    with pytest.raises(ZooError):
        find("idx", hint=DataDirs(manual_dir="/x" * 100_000), workdir=tmp_path / "run")
    with pytest.raises(ZooError):
        find("idx", hint=DataDirs(manual_dir="/x\0"), workdir=tmp_path / "run")


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("~", "home"),
        ("~/data", "home/data"),
        ("relative/data", "relative/data"),
        ("", "home/tensorflow_datasets"),
        ("d/[x]*?", "d/[x]*?"),
        ("back\\slash", "back\\slash"),
        (" a {b,c} #%s ", " a {b,c} #%s "),
        ("line\nbreak", "line\nbreak"),
        ("-o", "-o"),
    ],
)
def test_tfds_data_dir_may_be_any_directory(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_published: Path,
    capsys: pytest.CaptureFixture[str],
    value: str,
    place: str,
) -> None:
    """Prepared, decoded, read from the cache; TFDS and the shell take some names for patterns."""
    monkeypatch.setenv("TFDS_DATA_DIR", value)
    dataset = load("mnist", manual_dir=small_published)
    assert capsys.readouterr().err.count("\n") == 1
    decoded = tmp_path / place / "mnist/3.0.1/decoded"
    assert (decoded / "manifest.json").exists()
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert load("mnist", data_dir=tmp_path / place).sha256 == dataset.sha256
    shutil.rmtree(decoded)
    assert find("mnist", DataDirs(str(tmp_path / place))).sha256 == dataset.sha256
    assert dataset.sha256 == load("idx", manual_dir=small_published).sha256


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("file", r"mnist cannot be prepared in file \(.*Not a directory"),
        ("file/data", r"mnist cannot be prepared in file/data \(.*Not a directory"),
        ("x" * 300, r"File name too long"),
        ("gs://bucket/data", r"a dataset's directory must be on this machine, not 'gs:/bucket"),
        ("~nobody-has-this-name/data", "is in a home directory, which this user does not have"),
    ],
)
def test_where_nothing_can_be_prepared_is_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_published: Path,
    capsys: pytest.CaptureFixture[str],
    value: str,
    sentence: str,
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TFDS_DATA_DIR", value)
    before = listing(tmp_path)
    with pytest.raises(ZooError, match=sentence) as error:
        load("mnist", manual_dir=small_published)
    assert str(error.value).isprintable()
    assert listing(tmp_path) == before
    assert capsys.readouterr().err == ""


READ = """
import zoo.data
from zoo.system.errors import ZooError

for read in zoo.data.find, zoo.data.load:
    try:
        print(len(read("mnist").train))
    except ZooError as error:
        print(error)
"""


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (0o555, ["10", "10"]),
        (0o000, ["mnist is not in", "mnist is not prepared"]),
    ],
    ids=["read only", "no rights"],
)
def test_a_directory_of_others_is_read_as_far_as_its_rights_go(
    tmp_path: Path, mode: int, said: list[str]
) -> None:
    prepare_small(tmp_path / "data")
    (tmp_path / "data").chmod(mode)
    no_network = {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    result = subprocess.run(
        [sys.executable, "-c", unprivileged.PREAMBLE + READ],
        env={**os.environ, **no_network, "TFDS_DATA_DIR": "data"},
        capture_output=True,
        text=True,
        check=False,
    )
    (tmp_path / "data").chmod(0o755)
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    for line, start in zip(lines, said, strict=True):
        assert line.startswith(start)


READ_PLACES = """
import sys

import zoo.data
from zoo.system.errors import ZooError

for place in sys.argv[1:]:
    try:
        zoo.data.load(place)
    except ZooError as error:
        print(error)
"""


@pytest.mark.slow
def test_files_that_may_not_be_read_are_one_sentence_each(tmp_path: Path) -> None:
    (tmp_path / "within/below").mkdir(parents=True)
    (tmp_path / "within/y_train.npy").touch()
    forbidden = {
        "npz:x.npz": "x.npz",
        "csv:x.csv": "x.csv",
        "parquet:x.parquet": "x.parquet",
        "npy:within": "within/x_train.npy",
        **{f"{kind}:within/below": "within/below" for kind in ("npy", "csv", "images")},
        "csv:within": "within/below",
    }
    for name in {*forbidden.values()} - {"within/below"}:
        (tmp_path / name).touch()
    for name in forbidden.values():
        (tmp_path / name).chmod(0)
    result = subprocess.run(
        [sys.executable, "-c", unprivileged.PREAMBLE + READ_PLACES, *forbidden],
        capture_output=True,
        text=True,
        check=False,
    )
    (tmp_path / "within/below").chmod(0o755)
    assert result.stderr == ""
    for name, said in zip(forbidden.values(), result.stdout.splitlines(), strict=True):
        assert said.startswith(f"{name} cannot be read (")
        assert said.endswith("ermission denied): get permission to read it")


def test_what_tfds_warns_of_reaches_the_user(
    small_published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = mnist_tfds.tfds.builder_from_directory

    def warn(*arguments: object) -> object:
        absl.logging.warning("OpenCV is not installed. We recommend using OpenCV.")
        absl.logging.warning("Dataset mnist is hosted on %s.", "another planet")
        return read(*arguments)

    monkeypatch.setattr(mnist_tfds.tfds, "builder_from_directory", warn)
    with pytest.warns(UserWarning, match=r"^TFDS: Dataset mnist is hosted on another planet\.$"):
        load("mnist", data_dir="data", manual_dir=small_published)


def test_a_preparation_that_was_killed_is_done_again_silently(
    tmp_path: Path, small_published: Path
) -> None:
    (tmp_path / "data/mnist/3.0.1.incompleteABCDEF").mkdir(parents=True)
    assert len(load("mnist", data_dir="data", manual_dir=small_published).train) == 30


def test_a_directory_that_tfds_would_take_for_a_dataset_is_one_sentence(
    tmp_path: Path, small_published: Path
) -> None:
    prepare_small(tmp_path / "data")
    (tmp_path / "data/mnist/3.0.1/decoded/manifest.json").unlink()
    with pytest.raises(
        ZooError, match=r"^data/mnist/3.0.1 holds no prepared dataset \(dataset_inf"
    ):
        load("mnist", data_dir="data", manual_dir=small_published)
