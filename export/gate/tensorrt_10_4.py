"""Holds a graph against TensorRT 10.4, the last for the V100: no compiler for that GPU runs without one.

What 10.4 reads stands in tensorrt_10_4.json, with its sources. The rules below are the limits on which a table of
operators and types has no column: releases after 10.4 lifted them, or they hold for uses of an operator only.

This finds what is known to be beyond 10.4. It is no proof that an engine can be built: that needs a V100.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import onnx
from onnx import TensorProto, helper, numpy_helper

from export.gate.culprit import describe_node, infer, tensors, type_name

TABLE: Final[dict[str, Any]] = json.loads(Path(__file__).with_name("tensorrt_10_4.json").read_text())
RELEASE: Final = f"TensorRT {TABLE['tensorrt']}"
GPU: Final = "SM" + TABLE["compute_capability"].replace(".", "")

_Known = dict[str, onnx.TypeProto.Tensor]
_Constants = dict[str, onnx.TensorProto]

# Operators whose second input is data, and whose first is a condition, a window's length, ...
_DATA_INPUT: Final = {"Where": 1}
# Operators that make or turn types: what they may read and make is in rules of their own.
_MAKERS: Final = {"Constant", "ConstantOfShape", "BlackmanWindow", "HammingWindow", "HannWindow", "Range", "If", "Loop"}


class _Graph:
    """A graph with what is known of its tensors."""

    def __init__(self, model: onnx.ModelProto) -> None:
        inferred = infer(model)
        self.nodes = list(_walk(inferred.graph))
        self.known = tensors(inferred)
        self.opset = max([opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")] or [0])
        self.constants: _Constants = {one.name: one for one in inferred.graph.initializer}
        self.inputs = {one.name for one in inferred.graph.input}
        self.outputs = {one.name for one in inferred.graph.output}
        for node in self.nodes:
            if node.op_type == "Constant":
                for attribute in node.attribute:
                    if attribute.name == "value":
                        self.constants[node.output[0]] = attribute.t

    def type_of(self, tensor: str) -> int:
        """ONNX's element type, 0 where it is not known."""
        return self.known[tensor].elem_type if tensor in self.known else 0

    def rank_of(self, tensor: str) -> int | None:
        if tensor not in self.known or not self.known[tensor].HasField("shape"):
            return None
        return len(self.known[tensor].shape.dim)


