"""Every wrong thing a client can do: it gets a clear word, and nobody else notices, not in one bit of one picture."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soxr
from facestream.contract import (
    AVATAR_NAME_BYTES,
    BAD_INPUT,
    CHUNK_SAMPLES,
    LOOKAHEAD_FRAMES,
    MAX_SESSIONS_VARIABLE,
    SAMPLE_RATE,
    SESSION_LOST,
    SESSION_REFUSED,
    STATE_IDLE_SECONDS,
)
from facestream.parameters import ARKIT, INDEX
from facestream.protocol import emotion_vector
from facestream.server.launch import TritonServer
from tritonclient.grpc import InferenceServerClient, service_pb2
from tritonclient.utils import InferenceServerException

from tests.integration.wire import Edit, Refusal, Wire, chunks, connect

ROOT = Path(__file__).parents[2]
SPEECH = next((ROOT / "tests" / "data").glob("speech.*[vc]"))
AVATARS = sorted(path.stem for path in (ROOT / "model_repository" / "avatar_store" / "avatars").glob("*.avatar"))
BYSTANDER_FRAMES = 16


@pytest.fixture(scope="module")
def stub(server: TritonServer) -> Iterator[object]:
    with connect(server.grpc_url) as stub:
        yield stub


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return chunks(str(SPEECH), 20, BYSTANDER_FRAMES)


def pictures(answers: list[dict[str, np.ndarray]]) -> np.ndarray:
    return np.array([answer["FRAME"] for answer in answers])


@pytest.fixture(scope="module")
def undisturbed(stub: object, speech: np.ndarray) -> np.ndarray:
    return pictures(Wire(stub, 4242, AVATARS[0]).talk(speech))


@pytest.fixture
def bystander(stub: object, speech: np.ndarray, undisturbed: np.ndarray) -> Iterator[Callable[[], None]]:
    """Call it to let another session go on for two frames; at the end of the test its pictures are compared."""
    wire = Wire(stub, 4242, AVATARS[0])
    answers: list[dict[str, np.ndarray]] = []

    def go_on(frames: int = 2) -> None:
        for _ in range(frames):
            position = len(answers)
            if position < len(speech):
                answers.append(wire.send(speech[position], end=position == len(speech) - 1))

    go_on()
    yield go_on
    go_on(len(speech))
    assert np.array_equal(pictures(answers), undisturbed), "another session's fault changed this session's pictures"


def as_int16(request: service_pb2.ModelInferRequest) -> None:
    request.inputs[0].datatype = "INT16"
    request.raw_input_contents[0] = bytes(2 * CHUNK_SAMPLES)


def as_48_khz(request: service_pb2.ModelInferRequest) -> None:
    request.inputs[0].shape[1] = 2 * CHUNK_SAMPLES
    request.raw_input_contents[0] = bytes(8 * CHUNK_SAMPLES)


def as_two_frames(request: service_pb2.ModelInferRequest) -> None:
    for i, tensor in enumerate(request.inputs):
        tensor.shape[0] = 2
        request.raw_input_contents[i] = request.raw_input_contents[i] * 2


def cut_short(request: service_pb2.ModelInferRequest) -> None:
    request.raw_input_contents[0] = bytes(100)


def with_nan(request: service_pb2.ModelInferRequest) -> None:
    sound = np.frombuffer(request.raw_input_contents[0], np.float32).copy()
    sound[123] = np.nan
    request.raw_input_contents[0] = sound.tobytes()


def as_integers(request: service_pb2.ModelInferRequest) -> None:
    sound = np.frombuffer(request.raw_input_contents[0], np.float32) * 32768 + 9000
    request.raw_input_contents[0] = sound.astype(np.float32).tobytes()


def as_stereo(request: service_pb2.ModelInferRequest) -> None:
    del request.inputs[0].shape[:]
    request.inputs[0].shape.extend([1, CHUNK_SAMPLES, 2])
    request.raw_input_contents[0] = request.raw_input_contents[0] * 2


def as_one_sample(request: service_pb2.ModelInferRequest) -> None:
    request.inputs[0].shape[1] = 1
    request.raw_input_contents[0] = bytes(4)


def as_no_sample(request: service_pb2.ModelInferRequest) -> None:
    request.inputs[0].shape[1] = 0
    request.raw_input_contents[0] = b""


def as_a_minute(request: service_pb2.ModelInferRequest) -> None:
    request.inputs[0].shape[1] = 60 * SAMPLE_RATE
    request.raw_input_contents[0] = bytes(4 * 60 * SAMPLE_RATE)


def without_sound(request: service_pb2.ModelInferRequest) -> None:
    del request.inputs[0]
    del request.raw_input_contents[0]


def with_an_input_too_many(request: service_pb2.ModelInferRequest) -> None:
    request.inputs.add(name="SURPRISE", datatype="FP32", shape=[1, 1])
    request.raw_input_contents.append(bytes(4))


def with_infinity(request: service_pb2.ModelInferRequest) -> None:
    sound = np.frombuffer(request.raw_input_contents[0], np.float32).copy()
    sound[-1] = -np.inf
    request.raw_input_contents[0] = sound.tobytes()


def feeling(value: float) -> Edit:
    def edit(request: service_pb2.ModelInferRequest) -> None:
        request.raw_input_contents[2] = (emotion_vector({"sad": 1.0}) * np.float32(value)).tobytes()

    return edit


def with_nine_emotions(request: service_pb2.ModelInferRequest) -> None:
    request.inputs[2].shape[1] = 9
    request.raw_input_contents[2] = bytes(36)


def too_happy(request: service_pb2.ModelInferRequest) -> None:
    request.raw_input_contents[2] = (emotion_vector({"happy": 1.0}) * 7).tobytes()


def in_ninth_quality(request: service_pb2.ModelInferRequest) -> None:
    request.raw_input_contents[3] = b"\x09"


def in_two_qualities(request: service_pb2.ModelInferRequest) -> None:
    request.inputs[3].shape[1] = 2
    request.raw_input_contents[3] = bytes(2)


def in_a_quality_by_name(request: service_pb2.ModelInferRequest) -> None:
    request.inputs[3].datatype = "BYTES"
    request.raw_input_contents[3] = b"\x04\0\0\0high"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (as_int16, "AUDIO"),
        (as_48_khz, "AUDIO"),
        (as_two_frames, "batch"),
        (cut_short, "AUDIO"),
        (with_nan, rf"{BAD_INPUT}: AUDIO\[123\] is nan"),
        (as_integers, rf"{BAD_INPUT}: AUDIO peaks at \d+, expected samples in \[-1, 1\]"),
        (too_happy, rf"{BAD_INPUT}: EMOTION\[happy\] is 7"),
        (as_stereo, "AUDIO"),
        (as_one_sample, "AUDIO"),
        (as_no_sample, "AUDIO"),
        (as_a_minute, "AUDIO"),
        (without_sound, "deadlock"),  # Triton's own word for an ensemble that lacks an input
        (with_an_input_too_many, "SURPRISE"),
        (with_infinity, rf"{BAD_INPUT}: AUDIO\[799\] is -inf"),
        (feeling(np.nan), rf"{BAD_INPUT}: EMOTION\[neutral\] is nan"),
        (feeling(-0.5), rf"{BAD_INPUT}: EMOTION\[sad\] is -0.5"),
        (with_nine_emotions, "EMOTION"),
        (in_ninth_quality, rf"{BAD_INPUT}: QUALITY is 9; expected one of 0 \(auto\)"),
        (in_two_qualities, "QUALITY"),
        (in_a_quality_by_name, "QUALITY"),
    ],
    ids=lambda case: getattr(case, "__name__", None),
)
def test_wrong_request_is_refused_and_its_session_goes_on(
    stub: object, speech: np.ndarray, undisturbed: np.ndarray, bystander: Callable[[], None], edit: Edit, message: str
) -> None:
    """The refused request changes nothing: with the right one sent after it, the pictures are as if it never was."""
    wire = Wire(stub, 4242 + 2**40, AVATARS[0])
    reference = pictures(Wire(stub, 4242 + 2**40, AVATARS[0]).talk(speech[:6]))
    answers = []
    for i in range(6):
        if i == 3:
            bystander()
            with pytest.raises(Refusal, match=message):
                wire.send(speech[i], edit=edit)
            bystander()
        answers.append(wire.send(speech[i], end=i == 5))
    assert np.array_equal(pictures(answers), reference)


def telephone(speech: np.ndarray) -> np.ndarray:
    """8 kHz and 8-bit mu-law (ITU-T G.711's curve)."""
    narrow = soxr.resample(soxr.resample(speech, SAMPLE_RATE, 8000), 8000, SAMPLE_RATE)
    coded = np.round(np.sign(narrow) * np.log1p(255 * np.abs(narrow)) / np.log(256) * 127) / 127
    return np.resize(np.sign(coded) * (256 ** np.abs(coded) - 1) / 255, speech.shape)


@pytest.mark.parametrize(
    ("spoil", "least"),
    [
        (lambda speech: np.clip(4 * speech, -1, 1), 0.95),  # 0.5 % of the samples at full scale
        (lambda speech: np.clip(16 * speech, -1, 1), 0.7),  # 20 %
        (lambda speech: speech * 9, 0.95),  # floats up to 3.8 times full scale
        (lambda speech: 0.5 * speech + 0.4, 0.95),
        (lambda speech: speech - 0.5, 0.95),
        (telephone, 0.85),
    ],
    ids=["clipped", "clipped hard", "beyond full scale", "offset", "negative offset", "telephone"],
)
def test_poor_sound_makes_the_same_mouth_less_exactly(
    stub: object, spoil: Callable[[np.ndarray], np.ndarray], least: float
) -> None:
    """The mouth of a bad microphone is that of a good one, in range and without one wild frame."""
    clean = chunks(str(SPEECH), 0, 150)
    poor = spoil(clean.reshape(-1)).astype(np.float32).reshape(clean.shape)
    faces = [face(stub, sound) for sound in (clean, poor)]
    assert all(np.isfinite(shown).all() for shown in faces)
    good, bad = (shown[:, INDEX["jawOpen"]] - shown[:, INDEX["mouthClose"]] for shown in faces)
    assert np.corrcoef(good, bad)[0, 1] > least
    assert bad.max() < 1.2 * good.max()


@pytest.mark.parametrize("offset", [0.05, 0.3, -0.9])
def test_an_offset_is_silence(stub: object, offset: float) -> None:
    """A sound card's constant: its beginning is a click of one frame, after that the mouth rests and no brow moves."""
    shown = face(stub, np.full((60, CHUNK_SAMPLES), offset, np.float32))
    mouth = [i for i, shape in enumerate(ARKIT) if shape.name.startswith(("jaw", "mouth"))]
    resting = face(stub, np.zeros((60, CHUNK_SAMPLES), np.float32))
    assert shown[:, INDEX["jawOpen"]].max() < 0.15
    assert np.abs(shown[15:, mouth] - resting[15:, mouth]).max() < 0.02
    assert shown[:, INDEX["voiceActivity"]].max() < 0.05


def face(stub: object, sound: np.ndarray) -> np.ndarray:
    """PARAMETERS (n, 73) of a session of its own, always the same one."""
    return np.array([answer["PARAMETERS"] for answer in Wire(stub, 90, "", "parameters").talk(sound)])


def test_what_no_session_needs_is_closed(server: TritonServer) -> None:
    """The server would read and write any shared memory for a client who knows its name; its stages' is in there."""
    region = next(Path("/dev/shm").glob(f"facestream_{os.getpid()}_{server.grpc_port}_*"))
    with InferenceServerClient(server.grpc_url) as client:
        with pytest.raises(InferenceServerException, match="restricted"):
            client.register_system_shared_memory("theirs", f"/{region.name}", 1024)
        with pytest.raises(InferenceServerException, match="restricted"):
            client.update_log_settings({"log_error": False})
        with pytest.raises(InferenceServerException, match="restricted"):
            client.update_trace_settings(settings={"trace_level": ["TENSORS"]})


def test_unknown_avatar_is_refused_with_the_known_ones(
    stub: object, speech: np.ndarray, bystander: Callable[[], None]
) -> None:
    with pytest.raises(Refusal, match=f"{BAD_INPUT}: AVATAR 'nobody' is unknown, expected one of: .*{AVATARS[0]}"):
        Wire(stub, 77, "nobody").send(speech[0])
    bystander()


@pytest.mark.parametrize("name", [b"../../etc/passwd", b"\xff" * 64, b"", b"ava/../ava", "naïve 😀".encode()])
def test_name_that_is_no_name_is_refused(
    stub: object, speech: np.ndarray, bystander: Callable[[], None], name: bytes
) -> None:
    """A name becomes a file's name: it must not lead anywhere else."""

    def rename(request: service_pb2.ModelInferRequest) -> None:
        request.raw_input_contents[1] = name.ljust(AVATAR_NAME_BYTES, b"\0")

    with pytest.raises(Refusal, match=f"{BAD_INPUT}: AVATAR .* is no name: expected letters, digits"):
        Wire(stub, 77, AVATARS[0]).send(speech[0], edit=rename)
    bystander()


def test_avatar_stays_the_same_in_a_session(stub: object, speech: np.ndarray, bystander: Callable[[], None]) -> None:
    """The most severe report against systems of this kind is a face that belongs to somebody else."""
    wire = Wire(stub, 78, AVATARS[0])
    wire.send(speech[0])
    bystander()
    with pytest.raises(Refusal, match=f"{BAD_INPUT}: AVATAR '{AVATARS[-1]}' in mid-session, expected '{AVATARS[0]}'"):
        wire.send(speech[1], avatar=AVATARS[-1])
    bystander()
    assert wire.send(speech[1], end=True)["FRAME_INDEX"] == 1 - LOOKAHEAD_FRAMES


def test_a_refused_start_leaves_no_mixture_of_two_avatars(
    stub: object, speech: np.ndarray, bystander: Callable[[], None]
) -> None:
    """Its new avatar has passed the first stage, its sound not the second: the old session must not go on with it."""
    wire = Wire(stub, 84, AVATARS[0])
    wire.send(speech[0])
    with pytest.raises(Refusal, match=f"{BAD_INPUT}: AUDIO"):
        wire.send(speech[1], start=True, avatar=AVATARS[-1], edit=with_nan)
    bystander()
    for avatar, kind in ((AVATARS[0], BAD_INPUT), (AVATARS[-1], SESSION_LOST)):
        with pytest.raises(Refusal, match=kind):
            wire.send(speech[1], start=False, avatar=avatar)
    assert wire.send(speech[1], start=True, end=True)["FRAME_INDEX"] == -LOOKAHEAD_FRAMES


def test_missing_start_is_told(stub: object, speech: np.ndarray, bystander: Callable[[], None]) -> None:
    with pytest.raises(Refusal, match="START"):
        Wire(stub, 79, AVATARS[0]).send(speech[0], start=False)
    bystander()


def test_starts_that_are_refused_keep_nobody_waiting(stub: object, speech: np.ndarray) -> None:
    """Triton gives each of them a place until it is idle; who found none left would wait for that, without a word."""

    def start(correlation_id: int) -> service_pb2.ModelInferRequest:
        request = service_pb2.ModelInferRequest(model_name="avatar_store")
        request.inputs.add(name="AVATAR", datatype="UINT8", shape=[1, AVATAR_NAME_BYTES])
        request.raw_input_contents.append(b"nobody".ljust(AVATAR_NAME_BYTES, b"\0"))
        request.parameters["sequence_id"].int64_param = correlation_id
        request.parameters["sequence_start"].bool_param = True
        return request

    answers = list(stub.ModelStreamInfer(map(start, range(2**50, 2**50 + 1100))))  # type: ignore[attr-defined]
    assert all("AVATAR 'nobody' is unknown" in answer.error_message for answer in answers)
    began = time.monotonic()
    Wire(stub, 85, AVATARS[0]).talk(speech[:1])
    assert time.monotonic() - began < 2.0


def test_end_twice_is_told(stub: object, speech: np.ndarray, bystander: Callable[[], None]) -> None:
    wire = Wire(stub, 80, AVATARS[0])
    wire.send(speech[0])
    wire.send(speech[1], end=True)
    bystander()
    with pytest.raises(Refusal, match="START"):
        wire.send(speech[2], end=True)


@pytest.mark.parametrize("correlation_id", [0, "alice"])
def test_correlation_id_must_be_a_number(
    stub: object, speech: np.ndarray, bystander: Callable[[], None], correlation_id: int | str
) -> None:
    def rename(request: service_pb2.ModelInferRequest) -> None:
        if isinstance(correlation_id, str):
            request.parameters["sequence_id"].string_param = correlation_id
        else:
            request.parameters["sequence_id"].int64_param = correlation_id

    with pytest.raises(Refusal, match=r"correlation (ID|id)"):
        Wire(stub, 81, AVATARS[0]).send(speech[0], edit=rename)
    bystander()


def test_start_on_a_live_session_begins_anew(stub: object, speech: np.ndarray, bystander: Callable[[], None]) -> None:
    """A client that lost its connection comes back under its old id: it must get a fresh session, nothing mixed."""
    fresh = pictures(Wire(stub, 82, AVATARS[0]).talk(speech[4:8]))
    wire = Wire(stub, 82, AVATARS[0])
    for sound in speech[:4]:
        wire.send(sound)
    bystander()
    again = [wire.send(sound, start=i == 0, end=i == 3) for i, sound in enumerate(speech[4:8])]
    assert [int(answer["FRAME_INDEX"][0]) for answer in again] == [-2, -1, 0, 1]
    assert np.array_equal(pictures(again), fresh)


def test_killed_client_harms_nobody(
    server: TritonServer, stub: object, speech: np.ndarray, bystander: Callable[[], None]
) -> None:
    """A process that dies with requests in flight; its id can then be used again."""
    script = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
from tests.integration.wire import *
with connect({server.grpc_url!r}) as stub:
    wire = Wire(stub, 83, {AVATARS[0]!r})
    while True:
        wire.send(chunks({str(SPEECH)!r}, 0, 1)[0]); print("sent", flush=True)
"""
    client = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert client.stdout is not None
    for _ in range(3):
        assert client.stdout.readline()
        bystander()
    os.kill(client.pid, signal.SIGKILL)
    client.wait()
    bystander()
    assert Wire(stub, 83, AVATARS[0]).send(speech[0])["FRAME_INDEX"] == -LOOKAHEAD_FRAMES


def test_one_session_too_many_is_refused_at_once_and_a_lost_one_makes_room(
    speech: np.ndarray,
) -> None:
    """Triton alone would queue it without end and without a word."""
    limited = TritonServer(ROOT / "model_repository", environment={MAX_SESSIONS_VARIABLE: "2"})
    with limited as server, connect(server.grpc_url) as stub:
        first, second = Wire(stub, 1, AVATARS[0]), Wire(stub, 2, AVATARS[0])
        first.send(speech[0])
        second.send(speech[0])
        before = time.monotonic()
        with pytest.raises(Refusal, match=f"{SESSION_REFUSED}: 2 sessions are live, the limit of this server is 2"):
            Wire(stub, 3, AVATARS[0]).send(speech[0])
        assert time.monotonic() - before < 2.0
        first.send(speech[1], end=True)  # a session that ends makes room at once
        third = Wire(stub, 3, AVATARS[0])
        third.send(speech[0])
        deadline = time.monotonic() + STATE_IDLE_SECONDS + 8
        i = 1
        while True:  # the second is lost without a word: its place comes free by itself, the third goes on meanwhile
            third.send(speech[i % len(speech)])
            i += 1
            try:
                Wire(stub, 4, AVATARS[0]).send(speech[0])
                break
            except Refusal:
                assert time.monotonic() < deadline, "a lost session's place was never freed"
                time.sleep(0.5)
        with pytest.raises(Refusal, match=f"START|{SESSION_LOST}"):
            second.send(speech[1])
