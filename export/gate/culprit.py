"""Names the node of an ONNX graph that a compiler stumbled over, with the types and shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final

import onnx
from onnx import helper

MOST: Final = 4
"""Nodes named at most: of a fused group, the first ones say enough."""


def infer(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the types and shapes of all tensors that can be known."""
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # a graph broken in types is told of by the compiler, in better words
        return model


def tensors(model: onnx.ModelProto) -> dict[str, onnx.TypeProto.Tensor]:
    """Type and shape of each tensor of an inferred model, by name."""
    known = {
        value.name: value.type.tensor_type
        for values in (model.graph.input, model.graph.value_info, model.graph.output)
        for value in values
    }
    for initializer in model.graph.initializer:
        made = helper.make_tensor_type_proto(initializer.data_type, list(initializer.dims))
        known[initializer.name] = made.tensor_type
    return known


def type_name(element: int) -> str:
    """ONNX's name of an element type: FLOAT16."""
    return str(onnx.TensorProto.DataType.Name(element)) if element else "unknown type"


def describe_tensor(name: str, known: dict[str, onnx.TypeProto.Tensor]) -> str:
    """A tensor as "NAME: FLOAT [batch, 4, 8]"."""
    if name not in known:
        return f"{name}: unknown type"
    tensor = known[name]
    if not tensor.HasField("shape"):
        return f"{name}: {type_name(tensor.elem_type)} of unknown shape"
    sizes = [str(size.dim_value) if size.HasField("dim_value") else size.dim_param or "?" for size in tensor.shape.dim]
    return f"{name}: {type_name(tensor.elem_type)} [{', '.join(sizes)}]"


def describe_node(node: onnx.NodeProto, known: dict[str, onnx.TypeProto.Tensor]) -> str:
    """A node as "Op 'name' (its inputs) -> (its outputs)"."""
    read = ", ".join(describe_tensor(name, known) for name in node.input if name)
    made = ", ".join(describe_tensor(name, known) for name in node.output if name)
    return f"{node.op_type} {node.name or 'without a name'!r} ({read}) -> ({made})"


def named(model: onnx.ModelProto, message: str, names: Iterable[str] = ()) -> list[onnx.NodeProto]:
    """Nodes that a compiler names: in `names`, else anywhere in its message.

    A name counts only as a whole: "/mouth/Add" is not meant by "/mouth/Add_1".
    """
    wanted = set(names)
    found = [node for node in model.graph.node if node.name and node.name in wanted]
    if not found:
        found = [
            node
            for node in model.graph.node
            if node.name and re.search(rf"(?<![\w/.]){re.escape(node.name)}(?![\w/])", message)
        ]
    return found[:MOST]


def first_that_fails(model: onnx.ModelProto, fails: Callable[[onnx.ModelProto], bool]) -> onnx.NodeProto | None:
    """The first node, in the graph's order, with which the graph up to there fails.

    For compilers that fail without naming a node: some 10 builds of parts of the graph.

    Args:
        model: an inferred model that fails as a whole.
        fails: builds a model; whether that failed.

    Returns:
        None where no part fails alone, or types that are not known keep the graph from being cut.
    """
    nodes = list(model.graph.node)
    known = tensors(model)

    def part(length: int) -> onnx.ModelProto | None:
        kept, rest = nodes[:length], nodes[length:]
        needed = {name for node in rest for name in node.input} | {output.name for output in model.graph.output}
        edge = [name for node in kept for name in node.output if name in needed]
        if not edge or any(name not in known for name in edge):
            return None
        made = [helper.make_value_info(name, onnx.TypeProto(tensor_type=known[name])) for name in edge]
        graph = helper.make_graph(kept, "part", list(model.graph.input), made, list(model.graph.initializer))
        return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)

    low, high = 0, len(nodes)  # the graph of `low` nodes builds, that of `high` nodes fails
    while high - low > 1:
        middle = (low + high) // 2
        cut = part(middle)
        if cut is not None and fails(cut):
            high = middle
        else:
            low = middle
    last = part(high) if high < len(nodes) else model
    return nodes[high - 1] if last is not None and fails(last) else None
