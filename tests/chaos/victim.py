"""train.py as it is, killed with SIGKILL at a chosen moment.

python tests/chaos/victim.py PATTERN NUMBER train.py ARGUMENTS...

The process kills itself just before the NUMBER-th thing that Python does to a file of its workdir
(open, rename, make or remove) whose name matches PATTERN: in a checkpoint, in the history, in the
cleanup. Nothing of the program is changed: Python itself reports such things (sys.addaudithook).
"""

import itertools
import os
import re
import runpy
import signal
import sys
from typing import Any

FILE_EVENTS = {"open", "os.rename", "os.mkdir", "os.rmdir", "os.remove", "shutil.rmtree"}


def main() -> None:
    """Runs the program that the arguments name."""
    _, pattern, number, *sys.argv = sys.argv
    (workdir,) = (
        each.removeprefix("--workdir=") for each in sys.argv if each.startswith("--workdir=")
    )
    counter = itertools.count(1)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in FILE_EVENTS and str(arguments[0]).startswith(workdir):
            name = str(arguments[0]).removeprefix(workdir)
            if re.search(pattern, name) and next(counter) == int(number):
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    sys.path.insert(0, os.getcwd())
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
