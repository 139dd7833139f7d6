"""The gate for TensorRT: a network that no GPU would take must be told of here, and not by the user's GPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from google.protobuf import text_format
from onnx import TensorProto, helper, numpy_helper
from tritonclient.grpc.model_config_pb2 import ModelConfig

from export.ensembles import REPOSITORY
from export.gate import __main__ as gate
from export.gate import bindings, culprit, tensorrt_10_4, verdict
from export.gate.release import CURRENT, OLDER, RELEASES, Release, ReleaseMissing, environment
from export.gate.verdict import Verdict

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16
INT8, UINT8, INT64, BFLOAT16 = TensorProto.INT8, TensorProto.UINT8, TensorProto.INT64, TensorProto.BFLOAT16


def tensor(name: str, *sizes: int, of: int = FLOAT) -> Any:
    return helper.make_tensor_value_info(name, of, ["batch", *sizes])


def graph(
    nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: Sequence[Any] = (), opset: int = 18
) -> Any:
    made = helper.make_graph(nodes, "tiny", inputs, outputs, list(constants))
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def constant(name: str, value: Any) -> Any:
    return numpy_helper.from_array(np.asarray(value), name)


def node(operator: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Any:
    return helper.make_node(operator, inputs, outputs, name=f"/mouth/{operator}", **attributes)


GOOD = graph([node("Relu", ["X"], ["Y"])], [tensor("X", 4, 8)], [tensor("Y", 4, 8)])
UNREAD = graph([node("Relu", ["X"], ["Y"])], [tensor("X", 4, 8), tensor("U", 3)], [tensor("Y", 4, 8)])
UNIQUE = graph([node("Unique", ["X"], ["Y"])], [tensor("X", 4)], [tensor("Y", 4)])
PRODUCT = graph(
    [node("MatMul", ["X", "W"], ["Y"])],
    [tensor("X", 4, 8)],
    [tensor("Y", 4, 8)],
    [constant("W", np.eye(8, dtype=np.float32))],
)


# What TensorRT 10.4 cannot, and by what it is known to be beyond it.
BEYOND_10_4 = {
    "unsupported operator": (UNIQUE, "Unique '/mouth/Unique' (X: FLOAT [batch, 4])", "not supported"),
    "later operator": (
        graph(
            [node("STFT", ["X", "step"], ["Y"])], [tensor("X", 64, 1)], [tensor("Y", 3, 17, 2)], [constant("step", 8)]
        ),
        "STFT '/mouth/STFT'",
        "TensorRT 10.5",
    ),
    "foreign domain": (
        graph(
            [helper.make_node("Gelu", ["X"], ["Y"], name="g", domain="com.microsoft")],
            [tensor("X", 4)],
            [tensor("Y", 4)],
        ),
        "Gelu 'g'",
        "'com.microsoft'",
    ),
    "volume sampled": (
        graph(
            [node("GridSample", ["X", "G"], ["Y"])],
            [tensor("X", 2, 4, 4, 4), tensor("G", 4, 4, 4, 3)],
            [tensor("Y", 2, 4, 4, 4)],
        ),
        "GridSample '/mouth/GridSample'",
        "5 dimensions",
    ),
    "grid of another type": (
        graph(
            [node("GridSample", ["X", "G"], ["Y"])],
            [tensor("X", 2, 4, 4, of=HALF), tensor("G", 4, 4, 2)],
            [tensor("Y", 2, 4, 4, of=HALF)],
            opset=16,
        ),
        "G: FLOAT [batch, 4, 4, 2]",
        "one type",
    ),
    "bytes computed with": (
        graph([node("Concat", ["X", "X"], ["Y"], axis=1)], [tensor("X", 4, of=UINT8)], [tensor("Y", 8, of=UINT8)]),
        "Concat '/mouth/Concat' (X: UINT8 [batch, 4]",
        "read by a Cast",
    ),
    "bfloat16": (
        graph([node("Cast", ["X"], ["Y"], to=BFLOAT16)], [tensor("X", 4)], [tensor("Y", 4, of=BFLOAT16)]),
        "Cast '/mouth/Cast'",
        "BFLOAT16",
    ),
    "scatter of opset 18": (
        graph(
            [node("ScatterND", ["X", "I", "V"], ["Y"])],
            [tensor("X", 4), tensor("I", 1, of=INT64), tensor("V")],
            [tensor("Y", 4)],
        ),
        "ScatterND '/mouth/ScatterND'",
        "opset 17",
    ),
    "axes that are computed": (
        graph([node("Unsqueeze", ["X", "A"], ["Y"])], [tensor("X", 4), tensor("A", of=INT64)], [tensor("Y", 4, 1)]),
        "Unsqueeze '/mouth/Unsqueeze'",
        "must be a constant",
    ),
    "unsigned zero point": (
        graph(
            [node("QuantizeLinear", ["X", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["Y"])],
            [tensor("X", 4)],
            [tensor("Y", 4)],
            [constant("s", np.float32(0.1)), constant("z", np.uint8(128))],
        ),
        "QuantizeLinear '/mouth/QuantizeLinear'",
        "INT8",
    ),
    "opset": (
        graph([node("Relu", ["X"], ["Y"])], [tensor("X", 4)], [tensor("Y", 4)], opset=22),
        "opset is 22",
        "9 to 20",
    ),
}


@pytest.mark.parametrize("case", BEYOND_10_4)
def test_what_the_v100_cannot_is_named_with_node_types_and_shapes(case: str) -> None:
    """There is no compiler for the V100 without one: whoever owns it would learn of it when he builds."""
    model, names, why = BEYOND_10_4[case]
    found = tensorrt_10_4.problems(model)
    assert found
    assert names in found[0]
    assert why in found[0]


def test_what_the_v100_can_is_let_through() -> None:
    quantised = graph(
        [
            node("Cast", ["P"], ["X"], to=FLOAT),
            node("QuantizeLinear", ["X", "s", "z"], ["q"]),
            node("DequantizeLinear", ["q", "s", "z"], ["d"]),
            helper.make_node("Cast", ["d"], ["Y"], name="out", to=HALF),
        ],
        [tensor("P", 4, of=UINT8)],
        [tensor("Y", 4, of=HALF)],
        [constant("s", np.float32(0.1)), constant("z", np.int8(0))],
    )
    for model in (GOOD, UNREAD, PRODUCT, quantised):
        assert tensorrt_10_4.problems(model) == []


@pytest.mark.parametrize(
    "path", sorted(Path("model_repository").glob("*/1/model.onnx")), ids=lambda path: path.parts[1]
)
def test_the_committed_networks_ask_the_v100_for_nothing_beyond_it(path: Path) -> None:
    assert tensorrt_10_4.problems(onnx.load(str(path))) == []


def test_a_node_is_meant_by_its_whole_name_only() -> None:
    """Compilers name nodes inside of long messages; "/mouth/Add" must not be blamed for "/mouth/Add_1"."""
    model = graph(
        [
            helper.make_node("Relu", ["X"], ["a"], name="/mouth/Relu"),
            helper.make_node("Relu", ["a"], ["Y"], name="/mouth/Relu_1"),
        ],
        [tensor("X", 4)],
        [tensor("Y", 4)],
    )
    assert [one.name for one in culprit.named(model, "cannot compile '/mouth/Relu_1' for Turing")] == ["/mouth/Relu_1"]
    assert [one.name for one in culprit.named(model, "in {ForeignNode[/mouth/Relu...]}")] == ["/mouth/Relu"]


@pytest.mark.parametrize("bad", [0, 1, 5, 8])
def test_a_failure_without_a_name_is_narrowed_down(bad: int) -> None:
    """Some failures of a compiler name nothing; one in a graph of a thousand nodes is not found by hand."""
    operators = ["Relu"] * 9
    operators[bad] = "Tanh"
    names = ["X", *(f"t{index}" for index in range(8)), "Y"]
    model = graph(
        [
            helper.make_node(operator, [names[index]], [names[index + 1]], name=f"n{index}")
            for index, operator in enumerate(operators)
        ],
        [tensor("X", 4)],
        [tensor("Y", 4)],
    )
    tried = []

    def fails(part: Any) -> bool:
        onnx.checker.check_model(part)
        tried.append(part)
        return any(one.op_type == "Tanh" for one in part.graph.node)

    found = culprit.first_that_fails(culprit.infer(model), fails)
    assert found is not None
    assert found.name == f"n{bad}"
    assert len(tried) <= 6


CONFIG = text_format.Parse(
    """
    name: "mouth" max_batch_size: 4
    input { name: "X" data_type: TYPE_FP32 dims: [ 4, 8 ] } input { name: "U" data_type: TYPE_FP32 dims: 3 }
    output { name: "Y" data_type: TYPE_FP32 dims: [ 4, 8 ] }
    """,
    ModelConfig(),
)
X = {"name": "X", "type": "TYPE_FP32", "dims": [4, 8]}
U = {"name": "U", "type": "TYPE_FP32", "dims": [3]}
Y = {"name": "Y", "type": "TYPE_FP32", "dims": [4, 8]}


def test_tensors_that_triton_would_miss_are_named() -> None:
    """Triton refuses to load an engine that lacks a tensor of the config: on the user's GPU, after the build."""
    whole = Verdict("1", "SM80", True, inputs=(X, U), outputs=(Y,), bound=("X", "U", "Y"))
    assert bindings.differences(whole, CONFIG) == []
    dropped = Verdict("1", "SM80", True, inputs=(X,), outputs=(Y,), bound=("X", "Y"))
    assert bindings.differences(dropped, CONFIG) == ["input U of mouth's config.pbtxt is not in the network"]
    unbound = Verdict("1", "SM80", True, inputs=(X, U), outputs=(Y,), bound=("X", "Y"))
    assert bindings.differences(unbound, CONFIG) == [
        "input U of mouth is in the graph, but the engine does not bind it"
    ]
    half = Verdict("1", "SM80", True, inputs=({**X, "type": "TYPE_FP16"}, U), outputs=(Y,), bound=("X", "U", "Y"))
    assert bindings.differences(half, CONFIG) == [
        "input X is TYPE_FP16 [4, 8], expected TYPE_FP32 [4, 8] as in mouth's config.pbtxt"
    ]


