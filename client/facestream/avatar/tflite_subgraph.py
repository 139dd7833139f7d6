"""Cut a part out of a TensorFlow Lite model, without any library.

OpenVINO reads .tflite files, but knows no custom operators, and a network that has some between its parts is refused
as a whole. Here the file's tables are edited in place: the list of operators is shortened to those that the wanted
tensors need, and the graph's inputs and outputs are replaced. Weights and everything else stay as they are.

The layout of a FlatBuffer: https://flatbuffers.dev/internals/; the tables: tensorflow/lite/schema/schema.fbs.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

# Numbers of the fields in schema.fbs.
_MODEL_SUBGRAPHS = 2
_GRAPH_TENSORS, _GRAPH_INPUTS, _GRAPH_OUTPUTS, _GRAPH_OPERATORS = 0, 1, 2, 3
_TENSOR_NAME = 3
_OPERATOR_INPUTS, _OPERATOR_OUTPUTS = 1, 2


class _Buffer:
    """Positions in a FlatBuffer; a vector's position is that of its length."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)

    def number(self, position: int, kind: str = "I") -> int:
        return int(struct.unpack_from("<" + kind, self.data, position)[0])

    def put(self, position: int, value: int, kind: str = "I") -> None:
        struct.pack_into("<" + kind, self.data, position, value)

    def follow(self, position: int) -> int:
        return position + self.number(position)

    def vector(self, table: int, field: int) -> int:
        """Position of a table's vector, 0 where the table has none."""
        fields = table - self.number(table, "i")
        offset = 4 + 2 * field
        at = self.number(fields + offset, "H") if offset < self.number(fields, "H") else 0
        return self.follow(table + at) if at else 0

    def integers(self, table: int, field: int) -> list[int]:
        vector = self.vector(table, field)
        return [self.number(vector + 4 + 4 * i, "i") for i in range(self.number(vector))] if vector else []

    def tables(self, table: int, field: int) -> list[int]:
        vector = self.vector(table, field)
        return [self.follow(vector + 4 + 4 * i) for i in range(self.number(vector))]

    def text(self, table: int, field: int) -> str:
        vector = self.vector(table, field)
        return self.data[vector + 4 : vector + 4 + self.number(vector)].decode()


def cut_subgraph(model: bytes, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """The model that computes `outputs` from `inputs`, both names of tensors in the first graph of `model`.

    Raises:
        ValueError: an unknown name, or more inputs or outputs than the graph has had.
    """
    buffer = _Buffer(model)
    graph = buffer.tables(buffer.follow(0), _MODEL_SUBGRAPHS)[0]
    numbers = {buffer.text(tensor, _TENSOR_NAME): i for i, tensor in enumerate(buffer.tables(graph, _GRAPH_TENSORS))}
    for name in (*inputs, *outputs):
        if name not in numbers:
            raise ValueError(f"tensor {name!r} is not in the model")
    operators = buffer.tables(graph, _GRAPH_OPERATORS)
    maker = {made: i for i, operator in enumerate(operators) for made in buffer.integers(operator, _OPERATOR_OUTPUTS)}

    needed: set[int] = set()
    given = {numbers[name] for name in inputs}
    wanted = [numbers[name] for name in outputs]
    while wanted:
        tensor = wanted.pop()
        if tensor not in given and tensor in maker and maker[tensor] not in needed:
            needed.add(maker[tensor])
            wanted += buffer.integers(operators[maker[tensor]], _OPERATOR_INPUTS)

    vector = buffer.vector(graph, _GRAPH_OPERATORS)
    for slot, operator in enumerate(sorted(needed)):
        position = vector + 4 + 4 * slot
        buffer.put(position, operators[operator] - position)
    buffer.put(vector, len(needed))
    for field, names in ((_GRAPH_INPUTS, inputs), (_GRAPH_OUTPUTS, outputs)):
        vector = buffer.vector(graph, field)
        if len(names) > buffer.number(vector):
            raise ValueError(f"{', '.join(names)}: the graph has room for {buffer.number(vector)} names")
        for slot, name in enumerate(names):
            buffer.put(vector + 4 + 4 * slot, numbers[name], "i")
        buffer.put(vector, len(names))
    return bytes(buffer.data)
