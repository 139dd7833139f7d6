"""The measurement of a GPU, run for real on a CPU: small, but every step of it. No figure here is a speed."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from export.network_files import typing_digest
from perf.gpu import card, recorded, report
from perf.gpu.accuracy import judge
from perf.gpu.engine import Engine, Unavailable, milliseconds
from perf.gpu.measure import Kept, Plan, engine_maker, measure
from perf.gpu.recorded import Frames, Reference
from perf.gpu.stages import STAGES, NoNetwork, digest, network_file, ports

SMALL = ("speech_encoder", "expression")


@pytest.fixture(scope="module")
def frames() -> Frames:
    """Two frames of random numbers: the speech networks take them."""
    reference = Reference()
    inputs = {stage: recorded._random(stage, 2) for stage in SMALL}
    return Frames("random", inputs, {stage: reference.run(stage, inputs[stage]) for stage in SMALL})


def plan(**changed: Any) -> Plan:
    return Plan(
        **{"stages": SMALL, "precisions": ("fp32",), "batches": (1, 2), "seconds": 0.0, "minutes": 5.0, **changed}
    )


def makers(*names: str) -> list[tuple[str, Any]]:
    return [(name, engine_maker(name, "cpu", "cpu", 2, quick=True)) for name in names]


def quiet(line: str) -> None:
    """Says nothing."""


@pytest.mark.parametrize("engine", ["onnxruntime", "torch"])
def test_an_engine_gives_what_the_reference_gives(engine: str, frames: Frames, tmp_path: Path) -> None:
    """A measured network that computes something else is fast for nothing. PyTorch's weights come from the ONNX files,
    where they were folded: a wrong one shows here.
    """
    if engine == "torch":
        pytest.importorskip("torch", reason="needs the extra export")
    found = measure(makers(engine), plan(), frames, Kept(tmp_path / "cells.json"), quiet)
    assert found.skipped == []
    assert [(cell["stage"], cell["batch"]) for cell in found.cells] == [(s, b) for s in SMALL for b in (1, 2)]
    for cell in found.cells:
        assert cell["within"], cell
        assert cell["runs"] >= 10
        assert 0 < cell["least_ms"] <= cell["p50_ms"] <= cell["p99_ms"]


def test_half_precision_of_pytorch_is_that_of_the_table(frames: Frames, tmp_path: Path) -> None:
    """In fp16 where the table of networks says so: not the same numbers, but close to them."""
    pytest.importorskip("torch", reason="needs the extra export")
    only = plan(stages=("expression",), precisions=("fp16",))
    found = measure(makers("torch"), only, frames, Kept(tmp_path / "cells.json"), quiet)
    (first, _) = found.cells
    assert first["within"]
    assert first["errors"]["VISEME"]["largest"] > 1e-6


@pytest.mark.parametrize("stage", STAGES)
def test_the_modules_of_all_stages_run_on_another_device(stage: str) -> None:
    """A constant that a forward pass leaves on the processor would end the measurement of a GPU. PyTorch's device
    without memory stands for it: it refuses tensors of any other.
    """
    torch = pytest.importorskip("torch", reason="needs the extra export")
    from perf.gpu.engine_torch import module_of

    inputs, outputs = ports(network_file(stage))
    module = module_of(stage).eval().to("meta")
    given = [torch.from_numpy(recorded._random(stage, 2)[port.name]).to("meta") for port in inputs]
    with torch.no_grad(), torch.device("meta"):
        made = module(*given)
    made = made if isinstance(made, tuple) else (made,)
    assert [(2, *port.shape) for port in outputs] == [tuple(tensor.shape) for tensor in made]
    assert {tensor.device.type for tensor in made} == {"meta"}


def test_tensorrt_builds_what_is_measured(tmp_path: Path) -> None:
    """For a GPU that is not here, by TensorRT-RTX: the measured engine comes of the builder of the served ones."""
    pytest.importorskip("torch", reason="needs the extra export")
    trt = pytest.importorskip("tensorrt_rtx_bindings", reason="needs the extra gate")
    from export.engines.build import ModuleBuilder
    from export.engines.profile import BatchProfile
    from perf.gpu.engine_tensorrt import installed

    assert installed().__name__.startswith("tensorrt")
    path = network_file("speech_encoder")
    inputs = {port.name: port.shape for port in ports(path)[0]}
    assert ModuleBuilder(trt, "SM80").build(path, inputs, BatchProfile.of(64), None)


@pytest.mark.parametrize(("capability", "built_for"), [((7, 5), "SM75"), ((9, 0), None)])
def test_tensorrt_rtx_builds_for_the_card_that_is_measured(
    capability: tuple[int, int], built_for: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself it builds for newer cards only: on a T4 every cell would fail, and nobody would know why."""
    torch = pytest.importorskip("torch", reason="needs the extra export")
    from perf.gpu.engine_tensorrt import rtx_target

    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    known = {"SM75": 75, "SM80": 80}
    trt = SimpleNamespace(__version__="1.7.1.116", ComputeCapability=SimpleNamespace(__members__=known))
    if built_for is not None:
        assert rtx_target(trt) == built_for
    else:
        with pytest.raises(Unavailable, match="builds no engines for SM90"):
            rtx_target(trt)


