"""What the processes of one run say to each other; of a single process, nothing.

All processes run the same program (JAX's multi-controller model): they draw the same parameters,
read the same data and take the same decisions, and each computes on its own devices. What could
differ between them, such as a clock, a signal or an error, is agreed on by JAX's own collectives.
Every function here must be called by all processes, in the same order.
"""

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from zoo.system.errors import ZooError
from zoo.system.files import as_sentence

Tree = TypeVar("Tree")
_MOST_BYTES = 4096  # of a text that is exchanged
_SECONDS_TO_APPEAR = 15.0  # in which a file on a network file system is seen by others
_LOST = ("Gloo", "NCCL", "UNAVAILABLE", "DEADLINE_EXCEEDED", "coordination service")


class AgreedError(ZooError):
    """An error that all processes of the run raise."""


def count() -> int:
    """How many processes there are."""
    return jax.process_count() if jax.distributed.is_initialized() else 1


def number() -> int:
    """The number of this process, from 0."""
    return jax.process_index() if jax.distributed.is_initialized() else 0


def is_first() -> bool:
    """Whether this process writes the run's files and its terminal."""
    return number() == 0


def any_of(value: bool) -> bool:
    """Whether it is true in any process."""
    return bool(largest(int(value)))


def largest(value: int) -> int:
    """The largest of the processes' numbers, which are below 2**31."""
    if count() == 1:
        return value
    return int(np.max(_gathered(np.int32(value))))


def texts(text: str) -> list[str]:
    """Each process's text, by the number of the process; of a long one its beginning."""
    if count() == 1:
        return [text]
    encoded = text.encode()[:_MOST_BYTES]
    padded = np.zeros(_MOST_BYTES, np.uint8)
    padded[: len(encoded)] = np.frombuffer(encoded, np.uint8)
    return [bytes(row).rstrip(b"\0").decode(errors="ignore") for row in _gathered(padded)]


def _gathered(value: Any) -> np.ndarray:
    return np.asarray(multihost_utils.process_allgather(value))


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Makes all processes raise an error that one raises in the block, at its end.

    Raises:
        AgreedError: with the first error, and the number of the process that raised it.
    """
    if count() == 1:
        yield
        return
    own = ""
    try:
        yield
    except ZooError as error:
        own = str(error)
    for which, text in enumerate(texts(own)):
        if text:
            raise AgreedError(text if which == number() else f"process {which}: {text}")


@contextlib.contextmanager
def first_before_others() -> Iterator[None]:
    """As `together`, but the first process goes through the block before the others.

    So it alone repairs, renames and writes what is to be read.
    """
    for turn_of_first in (True, False):
        with together():
            if is_first() == turn_of_first:
                yield


def on_first(write: Callable[..., object], *arguments: Any) -> None:
    """Calls a function in the first process alone; what it raises, all raise."""
    with together():
        if is_first():
            write(*arguments)


def at_hand(tree: Tree) -> Tree:
    """The tree with each array whole in this process; those spread over several are gathered."""

    def whole(leaf: Any) -> Any:
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
            if leaf.is_fully_replicated:
                return leaf.addressable_data(0)
            return multihost_utils.process_allgather(leaf, tiled=True)
        return leaf

    return jax.tree.map(whole, tree)


def check_same(what: str, values: Mapping[str, Any]) -> None:
    """Checks that all processes have the same values.

    Args:
        what: they are of, such as "configuration".
        values: of JSON's types, by their names.

    Raises:
        AgreedError: naming a process, a value and both sides of it.
    """
    if count() == 1:
        return
    short = {name: _shortened(json.dumps(value)) for name, value in values.items()}
    digest = hashlib.sha256(json.dumps(sorted(short.items())).encode()).hexdigest()
    all_digests = texts(digest)
    if len(set(all_digests)) == 1:
        return
    for name in sorted(short):
        first, *others = texts(f"{name} is {short[name]}")
        for which, other in enumerate(others, 1):
            if other != first:
                raise AgreedError(
                    f"process {which} was started with another {what} than process 0: {other}, "
                    f"not {first.removeprefix(f'{name} is ')}: start all with the same"
                )


def _shortened(text: str) -> str:
    """A text, or of a long one its beginning and a checksum."""
    if len(text) <= 80:
        return text
    return f"{text[:60]}... ({hashlib.sha256(text.encode()).hexdigest():.8})"


def check_shared(directory: Path) -> None:
    """Makes the directory, and checks that all processes see the same one.

    Raises:
        AgreedError: they do not, or it cannot be made.
    """
    if count() == 1:
        return
    token = directory / f".seen-{texts(str(time.time_ns()))[0]}"
    with together(), as_sentence(directory):
        if is_first():
            directory.mkdir(parents=True, exist_ok=True)
            token.touch()
    try:
        with together():
            until = time.monotonic() + _SECONDS_TO_APPEAR
            while not token.exists():
                if time.monotonic() > until:
                    raise ZooError(
                        f"{directory} is not the directory that process 0 writes: name one on a "
                        f"file system that all processes share"
                    )
                time.sleep(0.1)
    finally:
        if is_first():
            token.unlink(missing_ok=True)


@contextlib.contextmanager
def loss_as_sentence() -> Iterator[None]:
    """Says in a sentence that another process is gone.

    Raises:
        ZooError: instead of the error that JAX's collectives raise then.
    """
    try:
        yield
    except ZooError:
        raise
    except (ValueError, RuntimeError) as error:  # JaxRuntimeError is a RuntimeError
        if count() == 1 or not any(word in str(error) for word in _LOST):
            raise
        reason = " ".join(str(error).split())
        raise ZooError(
            f"another process of this run has ended or cannot be reached ({reason:.200}): see what "
            f"it said; the same command, given to all processes, goes on from the last checkpoint"
        ) from None
