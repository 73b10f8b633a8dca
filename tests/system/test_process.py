"""How a command ends where its standard streams are closed, broken or full."""

import os
import signal
import subprocess
import sys

import pytest
from conftest import HANGUP, ROOT

STARTS = "from zoo.system import process\nfrom zoo.system.errors import StoppedError, ZooError\n"
WAITS = """
import time

def main():
    print("waiting", flush=True)
    time.sleep(60)

process.run("test", main)
"""
SAVES = """
import time

def main():
    print("waiting", flush=True)
    while not process.stop_requested():
        time.sleep(0.01)
    raise StoppedError("saved")

process.run("test", main, saves=True)
"""
WARNS = """
import warnings

def main():
    warnings.warn("the disk is slow")
    return 0

process.run("test", main)
"""
PRINTS = """
def main():
    print("a result")
    return 0

process.run("test", main)
"""
FAILS = """
def main():
    raise ZooError("a mistake")

process.run("test", main)
"""


def start(code: str, redirection: str = "") -> subprocess.Popen[str]:
    """Starts Python with that code under a redirection of a shell, such as "2>&-"."""
    return subprocess.Popen(
        ["bash", "-c", f'exec "$@" {redirection}', "bash", sys.executable, "-c", STARTS + code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("code", [WAITS, SAVES], ids=["at once", "after saving"])
@pytest.mark.parametrize("number", [signal.SIGTERM, HANGUP])
def test_a_signal_stops_a_command_without_standard_error(code: str, number: signal.Signals) -> None:
    process = start(code, "2>&-")
    assert process.stdout is not None
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == 128 + number


@pytest.mark.parametrize(
    ("code", "redirection", "status"),
    [
        (WARNS, "2>&-", 0),
        (PRINTS, ">&-", 0),
        (FAILS, ">&- 2>&-", 2),
        (FAILS, "2>/dev/full", 2),
    ],
)
def test_a_status_does_not_depend_on_the_streams(code: str, redirection: str, status: int) -> None:
    process = start(code, redirection)
    _, error = process.communicate(timeout=30)
    assert (process.returncode, error) == (status, "")


def test_an_error_that_nobody_reads_has_its_status() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", STARTS + FAILS], cwd=ROOT, stderr=writing, timeout=30, check=False
    )
    os.close(writing)
    assert done.returncode == 2
