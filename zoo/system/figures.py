"""What all pictures share: colours, file formats, writing to disk, tooltips."""

import html
import io
import json
import re
import textwrap
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, Locator, MaxNLocator
from matplotlib.transforms import Bbox

from zoo.system.errors import ZooError
from zoo.system.files import as_text, check_target, write_whole

# Okabe & Ito (2008): distinguishable with any type of colour vision.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SUFFIXES = (".png", ".svg", ".pdf")
_MAX_NAME = 16  # characters of a name at an axis
_MOST_LETTERS = 80  # side by side below a picture
_SHORTEST_LINE = 12  # characters of a legend's text
_LEGEND_INCHES = 0.6  # of a figure's height, of two lines
_ACCURACIES = (  # ticks, percent: of a wide and of a narrow range
    (0, 50, 80, 90, 95, 98, 99, 99.5, 99.8, 99.9, 100),
    (0, 20, 40, 60, 70, 80, 85, 90, 92, 94, 96, 97, 98, 98.5, 99, 99.2, 99.4, 99.6, 99.8, 100),
)
_APART = 0.06  # of an axis, between ticks
_PERFECT = 0.1  # percentage points of error, added so that none has a logarithm
_MARGIN = 0.05  # inches around what would leave a figure
_ONE_THREAD = threading.Lock()
_TOOLTIPS: WeakKeyDictionary[Line2D, list[str]] = WeakKeyDictionary()


def check_output(path: Path) -> None:
    """Raises ZooError unless a picture can be written there; call it before the work is done."""
    if path.suffix.lower() not in SUFFIXES:
        raise ZooError(f"cannot draw {path}: its name must end in {', '.join(SUFFIXES)}")
    check_target(path)


def plain(text: str) -> str:
    """The text as Matplotlib can draw it: no formulas, and no bytes that are no text."""
    return as_text(text).replace("$", r"\$")


def label_text(name: str) -> str:
    """A name as it may stand at an axis or above a small picture: plain, and cut if it is long."""
    return plain(name if len(name) <= _MAX_NAME else f"{name[: _MAX_NAME - 1]}…")


def name_ticks(axis: Axis, names: Sequence[str]) -> None:
    """Gives an axis a tick for each name, from 0; below a picture, many letters are turned."""
    texts = [label_text(name) for name in names]
    axis.set_ticks(range(len(texts)), texts)
    if isinstance(axis, XAxis) and sum(map(len, texts)) > _MOST_LETTERS:
        for label in axis.get_ticklabels():
            label.set(rotation=45, ha="right", rotation_mode="anchor")


def light_frame(axes: Axes) -> None:
    """Gives axes a light grid, and lines at the left and below alone."""
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def bars_of(percent: Sequence[float], spreads: Sequence[float]) -> np.ndarray:
    """Lengths down and up [2, N] of error bars of percentages [N], which end at 0 and 100."""
    values = np.asarray(percent)
    return np.minimum(spreads, np.stack([values, 100 - values]))


def spread_accuracies(axes: Axes) -> None:
    """Scales accuracies in percent by the logarithm of their errors: 99 and 99.5 lie apart.

    And a net that has learned nothing does not press the others together. Call it before anything
    is drawn.
    """
    axes.set_yscale("function", functions=(_place_of, _percent_at))
    axes.yaxis.set_major_locator(_Accuracies())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda percent, _: f"{percent:.6g}"))


def _place_of(percent: Any) -> Any:
    return -np.log(np.maximum(100 + _PERFECT - percent, 1e-3))


def _percent_at(place: Any) -> Any:
    return 100 + _PERFECT - np.exp(-place)


class _Accuracies(Locator):
    """Ticks at well-known accuracies, not too close; where hardly any is in view, at others."""

    def __call__(self) -> Sequence[float]:
        assert self.axis is not None
        low, high = self.axis.get_view_interval()
        apart = _APART * (_place_of(high) - _place_of(low))
        for choice in _ACCURACIES:
            ticks: list[float] = []
            for tick in choice:
                is_apart = not ticks or _place_of(tick) - _place_of(ticks[-1]) > apart
                if low <= tick <= high and is_apart:
                    ticks.append(tick)
            if len(ticks) > 4:
                return ticks
        return MaxNLocator(5, steps=(1, 2, 5, 10)).tick_values(low, high)


