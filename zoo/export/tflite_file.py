"""A net as a LiteRT (TensorFlow Lite) model, written layer by layer; TensorFlow is not needed.

The file is a FlatBuffer, whose schema comes with the runtime. Images and windows are as in the zoo:
channels last, and padded as TensorFlow does.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from zoo.export.source import Source, Step, unknown
from zoo.models import layers
from zoo.models.layers import Shape

_IDENTIFIER = b"TFL3"
_VERSION = 3


class _Graph:
    """Operators and tensors of a graph that is a chain: each takes the output of the last."""

    def __init__(self, schema: Any, input_type: str, image_shape: Shape) -> None:
        self.schema = schema
        self.buffers = [schema.BufferT()]  # the first is empty, that of what is computed
        self.tensors: list[Any] = []
        self.operators: list[Any] = []
        self.codes: dict[int, int] = {}  # the place of each operator's code in the model
        self.last = self.tensor("images", image_shape, input_type)

    def tensor(self, name: str, shape: Shape, kind: str = "float32") -> int:
        """A new tensor [batch, *shape]; returns its number."""
        return self._append(name, [1, *shape], kind, shapeSignature=np.array([-1, *shape], "i4"))

    def constant(self, name: str, array: np.ndarray) -> int:
        """A new tensor with this content; returns its number."""
        data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
        self.buffers.append(self.schema.BufferT(data=data))
        return self._append(name, array.shape, array.dtype.name, buffer=len(self.buffers) - 1)

    def _append(self, name: str, shape: Any, kind: str, **others: Any) -> int:
        of_kind = getattr(self.schema.TensorType, kind.upper())
        self.tensors.append(
            self.schema.TensorT(shape=np.array(shape, "i4"), type=of_kind, name=name, **others)
        )
        return len(self.tensors) - 1

    def add(
        self,
        kind: str,
        name: str,
        shape: Shape,
        arrays: Mapping[str, np.ndarray],
        options: Any,
    ) -> None:
        """Appends an operator of that kind, such as CONV_2D, with an output [batch, *shape].

        `arrays` follow its first operand; `options` are its settings, such as a Conv2DOptionsT.
        """
        schema = self.schema
        inputs = [self.last, *(self.constant(key, array) for key, array in arrays.items())]
        self.last = self.tensor(name, shape)
        code = getattr(schema.BuiltinOperator, kind)
        operator = schema.OperatorT(
            opcodeIndex=self.codes.setdefault(code, len(self.codes)),
            inputs=np.array(inputs, "i4"),
            outputs=np.array([self.last], "i4"),
            builtinOptionsType=getattr(
                schema.BuiltinOptions, type(options).__name__.removesuffix("T")
            ),
            builtinOptions=options,
        )
        self.operators.append(operator)

    def packed(self, output_name: str) -> bytes:
        """The file's content."""
        import flatbuffers

        schema = self.schema
        self.tensors[self.last].name = output_name
        ends = {"images": 0, output_name: self.last}
        maps = [schema.TensorMapT(name=name, tensorIndex=at) for name, at in ends.items()]
        model = schema.ModelT(
            version=_VERSION,
            operatorCodes=[
                schema.OperatorCodeT(deprecatedBuiltinCode=min(code, 127), builtinCode=code)
                for code in self.codes
            ],
            subgraphs=[
                schema.SubGraphT(
                    tensors=self.tensors,
                    inputs=np.array([0], "i4"),
                    outputs=np.array([self.last], "i4"),
                    operators=self.operators,
                    name="net",
                )
            ],
            signatureDefs=[
                schema.SignatureDefT(
                    inputs=maps[:1], outputs=maps[1:], signatureKey="serving_default"
                )
            ],
            buffers=self.buffers,
            description="jax-cnn-zoo",
        )
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), _IDENTIFIER)
        return bytes(builder.Output())


def write(path: Path, source: Source) -> None:
    """Writes a model for images of any batch size, after `resize_tensor_input`."""
    from ai_edge_litert import schema_py_generated as schema

    graph = _Graph(schema, source.input_type, source.image_shape)
    if source.input_type == "uint8":
        kinds = schema.TensorType
        cast = schema.CastOptionsT(inDataType=kinds.UINT8, outDataType=kinds.FLOAT32)
        graph.add("CAST", "floats", source.image_shape, {}, cast)
        scale = {"scale": np.full(1, 1 / 255, np.float32)}
        graph.add("MUL", "scaled", source.image_shape, scale, schema.MulOptionsT())
    for step in source.steps():
        _add(graph, step)
    path.write_bytes(graph.packed(source.output_name))


def _add(graph: _Graph, step: Step) -> None:
    schema, name, shape, arrays = graph.schema, step.name, step.output_shape, step.arrays
    relu = schema.ActivationFunctionType.RELU
    match step.layer:
        case layers.Conv(padding=padding):
            parameters = {
                f"{name}/kernel": arrays["kernel"].transpose(3, 0, 1, 2),  # [out, h, w, in]
                f"{name}/bias": arrays["bias"],
            }
            options = schema.Conv2DOptionsT(
                padding=getattr(schema.Padding, padding),
                strideH=1,
                strideW=1,
                fusedActivationFunction=relu,
            )
            graph.add("CONV_2D", name, shape, parameters, options)
        case layers.MaxPool(window=window, stride=stride, padding=padding):
            options = schema.Pool2DOptionsT(
                padding=getattr(schema.Padding, padding),
                strideH=stride or window,
                strideW=stride or window,
                filterHeight=window,
                filterWidth=window,
            )
            graph.add("MAX_POOL_2D", name, shape, {}, options)
        case layers.Crop(border=border):
            limits = {
                f"{name}/first": np.array([0, border, border, 0], "i4"),
                f"{name}/size": np.array([-1, *shape], "i4"),
            }
            graph.add("SLICE", name, shape, limits, schema.SliceOptionsT())
        case layers.BatchNorm(epsilon=epsilon):
            factor = arrays["scale"] / np.sqrt(arrays["var"] + np.float32(epsilon))
            offset = arrays["bias"] - arrays["mean"] * factor
            scaled = f"{name}_scaled"
            graph.add("MUL", scaled, shape, {f"{name}/factor": factor}, schema.MulOptionsT())
            graph.add("ADD", name, shape, {f"{name}/offset": offset}, schema.AddOptionsT())
        case layers.Dropout():
            pass
        case layers.Flatten():
            lengths = {f"{name}/shape": np.array([-1, *shape], "i4")}
            graph.add("RESHAPE", name, shape, lengths, schema.ReshapeOptionsT())
        case layers.Dense():
            _add_dense(graph, step, relu)
        case layers.Head():
            _add_dense(graph, step, schema.ActivationFunctionType.NONE)
        case _:
            raise unknown(step, ".tflite")


def _add_dense(graph: _Graph, step: Step, activation: int) -> None:
    parameters = {
        f"{step.name}/kernel": step.arrays["kernel"].T,
        f"{step.name}/bias": step.arrays["bias"],
    }
    options = graph.schema.FullyConnectedOptionsT(fusedActivationFunction=activation)
    graph.add("FULLY_CONNECTED", step.name, step.output_shape, parameters, options)


def load(path: Path, source: Source) -> Callable[[np.ndarray], np.ndarray]:
    """predict(images) -> output, by LiteRT on the CPU."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=path.read_bytes())
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
