"""A LiteRT model under construction: operators and tensors, and the FlatBuffer made of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from zoo.models.layers import Shape

_IDENTIFIER = b"TFL3"
_VERSION = 3


class Graph:
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
        arrays: Mapping[str, np.ndarray] | None = None,
        options: Any = None,
        operands: Sequence[int] = (),
    ) -> None:
        """Appends an operator.

        Args:
            kind: such as CONV_2D.
            name: of its output.
            shape: of its output, without the batch axis.
            arrays: operands after the first, under the names that they get.
            options: its settings, such as a Conv2DOptionsT; None: it has none.
            operands: further ones: tensors.
        """
        schema = self.schema
        constants = [self.constant(key, array) for key, array in (arrays or {}).items()]
        inputs = [self.last, *constants, *operands]
        self.last = self.tensor(name, shape)
        code = getattr(schema.BuiltinOperator, kind)
        operator = schema.OperatorT(
            opcodeIndex=self.codes.setdefault(code, len(self.codes)),
            inputs=np.array(inputs, "i4"),
            outputs=np.array([self.last], "i4"),
        )
        if options:
            kind_of_options = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind_of_options)
            operator.builtinOptions = options
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