def test_a_card_without_room_costs_a_cell_and_not_the_run() -> None:
    """Beside a running server, batch 64 of the largest network: the minutes before and after it are not lost."""
    pytest.importorskip("torch", reason="needs the extra export")
    from perf.gpu.engine_onnxruntime import OnnxRuntimeReady
    from perf.gpu.engine_tensorrt import TensorRTBound

    with pytest.raises(Unavailable, match="too little memory"):
        TensorRTBound(None, SimpleNamespace(create_execution_context=lambda: None), False, 0, {})

    def full() -> None:
        raise Exception("BFCArena: Available memory of 1024 is smaller than requested")

    session: Any = SimpleNamespace(io_binding=full)
    with pytest.raises(Unavailable, match="BFCArena"):
        OnnxRuntimeReady(session, "cuda").bind({})


def test_pytorch_computes_in_half_precision_what_the_table_declares() -> None:
    """With sums in half precision, too, its cells of the speech encoder would exceed their tolerance on every card."""
    pytest.importorskip("torch", reason="needs the extra export")
    from analysis_window import AnalysisWindow
    from facestream.audio import read_sound

    from export.chain import chunks
    from perf.gpu.engine_torch import TorchEngine

    window = AnalysisWindow()
    heard = [window.push(chunk)[0] for chunk in chunks(read_sound(recorded.SPEECH).speech, 80)]
    given = {"AUDIO_WINDOW": np.stack(heard[20:80:6])}
    bound = TorchEngine("cpu").load("speech_encoder", "fp16").bind(given)
    bound.run()
    off = judge("speech_encoder", "fp16", bound.outputs(), Reference().run("speech_encoder", given))
    assert off["EMBEDDING"]["exceeded"] == []
    assert off["EMBEDDING"]["largest"] > 1e-3  # it is half precision


def test_what_was_measured_is_not_measured_again(frames: Frames, tmp_path: Path) -> None:
    """On a rented GPU a run that was cut short goes on, unless the network has changed since."""
    kept = tmp_path / "cells.json"
    measure(makers("onnxruntime"), plan(batches=(1,)), frames, Kept(kept), quiet)
    cells = json.loads(kept.read_text())
    cells[0]["p50_ms"] = 12345.0
    cells[1]["network"] = "of another network"
    kept.write_text(json.dumps(cells))
    found = measure(makers("onnxruntime"), plan(batches=(1,)), frames, Kept(kept), quiet)
    first, second = found.cells
    assert first["p50_ms"] == 12345.0
    assert second["p50_ms"] != cells[1]["p50_ms"] or second["network"] != cells[1]["network"]


def test_time_that_is_up_is_told(frames: Frames, tmp_path: Path) -> None:
    found = measure(makers("onnxruntime"), plan(minutes=0.0), frames, Kept(tmp_path / "cells.json"), quiet)
    assert found.cells == []
    assert all("run again to go on" in entry["reason"] for entry in found.skipped)


def test_an_engine_that_is_not_there_is_told(frames: Frames, tmp_path: Path) -> None:
    """And the others are measured all the same."""

    def missing() -> Engine:
        raise Unavailable("not installed here")

    both = [("tensorrt", missing), *makers("onnxruntime")]
    found = measure(both, plan(batches=(1,)), frames, Kept(tmp_path / "cells.json"), quiet)
    assert found.skipped == [{"engine": "tensorrt", "reason": "not installed here"}]
    assert len(found.cells) == 2


@pytest.mark.parametrize(
    ("capability", "runs"),
    [
        ((7, 0), False),
        ((7, 5), True),
        ((8, 0), True),
        ((8, 9), True),
        ((9, 0), True),
        ((11, 0), False),
        ((12, 1), True),
    ],
)
def test_a_pytorch_without_code_for_the_card_is_known_beforehand(capability: tuple[int, int], runs: bool) -> None:
    """Builds for CUDA 13 leave the V100 out: the first kernel would fail, in the words of nobody's remedy."""
    known = ["sm_75", "sm_80", "sm_86", "sm_90a", "sm_100", "sm_120", "compute_120"]
    assert card.runs_on(capability, known) == runs


def test_no_gpu_is_refused_in_words() -> None:
    torch = pytest.importorskip("torch", reason="needs the extra export")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    for name in ("torch", "onnxruntime", "tensorrt"):
        with pytest.raises((Unavailable, ImportError), match=r"GPU|CUDAExecutionProvider|TensorRT"):
            engine_maker(name, "cuda", "card", 2, quick=True)()


def test_a_network_that_nobody_has_is_refused() -> None:
    with pytest.raises(NoNetwork, match="compositor is not had in int8"):
        network_file("compositor", "int8")
    with pytest.raises(NoNetwork, match=r"python -m export\.precision"):
        network_file("renderer", "fp16", typed=Path("nowhere"))


