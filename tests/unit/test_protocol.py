"""Requests as they go over the wire, responses as they come, and errors by their words."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from facestream.avatar_name import encode_avatar_name
from facestream.contract import AVATAR_NAME_BYTES, BAD_INPUT, CHUNK_SAMPLES, SESSION_LOST, SESSION_REFUSED
from facestream.errors import (
    BadInput,
    OutOfOrder,
    RequestRefused,
    ServerUnavailable,
    SessionError,
    SessionLost,
    SessionRefused,
)
from facestream.exchange import Exchange
from facestream.parameters import EMOTIONS
from facestream.protocol import (
    build_request,
    check_chunk,
    emotion_vector,
    error_from_message,
    make_frame,
    parse_response,
    quality_tier,
)
from facestream.quality import Quality
from tritonclient.grpc import service_pb2

SILENCE = np.zeros(CHUNK_SAMPLES, dtype=np.float32)


def request(output: Any = "rgb", **changes: Any) -> Any:
    options: dict[str, Any] = {
        "request_id": "7",
        "correlation_id": 2**63 - 1,
        "chunk": SILENCE + 0.5,
        "avatar": "ada",
        "emotion": emotion_vector({"sad": 0.25}),
        "quality": Quality.HIGH,
        "start": True,
        "end": False,
    }
    return build_request(output, **(options | changes))


def test_request_carries_the_sequence_and_the_tensors() -> None:
    """A flag in the wrong field starts no sequence; a wrong byte order is noise to the server."""
    message = request()
    assert message.model_name == "avatar"
    assert message.id == "7"
    assert message.parameters["sequence_id"].int64_param == 2**63 - 1
    assert message.parameters["sequence_start"].bool_param is True
    assert message.parameters["sequence_end"].bool_param is False
    tensors = [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in message.inputs]
    assert tensors == [
        ("AUDIO", "FP32", [1, 800]),
        ("AVATAR", "UINT8", [1, AVATAR_NAME_BYTES]),
        ("EMOTION", "FP32", [1, 8]),
        ("QUALITY", "UINT8", [1, 1]),
    ]
    assert message.raw_input_contents[0] == struct.pack("<f", 0.5) * 800
    assert message.raw_input_contents[1] == encode_avatar_name("ada").tobytes()
    assert np.frombuffer(message.raw_input_contents[2], "<f4")[EMOTIONS.index("sad")] == 0.25
    assert message.raw_input_contents[3] == b"\3"
    assert [tensor.name for tensor in message.outputs] == ["FRAME", "QUALITY_USED", "FRAME_INDEX"]


def test_face_parameters_need_no_avatar() -> None:
    """The ensemble of the parameters has no AVATAR input and would refuse one."""
    assert [tensor.name for tensor in request("parameters").inputs] == ["AUDIO", "EMOTION"]


@pytest.mark.parametrize("correlation_id", [0, -1, 2**63])
def test_correlation_id_that_triton_does_not_take(correlation_id: int) -> None:
    """Id 0 means "no sequence" to Triton."""
    with pytest.raises(BadInput, match=str(correlation_id)):
        request(correlation_id=correlation_id)


@pytest.mark.parametrize(
    ("emotion", "words"),
    [
        ({"joy": 0.5}, "'joy'.*happy"),
        ({"happy": 1.5}, r"\[happy\] is 1\.5"),
        ({"sad": float("nan")}, r"\[sad\] is nan"),
    ],
)
def test_emotions_that_do_not_exist(emotion: dict[str, float], words: str) -> None:
    """The error names what was given and what is known."""
    with pytest.raises(BadInput, match=words):
        emotion_vector(emotion)


def test_quality_that_does_not_exist() -> None:
    """The error names what was given and what is known."""
    with pytest.raises(BadInput, match="'best'; expected one of auto, fast, standard, high"):
        quality_tier("best")
    assert quality_tier("auto") is Quality.AUTO


@pytest.mark.parametrize(
    ("chunk", "words"),
    [
        (SILENCE[:-1], r"\[799\]; expected float32 \[800\]"),
        (SILENCE.astype(np.float64), "float64"),
        (SILENCE + np.inf, r"sample 0 \(0\.000 s\) is inf"),
        (SILENCE + 9000, "sample 0 .* is 9000, expected .*divide 16-bit integers by 32768"),
    ],
)
def test_chunks_that_are_none(chunk: Any, words: str) -> None:
    """The server would refuse them a round trip later."""
    with pytest.raises(BadInput, match=words):
        check_chunk(chunk)


def answer(**tensors: tuple[str, list[int], bytes]) -> Any:
    response = service_pb2.ModelInferResponse()
    for name, (datatype, shape, raw) in tensors.items():
        response.outputs.add(name=name, datatype=datatype, shape=shape)
        response.raw_output_contents.append(raw)
    return response


INDEX = ("INT64", [1, 1], struct.pack("<q", -2))
USED = ("UINT8", [1, 1], b"\2")


def test_answer_is_read() -> None:
    """The packet's length is its own: nothing may be cut off or added."""
    found = parse_response(
        "h264",
        answer(
            FRAME_INDEX=INDEX,
            ACCESS_UNIT=("UINT8", [1, 5], b"12345"),
            KEYFRAME=("BOOL", [1, 1], b"\1"),
            QUALITY_USED=USED,
        ),
    )
    assert found.frame_index == -2
    assert found.tensors["ACCESS_UNIT"].tobytes() == b"12345"
    assert found.tensors["KEYFRAME"].tolist() == [True]
    assert make_frame(0, 0.0, found.tensors).quality is Quality.STANDARD


