"""Trains the notebooks' nets again and writes the published next to the reproduced results."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
from ml_collections import ConfigDict

import zoo.config
import zoo.models
import zoo.reproduction.results
from zoo.reproduction.page import to_csv, to_markdown, to_text
from zoo.reproduction.results import FinishedRun
from zoo.reproduction.table import Row, make_rows, training_hours
from zoo.reproduction.weights import keep, read, tell_seeds
from zoo.system.errors import DivergedError, ZooError
from zoo.system.files import expanded, write_whole
from zoo.system.lock import locked
from zoo.system.settings import check_devices
from zoo.training import numerics, train_and_evaluate
from zoo.training.history import seeds_text
from zoo.training.terminal import Terminal

STEM = "reproduction"


@dataclasses.dataclass(frozen=True)
class Lot:
    """Seeds of one net and protocol that are trained in one run."""

    net: str
    protocol: str  # one of zoo.reproduction.results.PROTOCOLS
    seeds: range

    @property
    def name(self) -> str:
        """The name of its run's directory, such as vgg5-0, vgg5-0-4 or vgg5-holdout-0."""
        protocol = "" if self.protocol == "notebook" else f"-{self.protocol}"
        more = f"-{self.seeds[-1]}" if len(self.seeds) > 1 else ""
        return f"{self.net}{protocol}-{self.seeds[0]}{more}"

    def __str__(self) -> str:
        return f"{self.net}, {seeds_text(self.seeds)}, protocol {self.protocol}"


def reproduce(
    nets: Sequence[str],
    seeds: range,
    protocols: Sequence[str],
    runs_dir: Path,
    output: Path,
    *,
    missing: bool = False,
    weights: Path | None = None,
    quiet: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> None:
    """Trains what is not trained yet, in the order given, and writes the table after each run.

    Interrupted runs are resumed, complete ones used as they are; other results in the file stay.
    On a GPU or TPU, where an epoch takes less time than compiling its program, seeds of a net that
    follow each other are one run. (Over 50 lines: half of them tell the arguments.)

    Args:
        nets, seeds, protocols: each net is trained from each seed under each protocol, which is a
            key of `zoo.reproduction.results.PROTOCOLS`.
        runs_dir: contains the run directories, see `Lot.name`.
        output: the directory for reproduction.csv, .json and .md.
        missing: leave out what the results there hold already, with this version of the numerics.
        weights: a directory for the weights of seed 0 of the notebook's protocol, with an index.
        quiet, should_stop: as for `train_and_evaluate`.

    Raises:
        ZooError: see `train_and_evaluate`; a net that is unknown or of no notebook; a results file
            or an index of weights that cannot be read; no device.
        OSError: something cannot be written.
    """
    runs_dir, output = expanded(runs_dir), expanded(output)
    if weights is not None:
        weights = expanded(weights)
        read(weights)  # now, not after hours: it says what is wrong with it
    configs = {net: zoo.config.load(net) for net in nets}
    if new := next((net for net in nets if net not in zoo.models.MODELS), None):
        raise ZooError(f"{new} has no published result to compare with: try zoo train {new}")
    runs = zoo.reproduction.results.read(output / f"{STEM}.json")
    check_devices()
    held = {(run.net, run.protocol, run.seed) for run in runs if missing and _is_up_to_date(run)}
    plan = [
        Lot(net, protocol, lot)
        for net in configs
        for protocol in protocols
        for lot in _lots(
            [seed for seed in seeds if (net, protocol, seed) not in held],
            together=jax.default_backend() != "cpu",
        )
    ]
    terminal = Terminal(quiet)
    terminal.say(_plan_text(plan, runs_dir))
    output.mkdir(parents=True, exist_ok=True)
    runs_dir.mkdir(parents=True, exist_ok=True)
    diverged: list[str] = []
    with locked(runs_dir):
        for number, lot in enumerate(plan, 1):
            terminal.say(f"\n[{number}/{len(plan)}] {lot}")
            workdir = runs_dir / lot.name
            config = _config(configs[lot.net], lot)
            try:
                train_and_evaluate(config, workdir, quiet=quiet, should_stop=should_stop)
            except DivergedError as error:
                terminal.say(str(error))
                diverged.append(workdir.name)
                continue
            runs = _add(workdir, lot, output, weights)
            jax.clear_caches()  # the programs of all nets would fill the memory
    rows = [row for row in make_rows(runs) if row.net in configs and row.seeds]
    _tell(terminal, rows, output, wrote=len(plan) > len(diverged))
    if diverged:
        raise ZooError(f"training diverged in {', '.join(diverged)}: not in the table")


def _lots(seeds: Sequence[int], together: bool) -> list[range]:
    """Ascending seeds in ranges of one each; together: in as long ranges as they make."""
    lots: list[range] = []
    for seed in seeds:
        if together and lots and lots[-1].stop == seed:
            lots[-1] = range(lots[-1].start, seed + 1)
        else:
            lots.append(range(seed, seed + 1))
    return lots


def _plan_text(plan: Sequence[Lot], runs_dir: Path) -> str:
    nets = {lot.net for lot in plan}
    num_seeds = sum(len(lot.seeds) for lot in plan)
    hours = sum(len(lot.seeds) * training_hours(lot.net) for lot in plan)
    return (
        f"{_count(num_seeds, 'run')} of {_count(len(nets), 'net')} in {runs_dir}: about "
        f"{hours:.1f} hours on two CPU cores, minus finished work"
    )


def _is_up_to_date(run: FinishedRun) -> bool:
    environments = (*run.earlier_environments, run.environment)
    return all(numerics.version_of(each) == numerics.VERSION for each in environments)


def _tell(terminal: Terminal, rows: Sequence[Row], output: Path, wrote: bool) -> None:
    if rows:
        terminal.result(f"\n{to_text(rows)}")
    if wrote:
        terminal.say(f"wrote {STEM}.csv, {STEM}.json and {STEM}.md to {output}")


def _add(workdir: Path, lot: Lot, output: Path, weights: Path | None) -> list[FinishedRun]:
    """Adds a finished run to the results in `output`, and to the weights; gives all results."""
    before = zoo.reproduction.results.read(output / f"{STEM}.json")
    finished = zoo.reproduction.results.from_history(lot.protocol, workdir)
    runs = zoo.reproduction.results.merged(before, finished)
    write(runs, output)
    if weights is not None:
        if lot.protocol == "notebook" and lot.seeds[0] == 0:
            keep(workdir, weights)
        tell_seeds(weights, runs)
    return runs


def write(runs: Sequence[FinishedRun], output: Path) -> None:
    """Replaces reproduction.csv, .json and .md in that directory, each atomically."""
    rows = make_rows(runs)
    content = {
        "format": zoo.reproduction.results.FORMAT,
        "changes": numerics.CHANGES,
        "rows": [dataclasses.asdict(row) for row in rows],
        "runs": [dataclasses.asdict(run) for run in runs],
    }
    texts = {
        "json": json.dumps(content, indent=1) + "\n",
        "csv": to_csv(rows),
        "md": to_markdown(runs),
    }
    for ending, text in texts.items():
        write_whole(output / f"{STEM}.{ending}", text)


def _config(config: ConfigDict, lot: Lot) -> ConfigDict:
    config = config.copy_and_resolve_references()
    config.seed, config.num_seeds = lot.seeds[0], len(lot.seeds)
    if lot.protocol == "holdout":
        config.validation = "holdout"
    return config


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
