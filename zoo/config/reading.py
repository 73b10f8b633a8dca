"""The configuration of a net, and what a configuration says of the data."""

import importlib
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

import zoo.models
from zoo.config.keys import KEYS, flatten, is_key
from zoo.data import Options
from zoo.system.errors import ZooError


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


def data_options(config: ConfigDict | Mapping[str, Any]) -> Options:
    """The options of the data that a configuration holds; the defaults for those it lacks."""
    return Options.of(
        {
            key.removeprefix("data."): value
            for key, value in flatten(config).items()
            if key.startswith("data.") and is_key(key) and KEYS[key].allows(value)
        }
    )
