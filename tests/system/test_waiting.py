"""What a person sees while nothing else moves."""

import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time

import pytest

import zoo.system.waiting
from zoo.system.waiting import waiting


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo.system.waiting, "SILENT_SECONDS", 0.05)


def test_where_there_is_no_terminal_it_is_one_plain_line(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with waiting("compiling"):
        time.sleep(0.4)
    out, err = capfd.readouterr()
    assert out == ""
    assert err == "compiling …\n"


def test_a_short_wait_and_a_quiet_one_say_nothing(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with waiting("compiling", quiet=True):
        time.sleep(0.2)
    with waiting("loading", plainly=False):  # not on a terminal
        time.sleep(0.2)
    monkeypatch.setattr(zoo.system.waiting, "SILENT_SECONDS", 60.0)
    with waiting("compiling"):
        pass
    assert capfd.readouterr() == ("", "")


def test_on_a_terminal_the_seconds_go_by_and_the_line_is_erased(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))  # rows, columns
    with os.fdopen(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with waiting("compiling"):
            time.sleep(1.3)
        shown = _read_waiting(ours)
    os.close(ours)
    assert re.search(r"compiling … 0 s", shown)
    assert re.search(r"compiling … 1 s", shown)
    assert "\n" not in shown
    assert shown.rsplit("\r", 2)[1].strip() == ""  # spaces over the last text


def _read_waiting(descriptor: int) -> str:
    """What was written to the terminal so far."""
    parts = []
    while select.select([descriptor], [], [], 0.2)[0]:
        parts.append(os.read(descriptor, 4096))
    return b"".join(parts).decode()


def test_an_error_gets_through_and_ends_the_line(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with waiting("compiling"):
            time.sleep(0.2)
            raise ValueError("no such thing")

    with pytest.raises(ValueError, match="no such thing"):
        fail()
    assert capfd.readouterr().err.count("compiling") == 1


def test_a_closed_or_missing_standard_error_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull, "w") as closed:
        pass
    for stream in (closed, None):
        monkeypatch.setattr(sys, "stderr", stream)
        with waiting("compiling"):
            time.sleep(0.2)
