"""Writes half precision into a graph: chosen nodes compute in fp16, all else, inputs and outputs stay as they are.

TensorRT 11 has no switch for the precision any more: a strongly typed network computes in the types that its ONNX says.

Converters were tried on these networks, told to convert the same nodes. modelopt 0.47 gave the same numbers to the last
bit for speech_encoder and expression, and failed on the graphs that take bytes or indices, which its trial run fills
with random floats; it comes with ten further packages. onnxconverter-common 1.16 made graphs that ONNX Runtime refuses
of the first two, and takes the half-precision inputs of face_geometry and renderer for a finished conversion. With the
nodes chosen (region.py), what is left to do is to cast where the type changes, which is done here.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.precision.region import float_tensors

STAY_SINGLE = {"Resize": (1, 2)}
"""Inputs, by position, that an operator takes in float32 whatever its data's type."""

LARGEST = float(np.finfo(np.float16).max)


class HalfError(ValueError):
    """A weight has no half precision."""


def to_half(model: onnx.ModelProto, nodes: Collection[str]) -> onnx.ModelProto:
    """`model` with the named nodes in half precision.

    A float32 tensor that such a node takes is cast, once for all that take it; constants are stored in half precision.
    What such a node makes is float16, and cast back for the others.

    Raises:
        HalfError: a constant exceeds half precision's 65504.
        KeyError: there is no node of a name.
    """
    made = onnx.ModelProto.FromString(model.SerializeToString())
    graph = made.graph
    missing = set(nodes) - {node.name for node in graph.node}
    if missing:
        raise KeyError(f"the graph has no node {', '.join(sorted(missing))}")
    floats = float_tensors(made)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    by_half = {name for node in graph.node if node.name in nodes for name in node.output if name in floats}

    casts: dict[tuple[str, int], str] = {}
    result: list[onnx.NodeProto] = []

    def cast(name: str, to: int) -> str:
        """The name of a tensor in another type."""
        if (name, to) not in casts:
            suffix = "half" if to == TensorProto.FLOAT16 else "single"
            casts[name, to] = f"{name}_{suffix}"
            if name in constants:
                graph.initializer.append(_half_constant(constants[name], casts[name, to]))
            else:
                result.append(helper.make_node("Cast", [name], [casts[name, to]], name=f"{name}_to_{suffix}", to=to))
        return casts[name, to]

    for node in graph.node:
        half = node.name in nodes
        for position, name in enumerate(node.input):
            if not name or name not in floats:
                continue
            stays = position in STAY_SINGLE.get(node.op_type, ())
            if half and not stays and name not in by_half:
                node.input[position] = cast(name, TensorProto.FLOAT16)
            elif (not half or stays) and name in by_half:
                node.input[position] = cast(name, TensorProto.FLOAT)
        result.append(node)
        for position, name in enumerate(node.output):
            if half and name in outputs and name in by_half:
                # The graph's own output keeps name and type; what is made here gets another name.
                node.output[position] = f"{name}_made"
                result.append(
                    helper.make_node("Cast", [f"{name}_made"], [name], name=f"{name}_to_single", to=TensorProto.FLOAT)
                )
                by_half.discard(name)
    del graph.node[:]
    graph.node.extend(result)
    _drop_unused(graph)
    del graph.value_info[:]
    made = onnx.shape_inference.infer_shapes(made, strict_mode=True, data_prop=True)
    onnx.checker.check_model(made, full_check=True)
    return made


def _half_constant(tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
    values = numpy_helper.to_array(tensor)
    largest = float(np.abs(values).max(initial=0.0))
    if not largest <= LARGEST:
        raise HalfError(f"{tensor.name} reaches {largest:g}, expected at most {LARGEST:g}, the end of half precision")
    return numpy_helper.from_array(values.astype(np.float16), name)


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Drop the constants that nothing reads any more."""
    read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
