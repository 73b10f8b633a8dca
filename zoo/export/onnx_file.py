"""A net as an ONNX model, written layer by layer.

The input is [batch, height, width, channels] with any batch size, as everywhere in the zoo. ONNX's
convolutions want the channels before the pixels, so the images are transposed first, and transposed
back before they are flattened.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import zoo
from zoo.export.source import Source, Step, pads_of, unknown, window_and_stride
from zoo.models import layers

OPSET = 20  # of ONNX 1.15, 2023: the first with Gelu; ONNX Runtime has it since 1.17
_IR_VERSION = 9  # that of the same release
_BATCH_NORM = ("scale", "bias", "mean", "var")
_ACTIVATIONS = {"relu": "Relu", "gelu": "Gelu", "selu": "Selu"}  # of one operator
TO_CHANNELS_FIRST, TO_CHANNELS_LAST = [0, 3, 1, 2], [0, 2, 3, 1]


class _Graph:
    """Nodes and arrays of a graph in which a node takes the output of the last, if not told."""

    def __init__(self, input_name: str) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.last = input_name

    def add(
        self,
        kind: str,
        name: str,
        arrays: Mapping[str, np.ndarray] | None = None,
        operands: Sequence[str] = (),
        **settings: Any,
    ) -> None:
        """Appends a node.

        Args:
            kind: of the operator.
            name: of the node and of its output.
            arrays: operands after the first, under the names that they get.
            operands: further ones: outputs of other nodes.
            settings: the operator's attributes.
        """
        from onnx import helper, numpy_helper

        arrays = arrays or {}
        self.initializers += [
            numpy_helper.from_array(np.ascontiguousarray(array), key)
            for key, array in arrays.items()
        ]
        inputs = [self.last, *arrays, *operands]
        self.nodes.append(helper.make_node(kind, inputs, [name], name=name, **settings))
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
        graph.add("Cast", "floats", to=TensorProto.FLOAT)
        graph.add("Div", "scaled", {"white": np.full(1, 255, np.float32)})
    graph.add("Transpose", "channels_first", perm=TO_CHANNELS_FIRST)
    found = source.steps()
    for step in found:
        _add(graph, step)
    if len(found[-1].output_shape) == 3:
        graph.add("Transpose", "channels_last", perm=TO_CHANNELS_LAST)
    graph.add("Identity", source.output_name)
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
    path = step.path
    match step.layer:
        case layers.Conv() | layers.DepthwiseConv():
            _add_conv(graph, step)
        case layers.MaxPool():
            graph.add("MaxPool", path, **_windows(step))
        case layers.AvgPool():
            graph.add("AveragePool", path, **_windows(step), count_include_pad=0)
        case layers.GlobalAvgPool():
            graph.add("GlobalAveragePool", f"{path}/mean")
            graph.add("Flatten", path)
        case layers.Crop(border=border):
            height, width, _ = step.input_shape
            limits = {
                f"{path}/first": [border, border],
                f"{path}/last": [height - border, width - border],
                f"{path}/axes": [2, 3],
            }
            graph.add("Slice", path, {key: np.array(value) for key, value in limits.items()})
        case layers.BatchNorm(epsilon=epsilon):
            arrays = {f"{path}/{leaf}": step.arrays[leaf] for leaf in _BATCH_NORM}
            graph.add("BatchNormalization", path, arrays, epsilon=epsilon)
        case layers.GroupNorm():
            _add_group_norm(graph, step)
        case layers.LayerNorm():
            _add_layer_norm(graph, step)
        case layers.Activation(activation=activation):
            _activate(graph, path, activation)
        case layers.Dropout():
            pass
        case layers.Flatten():
            graph.add("Transpose", f"{path}/channels_last", perm=TO_CHANNELS_LAST)
            graph.add("Flatten", path)
        case layers.Dense(activation=activation):
            graph.add("Gemm", f"{path}/linear", _parameters(step))
            _activate(graph, path, activation)
        case layers.Residual():
            _add_residual(graph, step)
        case layers.Head():
            graph.add("Gemm", path, _parameters(step))
        case _:
            raise unknown(step, ".onnx")


def _add_conv(graph: _Graph, step: Step) -> None:
    layer: Any = step.layer
    kernel = step.arrays["kernel"].transpose(3, 2, 0, 1)  # [out, in of a group, h, w]
    graph.add(
        "Conv",
        f"{step.path}/linear",
        _parameters(step) | {f"{step.path}/kernel": kernel},
        **_windows(step),
        group=step.input_shape[-1] // kernel.shape[1],
    )
    _activate(graph, step.path, layer.activation)


def _windows(step: Step) -> dict[str, Any]:
    """How a window slides; pads are [top, left, bottom, right]."""
    (top, bottom), (left, right) = pads_of(step)
    window, stride = window_and_stride(step)
    return {
        "kernel_shape": [window, window],
        "strides": [stride, stride],
        "pads": [top, left, bottom, right],
    }


def _parameters(step: Step) -> dict[str, np.ndarray]:
    """The kernel, and the bias if there is one."""
    names = [leaf for leaf in ("kernel", "bias") if leaf in step.arrays]
    return {f"{step.path}/{leaf}": step.arrays[leaf] for leaf in names}


def _add_group_norm(graph: _Graph, step: Step) -> None:
    """As the normalization of one channel for each group."""
    layer: Any = step.layer
    path, channels = step.path, step.input_shape[-1]
    whole = [0, channels, *step.input_shape[:-1]]  # 0: as it is
    ends = (-1, *[1] * len(step.input_shape[:-1]))
    groups = [0, layer.groups, math.prod(step.input_shape) // layer.groups]
    graph.add("Reshape", f"{path}/groups", {f"{path}/of_groups": np.array(groups)})
    ones = {
        f"{path}/ones": np.ones(layer.groups, np.float32),
        f"{path}/zeros": np.zeros(layer.groups, np.float32),
    }
    graph.add("InstanceNormalization", f"{path}/normal", ones, epsilon=layer.epsilon)
    graph.add("Reshape", f"{path}/channels", {f"{path}/of_channels": np.array(whole)})
    graph.add("Mul", f"{path}/scaled", {f"{path}/scale": step.arrays["scale"].reshape(ends)})
    graph.add("Add", path, {f"{path}/bias": step.arrays["bias"].reshape(ends)})


def _add_layer_norm(graph: _Graph, step: Step) -> None:
    layer: Any = step.layer
    path = step.path
    arrays = {f"{path}/{leaf}": step.arrays[leaf] for leaf in ("scale", "bias")}
    if not step.is_of_images:
        graph.add("LayerNormalization", path, arrays, axis=-1, epsilon=layer.epsilon)
        return
    graph.add("Transpose", f"{path}/channels_last", perm=TO_CHANNELS_LAST)
    graph.add("LayerNormalization", f"{path}/normal", arrays, axis=-1, epsilon=layer.epsilon)
    graph.add("Transpose", path, perm=TO_CHANNELS_FIRST)


def _add_residual(graph: _Graph, step: Step) -> None:
    layer: Any = step.layer
    start = graph.last
    for inner in step.inner:
        _add(graph, inner)
    output, graph.last = graph.last, start
    for inner in step.shortcut:
        _add(graph, inner)
    graph.add("Add", f"{step.path}/sum", operands=[output])
    _activate(graph, step.path, layer.activation)


def _activate(graph: _Graph, path: str, activation: str | None) -> None:
    """Appends an activation function whose output has that name; without one, nothing."""
    match activation:
        case "silu":
            x = graph.last
            graph.add("Sigmoid", f"{path}/sigmoid")
            graph.add("Mul", path, operands=[x])
        case "leaky_relu":
            graph.add("LeakyRelu", path, alpha=0.01)
        case str():
            graph.add(_ACTIVATIONS[activation], path)


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
