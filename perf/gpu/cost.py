"""Operations and bytes of a network, counted from its ONNX graph; nothing is run.

    python -m perf.gpu.cost [FILE.onnx ...] [--batch N]

**Operations.** A multiplication and an addition are two. Convolutions and matrix products are counted apart
(`matrix_ops`), because tensor cores compute them; all else (`other_ops`) runs on the ordinary cores: one for each
element of an elementwise operator, whatever it computes, and for each element that is reduced; WEIGHED says what the
rest counts for. Reshaping, copying and casting are no operations.

**Bytes**, in three models of what a runtime fuses:

- `unfused_bytes`: every operator reads what it takes from memory and writes what it makes. What ONNX Runtime does,
  almost. Slices, gathers and samplings read as much as they pick, not all that lies there.
- `fused_bytes`: inputs, weights and outputs of the graph cross once and nothing else does: a lower bound.
- `kernels`: elementwise operators are part of the kernel that makes the last of their inputs, as compilers such as
  TensorRT's do; what crosses between kernels, and only that, is read and written. A list, since each kernel has a
  roof of its own.

Whatever does not depend on the input (shapes, constants) is computed in advance and costs nothing. Views (Reshape and
its like) cost nothing. A tensor that a kernel reads twice counts once. Caches are not modelled: intermediate tensors
of one frame may stay in a GPU's L2 cache, which makes the bytes an overestimate.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TypeProto, helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from perf.gpu.stages import STAGES, network_file

VIEWS: Final = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Shape", "Dropout"})
"""Cost nothing: the same bytes under another shape."""

# fmt: off
ELEMENTWISE: Final = frozenset({
    "Abs", "Add", "And", "Cast", "Ceil", "Clip", "Cos", "Div", "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater",
    "GreaterOrEqual", "HardSigmoid", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Min", "Mod", "Mul", "Neg",
    "Not", "Or", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Softplus", "Sqrt", "Sub",
    "Sum", "Tan", "Tanh", "Where", "QuantizeLinear", "DequantizeLinear",
})
MOVES: Final = frozenset({
    "Concat", "ConstantOfShape", "DepthToSpace", "EyeLike", "Expand", "Gather", "GatherElements", "GatherND", "Pad",
    "Range", "ScatterElements", "ScatterND", "Slice", "SpaceToDepth", "Split", "Tile", "Transpose", "Trilu",
})
PICKS: Final = frozenset({"Gather", "GatherElements", "GatherND", "Slice", "GridSample"})
"""Read of their first input as much as they put out, if that is less than all of it."""
REDUCTIONS: Final = frozenset({
    "ArgMax", "ArgMin", "ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
    "ReduceSumSquare", "CumSum", "GlobalAveragePool", "GlobalMaxPool",
})
# fmt: on
NO_ARITHMETIC: Final = frozenset({"Cast", "Identity"})

WEIGHED: Final = {
    "Softmax": 5,  # greatest, difference, exponential, sum, quotient
    "LogSoftmax": 6,
    "LayerNormalization": 8,  # mean, difference, square, mean, root and quotient, scale, shift
    "InstanceNormalization": 8,
    "GroupNormalization": 8,
    "BatchNormalization": 2,
}
"""Operations for each element of other operators."""

SAMPLE_POSITION: Final = 12
"""GridSample, for each position: two coordinates to pixels (4), the four weights (8)."""
SAMPLE_CHANNEL: Final = {"linear": 7, "bilinear": 7, "nearest": 0, "cubic": 35, "bicubic": 35}
"""GridSample and Resize in two dimensions, for each value: four products and three sums, or none, or sixteen ..."""

FOLDED_AT_MOST: Final = 1 << 22
"""Elements of a tensor that is still computed in advance."""
REPEATED_AT_MOST: Final = 1 << 12
"""Elements of a constant that is still repeated in advance. What is longer is repeated for each frame of a batch, whose
size an engine learns only when it comes."""


class CostError(ValueError):
    """A network cannot be counted; the text names it, the node, and what is the matter."""


@dataclass
class Kernel:
    """Operators that run as one."""

    name: str
    """The first operator's type and name."""
    matrix_ops: int = 0
    half_ops: int = 0
    """Those of matrix_ops that are computed in fp16."""
    other_ops: int = 0
    operators: int = 0
    reads: dict[str, int] = field(default_factory=dict)
    """Bytes by tensor."""
    writes: dict[str, int] = field(default_factory=dict)

    @property
    def ops(self) -> int:
        """All operations."""
        return self.matrix_ops + self.other_ops

    @property
    def bytes(self) -> int:
        """Read and written."""
        return sum(self.reads.values()) + sum(self.writes.values())

    def at_batch(self, two: Kernel, batch: int) -> Kernel:
        """The same kernel at another batch, from this one, counted at batch 1, and the one counted at batch 2."""

        def at(one: int, other: int) -> int:
            return one + (batch - 1) * (other - one)

        return Kernel(
            self.name,
            at(self.matrix_ops, two.matrix_ops),
            at(self.half_ops, two.half_ops),
            at(self.other_ops, two.other_ops),
            self.operators,
            {name: at(size, two.reads[name]) for name, size in self.reads.items()},
            {name: at(size, two.writes[name]) for name, size in self.writes.items()},
        )