def test_a_typed_network_of_yesterday_is_refused(tmp_path: Path) -> None:
    """Its speed and errors would be told as today's."""
    typed = tmp_path / "renderer" / "fp16.onnx"
    typed.parent.mkdir()
    typed.write_bytes(b"a network")
    typed.with_suffix(".json").write_text(json.dumps({"onnx_sha256": "of another"}))
    with pytest.raises(
        NoNetwork,
        match=r"made of the ONNX file of another, .*python -m export\.precision",
    ):
        network_file("renderer", "fp16", typed=tmp_path)
    made = {"onnx_sha256": digest(network_file("renderer")), "typing_sha256": "of last month"}
    typed.with_suffix(".json").write_text(json.dumps(made))
    with pytest.raises(NoNetwork, match=r"another state of export/precision .*python -m export\.precision"):
        network_file("renderer", "fp16", typed=tmp_path)
    typed.with_suffix(".json").write_text(json.dumps({**made, "typing_sha256": typing_digest()}))
    assert network_file("renderer", "fp16", typed=tmp_path) == typed


def test_errors_that_are_no_numbers_are_never_within() -> None:
    """NaN compares false with everything: also with "is too large"."""
    wanted = {"SPEECH_FACE": np.zeros((2, 52), np.float32), "VISEME": np.zeros((2, 15), np.float32)}
    made = {name: array.copy() for name, array in wanted.items()}
    assert not any(entry["exceeded"] for entry in judge("expression", "fp32", made, wanted).values())
    made["SPEECH_FACE"][1, 3] = np.nan
    found = judge("expression", "fp32", made, wanted)
    assert found["SPEECH_FACE"]["largest"] is None
    assert found["SPEECH_FACE"]["exceeded"]
    assert not found["VISEME"]["exceeded"]
    (told,) = judge("expression", "fp32", {**made, "VISEME": made["VISEME"][:1]}, wanted)["VISEME"]["exceeded"]
    assert "shape" in told


def test_a_recording_is_read_by_turns(tmp_path: Path) -> None:
    """The frames of two sessions stand side by side in a batch; the avatar's tensors are there once."""
    (tmp_path / "session.json").write_text(json.dumps({"avatars": ["a", "b"]}))
    for number, avatar in enumerate("ab"):
        (tmp_path / avatar).mkdir()
        for stage in STAGES:
            tensors = {}
            for port in ports(network_file(stage))[0]:
                count = 1 if port.name.startswith("AVATAR_") else 3
                tensors[port.name] = np.full((count, *port.shape), number, port.dtype)
            np.savez(tmp_path / avatar / f"{stage}.npz", **tensors)  # type: ignore[arg-type]
    read = recorded._recorded(tmp_path, 3)
    assert read["renderer"]["AVATAR_PHOTO"][:, 0, 0, 0].tolist() == [0, 1, 0]
    assert read["renderer"]["PARAMETERS"][:, 0].tolist() == [0, 1, 0]
    assert read["renderer"]["PARAMETERS"].dtype == np.float32


def test_runs_are_timed_one_by_one() -> None:
    ran: list[int] = []
    times = milliseconds(lambda: ran.append(1), 0.0, warm=3, least=7)
    assert (len(times), len(ran)) == (7, 10)


def test_the_name_of_a_card_is_a_folder() -> None:
    assert card.slug("NVIDIA A100-SXM4-40GB") == "nvidia-a100-sxm4-40gb"
    assert card.slug("Tesla T4") == "tesla-t4"


def test_the_page_shows_what_was_missed(frames: Frames, tmp_path: Path) -> None:
    """An error beyond its tolerance, and what was not measured, must not disappear behind speeds."""
    found = measure(makers("onnxruntime"), plan(), frames, Kept(tmp_path / "cells.json"), quiet)
    found.cells[0]["errors"]["EMBEDDING"] |= {"largest": 1.0, "exceeded": ["its largest error is 1"]}
    page = report.markdown(
        {
            "card": {"name": "NVIDIA X1"},
            "date": "2026-01-01",
            "minutes": 1.0,
            "inputs": frames.source,
            "versions": found.versions,
            "ceilings": {"fp16_flops": 1e14, "fp32_flops": 1e13, "copy_bytes": 1e12, "kernel_in_graph_us": 1.2},
            "cells": found.cells,
            "skipped": [{"engine": "tensorrt", "reason": "not installed"}],
        }
    )
    assert "| onnxruntime | fp32 | speech_encoder EMBEDDING | 1 |" in page
    assert page.count("**not within**: its largest error is 1 |") == 1
    assert "| tensorrt | all | all | all | not installed |" in page
    assert "| kernel_in_graph_us | 1.2 µs |" in page
    assert "| fp32_flops | 10 TFLOP/s |" in page


def test_the_plots_are_drawn(frames: Frames, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra judge")
    from PIL import Image

    found = measure(makers("onnxruntime"), plan(), frames, Kept(tmp_path / "cells.json"), quiet)
    ceilings = {"fp16_flops": 1e12, "fp32_flops": 1e11, "copy_bytes": 1e11}
    result = {"card": {"name": "NVIDIA X1"}, "cells": found.cells, "ceilings": ceilings}
    for draw in (report.latency_plot, report.roofline_plot):
        with Image.open(draw(result, tmp_path / f"{draw.__name__}.png")) as picture:
            assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 20