def test_a_verdict_is_remembered_of_the_very_file_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second run takes seconds; but no network may pass for one that was built when it was another."""
    monkeypatch.setattr(verdict, "MEMORY", tmp_path / "memory")
    path = tmp_path / "model.onnx"
    onnx.save(GOOD, str(path))
    found = Verdict("1.0", "SM80", False, "build", "no", (("Relu", "/mouth/Relu"),), inputs=(X,))
    verdict.remember(path, found, 8)
    again = verdict.recall(path, "1.0", "SM80", 8)
    assert again == found
    assert again.remembered
    for release, gpu, batch in (("1.1", "SM80", 8), ("1.0", "SM75", 8), ("1.0", "SM80", 4)):
        assert verdict.recall(path, release, gpu, batch) is None
    onnx.save(UNREAD, str(path))
    assert verdict.recall(path, "1.0", "SM80", 8) is None


def test_a_missing_release_is_told_with_the_command_that_installs_it() -> None:
    with pytest.raises(ReleaseMissing, match=r"0\.0\.1.*python -m export\.gate --install"):
        environment(Release("0.0.1", "none", True))


def test_a_missing_variant_fails_the_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """A variant that nobody has made must not look like one that was built."""
    monkeypatch.setattr(gate, "RELEASES", ())
    monkeypatch.setattr(gate, "FOLDER", tmp_path)
    monkeypatch.setattr(gate, "TYPED", tmp_path / "typed")
    monkeypatch.setattr("sys.argv", ["gate"])
    assert gate.main() == 1
    said = capsys.readouterr().err
    assert "refiner_high fp16" in said
    assert "python -m export.precision" in said


def _has(release: Release) -> bool:
    try:
        environment(release)
    except ReleaseMissing:
        return False
    return True


def _judge(model: Any, folder: Path, release: Release, gpus: list[str], config: Any = None) -> list[str]:
    path = folder / "tiny.onnx"
    onnx.save(model, str(path))
    return gate.judge([gate.Subject("tiny", path, config)], [release], gpus)[1]


def test_a_variant_of_another_network_fails_the_gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network was trained anew, its typed variants were not made anew: what is built is not what is served."""
    path = tmp_path / "refiner_high" / "fp16.onnx"
    path.parent.mkdir()
    onnx.save(GOOD, str(path))
    path.with_suffix(".json").write_text('{"onnx_sha256": "0123"}')
    (subject,) = [one for one in gate.typed(REPOSITORY, tmp_path) if one.path == path]
    assert "python -m export.precision" in str(gate.unfit(subject))


