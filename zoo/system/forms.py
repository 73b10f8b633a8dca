"""Checks the content of JSON files, which may be truncated, edited or from an untrusted source.

A form is a function that says whether a value is valid, a dict of forms (the value must have all of
its keys, and may have more), or a list of one form (the value must be a list of such values).
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Form = Callable[[Any], bool] | dict[str, Any] | list[Any]
_MOST_BYTES = 10**9  # a history of 10,000 seeds and 1,000 epochs
_LARGEST = 1e15  # far above anything that is counted or measured here


def read_json(path: Path, most_bytes: int = _MOST_BYTES) -> Any:
    """The content of a JSON file: standard JSON, with text that can be encoded again.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it cannot be read, or is not a file.
        ValueError: it is not JSON, or is too large or too deeply nested.
    """
    if path.exists() and not path.is_file():
        raise OSError(0, "it is not a file")  # reading a pipe would block

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    if path.stat().st_size > most_bytes:
        raise ValueError(path.stat().st_size)
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
        json.dumps(content, ensure_ascii=False).encode()  # half a surrogate pair is not text
    except RecursionError as error:
        raise ValueError(error) from None
    return content


def check(value: Any, form: Form) -> None:
    """Raises ValueError unless the value has that form."""
    if isinstance(form, dict):
        if not isinstance(value, dict):
            raise ValueError(value)
        for key, part in form.items():
            if key not in value:
                raise ValueError(key)
            check(value[key], part)
    elif isinstance(form, list):
        if not isinstance(value, list):
            raise ValueError(value)
        for each in value:
            check(each, form[0])
    elif not form(value):
        raise ValueError(value)


def text(value: Any) -> bool:
    """Whether it is one line of text without control characters, safe to print in a terminal."""
    return isinstance(value, str) and value.isprintable()


def whole(low: int, high: int = 2**53) -> Callable[[Any], bool]:
    """A form: an integer in that range."""
    return lambda value: type(value) is int and low <= value <= high


def number(low: float, high: float = _LARGEST) -> Callable[[Any], bool]:
    """A form: a number in that range."""
    return lambda value: type(value) in (int, float) and low <= value <= high


def optional(form: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """A form: null, or a value of the given form."""
    return lambda value: value is None or form(value)


def per_seed(form: Callable[[Any], bool], num_seeds: int) -> Callable[[Any], bool]:
    """A form: a value of the given form; with several seeds, a list with one value per seed."""
    if num_seeds == 1:
        return form
    return lambda value: (
        isinstance(value, list) and len(value) == num_seeds and all(map(form, value))
    )
