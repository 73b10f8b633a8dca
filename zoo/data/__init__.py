"""Datasets by name, or from files and arrays of one's own, as uint8 images and integer labels."""

from zoo.data.assembly import from_arrays
from zoo.data.dataset import Dataset, Options, Split, Validation, check, split_validation
from zoo.data.datasets import load
from zoo.data.image_files import from_directory
from zoo.data.names import DATASETS, FORMS, TFDS_DATASETS
from zoo.data.places import NOWHERE, DataDirs, find

__all__ = [
    "DATASETS",
    "FORMS",
    "NOWHERE",
    "TFDS_DATASETS",
    "DataDirs",
    "Dataset",
    "Options",
    "Split",
    "Validation",
    "check",
    "find",
    "from_arrays",
    "from_directory",
    "load",
    "split_validation",
]