def test_a_release_without_int8_convolutions_is_not_asked(forgetful: Path) -> None:
    """TensorRT has had them for long: that an old TensorRT-RTX has none must not forbid them."""
    model = graph(
        [
            node("QuantizeLinear", ["X", "s", "z"], ["q"]),
            node("DequantizeLinear", ["q", "s", "z"], ["d"]),
            node("Conv", ["d", "W"], ["Y"]),
        ],
        [tensor("X", 4, 8, 8)],
        [tensor("Y", 4, 8, 8)],
        [constant("s", np.float32(0.1)), constant("z", np.int8(0)), constant("W", np.ones((4, 4, 1, 1), np.float32))],
    )
    path = forgetful / "tiny.onnx"
    onnx.save(model, str(path))
    table, failures = gate.judge([gate.Subject("tiny", path)], [Release("0.0.1", "none", False)], ["SM80"])
    assert "no INT8" in table
    assert failures == []


@pytest.fixture
def forgetful(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to build in, without what was found before."""
    monkeypatch.setattr(verdict, "MEMORY", tmp_path / "memory")
    monkeypatch.setattr(gate, "FOLDER", tmp_path)
    return tmp_path


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.version)
class TestCompiler:
    """With TensorRT-RTX itself."""

    @pytest.fixture(autouse=True)
    def _installed(self, release: Release) -> None:
        if not _has(release):
            pytest.skip(f"needs TensorRT-RTX {release.version}: python -m export.gate --install")

    def test_a_good_network_passes_and_keeps_the_input_that_it_does_not_read(
        self, release: Release, forgetful: Path
    ) -> None:
        """The repository's configs may declare an input that a network does not need; Triton binds it all the same."""
        assert _judge(UNREAD, forgetful, release, ["SM75", "SM80"], CONFIG) == []

    def test_an_unknown_operator_is_named(self, release: Release, forgetful: Path) -> None:
        failures = _judge(UNIQUE, forgetful, release, ["SM80"])
        assert any("Unique '/mouth/Unique' (X: FLOAT [batch, 4])" in failure for failure in failures)
        assert any(f"TensorRT-RTX {release.version}, A100 (SM80)" in failure for failure in failures)

    def test_bytes_elsewhere_than_at_the_edge_are_named(self, release: Release, forgetful: Path) -> None:
        failures = _judge(BEYOND_10_4["bytes computed with"][0], forgetful, release, ["SM80"])
        assert any("RTX" in failure and "Concat '/mouth/Concat' (X: UINT8" in failure for failure in failures)


def test_what_parses_but_does_not_build_is_named(forgetful: Path) -> None:
    """A check that parses only lets this through: products of fp32 matrices for a T4."""
    if not _has(CURRENT):
        pytest.skip(f"needs TensorRT-RTX {CURRENT.version}: python -m export.gate --install")
    assert _judge(PRODUCT, forgetful, CURRENT, ["SM80"]) == []
    failures = _judge(PRODUCT, forgetful, CURRENT, ["SM75"])
    assert len(failures) == 1
    assert "T4 (SM75): MatMul '/mouth/MatMul' (X: FLOAT [batch, 4, 8], W: FLOAT [8, 8])" in failures[0]


def test_the_older_release_notices_what_only_newer_ones_can(forgetful: Path) -> None:
    """Volumes are sampled from TensorRT 11.2 on: with the newest release alone, such a network would pass."""
    if not _has(OLDER):
        pytest.skip(f"needs TensorRT-RTX {OLDER.version}: python -m export.gate --install")
    failures = _judge(BEYOND_10_4["volume sampled"][0], forgetful, OLDER, ["SM80"])
    assert any("RTX" in failure and "GridSample '/mouth/GridSample'" in failure for failure in failures)
