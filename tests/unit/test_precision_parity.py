"""The parity report on a network of one number: a typed network that is wrong must fail it, by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.network_files import TypedError, network_file, sha256, typed_file, typing_digest
from export.networks import FULL, HALF, Network, Tolerance
from export.precision import parity
from export.precision.drift import Drift, frame_psnr
from export.precision.parity import Compared, compare_chain, compare_stage
from export.precision.report import as_json, as_markdown
from export.recording import Recording, Tensor, load_recording, write_session

FRAMES = 4
LIMIT = Tolerance("px", 0.1, 0.1, "test")
CONFIG = """name: "scale" max_batch_size: 8
input { name: "X" data_type: TYPE_FP32 dims: 2 }
output { name: "Y" data_type: TYPE_FP32 dims: 2 }
"""


def scale(factor: float) -> onnx.ModelProto:
    """Y = factor * X."""
    value = helper.make_tensor_value_info
    return helper.make_model(
        helper.make_graph(
            [helper.make_node("Mul", ["X", "factor"], ["Y"], name="scale")],
            "scale",
            [value("X", TensorProto.FLOAT, ["batch", 2])],
            [value("Y", TensorProto.FLOAT, ["batch", 2])],
            [numpy_helper.from_array(np.array(factor, np.float32), "factor")],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )


@pytest.fixture
def recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recording:
    """A repository with one network, its variants (that in fp16 is off by an eighth), and a recording of 0, 1, 2, 3."""
    repository = tmp_path / "repository"
    (repository / "scale" / "1").mkdir(parents=True)
    (repository / "scale" / "config.pbtxt").write_text(CONFIG)
    onnx.save(scale(1.0), network_file(repository, "scale"))
    for precision, factor in ((FULL, 1.0), (HALF, 1.125)):
        path = typed_file("scale", precision, tmp_path / "typed")
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(scale(factor), path)
        made = {"onnx_sha256": sha256(network_file(repository, "scale")), "typing_sha256": typing_digest()}
        path.with_suffix(".json").write_text(json.dumps(made))
    declared = Network("scale", {FULL: {"Y": LIMIT}, HALF: {"Y": LIMIT}})
    monkeypatch.setattr(parity, "network", lambda stage: declared)
    folder = tmp_path / "recording"
    frames = ({"X": np.full((1, 2), n, np.float32)} for n in range(FRAMES))
    write_session(frames, folder / "ada", {"scale": [Tensor("X", np.dtype(np.float32), (2,))]}, FRAMES)
    (folder / "session.json").write_text(json.dumps({"avatars": ["ada"], "frames": FRAMES, "networks": {}}))
    return load_recording(folder, repository)


def test_a_wrong_variant_is_told_by_stage_output_value_and_limit(recording: Recording, tmp_path: Path) -> None:
    full, half = compare_stage("scale", recording, tmp_path / "typed", recording.repository)
    assert full.failures() == []
    assert full.errors.frames == FRAMES
    told = half.failures()
    assert told[0] == "scale in fp16, Y: its largest error is 0.375 px in frame 3, the limit 0.1"
    table = as_markdown([full, half], [])
    assert "| scale | fp32 | Y, px | 0 (0.1) | 0 (0.1) | 0 |  | met |" in table
    assert "| scale | fp16 | Y, px | 0.38 (0.1)" in table
    assert "**missed**" in table
    assert [one["met"] for one in as_json([full, half], [])["outputs"]] == [True, False]


def test_a_stale_variant_is_refused(recording: Recording, tmp_path: Path) -> None:
    onnx.save(scale(2.0), network_file(recording.repository, "scale"))
    with pytest.raises(TypedError, match="was made of the ONNX file"):
        compare_stage("scale", recording, tmp_path / "typed", recording.repository)


def test_a_session_that_falls_off_shows_it() -> None:
    """What piles up is good in the first frames and bad in the last: a mean over all would hide it."""
    drift = Drift(HALF, psnr=[80.0] * 100 + [60.0] * 50 + [40.0] * 100, parameters=[0.0] * 250)
    assert drift.trend(100) == (80.0, 40.0)
    frame = np.zeros((2, 1, 4, 4, 3), np.uint8)
    drift.outputs["FRAME"].add(frame[:1], frame[1:] + np.uint8(9))
    drift.outputs["PARAMETERS"].add(np.zeros((1, 73)), np.zeros((1, 73)))
    judged = {one.output: one for one in compare_chain(drift)}
    assert judged["PARAMETERS"].failures() == []
    assert any("the whole chain in fp16, FRAME: the PSNR" in text for text in judged["FRAME"].failures())
    table = as_markdown([Compared("scale", HALF, "Y", drift.outputs["FRAME"], LIMIT)], [drift])
    assert "| fp16 | 250 | 60.0 dB | 40.0 dB (frame 150) | 80.0 dB | 40.0 dB | 0 |" in table


def test_psnr_of_pictures() -> None:
    black = np.zeros((4, 4, 3), np.uint8)
    assert frame_psnr(black, black) == 99.0
    assert frame_psnr(black + np.uint8(255), black) == 0.0
    assert frame_psnr(black + np.uint8(1), black) == pytest.approx(48.13, abs=0.01)
