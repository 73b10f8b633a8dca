"""A net as a LiteRT (TensorFlow Lite) model, written layer by layer; TensorFlow is not needed.

The file is a FlatBuffer, whose schema comes with the runtime. Images and windows are as in the zoo:
channels last, and padded as TensorFlow does.
"""

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo.export.source import Source, Step, unknown, window_and_stride
from zoo.export.tflite_graph import Graph
from zoo.models import layers
from zoo.models.layers import Shape

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805  # Klambauer et al. 2017


def write(path: Path, source: Source) -> None:
    """Writes a model for images of any batch size, after `resize_tensor_input`."""
    from ai_edge_litert import schema_py_generated as schema

    graph = Graph(schema, source.input_type, source.image_shape)
    if source.input_type == "uint8":
        kinds = schema.TensorType
        cast = schema.CastOptionsT(inDataType=kinds.UINT8, outDataType=kinds.FLOAT32)
        graph.add("CAST", "floats", source.image_shape, options=cast)
        scale = {"scale": np.full(1, 1 / 255, np.float32)}
        graph.add("MUL", "scaled", source.image_shape, scale)
    for step in source.steps():
        _add(graph, step)
    path.write_bytes(graph.packed(source.output_name))


def _add(graph: Graph, step: Step) -> None:
    path, shape = step.path, step.output_shape
    match step.layer:
        case layers.Conv() | layers.DepthwiseConv():
            _add_conv(graph, step)
        case layers.MaxPool():
            graph.add("MAX_POOL_2D", path, shape, options=_pool_options(graph, step))
        case layers.AvgPool():
            graph.add("AVERAGE_POOL_2D", path, shape, options=_pool_options(graph, step))
        case layers.GlobalAvgPool():
            _add_mean(graph, path, shape, [1, 2], keep=False)
        case layers.Crop(border=border):
            limits = {
                f"{path}/first": np.array([0, border, border, 0], "i4"),
                f"{path}/size": np.array([-1, *shape], "i4"),
            }
            graph.add("SLICE", path, shape, limits)
        case layers.BatchNorm(epsilon=epsilon):
            factor = step.arrays["scale"] / np.sqrt(step.arrays["var"] + np.float32(epsilon))
            offset = step.arrays["bias"] - step.arrays["mean"] * factor
            _add_scaled(graph, path, shape, factor, offset)
        case layers.GroupNorm(groups=groups, epsilon=epsilon):
            *size, channels = step.input_shape
            split = (math.prod(size), groups, channels // groups)
            _reshape(graph, f"{path}/groups", split)
            _add_normal(graph, path, split, [1, 3], epsilon)
            _reshape(graph, f"{path}/channels", shape)
            _add_scaled(graph, path, shape, step.arrays["scale"], step.arrays["bias"])
        case layers.LayerNorm(epsilon=epsilon):
            _add_normal(graph, path, shape, [len(shape)], epsilon)
            _add_scaled(graph, path, shape, step.arrays["scale"], step.arrays["bias"])
        case layers.Activation(activation=activation):
            _activate(graph, path, shape, activation)
        case layers.Dropout():
            pass
        case layers.Flatten():
            _reshape(graph, path, shape)
        case layers.Dense(activation=activation):
            _add_dense(graph, step)
            _activate(graph, path, shape, activation)
        case layers.Residual():
            _add_residual(graph, step)
        case layers.Head():
            _add_dense(graph, step)
        case _:
            raise unknown(step, ".tflite")


def _add_conv(graph: Graph, step: Step) -> None:
    schema, layer = graph.schema, step.layer
    assert isinstance(layer, layers.Conv | layers.DepthwiseConv)
    settings = {
        "padding": getattr(schema.Padding, layer.padding),
        "strideH": layer.stride,
        "strideW": layer.stride,
    }
    if isinstance(layer, layers.DepthwiseConv):
        kind, order = "DEPTHWISE_CONV_2D", (2, 0, 1, 3)  # [1, h, w, C]
        options = schema.DepthwiseConv2DOptionsT(depthMultiplier=1, **settings)
    else:
        kind, order = "CONV_2D", (3, 0, 1, 2)  # [out, h, w, in of a group]
        options = schema.Conv2DOptionsT(**settings)
    graph.add(kind, f"{step.path}/linear", step.output_shape, _parameters(step, order), options)
    _activate(graph, step.path, step.output_shape, layer.activation)


def _add_dense(graph: Graph, step: Step) -> None:
    name = step.path if isinstance(step.layer, layers.Head) else f"{step.path}/linear"
    options = graph.schema.FullyConnectedOptionsT()
    graph.add("FULLY_CONNECTED", name, step.output_shape, _parameters(step, (1, 0)), options)


def _parameters(step: Step, order: Sequence[int]) -> dict[str, np.ndarray]:
    """The kernel with its axes in that order, and the bias, which the operators cannot lack."""
    kernel = step.arrays["kernel"]
    bias = step.arrays.get("bias", np.zeros(kernel.shape[-1], np.float32))
    return {f"{step.path}/kernel": kernel.transpose(order), f"{step.path}/bias": bias}


def _pool_options(graph: Graph, step: Step) -> Any:
    layer: Any = step.layer
    window, stride = window_and_stride(step)
    return graph.schema.Pool2DOptionsT(
        padding=getattr(graph.schema.Padding, layer.padding),
        strideH=stride,
        strideW=stride,
        filterHeight=window,
        filterWidth=window,
    )


def _reshape(graph: Graph, name: str, shape: Shape) -> None:
    lengths = {f"{name}/shape": np.array([-1, *shape], "i4")}
    graph.add("RESHAPE", name, shape, lengths, graph.schema.ReshapeOptionsT())


def _add_mean(graph: Graph, name: str, shape: Shape, axes: Sequence[int], keep: bool) -> None:
    options = graph.schema.ReducerOptionsT(keepDims=keep)
    graph.add("MEAN", name, shape, {f"{name}/axes": np.array(axes, "i4")}, options)


def _add_normal(graph: Graph, path: str, shape: Shape, axes: Sequence[int], epsilon: float) -> None:
    """(x - mean) / sqrt(variance + epsilon), both over these axes."""
    reduced = tuple(1 if axis in axes else size for axis, size in enumerate(shape, start=1))
    x = graph.last
    _add_mean(graph, f"{path}/mean", reduced, axes, keep=True)
    mean, graph.last = graph.last, x
    graph.add("SUB", f"{path}/centred", shape, operands=[mean])
    centred = graph.last
    graph.add("SQUARE", f"{path}/squares", shape)
    _add_mean(graph, f"{path}/variance", reduced, axes, keep=True)
    smallest = {f"{path}/epsilon": np.full(1, epsilon, np.float32)}
    graph.add("ADD", f"{path}/above_zero", reduced, smallest)
    graph.add("RSQRT", f"{path}/factor", reduced)
    graph.add("MUL", f"{path}/normal", shape, operands=[centred])


def _add_scaled(
    graph: Graph, path: str, shape: Shape, factor: np.ndarray, offset: np.ndarray
) -> None:
    graph.add("MUL", f"{path}/scaled", shape, {f"{path}/scale": factor})
    graph.add("ADD", path, shape, {f"{path}/bias": offset})


def _add_residual(graph: Graph, step: Step) -> None:
    layer: Any = step.layer
    start = graph.last
    for inner in step.inner:
        _add(graph, inner)
    output, graph.last = graph.last, start
    for inner in step.shortcut:
        _add(graph, inner)
    graph.add("ADD", f"{step.path}/sum", step.output_shape, operands=[output])
    _activate(graph, step.path, step.output_shape, layer.activation)


def _activate(graph: Graph, path: str, shape: Shape, activation: str | None) -> None:
    """Appends an activation function whose output has that name; without one, nothing."""
    x = graph.last
    match activation:
        case "relu":
            graph.add("RELU", path, shape)
        case "gelu":
            graph.add("GELU", path, shape, options=graph.schema.GeluOptionsT(approximate=False))
        case "silu":
            graph.add("LOGISTIC", f"{path}/sigmoid", shape)
            graph.add("MUL", path, shape, operands=[x])
        case "leaky_relu":
            graph.add("LEAKY_RELU", path, shape, options=graph.schema.LeakyReluOptionsT(alpha=0.01))
        case "selu":  # scale * (relu(x) + alpha * elu(min(x, 0)))
            graph.add("MINIMUM", f"{path}/below", shape, {f"{path}/zero": np.zeros(1, np.float32)})
            graph.add("ELU", f"{path}/elu", shape)
            alpha = np.full(1, _SELU_ALPHA, np.float32)
            graph.add("MUL", f"{path}/negative", shape, {f"{path}/alpha": alpha})
            negative, graph.last = graph.last, x
            graph.add("RELU", f"{path}/positive", shape)
            graph.add("ADD", f"{path}/sum", shape, operands=[negative])
            scale = np.full(1, _SELU_SCALE, np.float32)
            graph.add("MUL", path, shape, {f"{path}/factor": scale})


def load(path: Path, source: Source) -> Callable[[np.ndarray], np.ndarray]:
    """predict(images) -> output, by LiteRT on the CPU."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=path.read_bytes(), num_threads=os.cpu_count())
    images, output = (
        details[0]["index"]
        for details in (interpreter.get_input_details(), interpreter.get_output_details())
    )

    def predict(batch: np.ndarray) -> np.ndarray:
        interpreter.resize_tensor_input(images, batch.shape, strict=True)
        interpreter.allocate_tensors()
        interpreter.set_tensor(images, batch)
        interpreter.invoke()
        return interpreter.get_tensor(output)

    return predict
