"""Stages whose arrays lie on a GPU, without one: arrays of a strict namespace stand for the GPU's.

What runs is what Triton would run there, `execute` and all: the same answers as on the processor, one wait for each
call, and a fault of one session left with that session.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import array_api_strict
import av
import numpy as np
import pytest
from device_frames import DeviceFrames
from encoder_choice import EncoderChoice
from facestream.array_namespace import HOST, ArrayNamespace
from facestream.avatar.bundle import BUNDLE_SUFFIX
from facestream.avatar_name import encode_avatar_name
from facestream.quality import Quality
from facestream.sequence_stage import SequenceStage
from governor import Governor

from export.ensembles import REPOSITORY, read_config
from tests.unit.test_encoder_choice import Card
from tests.unit.triton_stub import (
    END,
    START,
    DeviceNamespace,
    StubError,
    StubRequest,
    StubResponse,
    StubTensor,
    StubTriton,
    start_stage,
)

AVATAR = min(path.stem for path in (REPOSITORY / "avatar_store" / "avatars").glob(f"*{BUNDLE_SUFFIX}"))
CANVAS = (256, 192)
STANDARD = np.array([Quality.STANDARD], np.uint8)

Start = Callable[..., tuple[SequenceStage[Any], StubTriton]]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Start:
    """Brings a stage of the repository up, on the processor or on what stands for a GPU."""

    def bring_up(
        name: str, arrays: ArrayNamespace, triton: StubTriton | None = None
    ) -> tuple[SequenceStage[Any], StubTriton]:
        folder = REPOSITORY / name
        spec = importlib.util.spec_from_file_location(f"{name}_on_device", folder / "1" / "model.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        stage: SequenceStage[Any] = module.TritonPythonModel()
        tensors = read_config(folder / "config.pbtxt").input
        inputs, optional = [tensor.name for tensor in tensors], [tensor.name for tensor in tensors if tensor.optional]
        return stage, start_stage(stage, folder, inputs, arrays, monkeypatch, triton, optional)

    return bring_up


def on(arrays: ArrayNamespace, **tensors: np.ndarray) -> dict[str, Any]:
    """Inputs as they reach a stage: batched, large ones where the networks left them, small ones with the host."""
    return {
        name: arrays.xp.asarray(tensor[None]) if tensor.size > 100 else tensor[None] for name, tensor in tensors.items()
    }


def canvas(seed: int, frame: int) -> dict[str, np.ndarray]:
    """Inputs of the stabiliser: a texture that flickers and moves."""
    random = np.random.default_rng(1000 * seed + frame)
    rows, columns = np.mgrid[0 : CANVAS[0], 0 : CANVAS[1]].astype(np.float32)
    flow = np.stack([np.sin(rows / 20 + frame / 3), np.cos(columns / 20 + seed)]).astype(np.float32)
    wave = 40 * np.sin((columns + flow[0]) / 9) + random.normal(0, 1, CANVAS)
    texture = np.stack([wave, 0.7 * wave, 0.5 * wave, 0.5 + wave / 400]).astype(np.float32)
    return {
        "CANVAS_TEXTURE": texture,
        "CANVAS_FLOW": flow,
        "FRAME_INDEX": np.array([frame - 2], np.int64),
        "QUALITY": np.array([Quality.FAST], np.uint8),
        "PARAMETERS": np.full(73, seed, np.float32),
        "AVATAR_PHOTO": np.full((3, 512, 512), seed, np.uint8),
        "AVATAR_CONSTANTS": np.zeros(80, np.float32),
        "AVATAR_ADAPTER": np.zeros(256, np.float32),
    }


def play(stage: SequenceStage[Any], arrays: ArrayNamespace, **change: np.ndarray) -> list[list[dict[str, np.ndarray]]]:
    """Six frames of three sessions in one call each."""
    return [
        [
            response.tensors
            for response in stage.execute(
                [
                    StubRequest(seed, on(arrays, **(canvas(seed, frame) | change)), START if frame == 0 else 0)
                    for seed in (1, 2, 3)
                ]
            )
        ]
        for frame in range(6)
    ]


def test_stabilizer_shows_the_same_on_either_side(start: Start) -> None:
    device = DeviceNamespace(array_api_strict)
    stage, _ = start("stabilizer", device)
    device.waits = 0
    there = play(stage, device)
    assert device.waits == 6, "one wait for each call, however many sessions are in it"
    here = play(start("stabilizer", HOST)[0], HOST)
    for frames, expected in zip(there, here, strict=True):
        for one, other in zip(frames, expected, strict=True):
            np.testing.assert_allclose(one["STABLE_TEXTURE"], other["STABLE_TEXTURE"], rtol=0, atol=1e-3)
            assert one["QUALITY_USED"] == other["QUALITY_USED"] == Quality.FAST
    assert not np.array_equal(here[5][0]["STABLE_TEXTURE"], canvas(1, 5)["CANVAS_TEXTURE"])


def refine(request: Any) -> StubResponse:
    """A refiner that adds 16 levels."""
    textures = next(tensor.array for tensor in request.inputs if tensor.label == "CANVAS_TEXTURE")
    textures = np.asarray(textures) + np.array([16, 16, 16, 0], np.float32)[:, None, None]
    return StubResponse([StubTensor("REFINED_TEXTURE", textures)])


def test_better_tier_is_drawn_and_stays_there(start: Start) -> None:
    """All sessions of a call go to the refiner in one batch, and its answer is asked for on the GPU."""
    asked: list[Any] = []

    def infer(request: Any) -> StubResponse:
        asked.append(request)
        return refine(request)

    tier = np.array([Quality.STANDARD], np.uint8)
    device = DeviceNamespace(array_api_strict)
    there = play(start("stabilizer", device, StubTriton(infer))[0], device, QUALITY=tier)
    assert [request.preferred_memory for request in asked] == [("GPU", 0)] * 6
    assert all(tensor.array.shape[0] == 3 for tensor in asked[0].inputs)
    here = play(start("stabilizer", HOST, StubTriton(refine))[0], HOST, QUALITY=tier)
    for frames, expected in zip(there, here, strict=True):
        for one, other in zip(frames, expected, strict=True):
            np.testing.assert_allclose(one["STABLE_TEXTURE"], other["STABLE_TEXTURE"], rtol=0, atol=1e-3)
            assert one["QUALITY_USED"] == Quality.STANDARD


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("arrays", [HOST, DeviceNamespace(array_api_strict)], ids=["host", "device"])
def test_a_tier_does_not_rest_for_what_one_session_sent(start: Start, arrays: ArrayNamespace) -> None:
    """Whoever calls the stage with values that are not finite would take the better tiers from everybody."""
    stage, triton = start("stabilizer", arrays, StubTriton(refine))
    tier = np.array([Quality.STANDARD], np.uint8)
    for frame in range(3):
        given = [canvas(seed, frame) | {"QUALITY": tier} for seed in (1, 2, 3)]
        if frame == 1:
            given[1]["CANVAS_TEXTURE"][0, 5, 5] = np.nan
        bits = START if frame == 0 else 0
        answers = stage.execute([StubRequest(i + 1, on(arrays, **inputs), bits) for i, inputs in enumerate(given)])
        assert [answer.has_error() for answer in answers] == [False, frame > 0, False]
        for answer in (answers[0], answers[2]):
            assert answer.tensors["QUALITY_USED"] == Quality.STANDARD
    assert not [line for line in triton.log if "rests" in line]


@pytest.mark.parametrize("arrays", [HOST, DeviceNamespace(array_api_strict)], ids=["host", "device"])
def test_a_tier_rests_for_the_session_alone_whose_frame_it_cannot_draw(start: Start, arrays: ArrayNamespace) -> None:
    """Finite values that no network bears took the better tiers from everybody for 5 s; and the log is not to fill."""

    def overflow(request: Any) -> StubResponse:
        (given,) = (np.asarray(tensor.array) for tensor in request.inputs if tensor.label == "CANVAS_TEXTURE")
        asked.append(given.shape[0])
        textures = np.where(given[:, :1, :1, :1] > 1e30, np.float32(np.inf), given + np.float32(16))
        return StubResponse([StubTensor("REFINED_TEXTURE", textures)])

    asked: list[int] = []
    stage: Any
    stage, triton = start("stabilizer", arrays, StubTriton(overflow))
    now = 100.0
    stage._refiners._clock = lambda: now
    huge = np.full((4, *CANVAS), 3e38, np.float32)
    for frame in range(8):
        well = StubRequest(1, on(arrays, **(canvas(1, frame) | {"QUALITY": STANDARD})), 0 if frame else START)
        spoilt = canvas(2, frame) | {"QUALITY": STANDARD, "CANVAS_TEXTURE": huge}
        answers = stage.execute([well, StubRequest(2, on(arrays, **spoilt), 0 if frame else START)])
        assert [int(answer.tensors["QUALITY_USED"][0]) for answer in answers] == [Quality.STANDARD, Quality.FAST]
        now += 1.0
    assert asked == [2, 1, 1, 1, 1, 2, 1, 1], "the session that cannot be drawn is tried again each 5 s"
    assert len([line for line in triton.log if "holds a value that is not finite" in line]) == 2
    for session in range(3, 60):  # a new session for each such frame
        spoilt = canvas(2, 0) | {"QUALITY": STANDARD, "CANVAS_TEXTURE": huge}
        stage.execute([StubRequest(session, on(arrays, **spoilt), START | END)])
    assert len(triton.log) == 2


@pytest.mark.parametrize("arrays", [HOST, DeviceNamespace(array_api_strict)], ids=["host", "device"])
def test_a_request_that_lacks_an_input_takes_no_tier_from_the_others(start: Start, arrays: ArrayNamespace) -> None:
    """Triton lets it through to who calls the stage by itself; all sessions of its call then got 'fast'."""
    stage, triton = start("stabilizer", arrays, StubTriton(refine))
    for left_out in ("PARAMETERS", "AVATAR_ADAPTER", "CANVAS_TEXTURE"):
        whole = canvas(1, 0) | {"QUALITY": STANDARD}
        less = {name: array for name, array in whole.items() if name != left_out}
        well, odd = stage.execute(
            [StubRequest(1, on(arrays, **whole), START), StubRequest(2, on(arrays, **less), START)]
        )
        assert well.tensors["QUALITY_USED"] == Quality.STANDARD
        assert odd.error.text.startswith(f"bad input: {left_out} is missing")
    assert not triton.log


def test_a_tier_that_breaks_by_itself_rests(start: Start) -> None:
    """An engine whose numbers overflow is not to be asked for each frame again."""
    asked: list[Any] = []

    def overflow(request: Any) -> StubResponse:
        asked.append(request)
        textures = np.full((3, 4, *CANVAS), np.inf, np.float32)
        return StubResponse([StubTensor("REFINED_TEXTURE", textures)])

    stage, triton = start("stabilizer", HOST, StubTriton(overflow))
    shown = play(stage, HOST, QUALITY=np.array([Quality.STANDARD], np.uint8))
    assert len(asked) == 1
    assert {int(answer["QUALITY_USED"][0]) for frames in shown for answer in frames} == {Quality.FAST}
    assert triton.log == [
        "refiner_standard failed and rests for 5 s, frames fall back to 'fast': "
        "REFINED_TEXTURE holds a value that is not finite"
    ]


def test_a_tier_that_fails_rests_and_is_asked_again(start: Start) -> None:
    """A refiner that runs out of memory once must neither be asked for each frame nor be lost for the day."""
    asked: list[float] = []
    now = 100.0

    def infer(request: Any) -> Any:
        asked.append(now)
        failed = SimpleNamespace(has_error=lambda: True, error=lambda: StubError("out of memory"))
        return failed if now < 104.0 else refine(request)

    stage: Any
    stage, triton = start("stabilizer", HOST, StubTriton(infer))
    stage._refiners._clock = lambda: now
    used = []
    for frame in range(12):
        (answer,) = stage.execute(
            [StubRequest(1, on(HOST, **(canvas(1, frame) | {"QUALITY": STANDARD})), 0 if frame else START)]
        )
        used.append(int(answer.tensors["QUALITY_USED"][0]))
        now += 1.0
    assert asked == [100.0, *np.arange(105.0, 112.0)]
    assert set(used[:5]) == {Quality.FAST}
    assert used[-1] == Quality.STANDARD
    assert len(triton.log) == 1
    assert triton.log[0].endswith("fall back to 'fast': out of memory")


def test_a_tier_that_goes_and_comes_is_told_once_each_time(start: Start) -> None:
    """Whoever unloads a refiner reads in the log what became of its sessions, and not thirty times a second."""
    loaded = True
    stage, triton = start("stabilizer", HOST, StubTriton(refine, ready=lambda name: loaded))
    for frame in range(9):
        loaded = not 3 <= frame < 6
        inputs = on(HOST, **(canvas(1, frame) | {"QUALITY": STANDARD}))
        (answer,) = stage.execute([StubRequest(1, inputs, 0 if frame else START)])
        assert not answer.has_error()
    assert triton.log == [
        "refiner_standard is not ready: sessions of its tier get the one below",
        "refiner_standard is back",
    ]


@pytest.mark.parametrize("loaded", [("refiner_standard", "refiner_high"), ("refiner_high",)])
def test_a_session_that_leaves_it_to_the_server_rises_tier_by_tier(start: Start, loaded: tuple[str, ...]) -> None:
    """As far as the tiers that are loaded go; what a refiner took is what the governor counts with."""
    now = 0.0
    stage: Any
    stage, _ = start("stabilizer", HOST, StubTriton(refine, ready=lambda name: name in loaded))
    stage._governor = Governor(Quality.HIGH, lambda: now)
    told: list[tuple[Quality, int, float]] = []
    refined = stage._governor.refined

    def note(tier: Quality, frames: int, seconds: float) -> None:
        told.append((tier, frames, seconds))
        refined(tier, frames, seconds)

    stage._governor.refined = note
    used = []
    for frame in range(40):
        inputs = on(HOST, **(canvas(1, frame) | {"QUALITY": np.array([Quality.AUTO], np.uint8)}))
        (answer,) = stage.execute([StubRequest(1, inputs, 0 if frame else START)])
        used.append(Quality(int(answer.tensors["QUALITY_USED"][0])))
        now += 1.0
    tiers = [Quality.STANDARD, Quality.HIGH] if len(loaded) == 2 else [Quality.HIGH]
    assert list(dict.fromkeys(used)) == [Quality.FAST, *tiers]
    assert used == sorted(used)
    assert all(frames == 1 and 0.0 < seconds < 10.0 for _, frames, seconds in told)
    assert {tier for tier, _, _ in told} == set(tiers)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_stabilizer_refuses_one_session_and_serves_the_others(start: Start) -> None:
    """A broken texture, a frame out of order and a session that is not live, beside one that is well."""
    device = DeviceNamespace(array_api_strict)
    stage, _ = start("stabilizer", device)
    stage.execute([StubRequest(seed, on(device, **canvas(seed, 0)), START) for seed in (1, 2, 3)])
    broken = canvas(2, 1)
    broken["CANVAS_TEXTURE"][0, 5, 5] = np.inf
    requests = [
        StubRequest(1, on(device, **canvas(1, 1))),
        StubRequest(2, on(device, **broken)),
        StubRequest(3, on(device, **canvas(3, 7))),
        StubRequest(4, on(device, **canvas(4, 1))),
    ]
    well, *refused = stage.execute(requests)
    assert np.isfinite(well.tensors["STABLE_TEXTURE"]).all()
    assert [response.error.text[:30] for response in refused] == [
        "session lost: CANVAS_TEXTURE h",
        "session lost: frame 5 arrived ",
        "session lost: session 4 is not",
    ]
    # What was refused changed nothing: the right frame still goes on.
    again = stage.execute([StubRequest(seed, on(device, **canvas(seed, 1))) for seed in (2, 3)])
    assert all(response.error is None for response in again)


def test_lack_of_memory_costs_the_session_that_has_none(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that is full refuses a piece of work. The sessions are tried one by one, and nobody loses a frame twice."""
    device = DeviceNamespace(array_api_strict)
    stage, triton = start("stabilizer", device)
    stage.execute([StubRequest(seed, on(device, **canvas(seed, 0)), START) for seed in (1, 2)])
    whole = device.to_host

    def full(arrays: Any) -> Any:
        if arrays[0].shape[0] > 1 or full_for_ever:
            raise MemoryError("out of memory allocating 25,165,824 bytes")
        return whole(arrays)

    full_for_ever = False
    monkeypatch.setattr(device, "to_host", full)
    responses = stage.execute([StubRequest(seed, on(device, **canvas(seed, 1))) for seed in (1, 2)])
    assert all(response.error is None for response in responses)
    full_for_ever = True
    responses = stage.execute([StubRequest(seed, on(device, **canvas(seed, 2))) for seed in (1, 2)])
    assert all("session lost: fault in stage stabilizer: MemoryError" in response.error.text for response in responses)
    assert "MemoryError" in triton.log[-1]
    full_for_ever = False
    responses = stage.execute([StubRequest(seed, on(device, **canvas(seed, 2)), END) for seed in (1, 2)])
    assert all(response.error is None for response in responses), "what failed has not moved"
    responses = stage.execute([StubRequest(1, on(device, **canvas(1, 3)))])
    assert "session 1 is not live" in responses[0].error.text, "END has ended it"


