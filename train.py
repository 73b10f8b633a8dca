"""Trains a net, or goes on with a run that was interrupted: give the same command again.

python train.py --config configs/vgg5.py [--config.KEY=VALUE ...] [--workdir DIR] [--quiet]

--config FILE: a configuration file; any key in it can be set by --config.KEY=VALUE.
--workdir DIR: the directory for history, checkpoints and plots; default: runs/NET-DATASET-SEED.
--quiet: print nothing but the result on standard output.
--coordinator HOST:PORT --num_processes N --process_id K: one of several processes of a run.
"""

import sys

import zoo
from zoo.system.process import GOES_ON, run

_HELP = {"-h", "-help", "--help", "--helpshort", "--helpfull"}  # the last two are absl's


def main() -> int:
    """Runs the command; gives the exit status.

    Raises:
        ZooError: something that the user gave is wrong.
    """
    if _HELP & set(sys.argv[1:]):
        print(__doc__)
        return 0
    if "--version" in sys.argv[1:]:
        print(f"train.py, version {zoo.__version__}")
        return 0
    from zoo.cli.arguments import parse, start  # only now: an error in an import is a sentence, too

    start(parse(sys.argv[1:]))
    return 0


if __name__ == "__main__":
    run("train.py", main, GOES_ON, saves=True)
