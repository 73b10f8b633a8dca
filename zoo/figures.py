"""What all pictures have in common: colours, file types, and how they are written."""

import warnings
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from zoo.errors import ZooError

# Okabe & Ito (2008): told apart with any colour vision.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SUFFIXES = (".png", ".svg", ".pdf")


def check_suffix(path: Path) -> None:
    """Raises ZooError unless the name ends as that of a picture that can be written."""
    if path.suffix.lower() not in SUFFIXES:
        raise ZooError(f"cannot draw {path}: its name must end in {', '.join(SUFFIXES)}")


def plain(text: str) -> str:
    """The text as it is: a dollar sign begins no formula."""
    return text.replace("$", r"\$")


def save(figure: Figure, path: Path) -> None:
    """Writes the picture, replacing what is there; the same picture gives the same bytes.

    Raises:
        ZooError: the file's ending is another than `SUFFIXES`.
        OSError: it cannot be written.
    """
    check_suffix(path)
    no_date = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    with warnings.catch_warnings(), matplotlib.rc_context({"svg.hashsalt": "zoo"}):
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # 日本: a box
        figure.savefig(path, dpi=150, metadata=no_date.get(path.suffix.lower()))
