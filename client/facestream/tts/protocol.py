"""The messages of the model `tts`: text -> request, response -> sound. Pure functions, no connection.

`tts` is decoupled: one request is answered with any number of responses, each the AUDIO and EMOTION of one request to
an ensemble, and then with an empty one that carries the parameter `triton_final_response`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from facestream.contract import CHUNK_SAMPLES, SPEECH_MODEL
from facestream.errors import SessionError
from facestream.parameters import EMOTIONS
from facestream.protocol import error_from_message, parse_tensors
from facestream.tts.tensors import check_speed, encode_text, encode_voice


class SpokenChunk(NamedTuple):
    """The sound of one video frame, and the emotion that it is to be spoken with."""

    sound: NDArray[np.float32]
    """float32 [800], 24 kHz mono."""
    emotion: NDArray[np.float32]
    """EMOTION, float32 [8]."""
    sentence: str = ""
    """What is being said, marks included: for captions."""


def build_speech_request(
    request_id: str, text: str, voice: str, speed: float, emotion: NDArray[np.float32], speech_id: int = 0
) -> service_pb2.ModelInferRequest:
    """Make the request for one text.

    Args:
        request_id: Comes back with every response.
        text: At most TEXT_BYTES of UTF-8; may hold marks (`facestream.tts.marks`).
        voice: As the server knows it; '': its own choice.
        speed: 0.5 to 2; 1 is the voice's own.
        emotion: float32 [8], in force until the text's first mark of an emotion.
        speech_id: What `build_stop_request` ends it by, 1 .. 2**63 - 1, random: whoever knows it can end it. 0: none.
    """
    return _build(
        request_id,
        {
            "TEXT": ("UINT8", encode_text(text)),
            "VOICE": ("UINT8", encode_voice(voice)),
            "SPEED": ("FP32", np.array([check_speed(speed)], np.float32)),
            "EMOTION": ("FP32", emotion.astype("<f4", copy=False)),
            "SPEECH_ID": ("INT64", np.array([speech_id], "<i8")),
        },
    )


def build_stop_request(request_id: str, speech_id: int) -> service_pb2.ModelInferRequest:
    """Make the request that ends all texts sent with this `speech_id`: what is left of their answers does not come.

    To be sent on the stream of those texts, behind them. Each of them, and this request, still gets its final response.
    """
    return _build(
        request_id,
        {
            "TEXT": ("UINT8", encode_text("")),
            "SPEECH_ID": ("INT64", np.array([speech_id], "<i8")),
            "STOP": ("BOOL", np.array([True])),
        },
    )


def _build(request_id: str, tensors: Mapping[str, tuple[str, NDArray[np.generic]]]) -> service_pb2.ModelInferRequest:
    request = service_pb2.ModelInferRequest(model_name=SPEECH_MODEL, id=request_id)
    request.parameters["triton_enable_empty_final_response"].bool_param = True
    for name, (datatype, tensor) in tensors.items():
        request.inputs.add(name=name, datatype=datatype, shape=[1, tensor.size])
        request.raw_input_contents.append(tensor.tobytes())
    return request


def parse_speech_response(response: service_pb2.ModelStreamInferResponse) -> SpokenChunk | None:
    """The sound in a response; None in the last one, which is empty. Raises the error that the server tells."""
    if response.error_message:
        raise error_from_message(response.error_message, start=False)
    answer = response.infer_response
    if not answer.outputs:
        return None
    tensors = parse_tensors(answer)
    shapes = {"AUDIO": (CHUNK_SAMPLES,), "EMOTION": (len(EMOTIONS),)}
    for name, shape in shapes.items():
        if name not in tensors or tensors[name].shape != shape:
            found = list(tensors[name].shape) if name in tensors else "missing"
            raise SessionError(f"{name} of the model '{SPEECH_MODEL}' is {found}; expected {list(shape)}")
    return SpokenChunk(tensors["AUDIO"], tensors["EMOTION"])


def is_final(response: service_pb2.ModelStreamInferResponse) -> bool:
    """Whether no further response to the same request comes."""
    return bool(response.infer_response.parameters["triton_final_response"].bool_param)