@dataclass(frozen=True)
class Cost:
    """What one run of a network costs."""

    batch: int
    matrix_ops: int
    half_ops: int
    other_ops: int
    unfused_bytes: int
    fused_bytes: int
    weight_bytes: int
    """Part of fused_bytes, and the same for any batch."""
    operators: tuple[Kernel, ...]
    """Every operator as a kernel of its own."""
    kernels: tuple[Kernel, ...]
    """With elementwise operators fused into what makes their inputs."""

    @property
    def ops(self) -> int:
        """All operations."""
        return self.matrix_ops + self.other_ops


@lru_cache(maxsize=512)
def count(file: Path, batch: int = 1, half: str | None = None) -> Cost:
    """Count the network of an ONNX file at a batch size.

    `half` is a pattern (fnmatch) of initializers: convolutions and matrix products that read one count as half_ops, as
    they would in the typed network that export.networks describes; so do those that the file itself has in fp16.

    Raises:
        CostError: the file is missing, its batch is 0, or it has an operator that nobody has said the cost of.
    """
    if not file.is_file():
        raise CostError(f"no network at {file}")
    return count_graph(onnx.load(file), batch, half, str(file))


def count_graph(model: onnx.ModelProto, batch: int = 1, half: str | None = None, title: str = "the network") -> Cost:
    """Count a loaded network; `title` names it in errors. Inputs' first dimension, where it is open, is the batch."""
    if batch < 1:
        raise CostError(f"batch is {batch}, expected 1 or more")
    return _Counter(model, batch, half, title).cost()


