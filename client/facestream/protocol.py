"""The messages of a session: chunk of sound -> request, response -> frame. Pure functions, no connection.

The wire format is KServe's v2 inference protocol over gRPC as Triton extends it (`grpc_service.proto`,
`extension_sequence.md`): tensors travel as raw little-endian bytes, and `sequence_id`, `sequence_start` and
`sequence_end` as request parameters.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from facestream.avatar_name import encode_avatar_name
from facestream.contract import (
    AVATAR_NAME_BYTES,
    BAD_INPUT,
    CHUNK_SAMPLES,
    FRAME_RATE,
    FRAME_SIZE,
    H264_ENSEMBLE,
    PARAMETERS_ENSEMBLE,
    RGB_ENSEMBLE,
    SAMPLE_RATE,
    SESSION_LOST,
    SESSION_REFUSED,
)
from facestream.errors import (
    BadInput,
    FacestreamError,
    OutOfOrder,
    RequestRefused,
    ServerUnavailable,
    SessionError,
    SessionLost,
    SessionRefused,
)
from facestream.parameters import EMOTIONS, PARAMETERS, check_emotion
from facestream.quality import Quality, quality_of
from facestream.sound_survey import check_samples

Output = Literal["rgb", "h264", "parameters"]
Sound = NDArray[np.float32]


class Ensemble(NamedTuple):
    """One way out of the server: which model, what it takes beside the sound and what it gives."""

    model: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


ENSEMBLES: Final[Mapping[str, Ensemble]] = {
    "rgb": Ensemble(RGB_ENSEMBLE, ("AUDIO", "AVATAR", "EMOTION", "QUALITY"), ("FRAME", "QUALITY_USED", "FRAME_INDEX")),
    "h264": Ensemble(
        H264_ENSEMBLE,
        ("AUDIO", "AVATAR", "EMOTION", "QUALITY"),
        ("ACCESS_UNIT", "KEYFRAME", "QUALITY_USED", "FRAME_INDEX"),
    ),
    "parameters": Ensemble(PARAMETERS_ENSEMBLE, ("AUDIO", "EMOTION"), ("PARAMETERS", "VISEME", "FRAME_INDEX")),
}


def ensemble_of(output: str) -> Ensemble:
    """The ensemble that makes `output`; `BadInput` for another word."""
    if output not in ENSEMBLES:
        raise BadInput(f"output is '{output}'; expected one of {', '.join(ENSEMBLES)}")
    return ENSEMBLES[output]


_DTYPES: Final = {
    "UINT8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
    "INT64": np.dtype("<i8"),
    "FP32": np.dtype("<f4"),
}


@dataclass(frozen=True)
class Frame:
    """One frame of a session. Which of the payloads is set depends on the session's output."""

    index: int
    """0 for the frame that belongs to the first 800 samples."""
    latency_s: float
    """Seconds from sending the request that completed this frame to its arrival; the look-ahead is not in it."""
    picture: NDArray[np.uint8] | None = None
    """RGB, uint8 [512, 512, 3], read-only (output "rgb")."""
    packet: bytes | None = None
    """One H.264 access unit in Annex B form (output "h264")."""
    keyframe: bool = False
    """The packet can be decoded without those before it."""
    prelude: tuple[bytes, ...] = ()
    """Packets to decode before this one and not to show. Empty, except where a session was resumed: the decoder
    needs the replayed frames from the last keyframe on, the viewer has seen them."""
    parameters: NDArray[np.float32] | None = None
    """float32 [73], named by `facestream.parameters.PARAMETERS` (output "parameters")."""
    visemes: NDArray[np.float32] | None = None
    """float32 [n], probabilities (output "parameters")."""
    quality: Quality | None = None
    """The tier that it was drawn in, never AUTO (outputs "rgb" and "h264"). Between two tiers, the one that shows more
    of itself."""

    @property
    def time_s(self) -> float:
        """When to show it, seconds from the start of the sound."""
        return self.index / FRAME_RATE


class Answer(NamedTuple):
    """What one response says before the session puts it in its place."""

    frame_index: int
    tensors: Mapping[str, NDArray[Any]]


