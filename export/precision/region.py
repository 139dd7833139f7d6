"""Which nodes of a graph are computed in half precision: the learned ones, and what lies between them.

Nodes are found by the names of the weights that they read, and by the flow of data: another exporter, a network that
was trained anew or a cheaper graph around it changes nothing here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

import onnx
from onnx import TensorProto

from export.networks import HalfPrecision

PRODUCTS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})
"""Operators that multiply by weights."""

NEVER = frozenset({"GridSample", "Resize", "Cast"})
"""Not to be drawn into half precision by what lies around: GridSample wants picture and positions of one type."""


class RegionError(ValueError):
    """The declared pattern fits nothing in this graph."""


def learned_nodes(model: onnx.ModelProto, pattern: str) -> set[str]:
    """Names of the nodes that multiply by a weight whose name fits `pattern`, as is or reshaped.

    Takes the graph as it was exported: folding gives reshaped weights new names.

    Raises:
        RegionError: there are none.
    """
    sources: dict[str, frozenset[str]] = {tensor.name: frozenset({tensor.name}) for tensor in model.graph.initializer}
    found = set()
    for node in model.graph.node:
        given = [name for name in node.input if name]
        constant = all(name in sources for name in given)
        if constant:
            own = frozenset().union(*(sources[name] for name in given))
            sources.update(dict.fromkeys(node.output, own))
        elif node.op_type in PRODUCTS and any(
            fnmatchcase(weight, pattern) for name in given[1:2] for weight in sources.get(name, ())
        ):
            found.add(node.name)
    if not found:
        weights = [tensor.name for tensor in model.graph.initializer if len(tensor.dims) > 1]
        raise RegionError(
            f"weights is {pattern!r} (export/networks.py), which no {', '.join(sorted(PRODUCTS))} of the graph reads; "
            f"its weights are {', '.join(weights) or 'none'}"
        )
    return found


def half_nodes(exported: onnx.ModelProto, folded: onnx.ModelProto, half: HalfPrecision) -> set[str]:
    """Names of the nodes of `folded` that are computed in half precision.

    Args:
        exported: The graph as it was exported.
        folded: The same after constant folding; its nodes keep their names.
        half: What the table of networks says.

    Raises:
        RegionError: the pattern fits nothing, or nodes have no names of their own.
    """
    nodes = {node.name: node for node in folded.graph.node}
    if len(nodes) != len(folded.graph.node) or "" in nodes:
        raise RegionError("the graph's nodes have no names of their own: export it with named nodes")
    seeds = learned_nodes(exported, half.weights)
    lost = seeds - nodes.keys()
    if lost:
        raise RegionError(f"constant folding took {', '.join(sorted(lost))}, expected to find it in the folded graph")
    floats = float_tensors(folded)
    after = _reached(nodes, seeds, floats, forward=True)
    before = _reached(nodes, seeds, floats, forward=False)
    between = {name for name in after & before if nodes[name].op_type not in NEVER}
    return {name for name in between | seeds if nodes[name].op_type not in half.single}


def float_tensors(model: onnx.ModelProto) -> set[str]:
    """Names of all tensors of a graph that are float32: initializers, inputs, outputs and what lies between."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    graph = inferred.graph
    values = [*graph.input, *graph.output, *graph.value_info]
    names = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    names |= {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    for node in graph.node:
        if node.op_type == "Constant":
            names |= {
                node.output[0]
                for attribute in node.attribute
                if attribute.name in ("value_float", "value_floats")
                or (attribute.name == "value" and attribute.t.data_type == TensorProto.FLOAT)
            }
    return names


def _reached(nodes: Mapping[str, onnx.NodeProto], seeds: Iterable[str], floats: set[str], *, forward: bool) -> set[str]:
    """Names of the nodes that float data from (or to) one of the seeds passes through."""
    neighbours = defaultdict(list)
    for node in nodes.values():
        for tensor in node.input if forward else node.output:
            neighbours[tensor].append(node.name)
    reached: set[str] = set()
    waiting = list(seeds)
    while waiting:
        node = nodes[waiting.pop()]
        for tensor in node.output if forward else node.input:
            if tensor not in floats:
                continue
            for name in neighbours[tensor]:
                if name not in reached:
                    reached.add(name)
                    waiting.append(name)
    return reached