def test_lost_gpu_ends_the_process(
    start: Start, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """After an illegal address no frame of any session can be drawn, while Triton still calls the stage ready."""
    device = DeviceNamespace(array_api_strict)
    stage, _ = start("stabilizer", device)

    def fault(arrays: Any) -> Any:
        raise RuntimeError("cudaErrorIllegalAddress: an illegal memory access was encountered")

    ended: list[int] = []
    monkeypatch.setattr(device, "to_host", fault)
    monkeypatch.setattr("facestream.sequence_stage.os._exit", ended.append)
    stage.execute([StubRequest(1, on(device, **canvas(1, 0)), START)])
    assert not ended, "this one was a fault of a single piece of work"
    monkeypatch.setattr(device, "lost", lambda: True)
    stage.execute([StubRequest(1, on(device, **canvas(1, 0)), START)])
    assert ended == [os.EX_SOFTWARE]
    assert "stabilizer: the GPU is lost to this process, which ends" in capsys.readouterr().err


def test_avatar_is_brought_to_the_gpu_once(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """With each frame it would be 1.5 MB over the bus, and more where two stages take the same."""
    device = DeviceNamespace(np)  # the strict namespace knows no 16-bit floats
    copied: list[Any] = []
    copy = device.copy

    def count(array: Any) -> Any:
        copied.append(array)
        return copy(array)

    monkeypatch.setattr(device, "copy", count)
    stage, _ = start("avatar_store", device)
    name = encode_avatar_name(AVATAR)
    for frame in range(3):
        requests = [StubRequest(seed, {"AVATAR": name[None]}, START if frame == 0 else 0) for seed in (1, 2)]
        responses = [*stage.execute(requests), *stage.execute([StubRequest(9, {"AVATAR": name[None]})])]
        assert "session 9 is not live" in responses[2].error.text
    outputs = [tensor.name for tensor in read_config(REPOSITORY / "avatar_store" / "config.pbtxt").output]
    assert len(copied) == len(outputs) - 1
    assert sorted(responses[0].tensors) == sorted(outputs)
    expected, _ = start("avatar_store", HOST)
    alone = expected.execute([StubRequest(1, {"AVATAR": name[None]}, START)])[0].tensors
    assert all(np.array_equal(responses[0].tensors[key], alone[key]) for key in outputs)


@pytest.mark.parametrize("arrays", [HOST, DeviceNamespace(np)], ids=["host", "device"])
def test_a_wrong_wish_costs_no_other_session_its_avatar(start: Start, arrays: ArrayNamespace) -> None:
    """A wrong name, and a tier that is not loaded, in one call with a session that is right."""
    stage, _ = start("avatar_store", arrays, StubTriton(ready=lambda name: name != "refiner_high"))

    def request(session: int, name: str, quality: Quality, flags: int) -> StubRequest:
        return StubRequest(
            session, {"AVATAR": encode_avatar_name(name)[None], "QUALITY": np.array([[quality]], np.uint8)}, flags
        )

    wrong, right, high = stage.execute(
        [
            request(1, "nobody", Quality.AUTO, START),
            request(2, AVATAR, Quality.STANDARD, START),
            request(3, AVATAR, Quality.HIGH, START),
        ]
    )
    assert "AVATAR 'nobody' is unknown" in wrong.error.text
    assert "QUALITY is 3 (high)" in high.error.text
    assert right.tensors["ADMITTED"] == [True]
    refused, kept = (stage.execute([request(2, AVATAR, tier, 0)])[0] for tier in (Quality.HIGH, Quality.STANDARD))
    assert "QUALITY is 3 (high)" in refused.error.text
    assert not kept.has_error()


def test_shelf_keeps_no_more_than_it_may(tmp_path: Path) -> None:
    """A GPU's memory is for frames. Who shows an avatar keeps it; the shelf forgets the one asked for longest ago."""
    from avatar_shelf import AvatarShelf

    bundle = REPOSITORY / "avatar_store" / "avatars" / f"{AVATAR}{BUNDLE_SUFFIX}"
    for name in "abc":
        shutil.copy(bundle, tmp_path / f"{name}{BUNDLE_SUFFIX}")
    shelf = AvatarShelf([tmp_path], REPOSITORY / "avatar_store", DeviceNamespace(np), held=2)
    first, second = shelf.take("a"), shelf.take("b")
    assert shelf.take("a") is first
    shelf.take("c")
    assert shelf.take("a") is first
    assert shelf.take("b") is not second


def test_full_gpu_refuses_a_session_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    from avatar_shelf import AvatarShelf
    from facestream.sequence import SessionRefused

    def full(array: Any) -> Any:
        raise MemoryError("out of memory allocating 786,432 bytes")

    device = DeviceNamespace(np)
    monkeypatch.setattr(device, "copy", full)
    with pytest.raises(SessionRefused, match=r"no memory for it beside 0 others: out of memory .*; try again later"):
        AvatarShelf([REPOSITORY / "avatar_store" / "avatars"], REPOSITORY / "avatar_store", device).take(AVATAR)


def picture(seed: int, frame: int) -> np.ndarray:
    """(512, 512, 3) uint8: a portrait's colours, in motion."""
    rows, columns = np.mgrid[0:512, 0:512].astype(np.float32)
    wave = np.sin((columns + 4 * frame) / (20 + seed)) * np.cos(rows / 30)
    return (np.stack([170 + 50 * wave, 120 + 40 * wave, 100 + 30 * wave], -1)).astype(np.uint8)


def test_frames_leave_the_gpu_as_luma_and_half_size_chroma(start: Start) -> None:
    """The stream decodes to the frames, and the host waits once for all sessions of a call."""
    device = DeviceNamespace(array_api_strict)
    stage, _ = start("video_encoder", device)
    device.waits = 0
    decoders = {seed: av.CodecContext.create("h264", "r") for seed in (1, 2)}
    shown: dict[int, list[Any]] = {1: [], 2: []}
    for frame in range(8):
        requests = [
            StubRequest(
                seed,
                on(device, FRAME=picture(seed, frame), FRAME_INDEX=np.array([frame - 2], np.int64)),
                START if frame == 0 else 0,
            )
            for seed in (1, 2)
        ]
        for seed, response in zip((1, 2), stage.execute(requests), strict=True):
            unit = response.tensors
            assert unit["KEYFRAME"][0] == (frame in (0, 2))
            shown[seed] += decoders[seed].decode(av.Packet(unit["ACCESS_UNIT"].tobytes()))
    assert device.waits == 8
    for seed, decoder in decoders.items():
        shown[seed] += decoder.decode(None)
        assert len(shown[seed]) == 8
        for frame in (0, 7):
            decoded = shown[seed][frame].to_ndarray(format="rgb24", src_colorspace="ITU709").astype(float)
            assert np.abs(decoded - picture(seed, frame)).mean() < 2.5


def test_gpu_and_processor_encode_side_by_side(start: Start) -> None:
    """A card that takes one session more: its frames stay there, the other's come to the host."""
    device = DeviceNamespace(np)
    stage, _ = start("video_encoder", device)
    log: list[str] = []
    stage._choice = EncoderChoice(  # type: ignore[attr-defined]
        log.append, "nv12", Card(room=3).create, lambda: True, lambda: DeviceFrames(device)
    )
    came: list[int] = []
    whole = device.to_host

    def count(arrays: Any) -> Any:
        came.append(len(arrays))
        return whole(arrays)

    device.to_host = count  # type: ignore[method-assign]
    for frame in range(4):
        requests = [
            StubRequest(
                seed,
                on(device, FRAME=picture(seed, frame), FRAME_INDEX=np.array([frame - 2], np.int64)),
                START if frame == 0 else 0,
            )
            for seed in (1, 2)
        ]
        keyframes = [response.tensors["KEYFRAME"][0] for response in stage.execute(requests)]
        assert keyframes == 2 * [frame in (0, 2)]
    assert came == [1] * 4
    assert [line.split(":")[0] for line in log] == [
        "H.264 is encoded by h264_nvenc",
        "session 2 is encoded by libx264",
    ]


def test_frame_of_one_session_that_cannot_be_encoded_costs_no_other(start: Start) -> None:
    device = DeviceNamespace(array_api_strict)
    stage, _ = start("video_encoder", device)

    def request(seed: int, index: int, flags: int) -> StubRequest:
        inputs = on(device, FRAME=picture(seed, 0), FRAME_INDEX=np.array([index], np.int64))
        return StubRequest(seed, inputs, flags)

    lost, well = stage.execute([request(1, 5, START), request(2, -2, START)])
    assert lost.error.text.startswith("session lost: frame 5 arrived where frame -2 was due")
    assert well.error is None


def test_committed_configurations_let_the_stages_work_where_the_networks_do() -> None:
    """KIND_CPU, or inputs forced to the host, would bring every frame over the bus and back."""
    for name in ("avatar_store", "stabilizer", "video_encoder"):
        config = read_config(REPOSITORY / name / "config.pbtxt")
        assert [group.kind for group in config.instance_group] == [config.instance_group[0].KIND_AUTO], name
        assert config.parameters["FORCE_CPU_ONLY_INPUT_TENSORS"].string_value == "no", name
    for name in ("audio_frontend", "motion"):  # small tensors, and arithmetic of the host's
        config = read_config(REPOSITORY / name / "config.pbtxt")
        assert [group.kind for group in config.instance_group] == [config.instance_group[0].KIND_CPU], name


def test_stage_for_the_processor_alone_is_never_asked_for_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stage(SequenceStage[None]):
        def create(self, correlation_id: int) -> None:
            return None

        def step(self, state: None, inputs: Any) -> dict[str, Any]:
            return {}

    monkeypatch.setattr("facestream.sequence_stage.choose", lambda args: pytest.fail("asked"))
    stage = Stage()
    config = {"name": "stage", "input": [{"name": "IN"}]}
    stage.initialize({"model_config": json.dumps(config), "model_repository": ".", "model_instance_kind": "GPU"})
    stage.finalize()
    assert stage.arrays is HOST