def emotion_vector(emotion: Mapping[str, float] | None) -> Sound:
    """EMOTION, float32 [8], from intensities by name; emotions that are not named are 0.

    Raises `BadInput` for a name that is none of `facestream.parameters.EMOTIONS` or an intensity outside of [0, 1].
    """
    intensities = dict.fromkeys(EMOTIONS, 0.0)
    for name, intensity in (emotion or {}).items():
        if name not in intensities:
            raise BadInput(f"emotion '{name}' is not known; expected one of {', '.join(EMOTIONS)}")
        intensities[name] = intensity
    try:
        check_emotion(list(intensities.values()))
    except ValueError as error:
        raise BadInput(str(error)) from error
    return np.array(list(intensities.values()), dtype=np.float32)


def quality_tier(name: str) -> Quality:
    """The tier of a name of `facestream.quality.NAMES`; `BadInput` for another word."""
    try:
        return quality_of(name)
    except ValueError as error:
        raise BadInput(str(error)) from error


def check_chunk(chunk: Sound) -> Sound:
    """Give back `chunk` as contiguous float32 [800]; `BadInput` unless it is that and float PCM."""
    if chunk.shape != (CHUNK_SAMPLES,) or chunk.dtype != np.float32:
        raise BadInput(f"chunk is {chunk.dtype} {list(chunk.shape)}; expected float32 [{CHUNK_SAMPLES}]")
    check_samples(chunk[:, np.newaxis], "chunk", SAMPLE_RATE)
    return np.ascontiguousarray(chunk)


def check_correlation_id(correlation_id: int) -> None:
    """Raise `BadInput` unless Triton takes the id: 0 means "no sequence" to it, and its gRPC reads 64 bits signed."""
    if not 0 < correlation_id < 2**63:
        raise BadInput(f"correlation id is {correlation_id}; expected 1 .. 2**63 - 1")


def build_request(
    output: Output,
    request_id: str,
    correlation_id: int,
    chunk: Sound,
    avatar: str,
    emotion: Sound,
    quality: Quality = Quality.AUTO,
    *,
    start: bool,
    end: bool,
) -> service_pb2.ModelInferRequest:
    """Make the request for one chunk.

    Args:
        output: Decides the ensemble and with it the tensors.
        request_id: Comes back with the response.
        correlation_id: Names the session, 1 .. 2**63 - 1.
        chunk: float32 [800], 24 kHz mono.
        avatar: Name of the avatar; not sent for output "parameters", which has no face.
        emotion: float32 [8].
        quality: How much work goes into the face; QUALITY, uint8 [1]. Not sent for output "parameters".
        start: First request of the sequence.
        end: Last request of the sequence.
    """
    check_correlation_id(correlation_id)
    ensemble = ENSEMBLES[output]
    name = encode_avatar_name(avatar) if "AVATAR" in ensemble.inputs else np.zeros(0, np.uint8)
    request = service_pb2.ModelInferRequest(model_name=ensemble.model, id=request_id)
    request.parameters["sequence_id"].int64_param = correlation_id
    request.parameters["sequence_start"].bool_param = start
    request.parameters["sequence_end"].bool_param = end
    tensors: dict[str, tuple[str, int, bytes]] = {
        "AUDIO": ("FP32", CHUNK_SAMPLES, chunk.astype("<f4", copy=False).tobytes()),
        "AVATAR": ("UINT8", AVATAR_NAME_BYTES, name.tobytes()),
        "EMOTION": ("FP32", len(EMOTIONS), emotion.astype("<f4", copy=False).tobytes()),
        "QUALITY": ("UINT8", 1, bytes([quality])),
    }
    for tensor in ensemble.inputs:
        datatype, size, raw = tensors[tensor]
        request.inputs.add(name=tensor, datatype=datatype, shape=[1, size])
        request.raw_input_contents.append(raw)
    for tensor in ensemble.outputs:
        request.outputs.add(name=tensor)
    return request


