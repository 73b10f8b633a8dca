"""Parameters chosen by regular expressions over their paths, such as conv_1/kernel.

A pattern matches a parameter if it matches, from end to end, its path or the path's first parts:
"conv_1" matches conv_1/kernel and conv_1/bias, and nothing of conv_10; ".*/bias" all biases.
Several patterns are separated by commas.
"""

import difflib
import functools
import itertools
import re
import warnings
from collections.abc import Iterable

_MOST_CHARACTERS = 1_000  # of a text of patterns
_LARGEST_FACTOR = 1e6
_COMMA = re.compile(r",(?![^{\[(]*[}\])])")  # but none within brackets


class PatternError(ValueError):
    """Patterns are wrong, or do not suit the parameters of a net."""


def frozen(paths: Iterable[str], freeze: str) -> frozenset[str]:
    """The paths that patterns match.

    Args:
        paths: of all parameters of a net.
        freeze: patterns, such as `conv_.*, dense_1/bias`; "": none.

    Raises:
        PatternError: a pattern is not a regular expression, or matches nothing (near matches are
            suggested); nothing is left to train.
    """
    paths, chosen = list(paths), set[str]()
    for pattern in freeze_patterns(freeze):
        found = [path for path in paths if _matches(pattern, path)]
        if not found:
            raise PatternError(_no_match("freeze", pattern, "no parameter", paths))
        chosen.update(found)
    if freeze and chosen.issuperset(paths):
        raise PatternError(f"freeze: {freeze!r} leaves no parameter to train: freeze fewer")
    return frozenset(chosen)


def factors(paths: Iterable[str], rates: str) -> dict[str, float]:
    """{path: factor of the learning rate}; 1 where no pattern matches.

    Args:
        paths: of the parameters that are trained.
        rates: patterns with their factors, such as `conv_.*=0.1, dense_1=0.5`; of those that match
            a path, the first counts. "": none.

    Raises:
        PatternError: it is no such text; a pattern matches nothing, or only what one before it
            matches.
    """
    paths, found = list(paths), dict[str, float]()
    for pattern, factor in rate_patterns(rates):
        matched = [path for path in paths if _matches(pattern, path)]
        if not matched:
            raise PatternError(_no_match("rates", pattern, "no parameter that is trained", paths))
        own = [path for path in matched if path not in found]
        if not own:
            raise PatternError(
                f"rates: {pattern.pattern!r} has no effect, because patterns before it match all "
                f"that it matches: put it before them"
            )
        found.update(dict.fromkeys(own, factor))
    return {path: found.get(path, 1.0) for path in paths}


def all_factors(paths: Iterable[str], freeze: str, rates: str) -> dict[str, float]:
    """{path: factor of the learning rate} of all parameters; 0 of those that are frozen.

    Raises:
        PatternError: as `frozen` and `factors`.
    """
    paths = list(paths)
    still = frozen(paths, freeze)
    trained = factors([path for path in paths if path not in still], rates)
    return {path: trained.get(path, 0.0) for path in paths}


@functools.cache
def freeze_patterns(freeze: str) -> tuple[re.Pattern[str], ...]:
    """The patterns of a text.

    Raises:
        PatternError: it is too long, or one of them is not a regular expression.
    """
    return tuple(_compiled("freeze", item) for item in _items("freeze", freeze))


@functools.cache
def rate_patterns(rates: str) -> tuple[tuple[re.Pattern[str], float], ...]:
    """The patterns of a text with their factors.

    Raises:
        PatternError: as `freeze_patterns`; a factor is missing, or is not a number above 0.
    """
    found = []
    for item in _items("rates", rates):
        pattern, _, number = item.rpartition("=")
        try:
            factor = float(number)
        except ValueError:
            factor = 0.0
        if not pattern or not 0 < factor <= _LARGEST_FACTOR:  # nan is neither
            raise PatternError(
                f"rates: {item!r} must be PATTERN=FACTOR, such as conv_.*=0.1, with a factor above "
                f"0 and up to {_LARGEST_FACTOR:,.0f} (0 would freeze: use freeze)"
            )
        found.append((_compiled("rates", pattern.strip()), factor))
    return tuple(found)


def _items(key: str, text: str) -> list[str]:
    if not text:
        return []
    if len(text) > _MOST_CHARACTERS or not text.isprintable():
        raise PatternError(
            f"{key}: {text[:40]!r}... must be one line of at most {_MOST_CHARACTERS:,} characters"
        )
    items = [item.strip() for item in _COMMA.split(text)]
    if not all(items):
        raise PatternError(f"{key}: {text!r} has an empty pattern: leave out a comma")
    return items


def _compiled(key: str, pattern: str) -> re.Pattern[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a later Python will read otherwise
            return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise PatternError(
            f"{key}: {pattern!r} is not a regular expression ({error}): try conv_.*"
        ) from None


def _matches(pattern: re.Pattern[str], path: str) -> bool:
    return any(pattern.fullmatch(place) for place in _places(path))


def _places(path: str) -> list[str]:
    """The path's first parts, from one to all: conv_1, conv_1/kernel."""
    return list(itertools.accumulate(path.split("/"), "{}/{}".format))


def _no_match(key: str, pattern: re.Pattern[str], what: str, paths: list[str]) -> str:
    places = list(dict.fromkeys(place for path in paths for place in _places(path)))
    bare = re.sub(r"[^\w/]", "", pattern.pattern)
    as_deep = [place for place in places if place.count("/") == bare.count("/")]
    near = difflib.get_close_matches(bare, as_deep or places, n=3, cutoff=0.5)
    layers = list(dict.fromkeys(path.rpartition("/")[0] or path for path in paths))
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(layers)}"
    return f"{key}: {pattern.pattern!r} matches {what}: {hint}"
