"""How a run begins: its data, its net, and the weights that it starts from, if it does."""

from pathlib import Path

import ml_collections

import zoo.data
from zoo.data.names import short
from zoo.system.errors import ZooError
from zoo.system.settings import check_devices
from zoo.training import init_from
from zoo.training.checkpoint import checkpoints_in, directory_of
from zoo.training.history import History
from zoo.training.loop import Trainer
from zoo.training.nets import ChosenNet
from zoo.training.resume import first_snapshot, load_data
from zoo.training.snapshot import Snapshot
from zoo.training.terminal import Terminal
from zoo.training.workdir import check_is_outside


def load(
    config: ml_collections.ConfigDict,
    net: ChosenNet,
    dataset: zoo.data.Dataset | None,
    workdir: Path,
    past: History | None,
    terminal: Terminal,
) -> tuple[Trainer, Snapshot]:
    """The run's data and net, and how it begins.

    Where there are checkpoints, the weights that it started from are not read: see `begun`.

    Args:
        config: as in configs/default.py.
        net: the net that it trains.
        dataset: the data; None: that of the configuration.
        workdir: the run's directory.
        past: the history that it holds, if any.
        terminal: where it is told what is waited for.

    Raises:
        ZooError: the data, the net, or the weights to start from do not do, or the run would be
            written among the images of its data.
    """
    check_is_outside(workdir, config.dataset)
    check_devices()
    with terminal.waiting(f"loading {short(config.dataset)}", plainly=False):
        trainer = Trainer(config, dataset or load_data(config), terminal, net)
    with terminal.waiting(f"initializing {config.model}", plainly=False):
        directory = directory_of(workdir)
        if not directory.is_dir() or not checkpoints_in(directory):
            _read_source(trainer, workdir, past)
        trainer.prepare()
        return trainer, first_snapshot(trainer)


def begun(trainer: Trainer, first: Snapshot, workdir: Path, past: History | None) -> Snapshot:
    """How the run begins, where it has no good checkpoint after all.

    Args:
        trainer: of the run.
        first: what `load` gave, which it is if the weights to start from are in it.
        workdir: the run's directory.
        past: the history that it holds, if any.

    Raises:
        ZooError: the weights to start from cannot be read, do not fit, or are not those of before.
    """
    if trainer.source or not trainer.config.init_from:
        return first
    _read_source(trainer, workdir, past)
    return first_snapshot(trainer)


def _read_source(trainer: Trainer, workdir: Path, past: History | None) -> None:
    config = trainer.config
    if not config.init_from:
        return
    what = f"{config.model} on {short(config.dataset)}"
    trainer.source = init_from.read(config.init_from, trainer.state_shapes(), what)
    before = past.model.get("init_from") if past else None
    if before and before["sha256"] != trainer.source.facts["sha256"]:
        raise ZooError(
            f"config.init_from: {config.init_from} has other weights than when the run in "
            f"{workdir} began, and it has no checkpoint to go on from: use another directory"
        )
