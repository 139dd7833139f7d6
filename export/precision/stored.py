"""Half precision as it is stored, for ONNX Runtime on a CPU: that one computes a typed graph in single precision.

It has no kernels for half precision there, so it puts casts about each node, and takes them out again where two meet:
what is left of a typed graph is its rounded weights. So the graph is written in single precision, and what it stores in
half precision is rounded by arithmetic, which nothing takes out: of c = (2**13 + 1) x, the number c - (c - x) is x
rounded to the 11 bits of half precision, to the nearest (T. J. Dekker, "A floating-point technique for extending the
available precision", 1971). Sums are single precision's, as tensor cores have them. Half precision's limits of size are
left out: a number beyond 65504, or below 6e-5, is rounded like any other.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.chain import OnnxGraph

SPLIT: Final = 2.0**13 + 1.0
"""Of single precision's 24 bits, 13 go."""

MOVERS: Final = frozenset({"Concat", "Expand", "Gather", "Pad", "Reshape", "Slice", "Split", "Squeeze", "Transpose"})
"""Operators that hand on what they are given: to round it once more would change nothing."""


def stored(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` in single precision, with all rounded that it stores in half precision."""
    made = onnx.ModelProto.FromString(model.SerializeToString())
    graph = made.graph
    inferred = onnx.shape_inference.infer_shapes(made, strict_mode=True, data_prop=True).graph
    half = {
        value.name
        for value in (*inferred.value_info, *inferred.output)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16
    }
    constants = [tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT16]
    if not half and not constants:
        return made
    for tensor in constants:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    split = "two_to_the_13_and_1"
    graph.initializer.append(numpy_helper.from_array(np.asarray(SPLIT, np.float32), split))
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        nodes.append(node)
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
            if attribute.name == "value" and attribute.t.data_type == TensorProto.FLOAT16:
                value = numpy_helper.to_array(attribute.t).astype(np.float32)
                attribute.t.CopyFrom(numpy_helper.from_array(value))
        if node.op_type in MOVERS:
            continue
        for place, name in enumerate(node.output):
            if name not in half:
                continue
            exact, wide, rest = f"{name}_exact", f"{name}_wide", f"{name}_rest"
            node.output[place] = exact
            nodes += [
                helper.make_node("Mul", [exact, split], [wide], name=wide),
                helper.make_node("Sub", [wide, exact], [rest], name=rest),
                helper.make_node("Sub", [wide, rest], [name], name=f"{name}_stored"),
            ]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(made, full_check=True)
    return made


def typed_graph(path: Path, threads: int = 1) -> OnnxGraph:
    """A typed file in ONNX Runtime on the CPU, which stores what the file says in half precision.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: ONNX Runtime cannot load it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing")
    return OnnxGraph(path, threads, stored(onnx.load(str(path))).SerializeToString())
