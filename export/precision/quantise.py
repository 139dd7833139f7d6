"""Writes INT8 into a graph: convolutions that read quantised values and weights, said by Q/DQ pairs.

A pair QuantizeLinear, DequantizeLinear in front of a convolution, and a DequantizeLinear behind INT8 weights, are how
an ONNX file tells TensorRT to compute it in INT8; there is no other way in a strongly typed network. What the
convolution makes has the type of the scales: with those in half precision, half precision.

Symmetric, since TensorRT takes no zero point but 0: one scale for all of a tensor that is computed, one for each output
channel of the weights. Biases stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

LARGEST: Final = 127
"""Of a quantised number; -128 is left out, as its opposite is no INT8."""

OPSET: Final = 19
"""The first whose scales may be in half precision. What changed in it are additions to operators."""

LEAST_HALF: Final = float(np.finfo(np.float16).tiny)


class QuantiseError(ValueError):
    """A convolution cannot be quantised; the text names it."""


def weight_scales(weights: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """One scale for each output channel of weights [channels, ...], in the type in which they will be multiplied."""
    largest = np.abs(weights.astype(np.float64)).reshape(len(weights), -1).max(axis=1)
    return np.maximum(largest / LARGEST, LEAST_HALF).astype(dtype)


def quantised(values: NDArray[Any], scales: NDArray[Any]) -> NDArray[np.int8]:
    """values [channels, ...] in INT8, rounded as QuantizeLinear does: to the nearest, ties to even."""
    broad = scales.astype(np.float64).reshape(-1, *[1] * (values.ndim - 1))
    return np.clip(np.rint(values.astype(np.float64) / broad), -LARGEST, LARGEST).astype(np.int8)


def convolutions(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """The convolutions of a graph whose weights are constants, by name."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return {node.name: node for node in model.graph.node if node.op_type == "Conv" and node.input[1] in constants}


def to_int8(model: onnx.ModelProto, full: onnx.ModelProto, scales: Mapping[str, float]) -> onnx.ModelProto:
    """`model` with some of its convolutions in INT8.

    Args:
        model: A typed graph, whose convolutions are in single or half precision.
        full: The same graph in single precision: its weights are quantised, not their roundings to half precision.
        scales: By name of the convolution, the scale of what it reads: the value of one step.

    Raises:
        QuantiseError: there is no such convolution, or a scale is not a positive number.
    """
    made = onnx.ModelProto.FromString(model.SerializeToString())
    graph = made.graph
    known, originals = convolutions(made), convolutions(full)
    weights = {tensor.name: tensor for tensor in full.graph.initializer}
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for name, scale in scales.items():
        if name not in known or name not in originals:
            raise QuantiseError(f"there is no convolution {name!r}, expected one of {', '.join(known) or 'none'}")
        if not (np.isfinite(scale) and scale > 0):
            raise QuantiseError(f"the scale of {name} is {scale!r}, expected a positive number")

    constants: dict[str, onnx.TensorProto] = {}
    pairs: dict[tuple[str, float], str] = {}
    nodes: list[onnx.NodeProto] = []

    def constant(name: str, value: NDArray[Any]) -> str:
        constants[name] = numpy_helper.from_array(value, name)
        return name

    for node in graph.node:
        if node.name in scales:
            dtype = helper.tensor_dtype_to_np_dtype(types[node.input[1]])
            read, scale = node.input[0], float(np.maximum(scales[node.name], LEAST_HALF).astype(dtype))
            zero = constant("zero_int8", np.array(0, np.int8))
            if (read, scale) not in pairs:
                step = constant(f"{node.name}_step", np.array(scale, dtype))
                whole, back = f"{read}_int8_{len(pairs)}", f"{read}_from_int8_{len(pairs)}"
                nodes.append(
                    helper.make_node("QuantizeLinear", [read, step, zero], [whole], name=f"{node.name}_quantize")
                )
                nodes.append(
                    helper.make_node("DequantizeLinear", [whole, step, zero], [back], name=f"{node.name}_dequantize")
                )
                pairs[read, scale] = back
            original = numpy_helper.to_array(weights[originals[node.name].input[1]])
            steps = weight_scales(original, np.dtype(dtype))
            inputs = [
                constant(f"{node.name}_weight_int8", quantised(original, steps)),
                constant(f"{node.name}_weight_steps", steps),
                constant(f"{node.name}_weight_zeros", np.zeros(len(steps), np.int8)),
            ]
            restored = f"{node.name}_weight_from_int8"
            nodes.append(helper.make_node("DequantizeLinear", inputs, [restored], name=restored, axis=0))
            node.input[0], node.input[1] = pairs[read, scale], restored
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    read_names = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read_names]
    del graph.initializer[:]
    graph.initializer.extend([*kept, *constants.values()])
    del graph.value_info[:]
    for opset in made.opset_import:
        if opset.domain in ("", "ai.onnx"):
            opset.version = max(opset.version, OPSET)
    made.ir_version = max(made.ir_version, 9)
    made = onnx.shape_inference.infer_shapes(made, strict_mode=True, data_prop=True)
    onnx.checker.check_model(made, full_check=True)
    return made
