"""Options that several commands have."""

import functools
from collections.abc import Callable
from typing import Any

import click


def data_dirs(command: Callable[..., None]) -> Callable[..., None]:
    """Adds --data-dir and --manual-dir, which the command gets as `given`, `zoo.data.DataDirs`."""

    @click.option(
        "--data-dir",
        default="",
        metavar="DIR",
        help="Where TFDS prepared the dataset; default: TFDS_DATA_DIR, or where the run had it.",
    )
    @click.option(
        "--manual-dir",
        default="",
        metavar="DIR",
        help="Where its own files are; default: ZOO_MNIST_DIR, or where the run had them.",
    )
    @functools.wraps(command)
    def with_data_dirs(*, data_dir: str, manual_dir: str, **others: Any) -> None:
        from zoo.data import DataDirs  # only now: it imports NumPy

        command(given=DataDirs(data_dir, manual_dir), **others)

    return with_data_dirs