def parse_tensors(response: service_pb2.ModelInferResponse) -> dict[str, NDArray[Any]]:
    """All tensors of a response by name, without their batch dimension of 1; `SessionError` where they are none."""
    raw = response.raw_output_contents
    if len(raw) != len(response.outputs):
        raise SessionError(f"the server sent {len(response.outputs)} tensors and the bytes of {len(raw)}")
    tensors: dict[str, NDArray[Any]] = {}
    for tensor, data in zip(response.outputs, raw, strict=True):
        if tensor.datatype not in _DTYPES or not tensor.shape or tensor.shape[0] != 1:
            raise SessionError(f"{tensor.name} is {tensor.datatype} {list(tensor.shape)}; expected a batch of one")
        dtype = _DTYPES[tensor.datatype]
        if len(data) != math.prod(tensor.shape) * dtype.itemsize:
            raise SessionError(f"{tensor.name} {list(tensor.shape)} came with {len(data)} bytes")
        tensors[tensor.name] = np.frombuffer(data, dtype).reshape(tuple(tensor.shape)[1:])
    return tensors


def parse_response(output: Output, response: service_pb2.ModelInferResponse) -> Answer:
    """Take the tensors out of a response, without their batch dimension of 1.

    Raises `SessionError` where the response lacks a tensor or holds another one than the contract says.
    """
    tensors = parse_tensors(response)
    missing = [name for name in ENSEMBLES[output].outputs if name not in tensors]
    if missing:
        raise SessionError(f"the server's answer lacks {', '.join(missing)}; it has {', '.join(tensors) or 'nothing'}")
    shapes = {
        "FRAME": (FRAME_SIZE, FRAME_SIZE, 3),
        "PARAMETERS": (len(PARAMETERS),),
        "FRAME_INDEX": (1,),
        "QUALITY_USED": (1,),
        "KEYFRAME": (1,),
    }
    for name, shape in shapes.items():
        if name in tensors and tensors[name].shape != shape:
            raise SessionError(f"{name} is {list(tensors[name].shape)}; expected {list(shape)}")
    if "QUALITY_USED" in tensors and tensors["QUALITY_USED"][0] not in list(Quality)[1:]:
        raise SessionError(f"QUALITY_USED is {tensors['QUALITY_USED'][0]}; expected 1 to {max(Quality).value}")
    return Answer(int(tensors["FRAME_INDEX"][0]), tensors)


def make_frame(index: int, latency_s: float, tensors: Mapping[str, NDArray[Any]]) -> Frame:
    """Make the frame that a caller sees of an answer's tensors."""
    access_unit, keyframe, used = (tensors.get(name) for name in ("ACCESS_UNIT", "KEYFRAME", "QUALITY_USED"))
    return Frame(
        index=index,
        latency_s=latency_s,
        picture=tensors.get("FRAME"),
        packet=None if access_unit is None else access_unit.tobytes(),
        keyframe=keyframe is not None and bool(keyframe[0]),
        parameters=tensors.get("PARAMETERS"),
        visemes=tensors.get("VISEME"),
        quality=None if used is None else Quality(int(used[0])),
    )


def error_from_message(message: str, *, start: bool) -> FacestreamError:
    """Give the error for a refused request its class. Triton's stream carries a text and no code.

    Args:
        message: The server's own words; what Triton puts before a stage's words is left out.
        start: Whether the refused request opened the session.
    """
    kinds = {SESSION_LOST: SessionLost, SESSION_REFUSED: SessionRefused, BAD_INPUT: BadInput}
    for prefix, kind in kinds.items():
        if prefix in message:
            return kind(message[message.index(prefix) :])
    if "unknown model" in message or "is not ready" in message:  # model_repository_manager.cc
        return ServerUnavailable(message)
    if "Server is stopping" in message:  # a session outlives the drain; another server may have it
        return ServerUnavailable(message) if start else SessionLost(message)
    if "START flag" in message:  # sequence_batch_scheduler.cc: Triton does not know the sequence (any more)
        return SessionLost(message)
    return SessionRefused(message) if start else RequestRefused(message)


def check_index(received: int, expected: int) -> None:
    """Raise `OutOfOrder` unless the server's FRAME_INDEX is the one that comes next in its session."""
    if received != expected:
        raise OutOfOrder(f"the server sent FRAME_INDEX {received}; expected {expected}")
