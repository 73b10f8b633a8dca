"""What a configuration may hold: types, ranges, near matches for a mistyped key.

The keys, with their units and defaults, stand in `configs/default.py`.
"""

import difflib
import importlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

import zoo.models
from zoo.data import DATASETS
from zoo.models import hub, net_files, paths
from zoo.system.errors import ZooError

OPTIMIZERS = ("adam", "adamw", "adadelta", "sgd", "rmsprop", "lion", "muon")
SCHEDULES = ("constant", "cosine", "one_cycle")
DTYPES = ("float32", "bfloat16", "float16")


class _Key(NamedTuple):
    """A key, but for its default and its unit."""

    type: type
    allowed: Callable[[Any], bool]
    text: str  # completes "must be ..."
    is_free: bool = False  # may change when a run goes on: it does not change the run's numbers
    before: Any = None  # what the first runs did, which did not have the key

    def allows(self, value: Any) -> bool:
        """Whether it can have that value."""
        if isinstance(value, bool) or self.type is bool:  # to Python a bool is a whole number
            return self.type is bool and isinstance(value, bool)
        types = (int, float) if self.type is float else self.type
        return isinstance(value, types) and self.allowed(value)


def _one_of(*choices: str, **more: Any) -> _Key:
    return _Key(str, choices.__contains__, "one of " + ", ".join(choices), **more)


def _whole(low: int, high: int = 2**31 - 1, **more: Any) -> _Key:
    text = f"a whole number from {low} to {high:,}"
    return _Key(int, lambda value: low <= value <= high, text, **more)


def _positive() -> _Key:
    return _Key(float, lambda value: 0 < value < _LARGEST, "a finite number above 0")


def _not_negative(**more: Any) -> _Key:
    text = "a finite number, 0 or more"
    return _Key(float, lambda value: 0 <= value < _LARGEST, text, **more)


def _decay(**more: Any) -> _Key:
    return _Key(float, lambda value: 0 <= value < 1, "at least 0 and below 1", **more)


def _text(**more: Any) -> _Key:
    return _Key(str, lambda value: True, "text", **more)


def _line(**more: Any) -> _Key:
    return _Key(str, str.isprintable, "text in one line", **more)


def _bool(**more: Any) -> _Key:
    return _Key(bool, lambda value: True, "True or False", **more)


