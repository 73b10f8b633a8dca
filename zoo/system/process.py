"""How a command of the zoo ends: with one sentence and an exit status, without a traceback."""

import codecs
import contextlib
import io
import os
import select
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from typing import NoReturn

from zoo.system.errors import StoppedError, ZooError
from zoo.system.memory import use_one_arena
from zoo.system.text import error_text, spell

SECONDS_TO_STOP = 8.0  # time for saving after a stop request
GOES_ON = "; the same command goes on from the last checkpoint, if there is one"
_STOP_SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "SIGHUP"}
_asked: list[int] = []  # the signals that asked this process to stop


def stop_requested() -> bool:
    """Whether this process was asked to stop by Ctrl-C or another signal."""
    return bool(_asked)


def run(program: str, main: Callable[[], int], on_stop: str = "", saves: bool = False) -> NoReturn:
    """Runs a command and ends the process.

    The exit status is that of `main`; 2 for an error, which is printed as one sentence on standard
    error; 128 plus the signal number if the process is stopped. It can be stopped at any moment:
    checkpoints and histories are always complete.

    Args:
        program: its name, for messages.
        main: the command.
        on_stop: end of the message when the command is stopped, such as what to do next.
        saves: whether `main` polls `stop_requested`, then saves and raises StoppedError. It has
            eight seconds for that. A second signal stops the process at once.
    """
    use_one_arena()
    _replace_missing_streams()
    _print_in_any_encoding()
    os.environ["MPLBACKEND"] = "agg"  # pictures are files; one of a notebook may not be installed
    _watch_signals(program, on_stop, SECONDS_TO_STOP if saves else 0.0)
    # An unreadable checkpoint leaves pending reads behind; their errors are of no interest.
    sys.unraisablehook = lambda unraisable: None
    warnings.showwarning = _show_warning
    status = status_of(program, main)
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(status)  # skips Orbax's thread pools, which print errors at exit


def _replace_missing_streams() -> None:
    """Makes a process that was started without standard output or errors print to nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def _print_in_any_encoding() -> None:
    """Makes "+-" of a "±" where standard output is ASCII or Latin-1, instead of an error."""
    codecs.register_error("zoo", spell)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="zoo")


def _watch_signals(program: str, on_stop: str, seconds: float) -> None:
    """Handles signals in a separate thread: the main thread may be compiling for a minute."""
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
            how = f"saving, at most {seconds:.0f} s; a second signal stops at once"
            _say(f"\n{program}: {name}: {how}")
            select.select([asked], [], [], seconds)
        _say(f"\n{program}: stopped{on_stop}")
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
    _say(f"note: {' '.join(str(message).split())}")


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # the reader has closed the pipe, or the disk is full
        print(f"{text}\n", end="", file=sys.stderr, flush=True)  # in one piece: two threads print


def status_of(program: str, main: Callable[[], int]) -> int:
    """The exit status of `main`; an error is printed as one sentence."""
    try:
        return main()
    except StoppedError as error:
        _say(f"{program}: {error}")
        return 128 + (_asked[0] if _asked else signal.SIGTERM)
    except ZooError as error:
        _say(f"{program}: {error}")
        return 2
    except BrokenPipeError:  # the reader has closed the pipe, as in ... | head
        return 128 + signal.SIGPIPE
    except OSError as error:
        place = f": {error.filename}" if error.filename else ""
        _say(f"{program}: {error.strerror or error}{place}")
        return 2
    except Exception as error:
        if os.environ.get("ZOO_TRACEBACK"):
            raise
        _say(
            f"{program}: unexpected error ({error_text(error):.500}): if the environment is not "
            f"its cause, report it with the traceback that ZOO_TRACEBACK=1 shows"
        )
        return 2
