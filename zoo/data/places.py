"""Where a run's data lies on this machine, which need not be where the run had it.

Finding and reading it prepares nothing, and writes nothing but the decoded copy: beside a prepared
dataset, and in a directory of images.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from zoo.data.dataset import DEFAULTS, Dataset, Options, Split
from zoo.data.datasets import TFDS_DEFAULT_DIR, load, load_place, read_prepared
from zoo.data.fitting import fitted
from zoo.data.idx_files import find_idx_files
from zoo.data.names import DATASETS, MEMORY, check_name, is_place, kind_of, place_of, short
from zoo.system.errors import ZooError
from zoo.system.files import expanded, shown


class DataDirs(NamedTuple):
    """Two directories; "" where none is named."""

    data_dir: str = ""  # of datasets that TFDS prepared
    manual_dir: str = ""  # of IDX files; of "npz:FILE" and the like, the file or directory itself


NOWHERE = DataDirs()
_MOST_PARTS = 8  # of a path of which the end is looked for: a stranger's may be endless


class _Place(NamedTuple):
    """A directory, or several if it may have moved, and how a dataset is read from it."""

    paths: list[Path]  # the likeliest first
    read: Callable[[str, Path, Options, bool], Dataset | None]  # None: it is not there


def find(
    name: str,
    given: DataDirs = NOWHERE,
    hint: DataDirs = NOWHERE,
    workdir: Path | None = None,
    sha256: str | None = None,
    options: Options = DEFAULTS,
    stream: bool = False,
) -> Dataset:
    """Returns the dataset of that name from the first directory that holds it.

    The directories are those given. If none is: that of the environment variable TFDS_DATA_DIR;
    for mnist, that of ZOO_MNIST_DIR; those of the hint; ~/tensorflow_datasets.

    Args:
        name: one of `DATASETS`, or of the forms `FORMS`.
        given: where it is, as the user says.
        hint: where a run had it, perhaps on another machine.
        workdir: the directory of that run, with which its data may have moved.
        sha256: the checksum of that run's data; None: any data will do.
        options, stream: as for `load`.

    Raises:
        ZooError: unknown name; it is in none of the directories, or damaged, or is other data.
    """
    check_name(name)
    if name == "digits":
        places = [_Place([Path()], _load_named)]  # wherever scikit-learn lies
    elif kind_of(name) == MEMORY:
        raise ZooError(_only_in_memory(name, workdir))
    elif is_place(name):
        places = [_Place([*_paths_of_place(name, given, workdir)], _read_place)]
    else:
        places = _given(name, given) or _known(name, hint, workdir)
    problems = []
    for place in places:
        for path in filter(os.path.exists, place.paths):
            try:
                dataset = place.read(name, path, options, stream)
                if dataset and sha256 not in (None, dataset.sha256):
                    raise ZooError(_other_data(dataset, path, workdir, sha256))
            except ZooError as error:
                if path == place.paths[0]:  # the others are guesses
                    problems.append(str(error))
                continue
            if dataset:
                return dataset
    raise ZooError(problems[0] if problems else _not_found(name, places))


def _given(name: str, given: DataDirs) -> list[_Place]:
    """What the user names, as far as it is of use for that dataset."""
    places = []
    if given.data_dir and name != "idx":
        places.append(_Place([expanded(given.data_dir)], _prepared))
    if given.manual_dir:
        places.append(_Place([expanded(given.manual_dir)], _read_files))
    return places


def _known(name: str, hint: DataDirs, workdir: Path | None) -> list[_Place]:
    """Where a dataset may be of which the user does not say it."""
    from_files = _Place([*_moved(hint.manual_dir, workdir)], _read_files)
    if name == "idx":
        return [from_files]
    environment = os.environ.get("TFDS_DATA_DIR"), os.environ.get("ZOO_MNIST_DIR")
    places = []
    if environment[0]:
        places.append(_Place([_expanded(environment[0])], _prepared))
    if environment[1] and name == "mnist":
        places.append(_Place([_expanded(environment[1])], _read_files))
    places.append(_Place([*_moved(hint.data_dir, workdir)], _prepared))
    return [*places, from_files, _Place([_expanded(TFDS_DEFAULT_DIR)], _prepared)]


def _expanded(directory: str) -> Path:
    try:
        return expanded(directory)
    except ZooError:  # in the home directory of a user of another machine
        return Path(directory)


def _moved(directory: str, workdir: Path | None) -> Iterator[Path]:
    """Where a run's directory of data may be now.

    That is where it was or, if it was copied or moved together with the run, at the end of its
    old path below a directory that is above the run: of /old/project/data/bars, for a run in
    /new/project/runs/1, at last /new/project/data/bars.
    """
    if not directory:
        return
    path = _expanded(directory)
    yield path
    first = max(len(path.parts) - _MOST_PARTS, path.is_absolute())
    for start in range(first, len(path.parts)):
        for parent in workdir.absolute().parents if workdir else ():
            yield parent.joinpath(*path.parts[start:])


def _paths_of_place(name: str, given: DataDirs, workdir: Path | None) -> Iterator[Path]:
    """Where the file or directory of "npz:FILE" and the like may be, the likeliest first."""
    if given.manual_dir:
        path = expanded(given.manual_dir)
        within = path / Path(place_of(name)).name
        yield within if os.path.exists(within) else path
    else:
        yield from _moved(place_of(name), workdir)


def _load_named(name: str, _: Path, options: Options, stream: bool) -> Dataset | None:
    return load(name, options=options, stream=stream)


def _read_place(name: str, path: Path, options: Options, stream: bool) -> Dataset | None:
    return load_place(kind_of(name), path, options, stream)


def _prepared(name: str, data_dir: Path, options: Options, stream: bool) -> Dataset | None:
    return read_prepared(name, data_dir, options, stream)


def _read_files(name: str, manual_dir: Path, options: Options, stream: bool) -> Dataset | None:
    """The dataset from its IDX files; for a TFDS dataset the published ones."""
    if name == "idx":
        return load(name, manual_dir=manual_dir, options=options, stream=stream)
    if name not in DATASETS:
        return None
    files = find_idx_files(manual_dir)
    if len(files) < 4:
        return None
    from zoo.data import mnist_tfds  # only now: it imports TFDS

    splits = mnist_tfds.read_published(name, files)
    found = Dataset(name, Split(*splits["train"]), Split(*splits["test"]), num_classes=10)
    return fitted(found, options)


def _other_data(dataset: Dataset, path: Path, workdir: Path | None, sha256: str) -> str:
    name, where = short(dataset.name), f" in {shown(path)}"
    advice = (
        f"name the directory of that data, or score this one by zoo evaluate --dataset={name} "
        f"{'--manual-dir=PATH' if is_place(name) else 'with its directory'}"
    )
    if name == "digits":
        where, advice = "", "install the versions of scikit-learn and Pillow that its run had"
    return (
        f"{name}{where} is not the data that {workdir or 'the run'} was trained on (sha256 "
        f"{dataset.sha256[:16]} here, {sha256[:16]} there): {advice}"
    )


def _only_in_memory(name: str, workdir: Path | None) -> str:
    return (
        f"{workdir or 'the run'} was trained on {name}, arrays in memory that were not kept: name "
        f"other data, such as --dataset=npz:FILE"
    )


def _not_found(name: str, places: list[_Place]) -> str:
    looked = [shown(place.paths[0]) for place in places if place.paths]
    if is_place(name):
        return (
            f"{short(name)} is not at {' or '.join(looked)}: name that file or directory with "
            f"--manual-dir=PATH"
        )
    text = f"{name} is not in {' or '.join(looked)}" if looked else f"{name} is not found"
    if name == "idx":
        return f"{text}: name the directory of its IDX files with --manual-dir=DIR"
    if kind_of(name) == "tfds":
        return f"{text}: name the directory in which TFDS prepared it with --data-dir=DIR"
    variable = " or ZOO_MNIST_DIR" if name == "mnist" else ""
    return (
        f"{text}: name the directory in which TFDS prepared it with --data-dir=DIR, or that of its "
        f"published files with --manual-dir=DIR{variable}, or prepare it with python -c "
        f"\"import zoo.data; zoo.data.load('{name}')\""
    )
