"""How the processes of one run find each other, and leave.

JAX's coordination service connects them: process 0 starts it, the others call at its address. It
ends all processes when one sends no heartbeat any more.
"""

import contextlib
import errno
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from zoo.system.errors import DivergedError, StoppedError, ZooError
from zoo.system.files import as_sentence, write_whole
from zoo.system.processes import Processes
from zoo.system.waiting import waiting
from zoo.training import distributed
from zoo.training.distributed import AgreedError

_SECONDS_TO_JOIN = 100.0
_SECONDS_WITHOUT_HEARTBEAT = 20
_SECONDS_TO_LEAVE = 60
_FILENAME = ".coordinator"


@contextlib.contextmanager
def joined(processes: Processes | None, workdir: Path, quiet: bool = False) -> Iterator[None]:
    """Connects this process with the others, for as long as the block takes.

    Process 0 leaves the coordinator's address in the run's directory while it runs, and the others
    look there first: so none calls at the coordinator of another run, which JAX would end for that.

    Args:
        processes: of the run; None: it is the only one.
        workdir: the run's directory, which they share.
        quiet: do not show what is waited for.

    Raises:
        ZooError: they do not come together.
    """
    if processes is None:
        yield
        return
    # It would take the place of our handlers of SIGTERM; a stop is agreed on without it.
    jax.config.update("jax_enable_preemption_service", False)
    with contextlib.ExitStack() as stack:
        with waiting("waiting for the other processes", quiet=quiet):
            if processes.coordinator != "auto":
                stack.enter_context(_announced(processes, workdir))
            _connect(processes)
        try:
            yield
        except (AgreedError, DivergedError, StoppedError):  # all processes end with it
            _leave()
            raise
        _leave()


@contextlib.contextmanager
def _announced(processes: Processes, workdir: Path) -> Iterator[None]:
    path = workdir / _FILENAME
    host, _, port = processes.coordinator.rpartition(":")
    if processes.process_id:
        _wait_for(path, processes)
        _call(host.strip("[]"), int(port), processes.coordinator)
        yield
        return
    _check_free(int(port))
    with as_sentence(workdir):
        workdir.mkdir(parents=True, exist_ok=True)
        write_whole(path, _content(processes))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _content(processes: Processes) -> str:
    return f"{processes.coordinator} {processes.num_processes}\n"


def _wait_for(path: Path, processes: Processes) -> None:
    """Waits until process 0 has announced itself."""
    until = time.monotonic() + _SECONDS_TO_JOIN
    found = None
    while found != _content(processes):
        if time.monotonic() > until:
            there = f"holds {found.strip()!r}" if found else "is not there"
            raise ZooError(
                f"process 0 did not come within {_SECONDS_TO_JOIN:.0f} s ({path} {there}): start "
                f"it with the same --workdir, which all processes share, --coordinator and "
                f"--num_processes"
            )
        with contextlib.suppress(OSError, UnicodeError):
            found = path.read_text()[:300]
        if found != _content(processes):
            time.sleep(0.2)


def _call(host: str, port: int, coordinator: str) -> None:
    """Waits until somebody answers at the coordinator's address."""
    until = time.monotonic() + _SECONDS_TO_JOIN
    while True:
        try:
            socket.create_connection((host, port), timeout=5).close()
            return
        except (OSError, UnicodeError) as error:
            if time.monotonic() > until:
                reason = getattr(error, "strerror", None) or error
                raise ZooError(
                    f"the coordinator {coordinator} cannot be reached ({reason}): name the machine "
                    f"of process 0 and a port that the others may reach"
                ) from None
        time.sleep(0.2)


def _check_free(port: int) -> None:
    """Raises ZooError if the port is in use: JAX's service would share it with another's."""
    family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            reason = "in use" if error.errno == errno.EADDRINUSE else error.strerror
            raise ZooError(
                f"the port {port} of --coordinator cannot be had on this machine ({reason}): it "
                f"must be of the machine of process 0, and another run may have it; name another"
            ) from None


def _connect(processes: Processes) -> None:
    """Starts JAX's service in process 0 and connects to it.

    JAX ends the process with a stack trace if the others do not come, so this gives up before.
    """
    of_all = f"{processes.num_processes} processes" if processes.num_processes else "processes"

    def give_up() -> None:
        print(
            f"zoo: not all {of_all} came together within {_SECONDS_TO_JOIN:.0f} s: start each with "
            f"the same --coordinator, which all must reach, and the same --num_processes",
            file=sys.stderr,
            flush=True,
        )
        os._exit(2)

    timer = threading.Timer(_SECONDS_TO_JOIN, give_up)
    timer.daemon = True
    timer.start()
    seconds = int(_SECONDS_TO_JOIN) + 60
    times: dict[str, Any] = {
        "initialization_timeout": seconds,
        "heartbeat_timeout_seconds": _SECONDS_WITHOUT_HEARTBEAT,
        "shutdown_timeout_seconds": _SECONDS_TO_LEAVE,
    }
    try:
        if processes.coordinator == "auto":
            jax.distributed.initialize(**times)
        else:
            jax.distributed.initialize(*processes, cluster_detection_method="deactivate", **times)
    except (RuntimeError, ValueError, OSError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise ZooError(
            f"JAX cannot connect the processes ({reason:.300}): give --coordinator=HOST:PORT, "
            f"--num_processes=N and --process_id=K to each, or --num_processes=1 for one alone"
        ) from None
    finally:
        timer.cancel()
    with _silenced_output():
        distributed.texts("")


@contextlib.contextmanager
def _silenced_output() -> Iterator[None]:
    """Drops what is written to standard output: Gloo tells there of its first connection."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, AttributeError, ValueError):  # it may be closed
            sys.stdout.flush()
            kept = os.dup(1)
            stack.callback(os.close, kept)
            with open(os.devnull, "wb") as nothing:
                os.dup2(nothing.fileno(), 1)
            stack.callback(os.dup2, kept, 1)
        yield


def _leave() -> None:
    """Waits for the other processes, so that none misses the coordinator."""
    with contextlib.suppress(RuntimeError):
        jax.distributed.shutdown()