_LARGEST = 1e38  # nearly the largest float32
_KEYS = {
    "model": _Key(str, str.isprintable, "the name of a net or FILE.py:NAME"),
    "dtype": _one_of(*DTYPES),
    "seed": _whole(0, 2**32 - 1),
    "num_seeds": _whole(1, 10_000),
    "init_from": _line(before=""),
    "freeze": _line(before=""),
    "dataset": _one_of(*DATASETS),
    "data_dir": _text(is_free=True),
    "manual_dir": _text(is_free=True),
    "validation": _one_of("holdout", "holdout_last", "test"),
    "num_epochs": _whole(1, is_free=True),  # may grow
    "batch_size": _whole(1),
    "eval_batch_size": _whole(1, is_free=True),
    "label_smoothing": _decay(before=0.0),
    "optimizer.name": _one_of(*OPTIMIZERS),
    "optimizer.learning_rate": _positive(),
    "optimizer.schedule": _one_of(*SCHEDULES),
    "optimizer.warmup_epochs": _not_negative(),
    "optimizer.b1": _decay(),
    "optimizer.b2": _decay(),
    "optimizer.rho": _decay(),
    "optimizer.momentum": _decay(),
    "optimizer.nesterov": _bool(),
    "optimizer.eps": _positive(),
    "optimizer.keras_eps": _bool(),
    "optimizer.weight_decay": _not_negative(),
    "optimizer.clip_norm": _not_negative(),
    "optimizer.rates": _line(before=""),
    "optimizer.accumulate_steps": _whole(1),
    "checkpoint.every_epochs": _whole(0, is_free=True),
    "checkpoint.every_minutes": _not_negative(is_free=True, before=0.0),
    "checkpoint.keep_last": _whole(1, is_free=True),
    "checkpoint.keep_best": _whole(0, is_free=True),
    "checkpoint.best_metric": _one_of("val_accuracy", "val_loss", is_free=True),  # but with holdout
    "on_nan": _one_of("stop", "skip", is_free=True, before="stop"),
    "deterministic": _bool(before=False),
    "tensorboard": _bool(is_free=True, before=False),
}
_SYNONYMS = {  # what other programs call a key, in lower case and without underscores
    "model": "net network arch architecture modelname",
    "dtype": "precision mixedprecision amp fp16 bf16",
    "seed": "seeds randomseed rngseed rng prngseed",
    "num_seeds": "seeds nseeds runs numruns repeats",
    "init_from": "pretrained finetune finetunefrom initweights weights loadfrom resumefrom",
    "freeze": "frozen freezelayers frozenlayers trainable",
    "dataset": "data datasetname task",
    "data_dir": "datapath dataroot root",
    "manual_dir": "datapath dataroot root",
    "validation": "val valsplit validationsplit holdout split",
    "num_epochs": "epochs epoch nepochs maxepochs steps numsteps trainsteps totalsteps iterations",
    "batch_size": "bs batch trainbatchsize minibatchsize",
    "eval_batch_size": "evalbatch testbatchsize valbatchsize",
    "label_smoothing": "smoothing smooth labelsmooth smoothlabels",
    "optimizer.name": "optim opt optimizer optimiser",
    "optimizer.learning_rate": "lr eta stepsize baselr maxlr peaklr",
    "optimizer.schedule": "scheduler lrschedule lrscheduler decay",
    "optimizer.warmup_epochs": "warmup warmupsteps",
    "optimizer.b1": "beta1 betas",
    "optimizer.b2": "beta2 betas",
    "optimizer.eps": "epsilon",
    "optimizer.weight_decay": "wd l2 l2reg regularization",
    "optimizer.clip_norm": "clip gradclip clipgrad gradientclip maxgradnorm gradnorm",
    "optimizer.rates": "lrmult lrmultipliers layerlr layerwiselr discriminativelr",
    "optimizer.accumulate_steps": "accumulate accumulation gradaccum gradientaccumulationsteps",
    "checkpoint.every_epochs": "saveevery checkpointevery saveinterval",
}
_NOT_SET = {  # what a key would be that other programs have
    "it follows from the dataset, config.dataset": "numclasses nclasses classes numlabels "
    "outputdim imageshape imagesize imgsize inputshape inputsize channels numchannels "
    "inchannels numtrain",
    "it follows from the net, config.model": "dropout dropoutrate filters kernelsize numlayers "
    "activation depth hidden features",
    "--workdir DIR sets a run's directory": "workdir output outputdir outdir logdir rundir savedir",
    "the option --quiet prints nothing but the result": "quiet verbose verbosity",
    "the environment variable JAX_PLATFORMS chooses the device, such as cpu": "device devices gpu "
    "cuda tpu platform accelerator",
    "config.validation=holdout tests the best epoch instead": "patience earlystopping",
}
_BEFORE = {name: key.before for name, key in _KEYS.items() if key.before is not None}


def load(net: str) -> ConfigDict:
    """The configuration in configs/NET.py: its notebook's training.

    Raises:
        ZooError: the name is unknown.
    """
    try:
        zoo.models.create_model(net)
    except ValueError as error:
        raise ZooError(str(error)) from None
    return importlib.import_module(f"zoo.configs.{net}").get_config()


def validate(config: ConfigDict, *, with_model: bool = True) -> None:
    """Checks that the configuration has just the known keys, each in its range.

    Args:
        config: as in configs/default.py.
        with_model: whether its net is used; a net in a file is executed for that.

    Raises:
        ZooError: naming the first key that is wrong, its value and what is allowed.
    """
    values = flatten(config)
    for name in values:
        if name not in _KEYS:
            raise ZooError(unknown_key(name))
    for name, key in _KEYS.items():
        if name not in values:
            raise ZooError(f"config.{name} is missing: start from configs/default.py")
        if not key.allows(values[name]):
            raise ZooError(wrong_value(name, values[name]))
    if with_model:
        try:
            net_files.find(values["model"])
        except ValueError as error:
            raise ZooError(f"config.model: {error}") from None
    try:
        paths.freeze_patterns(values["freeze"])
        paths.rate_patterns(values["optimizer.rates"])
    except paths.PatternError as error:
        raise ZooError(wrong_patterns(error)) from None
    if values["seed"] + values["num_seeds"] > 2**32:
        raise ZooError(f"config.seed + config.num_seeds must be at most {2**32:,}")
    if values["optimizer.schedule"] == "one_cycle" and values["optimizer.warmup_epochs"]:
        raise ZooError(
            "config.optimizer.warmup_epochs must be 0 with the one_cycle schedule, which warms up "
            f"by itself, not {values['optimizer.warmup_epochs']!r}"
        )


