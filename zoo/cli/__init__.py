"""The `zoo` command, and the command line of training that it shares with `train.py`."""

from zoo.cli.commands import main, run

__all__ = ["main", "run"]