@pytest.mark.parametrize(
    ("output", "tensors", "words"),
    [
        ("h264", {"FRAME_INDEX": INDEX}, "lacks ACCESS_UNIT, KEYFRAME"),
        (
            "rgb",
            {"FRAME_INDEX": INDEX, "QUALITY_USED": USED, "FRAME": ("UINT8", [1, 2, 2, 3], b"\0" * 12)},
            r"\[2, 2, 3\]; expected \[512",
        ),
        (
            "h264",
            {
                "FRAME_INDEX": INDEX,
                "ACCESS_UNIT": ("UINT8", [1, 1], b"1"),
                "KEYFRAME": ("BOOL", [1, 1], b"\1"),
                "QUALITY_USED": ("UINT8", [1, 1], b"\0"),
            },
            "QUALITY_USED is 0; expected 1 to 3",
        ),
        ("rgb", {"FRAME_INDEX": INDEX, "FRAME": ("UINT8", [1, 512, 512, 3], b"\0")}, "1 bytes"),
        ("rgb", {"FRAME_INDEX": ("INT64", [2, 1], b"\0" * 16)}, "batch of one"),
        ("rgb", {"FRAME_INDEX": ("FP64", [1, 1], b"\0" * 8)}, "FP64"),
    ],
)
def test_answer_that_breaks_the_contract(output: Any, tensors: Any, words: str) -> None:
    """A client that guesses shows garbage; it must name what is wrong with the server."""
    with pytest.raises(SessionError, match=words):
        parse_response(output, answer(**tensors))


@pytest.mark.parametrize(
    ("message", "start", "kind"),
    [
        (f"in ensemble 'avatar', {SESSION_REFUSED}: 64 sessions are live", True, SessionRefused),
        (f"in ensemble 'avatar', {BAD_INPUT}: AUDIO holds NaN", False, BadInput),
        (f"in ensemble 'avatar', {BAD_INPUT}: avatar 'x' is not here", True, BadInput),
        (f"in ensemble 'avatar', {SESSION_LOST}: session 5 is not live here", False, SessionLost),
        (
            "inference request for sequence 5 to model 'motion' must specify the START flag on the first request",
            False,
            SessionLost,
        ),
        ("Request for unknown model: 'avatar' is not found", True, ServerUnavailable),
        ("Request for unknown model: 'avatar' has no available versions", False, ServerUnavailable),
        ("Server is stopping, scheduler for model has stopped accepting new inference requests", False, SessionLost),
        ("Server is stopping, scheduler for model has stopped accepting", True, ServerUnavailable),
        ("something else", True, SessionRefused),
        ("something else", False, RequestRefused),
    ],
)
def test_errors_by_their_words(message: str, start: bool, kind: type[Exception]) -> None:
    """The class decides whether the client resumes, gives up or blames the input."""
    error = error_from_message(message, start=start)
    assert type(error) is kind
    assert str(error) in message


def test_answer_to_another_request() -> None:
    """A response that belongs elsewhere must not be taken for the next frame."""
    exchange = Exchange("ada", "rgb", 4)
    exchange.push(SILENCE, emotion_vector(None))
    assert exchange.next_request(0.0) is not None
    response = service_pb2.ModelStreamInferResponse()
    response.infer_response.id = "5"
    with pytest.raises(OutOfOrder, match="request 5; expected 0"):
        exchange.receive(response, 0.1)


@pytest.mark.parametrize(
    ("avatar", "output", "in_flight", "words"),
    [
        ("", "rgb", 4, "AVATAR '' is no name"),
        ("ada", "png", 4, "'png'; expected one of rgb"),
        ("ada", "rgb", 0, "max_in_flight is 0"),
    ],
)
def test_sessions_that_cannot_be(avatar: str, output: Any, in_flight: int, words: str) -> None:
    """Refused where it is written, not at the first frame."""
    with pytest.raises(BadInput, match=words):
        Exchange(avatar, output, in_flight)


def test_history_is_bounded() -> None:
    """A session of an hour must not keep an hour of sound."""
    from facestream.session import Client
    from fake_triton import FakeTriton

    server = FakeTriton()
    try:
        with Client(server.url) as client, client.session("ada", "parameters") as session:
            for _ in session.stream(np.zeros(300 * CHUNK_SAMPLES, dtype=np.float32)):
                assert len(session._exchange._chunks) <= 20 + 4 + 1
    finally:
        server.stop()
