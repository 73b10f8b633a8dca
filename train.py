"""Trains a net, or goes on with a run that was interrupted: give the same command again.

python train.py --config configs/vgg5.py [--config.KEY=VALUE ...] [--workdir DIR] [--quiet]
"""

import difflib
import re
import sys
from pathlib import Path

import absl.logging
from absl import flags
from ml_collections import ConfigDict, config_flags

import zoo.config
import zoo.system.process
from zoo.system.errors import ZooError

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Configuration file; any key in it can be set by --config.KEY=VALUE."
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder for history, checkpoints and plots; default: runs/NET-DATASET-SEED."
)
_QUIET = flags.DEFINE_bool("quiet", False, "Print nothing but the result on standard output.")


def parse_config(argv: list[str]) -> ConfigDict:
    """The configuration that a command line asks for.

    Raises:
        ZooError: whatever is wrong with the command line or with the configuration file.
    """
    for argument in argv[1:]:
        override = re.match(r"--?(?:no)?config\.([^=]*)", argument)
        if override and not zoo.config.is_key(override[1]):
            raise ZooError(zoo.config.unknown_key(override[1]))
    _check_config_file(argv)
    absl.logging.set_verbosity(absl.logging.ERROR)
    try:
        unused = flags.FLAGS(argv)[1:]
        config = _CONFIG.value
    except flags.IllegalFlagValueError as error:
        override = re.match(r"flag --config\.([\w.]+)=(.*?): ", str(error), re.DOTALL)
        if override:
            raise ZooError(zoo.config.wrong_value(override[1], override[2])) from None
        raise ZooError(" ".join(str(error).split())) from None
    except flags.UnrecognizedFlagError as error:
        raise ZooError(str(error)) from None
    except (Exception, SystemExit) as error:  # it is code: whatever it raises is for its author
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ZooError(f"the configuration file cannot be loaded: {reason}") from None
    if unused:
        raise ZooError(
            f"unexpected argument {unused[0]!r}: options are --config FILE, "
            f"--config.KEY=VALUE, --workdir DIR, --quiet"
        )
    if not flags.FLAGS["config"].present:
        raise ZooError("--config is missing: try --config configs/default.py")
    if not isinstance(config, ConfigDict):
        raise ZooError("the configuration file's get_config() must return a ConfigDict")
    zoo.config.validate(config)
    return config


def _check_config_file(argv: list[str]) -> None:
    """Says so, with near matches, if the file after --config is not there."""
    for argument, following in zip(argv, [*argv[1:], ""], strict=True):
        match = re.fullmatch(r"--?config(?:=(.*))?", argument, re.DOTALL)
        if not match:
            continue
        name = following if match[1] is None else match[1]
        path = Path(name)
        if not name or name.startswith("-"):
            raise ZooError("--config needs a file: try --config configs/default.py")
        if path.is_dir():
            raise ZooError(f"the configuration file {name!r} is a folder: name a file in it")
        if not path.is_file():
            known = [str(file) for file in sorted(Path("configs").glob("*.py"))]
            near = difflib.get_close_matches(str(path), known, n=2)
            hint = f"did you mean {' or '.join(near)}?" if near else "try configs/default.py"
            raise ZooError(f"the configuration file {str(path)!r} does not exist: {hint}")


def main() -> int:
    """Runs the command; gives the exit status.

    Raises:
        ZooError: something that the user gave is wrong.
    """
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__, flags.FLAGS.main_module_help(), sep="\n")
        return 0
    config = parse_config(sys.argv)
    import zoo.system.compilation  # only now: these take a second to import
    import zoo.system.memory
    from zoo.training import train_and_evaluate

    zoo.system.memory.use_one_arena()
    zoo.system.compilation.enable_cache()
    last = f"-{config.seed + config.num_seeds - 1}" if config.num_seeds > 1 else ""
    workdir = _WORKDIR.value or f"runs/{config.model}-{config.dataset}-{config.seed}{last}"
    train_and_evaluate(
        config, Path(workdir), quiet=_QUIET.value, should_stop=zoo.system.process.stop_requested
    )
    return 0


if __name__ == "__main__":
    on_stop = "; the same command goes on from the last checkpoint, if there is one"
    zoo.system.process.run("train.py", main, on_stop, saves=True)