def add_tooltips(line: Line2D, texts: Sequence[str]) -> None:
    """Gives each point of a line a text, which pages show next to the pointer."""
    _TOOLTIPS[line] = list(texts)


def add_legend(
    figure: Figure, handles: Sequence[Artist], texts: Sequence[str], num_columns: int
) -> None:
    """Adds a legend below the axes; long texts are broken into lines, and the figure grows for it.

    Without handles there is none.

    Args:
        figure: of a constrained layout.
        handles: what is explained.
        texts: of each handle, without formulas.
        num_columns: most columns of the legend.
    """
    if not handles:
        return
    width = max(1, *map(len, texts))
    while True:
        labels = [plain(textwrap.fill(text, width)) for text in texts]
        legend = figure.legend(
            handles, labels, loc="outside lower center", ncols=num_columns, frameon=False
        )
        size = legend.get_window_extent()
        if size.width <= figure.bbox.width or width <= _SHORTEST_LINE:
            break
        legend.remove()
        width = max(_SHORTEST_LINE, min(width - 1, int(width * figure.bbox.width / size.width)))
    more = size.height / figure.dpi - _LEGEND_INCHES
    figure.set_figheight(figure.get_figheight() + max(0.0, more))


def save(figure: Figure, path: Path, *, follow: bool = False) -> None:
    """Writes the picture and replaces an existing file; the same picture gives the same bytes.

    Args:
        figure: the picture.
        path: the file.
        follow: as for `write_whole`.

    Raises:
        ZooError: the suffix is not one of `SUFFIXES`; the directory does not exist.
        OSError: it cannot be written; an existing file is unchanged.
    """
    check_output(path)
    suffix = path.suffix.lower()
    no_date = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    file = io.BytesIO()
    with _stable():
        figure.savefig(
            file,
            format=suffix[1:],
            dpi=150,
            metadata=no_date.get(suffix),
            bbox_inches=_larger(figure),
        )
    write_whole(path, file.getvalue(), follow=follow)


def to_svg(figure: Figure, name: str, label: str) -> str:
    """The picture as an SVG element of a page, with the page's background and text colour.

    Args:
        figure: the picture.
        name: letters, digits and dashes; prefix of its ids, unique within the page.
        label: a description of the picture for screen readers.
    """
    tooltips: dict[str, list[str]] = {}  # by the id of the line's group
    for line in figure.findobj(Line2D):
        if isinstance(line, Line2D) and line in _TOOLTIPS:
            line.set_markevery(1)  # each: else a line of over 1,000 points is rebuilt when drawn
            line.recache(always=True)
            line.get_path().should_simplify = False  # a tooltip needs its point
            line.set_gid(f"line-{len(tooltips)}")
            tooltips[f"{name}-line-{len(tooltips)}"] = _TOOLTIPS[line]
    text = io.StringIO()
    with _stable():
        figure.savefig(
            text,
            format="svg",
            transparent=True,
            metadata={"Date": None},
            bbox_inches=_larger(figure),
        )
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]  # a page does not need the XML header
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


def _larger(figure: Figure) -> Bbox | None:
    """The part of the plane to draw, in inches, where a text would leave the figure; else None."""
    figure.draw_without_rendering()  # it places everything
    needed, given = figure.get_tightbbox(), figure.bbox_inches
    whole = Bbox.union([given, needed])
    return None if np.allclose(whole.extents, given.extents) else whole.padded(_MARGIN)


@contextmanager
def _stable() -> Iterator[None]:
    """Makes output reproducible, and draws characters that the font lacks as boxes.

    Only one thread at a time: settings and warnings are global to the process.
    """
    with (
        _ONE_THREAD,
        warnings.catch_warnings(),
        matplotlib.rc_context({"svg.hashsalt": "zoo"}),
    ):
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield
