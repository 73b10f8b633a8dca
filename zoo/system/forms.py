"""The form of what a JSON file must hold: it may be cut, edited by hand, or a stranger's.

A form is a function that says whether a value is right, a dict of forms (the value must have all of
its keys, and may have more), or a list of one form (the value must be a list of such values).
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Form = Callable[[Any], bool] | dict[str, Any] | list[Any]
_MOST_BYTES = 10**9  # 10,000 seeds fill 1,000 epochs' worth of a history with it
_LARGEST = 1e15  # nothing that is counted or measured here comes near


def read_json(path: Path) -> Any:
    """What a file holds, as standard JSON of text that can be written again.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it cannot be read, or is no file.
        ValueError: it is no JSON, or too large or too deep for what is kept here.
    """
    if path.exists() and not path.is_file():
        raise OSError(0, "it is no file")  # a pipe would be waited for

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(path.stat().st_size)
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
        json.dumps(content, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except RecursionError as error:
        raise ValueError(error) from None
    return content


def check(value: Any, form: Form) -> None:
    """Raises ValueError unless the value is of that form."""
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
    """Whether it is text of one line that changes nothing in a terminal but what stands there."""
    return isinstance(value, str) and value.isprintable()


def whole(low: int, high: int = 2**53) -> Callable[[Any], bool]:
    """Whether it is a whole number in that range."""
    return lambda value: type(value) is int and low <= value <= high


def number(low: float, high: float = _LARGEST) -> Callable[[Any], bool]:
    """Whether it is a number in that range."""
    return lambda value: type(value) in (int, float) and low <= value <= high


def optional(form: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Whether it is null, or of that form."""
    return lambda value: value is None or form(value)


def per_seed(form: Callable[[Any], bool], num_seeds: int) -> Callable[[Any], bool]:
    """Whether it is of that form; of many seeds, a list with one for each."""
    if num_seeds == 1:
        return form
    return lambda value: (
        isinstance(value, list) and len(value) == num_seeds and all(map(form, value))
    )
