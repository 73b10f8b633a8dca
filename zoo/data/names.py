"""What a dataset may be called: a name, such as "mnist", or a kind and a place, "npz:FILE"."""

import difflib
import os
from pathlib import Path

from zoo.system.errors import ZooError
from zoo.system.files import as_text, expanded

TFDS_DATASETS = ("mnist", "fashion_mnist", "kmnist")
DATASETS = ("digits", *TFDS_DATASETS, "idx")
PLACES = {  # kinds that lie in a file or a directory, and what that is
    "images": "DIRECTORY",
    "npz": "FILE",
    "npy": "DIRECTORY",
    "csv": "FILE|DIRECTORY",
    "parquet": "FILE|DIRECTORY",
}
FORMS = (*(f"{kind}:{place}" for kind, place in PLACES.items()), "tfds:NAME[:VERSION]")
MEMORY = "memory"  # the kind of arrays that were given in Python


def kind_of(name: str) -> str:
    """Such as "npz" of "npz:FILE"; of a plain name, that name."""
    return name.partition(":")[0]


def place_of(name: str) -> str:
    """Such as "FILE" of "npz:FILE"; empty for a plain name."""
    return name.partition(":")[2]


def is_place(name: str) -> bool:
    """Whether the name says in which file or directory the data is."""
    return kind_of(name) in PLACES and bool(place_of(name))


def is_known(name: str) -> bool:
    """Whether it is a dataset's name, or has the form of one; its data need not be there.

    Names are printed and may come from a stranger's file, so they are one line of text.
    """
    kinds = (*PLACES, "tfds", MEMORY)
    has_form = kind_of(name) in kinds and bool(place_of(name).strip())
    return name in DATASETS or (has_form and name.isprintable())


def check_name(name: str) -> None:
    """Raises ZooError unless it is one of `DATASETS` or has one of `FORMS`."""
    if is_known(name):
        return
    if not name.isprintable():
        raise ZooError(f"the dataset's name {name!r} is not one line of text: rename its path")
    kinds = {form.partition(":")[0]: form for form in FORMS}
    if (kind := kind_of(name)) in kinds:
        raise ZooError(f"dataset {name!r} names no place: give {kinds[kind]}")
    near = difflib.get_close_matches(name, DATASETS, n=2)
    near = near or [kinds[each] for each in difflib.get_close_matches(kind, kinds, n=1)]
    known = f"known: {', '.join((*DATASETS, *FORMS))}"
    raise ZooError(f"unknown dataset {name!r}: " + (_did_you_mean(near) if near else known))


def _did_you_mean(names: list[str]) -> str:
    return f"did you mean {' or '.join(names)}?"


def path_of(name: str) -> Path:
    """The file or directory that a name of a place tells, with a leading tilde replaced.

    Raises:
        ZooError: there is no such home directory.
    """
    return expanded(place_of(name))


def absolute(name: str) -> str:
    """The name with a path that is not relative to the current directory."""
    if not is_place(name) or place_of(name).startswith("~"):
        return name
    found = f"{kind_of(name)}:{os.path.abspath(place_of(name))}"
    return found if found.isprintable() else name  # the current directory may have any name


def short(name: str) -> str:
    """The name as tables show it: of a path only the last part, as in "images:flowers"."""
    if not is_place(name):
        return as_text(name)
    place = place_of(name)
    last = Path(place).name
    if last in ("", "..", "~"):  # of ".", "..", "~" the name of that directory
        last = os.path.basename(os.path.abspath(os.path.expanduser(place)))
    return as_text(f"{kind_of(name)}:{last or place}")
