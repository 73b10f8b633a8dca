"""An ONNX model with weights and activations of 8 bits, by ONNX Runtime's static quantization.

Each tensor of activations gets one scale and zero point, from the smallest and largest values that
it takes on training images; each output channel of a convolution's kernel gets its own scale.
"""

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zoo.export import onnx_file
from zoo.export.source import Source

_BATCH_SIZE = 100


@dataclasses.dataclass(frozen=True)
class Int8:
    """Writes and reads quantized models, as `onnx_file` does those of float32."""

    images: np.ndarray  # [N, height, width, channels] uint8, of the training: to calibrate

    def write(self, path: Path, source: Source) -> None:
        """Writes the file; `onnx.checker` has found nothing wrong with it."""
        import onnx
        from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

        inputs = source.inputs(self.images)

        class Batches(CalibrationDataReader):
            """Gives all images, a batch after another."""

            def __init__(self) -> None:
                starts = range(0, len(inputs), _BATCH_SIZE)
                self.batches = (inputs[start : start + _BATCH_SIZE] for start in starts)

            def get_next(self) -> dict[str, Any] | None:
                batch = next(self.batches, None)
                return None if batch is None else {"images": batch}

        root = logging.getLogger()
        level = root.level
        root.setLevel(logging.ERROR)  # it recommends to optimize the model, which is done here
        try:
            quantize_static(
                onnx_file.make(source),
                path,
                Batches(),
                per_channel=True,
                reduce_range=True,  # 7 bits of weights: sums of two products fit into 16 everywhere
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        finally:
            root.setLevel(level)
        onnx.checker.check_model(path, full_check=True)

    def load(self, path: Path, source: Source) -> Callable[[np.ndarray], np.ndarray]:
        """predict(images) -> output, by ONNX Runtime on the CPU."""
        return onnx_file.load(path, source)
