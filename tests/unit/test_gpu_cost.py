"""Counted work is what every projection stands on: it is held to sums by hand, and to PyTorch's own count."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.networks import NETWORKS
from perf.gpu.cost import CostError, count, count_graph
from perf.gpu.stages import STAGES, network_file


def model(
    nodes: list[onnx.NodeProto],
    shape: tuple[int | str, ...],
    outputs: dict[str, tuple[int | str, ...]],
    **weights: np.ndarray,
) -> onnx.ModelProto:
    """A graph with the input x."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(dims)) for name, dims in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def floats(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def test_a_convolution_and_what_is_fused_to_it() -> None:
    """3x3, 4 to 8 channels, 10x10 inside: 8x8 out, then bias and rectifier."""
    conv = helper.make_node("Conv", ["x", "w", "b"], ["y"], kernel_shape=[3, 3])
    relu = helper.make_node("Relu", ["y"], ["z"])
    cost = count_graph(
        model([conv, relu], ("n", 4, 10, 10), {"z": ("n", 8, 8, 8)}, w=floats(8, 4, 3, 3), b=floats(8)), 2
    )
    made = 2 * 8 * 8 * 8
    assert cost.matrix_ops == 2 * made * 4 * 9
    assert cost.other_ops == made + made  # bias, rectifier
    weights, inputs = 4 * (8 * 4 * 9 + 8), 4 * 2 * 4 * 100
    assert cost.weight_bytes == weights
    assert cost.fused_bytes == weights + inputs + 4 * made
    assert cost.unfused_bytes == weights + inputs + 3 * 4 * made  # written, read, written
    (kernel,) = cost.kernels
    assert kernel.bytes == cost.fused_bytes
    assert (kernel.operators, len(cost.operators)) == (2, 2)


def test_groups_divide_the_channels_of_a_convolution() -> None:
    """A depthwise convolution would count for as many times too much as it has channels."""
    conv = helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[3, 3], group=4)
    cost = count_graph(model([conv], (1, 4, 5, 5), {"y": (1, 4, 3, 3)}, w=floats(4, 1, 3, 3)))
    assert cost.matrix_ops == 2 * 4 * 9 * 9


def test_matrix_products_and_gemm() -> None:
    product = helper.make_node("MatMul", ["x", "w"], ["y"])
    gemm = helper.make_node("Gemm", ["y", "v", "b"], ["z"], transB=1)
    graph = model([product, gemm], ("n", 5), {"z": ("n", 7)}, w=floats(5, 6), v=floats(7, 6), b=floats(7))
    cost = count_graph(graph, 3)
    assert cost.matrix_ops == 2 * 3 * 6 * 5 + 2 * 3 * 7 * 6
    assert cost.other_ops == 3 * 7


def test_shapes_computed_by_the_graph_are_free() -> None:
    """Exported graphs compute paddings and sizes from shapes, which runtimes fold."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Concat", ["n", "minus"], ["to"], axis=0),
        helper.make_node("Reshape", ["x", "to"], ["flat"]),
        helper.make_node("Neg", ["flat"], ["y"]),
    ]
    graph = model(nodes, ("n", 2, 3), {"y": ("n", 6)}, zero=np.array([0]), minus=np.array([-1]))
    cost = count_graph(graph, 4)
    assert [kernel.name for kernel in cost.operators] == ["Neg"]
    assert (cost.other_ops, cost.unfused_bytes) == (24, 2 * 24 * 4)


def test_a_slice_reads_what_it_takes() -> None:
    starts, ends, axes = np.array([0]), np.array([2]), np.array([1])
    node = helper.make_node("Slice", ["x", "starts", "ends", "axes"], ["y"])
    cost = count_graph(model([node], (1, 100, 10), {"y": (1, 2, 10)}, starts=starts, ends=ends, axes=axes))
    (kernel,) = cost.operators
    assert kernel.reads["x"] == kernel.writes["y"] == 4 * 20
    assert cost.ops == 0


def test_sampling_and_resizing() -> None:
    """Bilinear: 12 operations for a position, 7 for each channel of it."""
    sample = helper.make_node("GridSample", ["x", "g"], ["y"], mode="linear", padding_mode="border")
    resize = helper.make_node("Resize", ["y", "", "scales"], ["z"], mode="linear")
    graph = model(
        [sample, resize],
        (1, 3, 64, 64),
        {"z": (1, 3, 16, 16)},
        g=floats(1, 8, 8, 2),
        scales=np.array([1, 1, 2, 2], np.float32),
    )
    cost = count_graph(graph)
    assert cost.other_ops == 64 * (12 + 3 * 7) + 3 * 256 * 7
    assert len(cost.kernels) == 2


def test_two_branches_are_not_fused_backwards() -> None:
    """x -> a, x -> b, a + b: the sum belongs to the later branch, and the earlier one's result crosses memory."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["a"], keepdims=1),
        helper.make_node("ReduceMin", ["x"], ["b"], keepdims=1),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    cost = count_graph(model(nodes, (1, 100), {"y": (1, 1)}))
    first, second = cost.kernels
    assert (first.bytes, second.bytes) == (404, 400 + 4 + 4)


