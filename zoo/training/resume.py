"""Where a run goes on: at its newest good checkpoint, or at its beginning."""

import os
from pathlib import Path
from typing import Any

import jax
import ml_collections
from flax.traverse_util import flatten_dict

import zoo.config
import zoo.data
import zoo.training.history
from zoo.data.changes import may_have_changed
from zoo.data.names import MEMORY, is_place, kind_of
from zoo.models import paths
from zoo.system.errors import DamagedError, ZooError
from zoo.system.files import as_sentence, free_name
from zoo.training import mesh, nets, numerics
from zoo.training.best import none_yet
from zoo.training.checkpoint import Checkpoints
from zoo.training.fine_tuning import split_params
from zoo.training.history import History
from zoo.training.loop import Trainer
from zoo.training.snapshot import Snapshot
from zoo.training.step import num_steps

_FROM_ITS_BEGINNING = "there is no good checkpoint, so the run starts from its beginning"
_NO_CHECKSUM = (
    "an earlier version, which kept no checksum of the data, began this run: only the number and "
    "the shape of the images could be compared"
)


def load_data(config: ml_collections.ConfigDict) -> zoo.data.Dataset:
    """The dataset that a configuration names.

    Raises:
        ZooError: as `zoo.data.load`.
    """
    return zoo.data.load(
        config.dataset,
        data_dir=config.data_dir,
        manual_dir=config.manual_dir,
        options=zoo.config.data_options(config),
        stream=config.data.stream,
    )


def past_history(
    config: ml_collections.ConfigDict,
    workdir: Path,
    net: nets.ChosenNet,
    dataset: zoo.data.Dataset | None = None,
) -> History | None:
    """The history that workdir holds, None if it holds none or a damaged one.

    Args:
        config: with which the run is to go on.
        workdir: its directory.
        net: of which.
        dataset: on which; None: the one that the configuration names.

    Raises:
        ZooError: it is of a run that cannot go on with this configuration and net.
    """
    path = workdir / zoo.training.history.FILENAME
    if not path.exists():
        return None
    try:
        history = zoo.training.history.read(workdir)
    except DamagedError:
        return None
    kept = zoo.config.to_keep(config)
    zoo.config.check_same_run(history.config, kept, str(workdir))
    nets.check_same(history.model, net.about, str(workdir))
    before, history.config = history.config, kept  # num_epochs may have grown
    if history.is_complete and (  # no more data is read for it
        dataset is not None
        or _have_moved(before, kept)
        or may_have_changed(kept["dataset"], kept["manual_dir"], path.stat().st_mtime)
    ):
        _check_same_data(history, (dataset or load_data(config)).facts, workdir)
        with as_sentence(workdir):
            history.write(workdir)
    return history


