"""Seconds from `python train.py ...` to the first training step, for a first and later starts.

    python benchmarks/start.py
    python benchmarks/start.py --config=configs/vgg5.py --config.dataset=mnist

The arguments are passed to train.py. It runs in a pseudo-terminal until its progress bar shows a
loss. The first start has an empty cache of compiled programs, the others reuse it. It goes on after
its first step until validation is compiled too, which happens beside the first epoch.
"""

import os
import pty
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
WARM_STARTS = 5
SECONDS_OF_REST = 15  # without a new program, after which all are taken to be compiled


def wait_for_rest(terminal: int, caches: Path) -> None:
    """Waits until no program has come into the cache for a while; reads what the run prints."""
    count, since = 0, time.monotonic()
    while time.monotonic() - since < SECONDS_OF_REST:
        if (now := len(list(caches.iterdir()))) != count:
            count, since = now, time.monotonic()
        if select.select([terminal], [], [], 0.2)[0]:
            os.read(terminal, 4096)


def seconds_to_first_step(
    arguments: list[str], caches: Path, workdir: Path, is_first: bool
) -> float:
    """Starts train.py, waits for the first loss in its progress bar, and kills it."""
    main, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 100))  # without a width no bar is shown
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "train.py", *arguments, f"--workdir={workdir}"],
        cwd=ROOT,
        env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(caches)},
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    said = b""
    try:
        while b"loss" not in said:
            said += os.read(main, 4096)
        seconds = time.perf_counter() - start
        if is_first:
            wait_for_rest(main, caches)
        return seconds
    except OSError:  # the terminal is closed: the process has ended
        print(said.decode(errors="replace").strip(), file=sys.stderr)
        sys.exit(process.wait() or "train.py ended before its first step")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        os.close(main)


def main() -> None:
    """Prints the seconds of each start."""
    arguments = sys.argv[1:] or ["--config=configs/pooling_cnn3.py"]
    with tempfile.TemporaryDirectory() as folder:
        times = [
            seconds_to_first_step(
                arguments, Path(folder, "caches"), Path(folder, f"run-{index}"), is_first=index == 0
            )
            for index in range(1 + WARM_STARTS)
        ]
    first, *warm = times
    print(f"train.py {' '.join(arguments)}, seconds to the first step:")
    print(f"  nothing compiled yet   {first:5.1f}")
    print(
        f"  compiled before        {statistics.median(warm):5.1f}  "
        f"({min(warm):.1f} to {max(warm):.1f}, {len(warm)} starts)"
    )


if __name__ == "__main__":
    main()
