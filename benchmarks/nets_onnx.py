"""The zoo's nets in ONNX Runtime, as PyTorch exports them."""

import io
from collections.abc import Callable
from typing import Any

import environment
import numpy as np
import onnxruntime
import torch


def make_predictor(
    model: Any, image_shape: tuple[int, int, int]
) -> Callable[[np.ndarray], np.ndarray]:
    """predict(images [B, H, W, C]) -> logits [B, num_classes].

    Args:
        model: from `nets_torch.make_trained`.
        image_shape: (H, W, C).
    """
    height, width, channels = image_shape
    example = torch.zeros(2, channels, height, width)
    sizes = ({0: torch.export.Dim.DYNAMIC},)  # a batch of any size
    program = torch.onnx.export(model, (example,), dynamo=True, dynamic_shapes=sizes)
    file = io.BytesIO()
    program.save(file)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = environment.num_cores()
    session = onnxruntime.InferenceSession(
        file.getvalue(), options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name

    def predict(images: np.ndarray) -> np.ndarray:
        return session.run(None, {name: images.transpose(0, 3, 1, 2)})[0]

    return predict
