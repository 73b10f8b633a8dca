"""What all pictures have in common: colours, file types, how they are written, tooltips."""

import html
import io
import json
import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from weakref import WeakKeyDictionary

import matplotlib
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from zoo.system.errors import ZooError
from zoo.system.files import check_target, write_whole

# Okabe & Ito (2008): told apart with any colour vision.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SUFFIXES = (".png", ".svg", ".pdf")
_ONE_THREAD = threading.Lock()
_TOOLTIPS: WeakKeyDictionary[Line2D, list[str]] = WeakKeyDictionary()


def check_output(path: Path) -> None:
    """Raises ZooError unless a picture can be written there: said before the work is done."""
    if path.suffix.lower() not in SUFFIXES:
        raise ZooError(f"cannot draw {path}: its name must end in {', '.join(SUFFIXES)}")
    check_target(path)


def plain(text: str) -> str:
    """The text as it is: a dollar sign begins no formula."""
    return text.replace("$", r"\$")


def add_tooltips(line: Line2D, texts: Sequence[str]) -> None:
    """Gives each point of a line a text, which pages show beside the pointer."""
    _TOOLTIPS[line] = list(texts)


def save(figure: Figure, path: Path) -> None:
    """Writes the picture, replacing what is there; the same picture gives the same bytes.

    Raises:
        ZooError: the file's ending is another than `SUFFIXES`; there is no such folder.
        OSError: it cannot be written; what was there stays.
    """
    check_output(path)
    suffix = path.suffix.lower()
    no_date = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    file = io.BytesIO()
    with _stable():
        figure.savefig(file, format=suffix[1:], dpi=150, metadata=no_date.get(suffix))
    write_whole(path, file.getvalue())


def to_svg(figure: Figure, name: str, label: str) -> str:
    """The picture as an element of a page, on its background and in its text's colour.

    Args:
        figure: the picture.
        name: letters, digits and dashes, another for each picture of the page: its ids begin so.
        label: what it shows, for those who cannot see it.
    """
    tooltips: dict[str, list[str]] = {}  # by the id of the line's group
    for line in figure.findobj(Line2D):
        if isinstance(line, Line2D) and line in _TOOLTIPS:
            line.set_markevery(1)  # each: else a line of over 1,000 points is made anew when drawn
            line.recache(always=True)
            line.get_path().should_simplify = False  # a tooltip needs its point
            line.set_gid(f"line-{len(tooltips)}")
            tooltips[f"{name}-line-{len(tooltips)}"] = _TOOLTIPS[line]
    text = io.StringIO()
    with _stable():
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]  # a page needs no XML header
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="|href="#|url\(#', lambda match: f"{match[0]}{name}-", svg)
    svg = svg.replace("stroke: #000000", "stroke: currentColor")
    attributes = {
        "role": "img",
        "aria-label": label,
        "fill": "currentColor",
        "data-tooltips": json.dumps(tooltips, ensure_ascii=False),
    }
    shown = " ".join(f'{key}="{html.escape(value)}"' for key, value in attributes.items())
    return svg.replace("<svg", f"<svg {shown}", 1)


@contextmanager
def _stable() -> Iterator[None]:
    """The same picture gives the same bytes, and a character that the font lacks is a box.

    One thread at a time: settings and warnings are the process's.
    """
    with (
        _ONE_THREAD,
        warnings.catch_warnings(),
        matplotlib.rc_context({"svg.hashsalt": "zoo"}),
    ):
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield
