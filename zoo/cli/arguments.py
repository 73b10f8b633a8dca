"""The command line of training: `python train.py` and `zoo train`."""

import contextlib
import difflib
import io
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import absl.logging
from absl import flags
from ml_collections import ConfigDict, config_flags

import zoo.config
import zoo.configs
import zoo.models
import zoo.system.processes
from zoo.data.names import PLACES, short
from zoo.models import net_files
from zoo.system.errors import ZooError
from zoo.system.files import expanded
from zoo.system.process import stop_requested
from zoo.system.processes import Processes
from zoo.system.text import error_text

if TYPE_CHECKING:
    from zoo.training.sweep import Cell


class Arguments(NamedTuple):
    """What a command line asks for."""

    config: ConfigDict
    workdir: Path
    quiet: bool
    processes: Processes | None = None  # of the run, if there are several


def parse(arguments: Sequence[str], options: str = "--config FILE, ") -> Arguments:
    """What "--config FILE [--config.KEY=VALUE ...] [--workdir DIR] [--quiet]" asks for.

    Args:
        arguments: those of the command, without its name.
        options: named where an argument is unexpected, before those that every command has.

    Raises:
        ZooError: whatever is wrong with the command line or with the configuration file.
    """
    arguments = _with_flag_files(arguments)
    for argument in arguments:
        override = re.match(r"--?(?:no)?config\.([^=]*)", argument)
        if override and not zoo.config.is_key(override[1]):
            raise ZooError(zoo.config.unknown_key(override[1]))
    file, others = _take(arguments, "config", "a file: try --config configs/default.py")
    _take(arguments, "workdir", "a directory: try --workdir runs/first")
    if file is None:
        raise ZooError("--config is missing: try --config configs/default.py")
    _check_config_file(file)
    absl.logging.set_verbosity(absl.logging.ERROR)
    values = flags.FlagValues()
    argv = ["", f"--config={file}", *others]  # first: absl refuses what sets keys before it
    sys.modules.pop("config_config", None)  # else a file is executed in the one loaded before it
    holder = config_flags.DEFINE_config_file("config", None, "", sys_argv=argv, flag_values=values)
    flags.DEFINE_string("workdir", None, "", flag_values=values)
    flags.DEFINE_bool("quiet", False, "", flag_values=values)
    flags.DEFINE_string("coordinator", None, "", flag_values=values)
    flags.DEFINE_integer("num_processes", None, "", flag_values=values)
    flags.DEFINE_integer("process_id", None, "", flag_values=values)
    try:
        with warnings.catch_warnings(), net_files.as_guest():
            warnings.simplefilter("ignore", DeprecationWarning)  # ml_collections' load_module
            unused = values(argv)[1:]
            config = holder.value
    except flags.IllegalFlagValueError as error:
        override = re.match(r"flag --config\.([\w.]+)=(.*?): ", str(error), re.DOTALL)
        if override:
            raise ZooError(zoo.config.wrong_value(override[1], override[2])) from None
        flag = re.match(r"flag --(\w+)=(.*?): ", str(error), re.DOTALL)
        needs = "true or false" if flag and flag[1] == "quiet" else "a whole number"
        text = f"--{flag[1]} must be {needs}, not {flag[2]!r}" if flag else str(error)
        raise ZooError(" ".join(text.split())) from None
    except flags.Error as error:  # an unknown flag, a missing value
        hint = "" if "Did you mean" in str(error) else f": {_usage(options)}"
        raise ZooError(f"{' '.join(str(error).split())}{hint}") from None
    except BaseException as error:  # it is code: whatever it raises is for its author
        text = error_text(error)
        if nets := _nets_without_config(error):
            text = f"{file} has nets, but no get_config(): try zoo train {file}:{nets[0]}"
        raise ZooError(f"the configuration file cannot be loaded: {text}") from None
    if unused:
        raise ZooError(f"unexpected argument {unused[0]!r}: {_usage(options)}")
    if not isinstance(config, ConfigDict):
        raise ZooError("the configuration file's get_config() must return a ConfigDict")
    zoo.config.validate(config)
    return Arguments(
        config,
        expanded(values.workdir or _default_workdir(config)),
        values.quiet,
        zoo.system.processes.parse(values.coordinator, values.num_processes, values.process_id),
    )


