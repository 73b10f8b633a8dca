"""The command line of training: `python train.py` and `zoo train`."""

import difflib
import itertools
import re
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import absl.logging
from absl import flags
from ml_collections import ConfigDict, config_flags

import zoo.config
import zoo.configs
import zoo.models
from zoo.system.errors import ZooError
from zoo.system.process import stop_requested
from zoo.system.text import error_text


class Arguments(NamedTuple):
    """What a command line asks for."""

    config: ConfigDict
    workdir: Path
    quiet: bool


def parse(arguments: Sequence[str], options: str = "--config FILE, ") -> Arguments:
    """What "--config FILE [--config.KEY=VALUE ...] [--workdir DIR] [--quiet]" asks for.

    Args:
        arguments: those of the command, without its name.
        options: named where an argument is unexpected, before those that every command has.

    Raises:
        ZooError: whatever is wrong with the command line or with the configuration file.
    """
    for argument in arguments:
        override = re.match(r"--?(?:no)?config\.([^=]*)", argument)
        if override and not zoo.config.is_key(override[1]):
            raise ZooError(zoo.config.unknown_key(override[1]))
    _check_config_file(arguments)
    absl.logging.set_verbosity(absl.logging.ERROR)
    values = flags.FlagValues()
    argv = ["", *arguments]
    sys.modules.pop("config_config", None)  # else a file is executed in the one loaded before it
    holder = config_flags.DEFINE_config_file("config", None, "", sys_argv=argv, flag_values=values)
    flags.DEFINE_string("workdir", None, "", flag_values=values)
    flags.DEFINE_bool("quiet", False, "", flag_values=values)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # ml_collections' load_module
            unused = values(argv)[1:]
            config = holder.value
    except flags.IllegalFlagValueError as error:
        override = re.match(r"flag --config\.([\w.]+)=(.*?): ", str(error), re.DOTALL)
        if override:
            raise ZooError(zoo.config.wrong_value(override[1], override[2])) from None
        raise ZooError(" ".join(str(error).split())) from None
    except flags.UnrecognizedFlagError as error:
        raise ZooError(str(error)) from None
    except (Exception, SystemExit) as error:  # it is code: whatever it raises is for its author
        raise ZooError(f"the configuration file cannot be loaded: {error_text(error)}") from None
    if unused:
        raise ZooError(
            f"unexpected argument {unused[0]!r}: options are {options}"
            f"--config.KEY=VALUE, --workdir DIR, --quiet"
        )
    if not values["config"].present:
        raise ZooError("--config is missing: try --config configs/default.py")
    if not isinstance(config, ConfigDict):
        raise ZooError("the configuration file's get_config() must return a ConfigDict")
    zoo.config.validate(config)
    return Arguments(config, Path(values.workdir or _default_workdir(config)), values.quiet)


def parse_named(name: str, arguments: Sequence[str]) -> Arguments:
    """What "NET|FILE [--config.KEY=VALUE ...] [--workdir DIR] [--quiet]" asks for.

    Args:
        name: a net, "default", or a configuration file.
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
    names = [*zoo.models.MODELS, "default"]
    if name in names:
        name = str(Path(zoo.configs.__path__[-1], f"{name}.py"))
    elif not name.endswith(".py") and not Path(name).exists():
        near = difflib.get_close_matches(name, names, n=2)
        hint = f"did you mean {' or '.join(near)}?" if near else "zoo list prints the names"
        raise ZooError(f"unknown net {name!r}: {hint}")
    return parse([f"--config={name}", *arguments], options="")


def start(arguments: Arguments) -> None:
    """Trains, or goes on with a run, until it is complete or this process is asked to stop.

    Raises:
        ZooError: as `zoo.training.train_and_evaluate`.
    """
    from zoo.system.compilation import enable_cache  # only now: these take a second to import
    from zoo.system.memory import use_one_arena
    from zoo.training import train_and_evaluate

    use_one_arena()
    enable_cache()
    config, workdir, quiet = arguments
    train_and_evaluate(config, workdir, quiet=quiet, should_stop=stop_requested)


def _default_workdir(config: ConfigDict) -> str:
    last = f"-{config.seed + config.num_seeds - 1}" if config.num_seeds > 1 else ""
    return f"runs/{config.model}-{config.dataset}-{config.seed}{last}"


def _check_config_file(arguments: Sequence[str]) -> None:
    """Says so, with near matches, if the file after --config is not there."""
    for argument, following in itertools.pairwise([*arguments, ""]):
        match = re.fullmatch(r"--?config(?:=(.*))?", argument, re.DOTALL)
        if not match:
            continue
        name = following if match[1] is None else match[1]
        path = Path(name)
        if not name or name.startswith("-"):
            raise ZooError("--config needs a file: try --config configs/default.py")
        if path.is_dir():
            raise ZooError(f"the configuration file {name!r} is a directory: name a file in it")
        if not path.is_file():
            known = [str(file) for file in sorted(Path("configs").glob("[!_]*.py"))]
            near = difflib.get_close_matches(str(path), known, n=2)
            hint = f"did you mean {' or '.join(near)}?" if near else "try configs/default.py"
            raise ZooError(f"the configuration file {str(path)!r} does not exist: {hint}")
