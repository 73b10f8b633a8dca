"""The processes that a comparison measures, and the nets and contenders that it can have."""

import contextlib
import fnmatch
import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import environment

import zoo.models

LEFT_OUT_NETS = ("custom7",)  # 60 times the work of the next largest: only if it is named


class WorkerError(Exception):
    """A contender failed; the text is the reason, in one line."""


class Worker:
    """A contender's process."""

    def __init__(
        self,
        arguments: Sequence[str],
        timeout: float,
        programs: Path | None = None,
        checkout: Path = environment.ROOT,
        python: str = sys.executable,
    ) -> None:
        """Starts the process.

        Args:
            arguments: those of worker.py.
            timeout: maximum seconds for any answer.
            programs: directory of JAX's cache of compiled programs.
            checkout: the process runs the code of this checkout.
            python: the interpreter, of an environment that has what the contender needs.
        """
        command = [python, str(checkout / "benchmarks/worker.py"), *arguments]
        # All on the CPU, even if some of the libraries find a GPU.
        only_cpu = {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2"}
        self._timeout = timeout
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115, closed in close()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment.worker_environment(programs, checkout) | only_cpu,
            start_new_session=True,  # only the parent gets Ctrl-C and ends the whole group
        )
        self.answer: dict[str, Any] = {}

    def hello(self) -> dict[str, Any]:
        """Waits until the net is built, and returns what the process says of it."""
        return self._read()

    def run(self, num_steps: int) -> float:
        """Seconds for `num_steps` steps; the complete answer is in `self.answer`."""
        return self.ask(f"run {num_steps}")["seconds"]

    def ask(self, request: str) -> dict[str, Any]:
        """The answer to one line; it is in `self.answer`, too."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{request}\n".encode())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerError(self._last_error()) from None
        self.answer = self._read()
        return self.answer

    def close(self) -> None:
        """Ends the process and its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()
        self._errors.close()

    def _read(self) -> dict[str, Any]:
        # One line per request, so no data stays in the buffer, where select cannot see it.
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], self._timeout)[0]:
            raise WorkerError(f"no answer within {self._timeout:g} s")
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(self._last_error())
        return json.loads(line)

    def _last_error(self) -> str:
        status = self._process.wait(timeout=self._timeout)
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        said = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return environment.without_paths(said[:300]) or f"ended with status {status}"


def alternate(contenders: list[str], rounds: int) -> Iterator[str]:
    """Every contender once per round; each round starts with a different one."""
    for index in range(rounds):
        first = index % max(1, len(contenders))
        yield from contenders[first:] + contenders[:first]


def missing_packages(needed: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The contenders that cannot run here, with the packages that are not installed.

    Args:
        needed: the packages that each contender needs.
    """
    missing = {
        contender: [name for name in packages if not importlib.util.find_spec(name)]
        for contender, packages in needed.items()
    }
    return {contender: names for contender, names in missing.items() if names}


def matching_nets(patterns: Sequence[str]) -> list[str]:
    """The nets with a name that matches any pattern; those of LEFT_OUT_NETS only by full name."""
    return [
        name
        for name in zoo.models.list_models()
        if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
        and (name not in LEFT_OUT_NETS or name in patterns)
    ]
