"""How a run begins: its data, its net, and the weights that it starts from, if it does."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import jax
import ml_collections

import zoo
import zoo.config
import zoo.data
import zoo.training.workdir
from zoo.data.names import kind_of, short
from zoo.system.errors import ZooError
from zoo.system.lock import locked
from zoo.system.settings import check_devices
from zoo.training import distributed, init_from, numerics
from zoo.training.checkpoint import checkpoints_in, directory_of
from zoo.training.events import Log, open_log
from zoo.training.history import History
from zoo.training.loop import Trainer
from zoo.training.nets import ChosenNet
from zoo.training.resume import first_snapshot, load_data
from zoo.training.snapshot import Snapshot
from zoo.training.terminal import Terminal
from zoo.training.workdir import check_is_outside


def check_agreed(config: ml_collections.ConfigDict, workdir: Path) -> None:
    """Checks that all processes of the run were started alike.

    Raises:
        AgreedError: they were not, or do not share the run's directory.
    """
    if distributed.count() == 1:
        return
    values = zoo.config.flatten(config)
    # Each may have the data at another place.
    values |= {"dataset": kind_of(config.dataset), "data_dir": "", "manual_dir": ""}
    versions = {"zoo": zoo.__version__, "jax": jax.__version__, "numerics": numerics.VERSION}
    distributed.check_same("configuration", values)
    distributed.check_same("version", versions)
    distributed.check_shared(workdir)


@contextlib.contextmanager
def opened(workdir: Path, config: ml_collections.ConfigDict, log: Log | None) -> Iterator[Log]:
    """Makes and locks the run's directory and gives its log; of several processes, the first does.

    Raises:
        ZooError: it cannot be made, or another process trains there.
    """
    with contextlib.ExitStack() as stack:
        with distributed.together():
            if distributed.is_first():
                zoo.training.workdir.make(workdir)
                stack.enter_context(locked(workdir))
            else:
                log = None
            tensorboard = config.tensorboard and distributed.is_first()
            write = stack.enter_context(open_log(workdir, log, tensorboard))
        yield write


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
        if dataset is None:
            with distributed.first_before_others():  # it may have to prepare the data
                dataset = load_data(config)
        with distributed.together():
            trainer = Trainer(config, dataset, terminal, net)
        distributed.check_same("dataset", trainer.data_sizes)
    with terminal.waiting(f"initializing {config.model}", plainly=False), distributed.together():
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
    shape = trainer.dataset.train.images.shape[1:]
    trainer.source = init_from.read(
        config.init_from, trainer.state_shapes(), config.model, config.dataset, shape
    )
    before = past.model.get("init_from") if past else None
    if before and before["sha256"] != trainer.source.facts["sha256"]:
        raise ZooError(
            f"config.init_from: {config.init_from} has other weights than when the run in "
            f"{workdir} began, and it has no checkpoint to go on from: use another directory"
        )
