"""Numbers and tables as text, and text for streams that know few characters."""

import statistics
from collections.abc import Sequence

_SPELLINGS = {"±": "+-", "…": "...", "²": "^2", "█": "#", "\N{MULTIPLICATION SIGN}": "x"}


def spell(error: UnicodeError) -> tuple[str, int]:
    """Spells what an encoding lacks with what every encoding has; for `codecs.register_error`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(_SPELLINGS.get(character, "?") for character in missing), error.end


def error_text(error: BaseException) -> str:
    """An unexpected error in a line: its type and what it says."""
    return " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")


def counted(count: int, thing: str) -> str:
    """Such as "1 image" or "2,000 images"."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def mean_text(value: float | Sequence[float], form: str) -> str:
    """A value, or of several the mean ± their standard deviation; `form` such as ".2%"."""
    values = value if isinstance(value, Sequence) else [value]
    spread = f" ± {statistics.stdev(values):{form}}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):{form}}{spread}"


def metric_text(name: str, value: float | Sequence[float]) -> str:
    """Such as "loss 0.0492" or "accuracy 98.62%"; of many seeds, mean ± standard deviation."""
    return f"{name} {mean_text(value, '.2%' if name.endswith('accuracy') else '.4f')}"


def table_text(rows: Sequence[Sequence[str]], left: Sequence[int]) -> str:
    """Rows of cells in columns two blanks apart; the columns in `left` are aligned to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