def parse_named(name: str, arguments: Sequence[str]) -> Arguments:
    """What "NET|FILE|DIRECTORY [--config.KEY=VALUE ...] [--workdir DIR] [--quiet]" asks for.

    Args:
        name: a net, "default", a configuration file, or a directory of images, for "default".
        arguments: those that follow it.

    Raises:
        ZooError: as `parse`.
    """
    if name.startswith("-"):
        raise ZooError(
            f"NET must come before {name!r}: try zoo train pooling_cnn3 --config.dataset=digits"
        )
    for argument in arguments:
        if re.match(r"--?config(=|$)", argument):
            raise ZooError(f"unexpected argument {argument!r}: {name!r} names the configuration")
    names = [*zoo.models.NETS, "default"]
    if ".py:" in name:  # a net of one's own
        name, arguments = "default", _with_key(name, "model", name, arguments)
    elif name not in names and Path(name).is_dir() and not [*Path(name).glob("*.py")]:
        name, arguments = "default", _with_key(name, "dataset", f"images:{name}", arguments)
    if name in names:
        name = str(Path(zoo.configs.__path__[-1], f"{name}.py"))
    elif not name.endswith(".py") and not Path(name).exists():
        raise ZooError(_unknown(name, names))
    return parse([f"--config={name}", *arguments], options="")


def sweep_cells(
    name: str, over: Sequence[str], runs: Path | None, arguments: Sequence[str]
) -> tuple[list["Cell"], Path]:
    """The runs that `zoo sweep` asks for, and their directory.

    Args:
        name: as in `parse_named`.
        over: texts such as "optimizer.learning_rate=1e-4,1e-3".
        runs: the directory; None: that of the name.
        arguments: those for all runs.

    Raises:
        ZooError: as `parse_named`, `sweep.parse_axis` and `sweep.grid`; two runs would have one
            directory, or train the same seed with the same settings.
    """
    # Only now: it takes a second.
    from zoo.training.sweep import Cell, check_seeds, grid, name_of, parse_axis

    for argument in arguments:
        if re.match(r"--?workdir(=|$)", argument):
            raise ZooError("--workdir is for one run: name the directory of all with --runs DIR")
        if found := re.match(r"--?(coordinator|num_processes|process_id)(=|$)", argument):
            raise ZooError(f"--{found[1]} is for one run: give it to zoo train")
    parsed = []
    for settings in grid([parse_axis(text) for text in over]):
        keys = [f"--config.{key}={value}" for key, value in settings.items()]
        parsed.append((settings, parse_named(name, [*arguments, *keys]).config))
    if runs is None:
        runs = Path("runs", f"sweep-{_subject(parse_named(name, arguments).config)}")
    runs = expanded(runs)
    cells = [Cell(settings, config, runs / name_of(settings)) for settings, config in parsed]
    if len({cell.workdir for cell in cells}) < len(cells):
        raise ZooError("two runs would have the same directory: their values differ in signs alone")
    check_seeds(cells)
    return cells, runs


def _with_key(name: str, key: str, value: str, arguments: Sequence[str]) -> list[str]:
    """The arguments, and before them the key of the configuration for which a name stands."""
    for argument in arguments:
        if re.match(rf"--?config\.{key}(=|$)", argument):
            raise ZooError(
                f"{name} names the {key}, and so does {argument!r}: leave one out, such as zoo "
                f"train pooling_cnn3 --config.{key}={value}"
            )
    return [f"--config.{key}={value}", *arguments]


def _unknown(name: str, nets: Sequence[str]) -> str:
    """The sentence for a name of nothing, with near ones of nets and of directories."""
    path = Path(name)
    try:
        beside = [str(each) for each in path.parent.iterdir() if each.is_dir()]
    except OSError:
        beside = []
    near = difflib.get_close_matches(str(path), [*nets, *beside], n=2)
    hint = f"did you mean {' or '.join(near)}?" if near else "zoo list prints the names"
    if "/" not in name and not path.suffix:
        return f"unknown net {name!r}: {hint}"
    hint = hint if near else "name a net, a configuration file or a directory of images"
    return f"there is no {name!r}: {hint}"


