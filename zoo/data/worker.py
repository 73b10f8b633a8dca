"""How a process that reads data begins and ends.

It begins with this module in place of the program's own, which would import JAX, or the user's
script, again. It ends with the process that it reads for, however that one ends.
"""

import multiprocessing
import os
import shutil
import sys
import threading
import warnings
from multiprocessing import resource_tracker, spawn
from pathlib import Path
from typing import Any

NAMED = "grain-process-prefetch"  # how Grain's processes are named


def begin_here() -> None:
    """Makes the processes that Grain starts from now on begin with this module."""
    prepare = spawn.get_preparation_data
    if prepare.__module__ == __name__:
        return
    sys.warnoptions.append("ignore:resource_tracker")
    resource_tracker.ensure_running()  # it removes what a killed run leaves, without a word
    sys.warnoptions.pop()

    def prepared(name: str) -> dict[str, Any]:
        data = prepare(name)
        if name.startswith(NAMED):
            data.pop("init_main_from_path", None)
            data["init_main_from_name"] = __name__
        return data

    spawn.get_preparation_data = prepared


def end_with_parent(orders: Path, index: int, count: int) -> None:
    """Lets this process end as soon as its parent has: killed, too.

    Args:
        orders: a temporary directory of the parent, which is removed then.
        index: this process's number.
        count: of such processes.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        shutil.rmtree(orders, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__mp_main__":
    # Grain imports JAX where it is installed, which takes a second and 200 MB, for its profiler.
    sys.modules["jax"] = None  # type: ignore[assignment]
    warnings.simplefilter("ignore")
    from absl import logging

    logging.set_verbosity(logging.FATAL)  # nobody reads it; errors are raised
