"""What is known of images that stay on disk once they have all been read: labels and checksum."""

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data.dataset import Dataset
from zoo.system import forms
from zoo.system.errors import ZooError
from zoo.system.files import unreadable, write_whole

_FACTS, _LABELS = "streamed.json", "streamed_labels.bin"


@dataclasses.dataclass(frozen=True)
class Pass:
    """What reading all images once has told, kept in two small files beside the dataset."""

    directory: Path
    about: Any  # JSON that tells of which files it is, and how they are read
    labels: np.ndarray | None = None  # [N] int32, in the order of the files; None: not yet read
    sha256: str = ""  # of the dataset

    def completed(self, dataset: Dataset, labels: np.ndarray) -> Dataset:
        """The dataset with its checksum, for which all is read now unless that was done before."""
        if not self.sha256:
            _keep(self.directory, self.about, labels, dataset.sha256)
        return dataclasses.replace(dataset, known_sha256=self.sha256 or dataset.sha256)


def find(directory: Path, about: Any, count: int) -> Pass:
    """The pass over these files that was made before, or an empty one.

    Args:
        directory: where it is kept.
        about: of which files, and how they are read.
        count: the number of labels.
    """
    try:
        found = forms.read_json(directory / _FACTS)
        path = directory / _LABELS
        if found.get("about") == about and path.is_file() and path.stat().st_size == 4 * count:
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() == found["labels"]:
                labels = np.frombuffer(content, "<i4").astype(np.int32)
                return Pass(directory, about, labels, str(found["sha256"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # there is none, or it is damaged: the images are read again
    return Pass(directory, about)


def fingerprint(root: Path, files: Mapping[str, Iterable[Path]]) -> str:
    """A checksum of the names, sizes and times of files by split, by which a change is noticed."""
    digest = hashlib.sha256()
    for split, paths in files.items():
        for path in paths:
            try:
                facts = path.stat()
            except OSError as error:
                raise ZooError(unreadable(path, error)) from None
            line = f"{split}\0{path.relative_to(root)}\0{facts.st_size}\0{facts.st_mtime_ns}\n"
            digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def _keep(directory: Path, about: Any, labels: np.ndarray, sha256: str) -> None:
    content = labels.astype("<i4").tobytes()
    facts = {"about": about, "labels": hashlib.sha256(content).hexdigest(), "sha256": sha256}
    try:
        directory.mkdir(exist_ok=True)
        write_whole(directory / _LABELS, content)
        write_whole(directory / _FACTS, json.dumps(facts, indent=2))
    except (OSError, ZooError) as error:  # a read-only dataset directory is still usable
        warnings.warn(
            f"what reading all images has told is not kept, so the next run reads them all, too: "
            f"{error}",
            stacklevel=3,
        )
