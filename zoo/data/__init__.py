"""Datasets by name, as uint8 images and integer labels in memory."""

from zoo.data.datasets import (
    DATASETS,
    TFDS_DATASETS,
    Dataset,
    Split,
    Validation,
    check,
    load,
    split_validation,
)
from zoo.data.places import NOWHERE, DataDirs, find

__all__ = [
    "DATASETS",
    "NOWHERE",
    "TFDS_DATASETS",
    "DataDirs",
    "Dataset",
    "Split",
    "Validation",
    "check",
    "find",
    "load",
    "split_validation",
]