def start(arguments: Arguments) -> None:
    """Trains, or goes on with a run, until it is complete or this process is asked to stop.

    Raises:
        ZooError: as `zoo.training.train_and_evaluate`.
    """
    from zoo.system.compilation import enable_cache  # only now: these take a second to import
    from zoo.training import train_and_evaluate
    from zoo.training.joining import joined

    enable_cache()
    config, workdir, quiet, several = arguments
    with joined(several, workdir, quiet):
        train_and_evaluate(config, workdir, quiet=quiet, should_stop=stop_requested)


def _usage(options: str) -> str:
    return f"options are {options}--config.KEY=VALUE, --workdir DIR, --quiet"


def _default_workdir(config: ConfigDict) -> str:
    last = f"-{config.seed + config.num_seeds - 1}" if config.num_seeds > 1 else ""
    return f"runs/{_subject(config)}-{config.seed}{last}"


def _subject(config: ConfigDict) -> str:
    """What is trained on what, as part of a directory's name."""
    dataset = re.sub(r"[/\\:]", "-", short(config.dataset))
    return f"{net_files.short_name(config.model)}-{dataset}"


def _with_flag_files(arguments: Sequence[str]) -> list[str]:
    """The arguments, with those in the file in place of each --flagfile FILE, which is absl's."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # a file that names itself is read once
            return flags.FlagValues().read_flags_from_files(arguments, force_gnu=False)
    except flags.IllegalFlagValueError:
        raise ZooError("--flagfile needs a file: give a file with one option a line") from None
    except (flags.CantOpenFlagFileError, UnicodeError) as error:
        reason = str(error).rpartition("] ")[2]  # "... [Errno 2] No such file or directory: 'x'"
        raise ZooError(
            f"--flagfile cannot be read ({reason}): give a file with one option a line"
        ) from None


def _take(arguments: Sequence[str], name: str, needs: str) -> tuple[str | None, list[str]]:
    """(value of --NAME VALUE or --NAME=VALUE, or None; the other arguments).

    Raises:
        ZooError: it has no value, or two.
    """
    values, others, rest = [], [], [*arguments]
    while rest:
        argument = rest.pop(0)
        match = re.fullmatch(rf"--?{name}(?:=(.*))?", argument, re.DOTALL)
        if not match:
            others.append(argument)
        elif match[1] is not None:
            values.append(match[1])
        else:
            values.append(rest.pop(0) if rest and not rest[0].startswith("-") else "")
    if not all(value.strip() for value in values):
        raise ZooError(f"--{name} needs {needs}")
    if len(set(values)) > 1:
        raise ZooError(f"--{name} is given twice, {values[0]!r} and {values[1]!r}: give it once")
    return (values[0] if values else None), others


def _check_config_file(name: str) -> None:
    """Says so, with near matches, if there is no such file, or it is not one of Python."""
    path = Path(name)
    if path.is_dir():
        raise ZooError(f"the configuration file {name!r} is a directory: name a file in it")
    if path.suffix != ".py" and path.exists():  # never execute what was meant as data
        kind = next((kind for kind in PLACES if f".{kind}" in path.suffixes), "")
        place = path.parent if PLACES.get(kind) == "DIRECTORY" else path
        hint = "" if kind else f", KIND being one of {', '.join(PLACES)}"
        raise ZooError(
            f"{name!r} is no configuration file, because its name does not end in .py: if it is "
            f"data, try zoo train pooling_cnn3 --config.dataset={kind or 'KIND'}:{place}{hint}"
        )
    if not path.is_file():
        known = [str(file) for file in sorted(Path("configs").glob("[!_]*.py"))]
        near = difflib.get_close_matches(str(path), known, n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else "try configs/default.py"
        raise ZooError(f"the configuration file {str(path)!r} does not exist: {hint}")


def _nets_without_config(error: BaseException) -> list[str]:
    """The names of the nets in a file that was executed, but lacks get_config()."""
    if not isinstance(error, AttributeError) or error.name != "get_config":
        return []
    is_of_file = getattr(error.obj, "__name__", "") == "config_config"
    return net_files.nets_among(vars(error.obj)) if is_of_file else []