def _walk(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _walk(attribute.g)


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    for attribute in node.attribute:
        if attribute.name == name:
            value = helper.get_attribute_value(attribute)
            return value.decode() if isinstance(value, bytes) else value
    return default


def _operator(graph: _Graph, node: onnx.NodeProto) -> str | None:
    if node.domain not in ("", "ai.onnx"):
        return f"operators of the domain {node.domain!r} are not ONNX's own, and need a plugin"
    if node.op_type in TABLE["later"]:
        return f"the operator came with TensorRT {TABLE['later'][node.op_type]}"
    if node.op_type in TABLE["unproven"]:
        return "no document shows that this release has the operator"
    if node.op_type not in TABLE["operators"]:
        return "the operator is not supported"
    return None


def _types(graph: _Graph, node: onnx.NodeProto) -> str | None:
    allowed = TABLE["operators"].get(node.op_type)
    if allowed is None:
        return None
    for name in [*node.input, *node.output]:
        element = type_name(graph.type_of(name)) if name and graph.type_of(name) else None
        if element is not None and element not in TABLE["types"]:
            why = ", nor does the V100" if element.startswith(("BFLOAT16", "FLOAT8", "INT4", "UINT4", "FLOAT4")) else ""
            return f"{name} is {element}: this release does not know the type{why}"
    place = _DATA_INPUT.get(node.op_type, 0)
    if node.op_type in _MAKERS or len(node.input) <= place or not graph.type_of(node.input[place]):
        return None
    element = type_name(graph.type_of(node.input[place]))
    if node.op_type == "Cast" and element in ("UINT8", "INT8"):
        return None  # judged where the tensor may be at all
    if element not in allowed.split():
        return f"{node.input[place]} is {element}, expected {' or '.join(allowed.split())}"
    return None


def _bytes_at_the_edge(graph: _Graph, node: onnx.NodeProto) -> str | None:
    """Bytes come in and go out, but nothing is computed with them: 10.4 has no layer for them but Cast."""
    for name in node.input:
        if name and graph.type_of(name) == TensorProto.UINT8 and not (name in graph.inputs and node.op_type == "Cast"):
            return f"{name} is UINT8, which only a network's inputs may be, read by a Cast"
    for name in node.output:
        if graph.type_of(name) == TensorProto.UINT8 and not (name in graph.outputs and node.op_type == "Cast"):
            return f"{name} is UINT8, which only a network's outputs may be, made by a Cast"
    return None


def _quantised(graph: _Graph, node: onnx.NodeProto) -> str | None:
    if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
        for name in node.input:
            if name and graph.type_of(name) == TensorProto.INT8:
                return f"{name} is INT8, which only DequantizeLinear may read"
        return None
    if len(node.input) < 2 or node.input[1] not in graph.constants:
        return "the scale must be a constant"
    if len(node.input) > 2 and node.input[2]:
        zero = graph.constants.get(node.input[2])
        if zero is None or zero.data_type != TensorProto.INT8:
            return "the zero point must be a constant INT8 (others came with TensorRT 10.10)"
        if numpy_helper.to_array(zero).any():
            return "the zero point must be 0"
    return None


def _grid_sample(graph: _Graph, node: onnx.NodeProto) -> str | None:
    if node.op_type != "GridSample":
        return None
    rank = graph.rank_of(node.input[0])
    if rank is not None and rank != 4:
        return f"{node.input[0]} has {rank} dimensions, expected 4 (others came with TensorRT 11.2)"
    if graph.type_of(node.input[0]) != graph.type_of(node.input[1]):
        return "picture and grid must have one type"
    return None


def _constant_axes(graph: _Graph, node: onnx.NodeProto) -> str | None:
    lifted = {"Squeeze": "10.7", "Unsqueeze": "10.7", "CumSum": "10.8"}
    is_reduction = node.op_type.startswith("Reduce") and graph.opset >= 13
    has_axes = (node.op_type in lifted or is_reduction) and len(node.input) > 1 and bool(node.input[1])
    if has_axes and node.input[1] not in graph.constants:
        later = f" (others came with TensorRT {lifted[node.op_type]})" if node.op_type in lifted else ""
        return f"the axes {node.input[1]} must be a constant{later}"
    return None


def _scatter(graph: _Graph, node: onnx.NodeProto) -> str | None:
    if node.op_type == "ScatterND" and graph.opset >= 18:
        return "this release misreads it from opset 18 on (mended in TensorRT 10.9): export with opset 17"
    if node.op_type == "ScatterND" and _attribute(node, "reduction", "none") != "none":
        return f"reduction is {_attribute(node, 'reduction', 'none')!r}, expected 'none'"
    return None


def _pooling(graph: _Graph, node: onnx.NodeProto) -> str | None:
    if node.op_type in ("AveragePool", "MaxPool", "LpPool"):
        if any(step != 1 for step in _attribute(node, "dilations", [])):
            return "dilations must be 1"
        if node.op_type == "MaxPool" and len(node.output) > 1 and node.output[1]:
            return "the output Indices is not supported"
    return None


def _resize(graph: _Graph, node: onnx.NodeProto) -> str | None:
    if node.op_type != "Resize":
        return None
    for name, default, expected in (
        ("mode", "nearest", ("nearest", "linear")),
        ("coordinate_transformation_mode", "half_pixel",
         ("half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners")),
        ("antialias", 0, (0,)),
        ("keep_aspect_ratio_policy", "stretch", ("stretch",)),
    ):  # fmt: skip
        value = _attribute(node, name, default)
        if value not in expected:
            return f"{name} is {value!r}, expected {' or '.join(repr(one) for one in expected)}"
    return None


def _norm(graph: _Graph, node: onnx.NodeProto) -> str | None:
    if node.op_type == "LayerNormalization" and any(node.output[1:]):
        return "only the first output is supported"
    if node.op_type == "GroupNormalization" and graph.opset >= 21:
        return "opset 21's came with TensorRT 10.9"
    return None


def _sorted(graph: _Graph, node: onnx.NodeProto) -> str | None:
    if node.op_type == "TopK" and _attribute(node, "sorted", 1) != 1:
        return "sorted must be 1"
    return None


def _einsum(graph: _Graph, node: onnx.NodeProto) -> str | None:
    if node.op_type == "Einsum":
        terms = _attribute(node, "equation", "").replace(" ", "").split("->")[0].split(",")
        if any("..." in term or len(set(term)) != len(term) for term in terms):
            return "ellipses and diagonals came with TensorRT 10.12"
    return None


RULES: Final[tuple[Callable[[_Graph, onnx.NodeProto], str | None], ...]] = (
    _operator,
    _bytes_at_the_edge,
    _quantised,
    _types,
    _grid_sample,
    _constant_axes,
    _scatter,
    _pooling,
    _resize,
    _norm,
    _sorted,
    _einsum,
)


def problems(model: onnx.ModelProto) -> list[str]:
    """What of the graph is known to be beyond TensorRT 10.4 or the V100; empty where nothing is.

    Each names the node, its operator, and its tensors with types and shapes. One for a node: the first rule broken.
    """
    graph = _Graph(model)
    found = []
    least, most = TABLE["opsets"]
    for opset in model.opset_import:
        if opset.domain in ("", "ai.onnx") and not least <= opset.version <= most:
            found.append(f"opset is {opset.version}, expected {least} to {most}")
    for node in graph.nodes:
        broken = next((why for rule in RULES if (why := rule(graph, node)) is not None), None)
        if broken is not None:
            found.append(f"{describe_node(node, graph.known)}: {broken}")
    return found
