"""The trained nets of the package, loaded in the background while a page is already shown."""

import threading
from typing import Any

import numpy as np

from zoo.analysis import trained
from zoo.analysis.net import TrainedNet
from zoo.models.packaged import packaged_weights
from zoo.system.errors import ZooError
from zoo.system.files import as_text
from zoo.system.text import error_text

_DATASET = "mnist"  # the one of digits


def about_packaged() -> list[dict[str, Any]]:
    """The entries of the index for nets that know digits, the smallest net first."""
    entries = [entry for entry in packaged_weights() if entry["dataset"] == _DATASET]
    return sorted(entries, key=lambda entry: int(entry["num_parameters"]))


class PackagedNets:
    """The nets of `about_packaged`; a thread loads and compiles one after the other.

    Compiling takes seconds a net where no compiled program is cached, an answer milliseconds.
    """

    def __init__(self) -> None:
        self._names = [entry["net"] for entry in about_packaged()]
        self._ready: dict[str, TrainedNet] = {}
        self._problems: dict[str, str] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def load(self, again: bool = False) -> None:
        """Begins to load the nets that are not ready; again: also those that had a problem."""
        with self._lock:
            if self._thread and self._thread.is_alive():
                return
            if again:
                self._problems.clear()
            missing = self.loading()
            if missing:
                self._thread = threading.Thread(target=self._load_each, args=(missing,))
                self._thread.start()

    def ready(self) -> dict[str, TrainedNet]:
        """The nets that can answer at once, by name."""
        return dict(self._ready)

    def loading(self) -> list[str]:
        """The names of those that are still to come."""
        return [name for name in self._names if name not in {*self._ready, *self._problems}]

    def problems(self) -> dict[str, str]:
        """Why a net cannot be loaded, by name."""
        return dict(self._problems)

    def _load_each(self, names: list[str]) -> None:
        for name in names:
            if not threading.main_thread().is_alive():  # the process ends
                return
            try:
                net = trained.load_packaged(name)
                net.probabilities(np.zeros((1, *net.image_shape), np.uint8))  # compiles it
            except ZooError as error:
                self._problems[name] = as_text(str(error))
            except Exception as error:  # such as too little memory: the others can be loaded still
                self._problems[name] = as_text(error_text(error))
            else:
                self._ready[name] = net