def test_half_precision_is_told_by_the_weights_name() -> None:
    """A weight that was reshaped in advance is still the one that the table of networks names."""
    nodes = [
        helper.make_node("Unsqueeze", ["net.weight", "two"], ["w"]),
        helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[1]),
    ]
    graph = model(nodes, (1, 4, 9), {"y": (1, 5, 9)}, two=np.array([2]), **{"net.weight": floats(5, 4)})
    assert count_graph(graph, half="net.*").half_ops == 2 * 5 * 9 * 4
    assert count_graph(graph, half="other.*").half_ops == 0


def test_an_unknown_operator_is_named() -> None:
    """A silent 0 would make a projection too good."""
    node = helper.make_node("Einsum", ["x", "x"], ["y"], name="attention/scores", equation="ij,kj->ik")
    with pytest.raises(CostError, match=r"Einsum attention/scores: no cost is known"):
        count_graph(model([node], (2, 3), {"y": (2, 2)}))


@pytest.mark.parametrize("stage", STAGES)
def test_every_network_can_be_counted(stage: str) -> None:
    """And its work grows with the batch, all but the weights."""
    one, four = (count(network_file(stage), batch) for batch in (1, 4))
    assert four.ops == 4 * one.ops
    assert four.weight_bytes == pytest.approx(one.weight_bytes, rel=1e-3)  # indices of the batch are constants, too
    assert four.fused_bytes - four.weight_bytes == 4 * (one.fused_bytes - one.weight_bytes)
    assert one.fused_bytes < sum(kernel.bytes for kernel in one.kernels) < one.unfused_bytes
    assert len(one.kernels) == len(four.kernels) < len(one.operators)
    two = count(network_file(stage), 2)
    grown = [first.at_batch(second, 4) for first, second in zip(one.kernels, two.kernels, strict=True)]
    assert [kernel.ops for kernel in grown] == [kernel.ops for kernel in four.kernels]
    assert [kernel.bytes for kernel in grown] == [kernel.bytes for kernel in four.kernels]


@pytest.mark.parametrize("network", [one for one in NETWORKS if one.half is not None], ids=lambda one: one.stage)
def test_half_precision_finds_its_weights(network: object) -> None:
    """A renamed weight would leave a stage in single precision unseen."""
    stage, half = network.stage, network.half  # type: ignore[attr-defined]
    cost = count(network_file(stage), 1, half.weights)
    assert 0.05 * cost.matrix_ops < cost.half_ops <= cost.matrix_ops


@pytest.mark.parametrize("tier", ["standard", "high"])
def test_a_refiner_counts_as_pytorch_counts_it(tier: str) -> None:
    """Two independent counts of the same network: PyTorch's counter knows convolutions and matrix products."""
    torch = pytest.importorskip("torch", reason="needs the extra export")
    from torch.utils.flop_counter import FlopCounterMode

    from export.face.export import INPUTS, example, make_stage

    stage = f"refiner_{tier}"
    tensors = example(1)
    tensors["CANVAS_FLOW"], tensors["CANVAS_TEXTURE"] = torch.zeros(1, 2, 256, 192), torch.zeros(1, 4, 256, 192)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        make_stage(stage)(*(tensors[name] for name in INPUTS[stage]))
    assert counter.get_total_flops() == count(network_file(stage)).matrix_ops
