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

__all__ = [
    "DATASETS",
    "TFDS_DATASETS",
    "Dataset",
    "Split",
    "Validation",
    "check",
    "load",
    "split_validation",
]
