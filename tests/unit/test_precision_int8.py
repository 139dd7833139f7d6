"""INT8 by Q/DQ: what is quantised wrongly is seen by nobody before a GPU shows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.ensembles import REPOSITORY
from export.network_files import network_file
from export.networks import HALF, INT8, NETWORKS
from export.precision import int8
from export.precision.calibration import best_scale, calibrate
from export.precision.half import to_half
from export.precision.quantise import LARGEST, QuantiseError, convolutions, quantised, to_int8, weight_scales

DRAW = np.random.default_rng(3)
FIRST, SECOND = (DRAW.normal(0, 0.1, (8, 8, 3, 3)).astype(np.float32) for _ in range(2))
SECOND[3] *= 50  # a channel by itself


def tiny() -> Any:
    """Two convolutions with a Relu between, in single precision."""
    nodes = [
        helper.make_node("Conv", ["X", "first"], ["a"], name="/first/Conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], name="/Relu"),
        helper.make_node("Conv", ["b", "second"], ["Y"], name="/second/Conv", pads=[1, 1, 1, 1]),
    ]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 8, 12, 12]) for name in ("X", "Y")]
    weights = [numpy_helper.from_array(array, name) for name, array in (("first", FIRST), ("second", SECOND))]
    made = helper.make_graph(nodes, "tiny", ports[:1], ports[1:], weights)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def frame() -> dict[str, Any]:
    return {"X": DRAW.normal(0, 1, (1, 8, 12, 12)).astype(np.float32)}


FRAMES = [frame() for _ in range(4)]


def in_int8(*names: str, dtype: int = TensorProto.FLOAT16) -> Any:
    model = tiny()
    typed = to_half(model, {"/first/Conv", "/Relu", "/second/Conv"}) if dtype == TensorProto.FLOAT16 else model
    return to_int8(typed, model, calibrate(model, FRAMES, names))


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT, TensorProto.FLOAT16])
def test_what_is_computed_stays_close_and_edges_stay_as_they_are(dtype: int) -> None:
    """Inputs and outputs are the contract with Triton; between them 8 bits keep some 35 dB."""
    pytest.importorskip("onnxruntime")
    made = in_int8("/first/Conv", "/second/Conv", dtype=dtype)
    for before, after in ((tiny().graph.input, made.graph.input), (tiny().graph.output, made.graph.output)):
        assert [one.SerializeToString() for one in before] == [one.SerializeToString() for one in after]
    (wanted,), (found,) = int8.run(tiny(), FRAMES[:1]), int8.run(made, FRAMES[:1])
    noise = np.mean((found["Y"] - wanted["Y"]) ** 2) / np.mean(wanted["Y"] ** 2)
    assert 0 < noise < 10**-3.0


def test_chosen_convolutions_read_int8_and_no_others() -> None:
    made = in_int8("/second/Conv")
    makers = {name: node for node in made.graph.node for name in node.output}
    nodes = {node.name: node for node in made.graph.node}
    assert makers[nodes["/second/Conv"].input[0]].op_type == "DequantizeLinear"
    assert makers[nodes["/second/Conv"].input[1]].op_type == "DequantizeLinear"
    assert makers[nodes["/first/Conv"].input[0]].op_type == "Cast"
    stored = {one.name: one.data_type for one in made.graph.initializer}
    assert TensorProto.INT8 in stored.values()
    assert "second" not in stored, "the weights would be stored twice"


def test_each_output_channel_has_its_own_scale() -> None:
    """One scale for all would leave nothing of the small channels beside the large one."""
    scales = weight_scales(SECOND, np.dtype(np.float32))
    steps = quantised(SECOND, scales)
    assert scales[3] > 20 * np.delete(scales, 3).max()
    assert (np.abs(steps.reshape(8, -1)).max(axis=1) == LARGEST).all()
    assert np.abs(steps * scales.reshape(-1, 1, 1, 1) - SECOND).max() <= scales.max() / 2 * 1.001


def test_a_rare_large_value_does_not_cost_all_others_their_steps() -> None:
    """With the largest value as the end of the range, one spark in a picture would make all of it coarse."""
    values = DRAW.normal(0, 1, 100_000).astype(np.float32)
    values[0] = 60.0
    scale = best_scale(values, 60.0)
    assert scale < 0.75 * 60.0 / LARGEST
    assert best_scale(np.zeros(4, np.float32), 0.0) == 1.0


@pytest.mark.parametrize(
    ("scales", "says"),
    [({"/third/Conv": 0.1}, "'/third/Conv'.*/first/Conv"), ({"/first/Conv": 0.0}, "scale of /first/Conv is 0.0")],
)
def test_scales_that_do_not_fit_are_named(scales: dict[str, float], says: str) -> None:
    with pytest.raises(QuantiseError, match=says):
        to_int8(tiny(), tiny(), scales)


def test_scales_of_another_network_are_told_with_what_mends_them(tmp_path: Path, monkeypatch: Any) -> None:
    """After a change of the architecture, old scales must not land on what is left by chance."""
    network = next(one for one in NETWORKS if INT8 in one.precisions)
    monkeypatch.setattr(int8, "SCALES", tmp_path / "scales.json")
    exported = onnx.load(str(network_file(REPOSITORY, network.stage)))
    for kept in ({}, {network.stage: {"onnx_sha256": "", "scales": {"/gone/Conv": 0.1}}}):
        (tmp_path / "scales.json").write_text(json.dumps(kept))
        with pytest.raises(QuantiseError, match=f"python -m export.precision.int8 --stages {network.stage}"):
            int8.make_int8(network, exported, exported)


def test_committed_scales_fit_the_committed_networks() -> None:
    """`python -m export.precision` makes INT8 variants of them, on machines without a recording."""
    kept = json.loads(int8.SCALES.read_text())
    stages = [one.stage for one in NETWORKS if INT8 in one.precisions]
    assert sorted(kept) == sorted(stages)
    for stage in stages:
        names = {node.name for node in onnx.load(str(network_file(REPOSITORY, stage))).graph.node}
        assert set(kept[stage]["scales"]) <= names


def test_int8_comes_with_half_precision_only() -> None:
    """What lies between the quantised convolutions is in fp16: a stage without fp16 cannot be had in INT8."""
    for network in NETWORKS:
        if INT8 in network.precisions:
            assert HALF in network.precisions
            assert network.half is not None


def test_convolutions_with_computed_weights_are_left_alone() -> None:
    assert set(convolutions(tiny())) == {"/first/Conv", "/second/Conv"}
    model = tiny()
    model.graph.node[2].input[1] = "computed"
    assert set(convolutions(model)) == {"/first/Conv"}
