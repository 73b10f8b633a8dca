"""A net as an ONNX model, written layer by layer.

The input is [batch, height, width, channels] with any batch size, as everywhere in the zoo. ONNX's
convolutions want the channels before the pixels, so the images are transposed first, and transposed
back before they are flattened.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import zoo
from zoo.export.source import Source, Step, pads_of, unknown
from zoo.models import layers

OPSET = 17  # of 2022: what runtimes in use understand
_IR_VERSION = 8  # that of the same release
TO_CHANNELS_FIRST, TO_CHANNELS_LAST = [0, 3, 1, 2], [0, 2, 3, 1]


class _Graph:
    """Nodes and arrays of a graph that is a chain: each node takes the output of the last."""

    def __init__(self, input_name: str) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.last = input_name

    def add(self, kind: str, name: str, arrays: Mapping[str, np.ndarray], **settings: Any) -> None:
        """Appends a node; `arrays` follow its first operand, under the names that they get."""
        from onnx import helper, numpy_helper

        self.initializers += [
            numpy_helper.from_array(np.ascontiguousarray(array), key)
            for key, array in arrays.items()
        ]
        self.nodes.append(
            helper.make_node(kind, [self.last, *arrays], [name], name=name, **settings)
        )
        self.last = name


def write(path: Path, source: Source) -> None:
    """Writes the file; `onnx.checker` has found nothing wrong with it."""
    import onnx

    onnx_model = make(source)
    onnx.checker.check_model(onnx_model, full_check=True)
    path.write_bytes(onnx_model.SerializeToString())


def make(source: Source) -> Any:
    """The net as an `onnx.ModelProto`."""
    from onnx import TensorProto, helper

    graph = _Graph("images")
    if source.input_type == "uint8":
        graph.add("Cast", "floats", {}, to=TensorProto.FLOAT)
        graph.add("Div", "scaled", {"white": np.full(1, 255, np.float32)})
    graph.add("Transpose", "channels_first", {}, perm=TO_CHANNELS_FIRST)
    found = source.steps()
    for step in found:
        _add(graph, step)
    if len(found[-1].output_shape) == 3:
        graph.add("Transpose", "channels_last", {}, perm=TO_CHANNELS_LAST)
    graph.add("Identity", source.output_name, {})
    images = helper.make_tensor_value_info(
        "images",
        TensorProto.UINT8 if source.input_type == "uint8" else TensorProto.FLOAT,
        ["batch", *source.image_shape],
    )
    output = helper.make_tensor_value_info(
        source.output_name, TensorProto.FLOAT, ["batch", *found[-1].output_shape]
    )
    return helper.make_model(
        helper.make_graph(graph.nodes, "net", [images], [output], graph.initializers),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=_IR_VERSION,
        producer_name="jax-cnn-zoo",
        producer_version=zoo.__version__,
        doc_string=(
            f"images: [batch, height, width, channels], "
            f"{'uint8 in 0..255' if source.input_type == 'uint8' else 'float32 in [0, 1]'}; "
            f"{source.output_name}: before any softmax"
        ),
    )


def _add(graph: _Graph, step: Step) -> None:
    name, arrays = step.name, step.arrays
    match step.layer:
        case layers.Conv(kernel_size=size, padding=padding):
            graph.add(
                "Conv",
                f"{name}_linear",
                {
                    f"{name}/kernel": arrays["kernel"].transpose(3, 2, 0, 1),  # [out, in, h, w]
                    f"{name}/bias": arrays["bias"],
                },
                kernel_shape=[size, size],
                pads=_pads(step, size, 1, padding),
            )
            graph.add("Relu", name, {})
        case layers.MaxPool(window=window, stride=stride, padding=padding):
            stride = stride or window
            graph.add(
                "MaxPool",
                name,
                {},
                kernel_shape=[window, window],
                strides=[stride, stride],
                pads=_pads(step, window, stride, padding),
            )
        case layers.Crop(border=border):
            height, width, _ = step.input_shape
            limits = {
                f"{name}/first": [border, border],
                f"{name}/last": [height - border, width - border],
                f"{name}/axes": [2, 3],
            }
            graph.add("Slice", name, {key: np.array(value) for key, value in limits.items()})
        case layers.BatchNorm(epsilon=epsilon):
            graph.add(
                "BatchNormalization",
                name,
                {f"{name}/{leaf}": arrays[leaf] for leaf in ("scale", "bias", "mean", "var")},
                epsilon=epsilon,
            )
        case layers.Dropout():
            pass
        case layers.Flatten():
            graph.add("Transpose", f"{name}_channels_last", {}, perm=TO_CHANNELS_LAST)
            graph.add("Flatten", name, {})
        case layers.Dense():
            _add_dense(graph, f"{name}_linear", step)
            graph.add("Relu", name, {})
        case layers.Head():
            _add_dense(graph, name, step)
        case _:
            raise unknown(step, ".onnx")


def _add_dense(graph: _Graph, output: str, step: Step) -> None:
    graph.add(
        "Gemm", output, {f"{step.name}/{leaf}": step.arrays[leaf] for leaf in ("kernel", "bias")}
    )


def _pads(step: Step, window: int, stride: int, padding: str) -> list[int]:
    """[top, left, bottom, right]"""
    (top, bottom), (left, right) = pads_of(step.input_shape, window, stride, padding)
    return [top, left, bottom, right]


def load(path: Path, source: Source) -> Callable[[np.ndarray], np.ndarray]:
    """predict(images) -> output, by ONNX Runtime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(
        path.read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    (images,) = session.get_inputs()
    return lambda batch: session.run(None, {images.name: batch})[0]