class _Counter:
    """One walk over a graph: types, values known in advance, and costs."""

    def __init__(self, model: onnx.ModelProto, batch: int, half: str | None, title: str) -> None:
        self.model, self.batch, self.half, self.title = model, batch, half, title
        self.opsets = {entry.domain: entry.version for entry in model.opset_import}
        self.types: dict[str, TypeProto] = {}
        self.values: dict[str, NDArray[Any]] = {tensor.name: _array(tensor) for tensor in model.graph.initializer}
        for name, value in self.values.items():
            self.types[name] = _type_of(value)
        self.inputs = [value.name for value in model.graph.input if value.name not in self.values]
        for value in model.graph.input:
            if value.name not in self.values:
                self.types[value.name] = self._input_type(value)
        self.alias: dict[str, str] = {}
        """A view's output -> the tensor whose bytes it shows."""
        self.origin: dict[str, str] = {}
        """What was computed in advance -> the initializer that it was computed from."""
        self.operators: list[Kernel] = []
        self.kernels: list[Kernel] = []
        self.kernel_of: dict[str, int] = {}

    def _input_type(self, value: onnx.ValueInfoProto) -> TypeProto:
        kind = TypeProto()
        kind.CopyFrom(value.type)
        for axis, dimension in enumerate(kind.tensor_type.shape.dim):
            if not dimension.HasField("dim_value"):
                if axis:
                    raise CostError(f"{self.title}: input {value.name} is open in dimension {axis}, expected the first")
                dimension.dim_value = self.batch
        return kind

    def cost(self) -> Cost:
        for node in self.model.graph.node:
            self._walk(node)
        outputs = [value.name for value in self.model.graph.output]
        for kernel in self.kernels:
            # Only what another kernel, or the caller, reads has to be written.
            read = {name for other in self.kernels if other is not kernel for name in other.reads}
            kept = read | {self._root(name) for name in outputs}
            kernel.writes = {name: size for name, size in kernel.writes.items() if name in kept}
        used = {name for kernel in self.operators for name in kernel.reads}
        weights = sum(self._bytes(name) for name in used if name in self.values)
        crossing = sum(self._bytes(name) for name in self.inputs if name in used)
        crossing += sum(self._bytes(name) for name in outputs)
        return Cost(
            batch=self.batch,
            matrix_ops=sum(kernel.matrix_ops for kernel in self.operators),
            half_ops=sum(kernel.half_ops for kernel in self.operators),
            other_ops=sum(kernel.other_ops for kernel in self.operators),
            unfused_bytes=sum(kernel.bytes for kernel in self.operators),
            fused_bytes=weights + crossing,
            weight_bytes=weights,
            operators=tuple(self.operators),
            kernels=tuple(self.kernels),
        )

    def _walk(self, node: NodeProto) -> None:
        if self._folded(node):
            return
        self._infer(node)
        if node.op_type in VIEWS:
            self.alias[node.output[0]] = self._root(node.input[0])
            return
        matrix, other = self._ops(node)
        given = {self._root(name) for name in node.input if name}
        reads = {name: self._bytes(name) for name in given}
        made = {name: self._bytes(name) for name in node.output if name}
        if node.op_type in PICKS:
            whole = self._root(node.input[0])
            positions = self._bytes(node.output[0])
            reads[whole] = min(reads[whole], positions * (4 if node.op_type == "GridSample" else 1))
        name = f"{node.op_type} {node.name}".strip()
        operator = Kernel(name, matrix, matrix if self._is_half(node) else 0, other, 1, reads, made)
        self.operators.append(operator)
        self._fuse(node, operator)

    def _is_half(self, node: NodeProto) -> bool:
        if any(self.types[name].tensor_type.elem_type == onnx.TensorProto.FLOAT16 for name in node.input if name):
            return True
        names = [self.origin.get(name, name) for name in node.input if name in self.values]
        return self.half is not None and any(fnmatch(name, self.half) for name in names)

    def _fuse(self, node: NodeProto, operator: Kernel) -> None:
        """Add the operator to the kernel that makes the last of its inputs, if it is elementwise; else to a new one."""
        makers = [self.kernel_of[tensor] for tensor in operator.reads if tensor in self.kernel_of]
        if node.op_type in ELEMENTWISE and makers:
            place = max(makers)
        else:
            place = len(self.kernels)
            self.kernels.append(Kernel(operator.name))
        kernel = self.kernels[place]
        kernel.matrix_ops += operator.matrix_ops
        kernel.half_ops += operator.half_ops
        kernel.other_ops += operator.other_ops
        kernel.operators += 1
        for tensor, size in operator.reads.items():
            if self.kernel_of.get(tensor) != place:
                kernel.reads[tensor] = max(size, kernel.reads.get(tensor, 0))
        kernel.writes.update(operator.writes)
        self.kernel_of.update(dict.fromkeys(operator.writes, place))

    def _folded(self, node: NodeProto) -> bool:
        """Whether the node was computed in advance."""
        if node.op_type == "Shape":
            start = next((a.i for a in node.attribute if a.name == "start"), 0)
            end = next((a.i for a in node.attribute if a.name == "end"), None)
            self._know(node.output[0], np.array(self._shape(node.input[0])[start:end], np.int64))
            return True
        if any(name and name not in self.values for name in node.input):
            return False
        if node.op_type == "ConstantOfShape" and prod(self.values[node.input[0]].tolist()) > FOLDED_AT_MOST:
            return False
        if node.op_type == "Expand" and self.values[node.input[0]].size > REPEATED_AT_MOST:
            return False
        inputs = {name: self.values[name] for name in node.input if name}
        graph = helper.make_graph(
            [node],
            "folded",
            [helper.make_value_info(name, self.types[name]) for name in inputs],
            [helper.make_empty_tensor_value_info(name) for name in node.output if name],
        )
        alone = helper.make_model(graph, opset_imports=self.model.opset_import)
        for name, value in zip(
            [name for name in node.output if name], ReferenceEvaluator(alone).run(None, inputs), strict=True
        ):
            self._know(name, np.asarray(value))
            if sources := [self.origin.get(source, source) for source in inputs if inputs[source].size > 1]:
                self.origin[name] = sources[0]
        return True

    def _know(self, name: str, value: NDArray[Any]) -> None:
        self.values[name] = value
        self.types[name] = _type_of(value)

    def _infer(self, node: NodeProto) -> None:
        try:
            schema = onnx.defs.get_schema(node.op_type, self.opsets.get(node.domain, 1), node.domain)
            made = shape_inference.infer_node_outputs(
                schema,
                node,
                {name: self.types[name] for name in node.input if name},
                {
                    name: numpy_helper.from_array(self.values[name], name)
                    for name in node.input
                    if name in self.values and self.values[name].size <= 64
                },
                opset_imports=list(self.model.opset_import),
            )
        except (onnx.defs.SchemaError, shape_inference.InferenceError, KeyError) as error:
            raise self._problem(node, f"its shape is not known ({error})") from error
        self.types.update(made)
        for name in node.output:
            if name:
                self._shape(name, node)

    def _problem(self, node: NodeProto, what: str) -> CostError:
        return CostError(f"{self.title}: {node.op_type} {node.name or node.output[0]}: {what}")

    def _root(self, name: str) -> str:
        return self.alias.get(name, name)

    def _shape(self, name: str, node: NodeProto | None = None) -> list[int]:
        kind = self.types.get(name)
        if kind is None or not kind.tensor_type.HasField("shape"):
            raise CostError(f"{self.title}: the shape of {name}, made by {node and node.op_type}, is not known")
        if not all(dimension.HasField("dim_value") for dimension in kind.tensor_type.shape.dim):
            raise CostError(f"{self.title}: {name}, made by {node and node.op_type}, has an open dimension")
        return [dimension.dim_value for dimension in kind.tensor_type.shape.dim]

    def _size(self, name: str) -> int:
        return prod(self._shape(name))

    def _bytes(self, name: str) -> int:
        width = np.dtype(helper.tensor_dtype_to_np_dtype(self.types[name].tensor_type.elem_type)).itemsize
        return int(self._size(name) * width)

    def _ops(self, node: NodeProto) -> tuple[int, int]:
        """Operations of matrix products, and others."""
        kind = node.op_type
        made = self._size(node.output[0]) if node.output else 0
        if kind in MATRIX:
            return MATRIX[kind](self, node)
        if kind in NO_ARITHMETIC or kind in MOVES:
            return 0, 0
        if kind in ELEMENTWISE:
            return 0, made * max(
                1, len([name for name in node.input if name]) - 1 if kind in ("Max", "Min", "Sum") else 1
            )
        if kind in REDUCTIONS:
            return 0, self._size(node.input[0])
        if kind in WEIGHED:
            return 0, WEIGHED[kind] * made
        if kind in ("AveragePool", "MaxPool"):
            return 0, made * prod(_attribute(node, "kernel_shape"))
        if kind == "GridSample":
            channels = self._shape(node.input[0])[1]
            mode = _attribute(node, "mode", b"linear").decode()
            return 0, made // channels * (SAMPLE_POSITION + channels * SAMPLE_CHANNEL[mode])
        if kind == "Resize":
            return 0, made * SAMPLE_CHANNEL[_attribute(node, "mode", b"nearest").decode()]
        raise self._problem(node, f"no cost is known of this operator; say it in {Path(__file__).name}")

    def _bias(self, node: NodeProto, at: int) -> int:
        return self._size(node.output[0]) if len(node.input) > at and node.input[at] else 0

    def _convolution(self, node: NodeProto) -> tuple[int, int]:
        taps = prod(self._shape(node.input[1])[1:])  # channels in a group, and the window
        return 2 * self._size(node.output[0]) * taps, self._bias(node, 2)

    def _transposed_convolution(self, node: NodeProto) -> tuple[int, int]:
        return 2 * self._size(node.input[0]) * prod(self._shape(node.input[1])[1:]), self._bias(node, 2)

    def _product(self, node: NodeProto) -> tuple[int, int]:
        return 2 * self._size(node.output[0]) * self._shape(node.input[0])[-1], 0

    def _gemm(self, node: NodeProto) -> tuple[int, int]:
        depth = self._shape(node.input[0])[0 if _attribute(node, "transA", 0) else 1]
        return 2 * self._size(node.output[0]) * depth, self._bias(node, 2)


