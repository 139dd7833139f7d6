"""Half precision in a graph: a coordinate that slips into it is rounded to a quarter of a pixel."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.networks import HalfPrecision
from export.precision.half import HalfError, to_half
from export.precision.region import RegionError, half_nodes, learned_nodes

LEARNED = HalfPrecision("net.*.weight")
SPEECH = Path(__file__).parents[1] / "data" / "speech.wav"


def graph(scale: float = 1.0, ends_learned: bool = False) -> onnx.ModelProto:
    """X [b, 2, 8, 8] float -> kernel (fixed) -> stem, Relu, + reshaped place, head (learned) -> + X -> Y.

    `ends_learned` leaves the last sum out: the graph's output is then made in half precision.
    """
    random = np.random.default_rng(3)

    def weights(name: str, *shape: int, by: float = 1.0) -> TensorProto:
        return numpy_helper.from_array((random.normal(size=shape) * by).astype(np.float32), name)

    def convolution(name: str, weight: str, source: str, made: str) -> onnx.NodeProto:
        return helper.make_node("Conv", [source, weight], [made], name=name, pads=[1, 1, 1, 1])

    nodes = [
        convolution("fixed", "kernel", "X", "fixed"),
        helper.make_node("Reshape", ["net.stem.weight", "as_kernel"], ["stem_kernel"], name="reshape"),
        convolution("stem", "stem_kernel", "fixed", "stem"),
        helper.make_node("Relu", ["stem"], ["rectified"], name="relu"),
        helper.make_node("Shape", ["rectified"], ["shape"], name="shape"),
        helper.make_node("Reshape", ["rectified", "shape"], ["shaped"], name="shaped"),
        helper.make_node("Add", ["shaped", "net.place"], ["placed"], name="place"),
        convolution("head", "net.head.weight", "placed", "Y" if ends_learned else "head"),
    ]
    if not ends_learned:
        nodes.append(helper.make_node("Add", ["head", "X"], ["Y"], name="sum"))
    value = helper.make_tensor_value_info
    return helper.make_model(
        helper.make_graph(
            nodes,
            "graph",
            [
                value("X", TensorProto.FLOAT, ["batch", 2, 8, 8]),
                value("UNREAD", TensorProto.UINT8, ["batch", 3]),
            ],
            [value("Y", TensorProto.FLOAT, ["batch", 2, 8, 8])],
            [
                weights("kernel", 2, 2, 3, 3),
                weights("net.stem.weight", 4, 18, by=scale),
                numpy_helper.from_array(np.array([4, 2, 3, 3]), "as_kernel"),
                weights("net.place", 1, 4, 8, 8),
                weights("net.head.weight", 2, 4, 3, 3),
            ],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {"X": x, "UNREAD": np.zeros((len(x), 3), np.uint8)}
    (y,) = session.run(["Y"], {port.name: feeds[port.name] for port in session.get_inputs()})
    return np.asarray(y)


def types(model: onnx.ModelProto) -> dict[str, int]:
    values = onnx.shape_inference.infer_shapes(model).graph
    return {value.name: value.type.tensor_type.elem_type for value in [*values.value_info, *values.output]}


def test_learned_weights_are_found_through_what_reshapes_them() -> None:
    """torch writes a linear layer as a convolution whose weights are unsqueezed first."""
    assert learned_nodes(graph(), LEARNED.weights) == {"stem", "head"}


def test_what_lies_between_learned_nodes_is_in_half_precision_and_nothing_else() -> None:
    model = graph()
    assert half_nodes(model, model, LEARNED) == {"stem", "relu", "shaped", "place", "head"}
    spared = HalfPrecision("net.*.weight", single=("Relu",))
    assert "relu" not in half_nodes(model, model, spared)


def test_a_pattern_that_fits_nothing_is_told_with_the_weights_that_there_are() -> None:
    with pytest.raises(RegionError, match=r"'gone\.\*' .*, which no .+ of the graph reads; its weights are kernel"):
        learned_nodes(graph(), "gone.*")


@pytest.mark.parametrize("ends_learned", [False, True])
def test_inputs_and_outputs_stay_and_only_the_named_nodes_change(ends_learned: bool) -> None:
    model = graph(ends_learned=ends_learned)
    typed = to_half(model, half_nodes(model, model, LEARNED))
    assert typed.graph.input == model.graph.input
    assert typed.graph.output == model.graph.output
    made = types(typed)
    assert made["fixed"] == made["Y"] == TensorProto.FLOAT
    assert made["stem"] == made["rectified"] == made["placed"] == TensorProto.FLOAT16
    x = np.random.default_rng(0).normal(size=(3, 2, 8, 8)).astype(np.float32)
    off = np.abs(run(typed, x) - run(model, x))
    assert 0.0 < off.max() < 0.2  # sums of 36 products of numbers up to 30, each rounded by 1 / 2048


def test_a_weight_beyond_half_precision_is_named() -> None:
    model = graph(scale=1e6)
    model.graph.node[2].input[1] = "net.stem.weight"  # as it is after folding
    model.graph.initializer[1].dims[:] = [4, 2, 3, 3]
    del model.graph.node[1]
    with pytest.raises(HalfError, match=r"net\.stem\.weight reaches .*, expected at most 65504"):
        to_half(model, {"stem"})


def test_folding_computes_constants_and_keeps_the_contract() -> None:
    """An input that nothing reads is part of the contract all the same: Triton refuses a network without it."""
    pytest.importorskip("polygraphy", reason="polygraphy is in the extras [precision] and [dev]")
    from export.precision.fold import fold

    model = graph()
    folded = fold(model)
    assert "reshape" not in {node.name for node in folded.graph.node}
    assert folded.graph.input == model.graph.input
    assert folded.graph.output == model.graph.output
    x = np.random.default_rng(0).normal(size=(1, 2, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(run(folded, x), run(model, x), rtol=1e-5, atol=1e-5)
    assert half_nodes(model, folded, LEARNED) == {"stem", "relu", "shaped", "place", "head"}


def test_the_linter_names_what_is_broken(tmp_path: Path) -> None:
    pytest.importorskip("polygraphy", reason="polygraphy is in the extras [precision] and [dev]")
    from export.precision.fold import LintError, lint

    onnx.save(graph(), tmp_path / "good.onnx")
    assert isinstance(lint(tmp_path / "good.onnx"), list)
    broken = graph()
    broken.graph.node[3].op_type = "Rellu"
    onnx.save(broken, tmp_path / "broken.onnx")
    with pytest.raises(LintError, match=r"broken\.onnx.*Rellu"):
        lint(tmp_path / "broken.onnx")


def product(weights: list[np.ndarray]) -> onnx.ModelProto:
    """X [b, n] float, multiplied by one constant after the other."""
    names = ["X", *(f"by_{number}" for number in range(len(weights) - 1)), "Y"]
    nodes = [
        helper.make_node("Mul", [names[number], f"w_{number}"], [names[number + 1]], name=f"times_{number}")
        for number in range(len(weights))
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", len(weights[0])]) for name in ("X", "Y")]
    constants = [numpy_helper.from_array(weight, f"w_{number}") for number, weight in enumerate(weights)]
    made = helper.make_graph(nodes, "product", values[:1], values[1:], constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def test_what_is_stored_in_half_precision_is_rounded_to_it() -> None:
    """ONNX Runtime takes the casts of a typed graph out: judged so, half precision costs next to nothing, and a card
    refuses what every judgement had let pass."""
    from export.precision.stored import stored

    random = np.random.default_rng(5)
    weights = [random.normal(size=4096).astype(np.float32) for _ in range(3)]
    x = random.normal(size=(1, 4096)).astype(np.float32)
    full = product(weights)
    typed = to_half(full, {"times_0", "times_1", "times_2"})
    half = x.astype(np.float16)
    for weight in weights:
        half = (half * weight.astype(np.float16)).astype(np.float16)
    wanted, made = half.astype(np.float32)[0], run(stored(typed), x)[0]
    normal = np.abs(wanted) > 1e-3  # half precision's smallest numbers have fewer bits
    assert np.mean(made[normal] == wanted[normal]) > 0.99  # the others lay half-way between two
    np.testing.assert_allclose(made[normal], wanted[normal], rtol=2.0**-10)
    assert stored(full) == full


def test_speech_in_half_precision_keeps_its_tolerance_as_it_is_stored(tmp_path: Path) -> None:
    """Else the first build on every card is refused, and an engineer with an empty machine meets that first."""
    pytest.importorskip("polygraphy", reason="polygraphy is in the extras [precision] and [dev]")
    from analysis_window import AnalysisWindow
    from facestream.audio import read_sound

    from export.chain import OnnxGraph, chunks
    from export.ensembles import REPOSITORY
    from export.network_files import network_file
    from export.networks import HALF, network, tolerance
    from export.precision.errors import Errors
    from export.precision.stored import typed_graph
    from export.precision.variants import make_variants

    half = typed_graph(make_variants(network("speech_encoder"), tmp_path, linted=False)[HALF])
    full = OnnxGraph(network_file(REPOSITORY, "speech_encoder"))
    window, errors = AnalysisWindow(), Errors()
    for number, chunk in enumerate(chunks(read_sound(SPEECH).speech, 150)):
        heard = {"AUDIO_WINDOW": window.push(chunk)[0][None]}
        if number % 3 == 0:
            errors.add(half(heard)["EMBEDDING"], full(heard)["EMBEDDING"])
    assert errors.exceeded(tolerance("speech_encoder", HALF, "EMBEDDING")) == []


def test_a_typed_file_of_another_network_is_refused_with_the_command(tmp_path: Path) -> None:
    """After a training the old half-precision network would be served beside the new ones."""
    from export.network_files import TypedError, current_typed_file, typed_file

    with pytest.raises(TypedError, match=r"is missing: make it with `python -m export\.precision --stages renderer`"):
        current_typed_file("renderer", "fp16", tmp_path / "typed", tmp_path)
    path = typed_file("renderer", "fp16", tmp_path / "typed")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"typed")
    path.with_suffix(".json").write_text(json.dumps({"onnx_sha256": "0" * 64}))
    (tmp_path / "renderer" / "1").mkdir(parents=True)
    (tmp_path / "renderer" / "1" / "model.onnx").write_bytes(b"trained anew")
    with pytest.raises(TypedError, match="was made of the ONNX file 000000000000, renderer serves"):
        current_typed_file("renderer", "fp16", tmp_path / "typed", tmp_path)