def _have_moved(before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether a run's own files are named at another place than before."""
    if now["dataset"] == "idx" and before["manual_dir"]:
        return now["manual_dir"] != os.path.abspath(before["manual_dir"])
    return now["dataset"] != before["dataset"]


def _check_same_data(history: History, data: dict[str, Any], workdir: Path) -> None:
    """Raises ZooError if the data is not that of the history, as far as both tell of it."""
    differing = [
        f"{key} {history.data[key]!s:.16} there, {value!s:.16} here"
        for key, value in data.items()
        if history.data.get(key, value) != value
    ]
    if differing:
        raise ZooError(
            f"{workdir} holds a run on other data ({'; '.join(differing)}): "
            f"{_same_data_text(history.config['dataset'])}, or use another directory for the run"
        )


def _same_data_text(dataset: str) -> str:
    """How the data is given with which a run goes on."""
    if is_place(dataset):
        return f"name the same data with --config.dataset={kind_of(dataset)}:PATH"
    if kind_of(dataset) == MEMORY:
        return "give the same arrays"
    return (
        "name the directory of the same data with --config.manual_dir=DIR or --config.data_dir=DIR"
    )


def starting_point(
    workdir: Path, checkpoints: Checkpoints, first: Snapshot, steps_per_epoch: int
) -> tuple[Snapshot, list[str]]:
    """Where the run of workdir goes on, and notes to be told.

    A checkpoint holds the history of its time, so history.json is not needed for it; whatever is
    damaged is set aside, and nothing of it is deleted.

    Args:
        workdir: the run's directory.
        checkpoints: those in it.
        first: how a run with this configuration, environment and data begins.
        steps_per_epoch: of this configuration and data.

    Raises:
        ZooError: workdir holds another run, or a complete one without a checkpoint.
    """
    config, data = first.history.config, first.history.data
    past, notes = _read_history(workdir)
    found, dropped = checkpoints.newest(like=first)
    notes += dropped
    known = found.history if found else past
    if known is None:
        return first, [*notes, _FROM_ITS_BEGINNING] if notes else notes

    zoo.config.check_same_run(known.config, config, str(workdir))
    nets.check_same(known.model, first.history.model, str(workdir))
    _check_same_data(known, data, workdir)
    if found is None:
        if known.test is not None:
            raise ZooError(
                f"{workdir} holds a complete run but no checkpoint from which it could go on: use "
                f"another directory"
            )
        return first, [*notes, _FROM_ITS_BEGINNING]

    steps = num_steps(found.state) - len(known.epochs) * steps_per_epoch  # of the epoch after
    if steps not in (range(1, steps_per_epoch + 1) if found.progress else (0,)):
        raise ZooError(
            f"the newest checkpoint in {workdir} is of another run than its history: use another "
            f"directory"
        )
    notes += _moved_to(known, first.history.environment)
    if known.framing is None:
        known.framing = first.history.framing
    known.config = config  # num_epochs may have grown, and the data may have moved
    if "sha256" not in known.data:
        notes.append(_NO_CHECKSUM)
    known.data |= data
    return found, notes


def _read_history(workdir: Path) -> tuple[History | None, list[str]]:
    """The history in workdir, if there is a good one; a damaged one is renamed, and noted."""
    path = workdir / zoo.training.history.FILENAME
    if not path.exists():
        return None, []
    try:
        return zoo.training.history.read(workdir), []
    except DamagedError:
        aside = free_name(path.with_name(f"damaged-{path.name}"))
        path.rename(aside)
        return None, [f"{path} is damaged; it is kept as {aside.name}"]


def _moved_to(history: History, environment: dict[str, Any]) -> list[str]:
    """Makes that the environment in which the run goes on; gives notes on what is not as before."""
    before, history.environment = history.environment, environment
    keys = {**environment, "mesh": None, "processes": None}  # which are there if there are several
    changed = [key for key in keys if before.get(key) != environment.get(key)]
    if not changed:
        return []
    history.earlier_environments.append({**before, "until_epoch": len(history.epochs)})
    notes = []
    version = numerics.version_of(before)
    if version != numerics.VERSION:
        notes.append(numerics.note_on(version))
    if others := [key for key in changed if key != "numerics"]:
        notes.append(f"not as before: {', '.join(others)}; the numbers may differ in a last bit")
    return notes


def first_snapshot(trainer: Trainer) -> Snapshot:
    """A run that begins here and now."""
    config, state, framing = trainer.config, trainer.init(), trainer.framing
    # Parameters with the moving statistics, as Keras counts them, of all seeds.
    num_params = _size((state.params, state.batch_stats))
    model = {"name": trainer.net.name, "num_params": num_params // config.num_seeds}
    if config.freeze:
        trained, _ = split_params(state.params, config.freeze)
        model["num_trained"] = _size(trained) // config.num_seeds
    if config.freeze or config.optimizer.rates:
        names = flatten_dict(state.params, sep="/")
        every = paths.all_factors(names, config.freeze, config.optimizer.rates)
        model["rates"] = {name: factor for name, factor in every.items() if factor != 1}
    if trainer.source:
        model["init_from"] = trainer.source.facts
    history = History(
        config=zoo.config.to_keep(config),
        environment=zoo.training.history.environment()
        | numerics.facts(config.dtype)
        | mesh.facts(trainer.mesh),
        model=model | trainer.net.about,
        data=trainer.data_sizes,
        framing=framing.to_content() if framing else {},
    )
    return Snapshot(state, history, none_yet(state) if config.validation == "holdout" else None)


def _size(tree: Any) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))
