"""How a command of the zoo ends: one sentence and an exit status, never a traceback."""

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from zoo.errors import ZooError


def run(program: str, main: Callable[[], int], on_stop: str) -> NoReturn:
    """Runs a command and ends the process.

    The exit status is that of `main`; 2 for an error, which is told in one sentence on standard
    error; 128 and the signal's number if the process is stopped, which it may be at any moment:
    checkpoints and histories are always whole. `on_stop` is then said on standard error.
    """

    def stop(signum: int, frame: object) -> None:
        message = f"\n{program}: stopped{on_stop}\n"
        os.write(sys.stderr.fileno(), message.encode())
        os._exit(128 + signum)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    # A checkpoint that cannot be read leaves other reads behind; their complaints add nothing.
    sys.unraisablehook = lambda unraisable: None
    status = status_of(program, main)
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(status)  # past the thread pools of Orbax, which complain when they are torn down


def status_of(program: str, main: Callable[[], int]) -> int:
    """The exit status of `main`, after telling its error, if there is one, in a sentence."""
    try:
        return main()
    except ZooError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader has left, as in ... | head
        return 128 + signal.SIGPIPE
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        print(f"{program}: {error.strerror or error}{place}", file=sys.stderr)
        return 2
