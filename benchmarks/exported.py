"""One exported file of `export.py`, in its process: what it answers, and how long that takes."""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import answers
import environment
import numpy as np

import zoo.analysis.trained
import zoo.export.files
from zoo.export.int8 import Int8
from zoo.export.source import Source
from zoo.export.trained import calibration_images

_BATCH_SIZE = 500  # of the test
_TRIAL_SECONDS = 0.2  # of each number of threads


class Exported:
    """Answers the requests of `export.py`."""

    def __init__(self, contender: str, name: str) -> None:
        self._contender = contender
        self._net = zoo.analysis.trained.load(name)
        self._source = Source(self._net.model, self._net.variables, self._net.image_shape, "uint8")
        self._test = self._net.split("test")
        self.num_bytes, self._predict = self._make(contender)

    def _make(self, contender: str) -> tuple[int, Callable[[np.ndarray], np.ndarray]]:
        if contender == "zoo":
            return 0, self._source.logits
        ending = ".onnx" if contender == "int8" else f".{contender}"
        exporter: Any = zoo.export.files.find(Path(f"net{ending}"))
        if contender == "int8":
            exporter = Int8(calibration_images(self._net))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"net{ending}")
            exporter.write(path, self._source)
            return path.stat().st_size, exporter.load(path, self._source)

    def answer(self, request: str, *values: str) -> dict[str, Any]:
        """The answer to `test` or `time SIZE SECONDS`."""
        if request == "test":
            return self._score()
        size, seconds = int(values[0]), float(values[1])
        call = functools.partial(self._predict, np.ascontiguousarray(self._test.images[:size]))
        if self._contender == "pt2":
            _choose_threads(call)
        return answers.timed(call, seconds)

    def _score(self) -> dict[str, Any]:
        """Of all test images, against the zoo."""
        images, labels = self._test.images, self._test.labels
        parts = [
            images[start : start + _BATCH_SIZE] for start in range(0, len(images), _BATCH_SIZE)
        ]
        found, expected = (
            np.concatenate([predict(part) for part in parts])
            for predict in (self._predict, self._source.logits)
        )
        return {
            "num_images": len(images),
            "difference": zoo.export.files.difference(found, expected),
            "absolute": float(np.abs(found - expected).max()),
            "same": int((found.argmax(1) == expected.argmax(1)).sum()),
            "accuracy": float((found.argmax(1) == labels).mean()),
        }


def _choose_threads(call: Callable[[], Any]) -> None:
    """One thread or all, whichever is faster: PyTorch's wait for each other on a busy machine."""
    import torch

    took = {}
    for count in (environment.num_cores(), 1):
        torch.set_num_threads(count)
        took[count] = answers.timed(call, _TRIAL_SECONDS)["seconds"]
    torch.set_num_threads(min(took, key=lambda count: took[count]))
