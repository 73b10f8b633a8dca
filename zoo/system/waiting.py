"""Says what a command waits for, while nothing else moves."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, TextIO

from tqdm import tqdm

_UNKNOWN = 79  # columns of a terminal that tells no width
SILENT_SECONDS = 0.5  # a shorter wait is not worth a word


@contextlib.contextmanager
def waiting(what: str, *, quiet: bool = False, plainly: bool = True) -> Iterator[None]:
    """Shows "compiling … 12 s" on standard error for as long as the block takes.

    On a terminal the line counts the seconds and is erased afterwards; elsewhere it is written
    once, without them. Another thread writes it, so the block may hold up this one.

    Args:
        what: what is being done, such as "compiling".
        quiet: show nothing.
        plainly: show it where there is no terminal, too.
    """
    if quiet or sys.stderr is None:  # None: the process was started without it
        yield
        return
    is_over = threading.Event()
    thread = threading.Thread(target=_show, args=(what, plainly, is_over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def columns(stream: TextIO | None) -> int | None:
    """The width of the terminal that a stream goes to, now; None if it goes to none."""
    if stream is None:  # the process was started without it
        return None
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return os.get_terminal_size(stream.fileno()).columns or _UNKNOWN
    return None


def bar_width() -> dict[str, Any]:
    """The width of a bar, for tqdm: the terminal's, or 79 columns where it tells none."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if not os.get_terminal_size(sys.stderr.fileno()).columns:
            return {"ncols": _UNKNOWN}
    return {"dynamic_ncols": True}


def _show(what: str, plainly: bool, is_over: threading.Event) -> None:
    began = time.monotonic()
    if is_over.wait(SILENT_SECONDS):
        return
    text = f"{what} …"
    with contextlib.suppress(OSError, ValueError):  # nobody reads it, or it is closed
        if not sys.stderr.isatty():
            if plainly:
                print(text, file=sys.stderr, flush=True)
            return
        with tqdm(bar_format="{desc}", leave=False, **bar_width()) as line:
            while not is_over.is_set():
                line.set_description_str(f"{text} {time.monotonic() - began:.0f} s")
                is_over.wait(0.2)
