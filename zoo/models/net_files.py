"""Nets of one's own: tuples of layers in files that the user trusts, named as FILE.py:NAME."""

import contextlib
import difflib
import functools
import re
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zoo.models import layer_lists
from zoo.models.catalogue import NETS, check_net
from zoo.models.layers import Head, Layer, Net


def is_reference(name: str) -> bool:
    """Whether it names a file, as in my_nets.py:MY_NET."""
    return _parts(name) is not None


def short_name(name: str) -> str:
    """The name of a net without that of its file."""
    parts = _parts(name)
    return parts[1] if parts else name


def check_is_ours(name: str) -> None:
    """Raises ValueError unless it is the name of a net of the zoo, which may have weights."""
    if is_reference(name):
        raise ValueError(
            f"{name} names a net of your own, of which there are no weights: train it, and name "
            f"the directory of the run"
        )
    check_net(name)


def find(name: str) -> Net:
    """The layers of the net of that name, or in that file, which is executed.

    Raises:
        ValueError: there is no such net, in one sentence.
    """
    parts = _parts(name)
    if parts is None:
        check_net(name)
        return NETS[name]
    file, variable = parts
    path = Path(file).expanduser()
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise OSError(0, "it is not a file")  # reading a pipe would block
        source = path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"cannot read {file} ({error.strerror}): name a net of your own as FILE.py:NAME"
        ) from None
    found = _run(path.absolute(), source)
    if variable not in found:
        nets = nets_among(found)
        near = difflib.get_close_matches(variable, nets, n=2) or nets[:3]
        wanted = f"has no {variable!r}" if variable else "needs the name of a net in it"
        hint = " or ".join(f"{file}:{key}" for key in near)
        raise ValueError(
            f"{file} {wanted}: "
            + (f"did you mean {hint}?" if near else "it has no tuple of layers")
        )
    net = found[variable]
    try:
        layer_lists.check(net)
        if not isinstance(net[-1], Head):
            raise ValueError(f"the last layer must be Head(), not {net[-1]!r:.40}")
        layer_lists.to_content(net)  # a run must hold it
    except ValueError as error:
        raise ValueError(f"{variable} of {file}: {error}") from None
    return net


def _parts(name: str) -> tuple[str, str] | None:
    match = re.fullmatch(r"(.+\.py)(?::(\w*))?", name)
    return (match[1], match[2] or "") if match else None


def nets_among(variables: Mapping[str, Any]) -> list[str]:
    """The names of those that are tuples of layers, whatever else is wrong with them."""
    return [
        name
        for name, value in variables.items()
        if isinstance(value, tuple) and any(isinstance(each, Layer | Head) for each in value)
    ]


@contextlib.contextmanager
def as_guest() -> Iterator[None]:
    """Within it, a file of the user's is executed: what it prints goes to standard error.

    The current directory is as before when it ends.
    """
    with contextlib.chdir(Path.cwd()), contextlib.redirect_stdout(sys.stderr):
        yield


@functools.lru_cache(maxsize=8)
def _run(path: Path, source: bytes) -> dict[str, Any]:
    """The variables of the file, which is executed once for each content."""
    module = types.ModuleType(f"{path.stem}.py")  # no module that is imported has such a name
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # where dataclasses look for what annotations name
    sys.path.insert(0, str(path.parent))  # its neighbours can be imported, as in a program
    try:
        with as_guest():
            exec(compile(source, path, "exec"), vars(module))
    except BaseException as error:  # it is code: whatever it raises is for its author
        text = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
        raise ValueError(f"{path.name} cannot be run: {text:.300}") from None
    finally:
        with contextlib.suppress(ValueError):  # the file may have removed it
            sys.path.remove(str(path.parent))
    return vars(module)
