"""How a command of the zoo ends: one sentence and an exit status, never a traceback."""

import contextlib
import os
import select
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from typing import NoReturn

from zoo.system.errors import StoppedError, ZooError

SECONDS_TO_STOP = 8.0  # that a command which can save may take for it
GOES_ON = "; the same command goes on from the last checkpoint, if there is one"
_STOP_SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}
_asked: list[int] = []  # the signals that asked this process to stop


def stop_requested() -> bool:
    """Whether this process was asked to stop, by Ctrl-C or by another signal."""
    return bool(_asked)


def run(program: str, main: Callable[[], int], on_stop: str = "", saves: bool = False) -> NoReturn:
    """Runs a command and ends the process.

    The exit status is that of `main`; 2 for an error, which is told in one sentence on standard
    error; 128 and the signal's number if the process is stopped, which it may be at any moment:
    checkpoints and histories are always whole.

    Args:
        program: its name, for what is said.
        main: the command.
        on_stop: said where the command is stopped, such as "; the same command goes on".
        saves: whether `main` asks `stop_requested`, and then saves and raises StoppedError. It has
            eight seconds for that. A second signal stops at once.
    """
    _watch_signals(program, on_stop, SECONDS_TO_STOP if saves else 0.0)
    # A checkpoint that cannot be read leaves other reads behind; their complaints add nothing.
    sys.unraisablehook = lambda unraisable: None
    warnings.showwarning = _show_warning
    status = status_of(program, main)
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(status)  # past the thread pools of Orbax, which complain when they are torn down


def _watch_signals(program: str, on_stop: str, seconds: float) -> None:
    """Answers signals in a thread of its own: the main one may be compiling for a minute."""
    asked, asking = os.pipe()
    os.set_blocking(asking, False)
    signal.set_wakeup_fd(asking)
    for number in _STOP_SIGNALS:
        if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
            continue  # nohup
        signal.signal(number, lambda number, frame: None)

    def answer() -> None:
        number = os.read(asked, 1)[0]
        _asked.append(number)
        if seconds:
            name = _STOP_SIGNALS[signal.Signals(number)]
            _say(f"\n{program}: {name}: saving, at most {seconds:.0f} s; once more stops at once\n")
            select.select([asked], [], [], seconds)
        _say(f"\n{program}: stopped{on_stop}\n")
        os._exit(128 + number)

    threading.Thread(target=answer, daemon=True).start()


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: object = None,
    line: str | None = None,
) -> None:
    _say(f"note: {' '.join(str(message).split())}\n")


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # the reader has left
        os.write(sys.stderr.fileno(), text.encode())


def status_of(program: str, main: Callable[[], int]) -> int:
    """The exit status of `main`, after telling its error, if there is one, in a sentence."""
    try:
        return main()
    except StoppedError as error:
        _say(f"{program}: {error}\n")
        return 128 + (_asked[0] if _asked else signal.SIGTERM)
    except ZooError as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader has left, as in ... | head
        return 128 + signal.SIGPIPE
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        print(f"{program}: {error.strerror or error}{place}", file=sys.stderr)
        return 2