MATRIX: Final[dict[str, Callable[[_Counter, NodeProto], tuple[int, int]]]] = {
    "Conv": _Counter._convolution,
    "ConvTranspose": _Counter._transposed_convolution,
    "MatMul": _Counter._product,
    "Gemm": _Counter._gemm,
}


def _attribute(node: NodeProto, name: str, default: Any = None) -> Any:
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def _array(tensor: onnx.TensorProto) -> NDArray[Any]:
    return np.asarray(numpy_helper.to_array(tensor))


def _type_of(value: NDArray[Any]) -> TypeProto:
    return helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)


def table(files: Iterable[tuple[str, Path]], batch: int) -> list[str]:
    """A line for each network: what one frame costs."""
    head = f"{'network':18} {'matrix MFLOP':>12} {'other MFLOP':>12} {'unfused MB':>11} {'kernels MB':>11} "
    lines = [head + f"{'fused MB':>9} {'weights MB':>11} {'operators':>10} {'kernels':>8}"]
    for name, file in files:
        cost = count(file, batch)
        between = sum(kernel.bytes for kernel in cost.kernels)
        lines.append(
            f"{name:18} {cost.matrix_ops / 1e6:12.2f} {cost.other_ops / 1e6:12.2f} {cost.unfused_bytes / 1e6:11.2f} "
            f"{between / 1e6:11.2f} {cost.fused_bytes / 1e6:9.2f} {cost.weight_bytes / 1e6:11.2f} "
            f"{len(cost.operators):10} {len(cost.kernels):8}"
        )
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Print the cost of the networks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", type=Path, help="ONNX files (default: those of the model repository)")
    parser.add_argument("--batch", type=int, default=1)
    options = parser.parse_args(arguments)
    named = [(str(path), path) for path in options.networks] or [(stage, network_file(stage)) for stage in STAGES]
    try:
        print("\n".join(table(named, options.batch)))
    except CostError as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