def check_values(config: Mapping[str, Any], but: Sequence[str] = ()) -> None:
    """Raises ValueError unless a run's configuration, as it was kept, has values in their ranges.

    Its net may be unknown; keys of `but`, and those that came later, may be missing.
    """
    values = flatten(config)
    for name, key in _KEYS.items():
        if name not in values:
            if name not in (*_BEFORE, *but):
                raise ValueError(name)
        elif not key.allows(values[name]):
            raise ValueError(name)


def is_key(key: str) -> bool:
    """Whether a configuration has that key, as in "optimizer.name"."""
    return key in _KEYS


def wrong_value(key: str, value: Any) -> str:
    """The sentence for a value that a known key cannot have."""
    return f"config.{key} must be {_KEYS[key].text}, not {value!r}"


def wrong_patterns(error: paths.PatternError) -> str:
    """The sentence for patterns in `freeze` or `optimizer.rates` that do not do."""
    group = "optimizer." if str(error).startswith("rates") else ""
    return f"config.{group}{error}"


def unknown_key(key: str) -> str:
    """The sentence for a key that does not exist: why, or the keys that may be meant."""
    if group := [known for known in _KEYS if known.startswith(key + ".")]:
        return f"config.{key} is a group of keys: did you mean {group[0]} or {group[1]}?"
    tail = _bare(key)
    for reason, names in _NOT_SET.items():
        if tail in names.split():
            return f"unknown key config.{key}: {reason}"
    near = [known for known in _KEYS if _bare(known) == tail]  # batchsize, learning_rate
    near = near or [known for known, names in _SYNONYMS.items() if tail in names.split()]
    near = near or difflib.get_close_matches(key, _KEYS, n=2, cutoff=0.7)
    hint = f"did you mean {' or '.join(near)}?" if near else "the keys are in configs/default.py"
    return f"unknown key config.{key}: {hint}"


def _bare(key: str) -> str:
    """Its last part in lower case, without underscores."""
    return re.sub(r"[^a-z0-9]", "", key.rsplit(".", 1)[-1].lower())


def flatten(config: ConfigDict | Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"optimizer.name": "adam", ...}"""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, (Mapping, ConfigDict)):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def to_keep(config: ConfigDict) -> dict[str, Any]:
    """The configuration as a history keeps it: no directory is relative to the current one."""
    kept = config.to_dict()
    for key in ("data_dir", "manual_dir"):
        if kept[key] and not kept[key].startswith("~"):
            kept[key] = os.path.abspath(kept[key])
    if _is_path(kept["init_from"]):
        kept["init_from"] = os.path.abspath(kept["init_from"])
    return kept


def _is_path(source: str) -> bool:
    """Whether `init_from` names a directory relative to the current one, or from the root."""
    return (
        bool(source) and source not in zoo.models.NETS and not source.startswith((hub.PREFIX, "~"))
    )


def changes_result(key: str) -> bool:
    """Whether a setting, such as "optimizer.name", is of what is computed, its seeds apart."""
    return key == "num_epochs" or not (key in ("seed", "num_seeds") or _KEYS[key].is_free)


def check_same_run(old: Mapping[str, Any], new: Mapping[str, Any], where: str) -> None:
    """Checks that a run that was started with `old` can go on with `new`.

    Raises:
        ZooError: naming the keys that differ.
    """
    before, now = _BEFORE | flatten(old), flatten(new)
    if net_files.is_reference(before["model"]) and net_files.is_reference(now["model"]):
        before["model"] = now["model"]  # what counts are its layers, which the history holds
    free = {name for name, key in _KEYS.items() if key.is_free}
    if now["validation"] == "holdout":
        free.remove("checkpoint.best_metric")  # it decides which epoch is tested
    differing = [
        f"{key} ({before.get(key)!r} there, {now.get(key)!r} here)"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key) and key not in free
    ]
    if differing:
        raise ZooError(
            f"{where} holds a run with another configuration, {', '.join(differing)}: "
            f"use the same configuration or another directory"
        )
    epochs = before["num_epochs"], now["num_epochs"]
    if epochs[0] == epochs[1]:
        return
    if epochs[1] < epochs[0]:
        raise ZooError(
            f"{where} holds a run of {epochs[0]} epochs, which cannot become {epochs[1]}: "
            f"num_epochs may only grow; use another directory"
        )
    if now["optimizer.schedule"] != "constant":
        raise ZooError(
            f"{where} holds a run of {epochs[0]} epochs, which cannot become {epochs[1]}: its "
            f"{now['optimizer.schedule']} schedule was made for {epochs[0]}; use another directory"
        )
