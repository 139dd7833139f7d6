"""Requests to the server one by one, as wrong as a test wants them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
import numpy as np
import soundfile
from facestream.contract import CHUNK_SAMPLES
from facestream.protocol import Output, build_request, emotion_vector, parse_response
from tritonclient.grpc import service_pb2, service_pb2_grpc

Edit = Callable[[service_pb2.ModelInferRequest], None]


class Refusal(Exception):
    """The server's words."""


@dataclass
class Wire:
    """One session by unary calls: each waits for its answer."""

    stub: service_pb2_grpc.GRPCInferenceServiceStub
    correlation_id: int
    avatar: str
    output: Output = "rgb"
    sent: int = field(default=0)

    def send(
        self,
        sound: np.ndarray,
        *,
        start: bool | None = None,
        end: bool = False,
        avatar: str | None = None,
        emotion: np.ndarray | None = None,
        edit: Edit | None = None,
    ) -> dict[str, np.ndarray]:
        """The answer's tensors; raises Refusal. The first request is the START unless told otherwise."""
        request = build_request(
            self.output,
            str(self.sent),
            self.correlation_id,
            sound,
            avatar or self.avatar,
            emotion_vector(None) if emotion is None else emotion,
            start=self.sent == 0 if start is None else start,
            end=end,
        )
        if edit:
            edit(request)
        try:
            response = self.stub.ModelInfer(request, timeout=20)
        except grpc.RpcError as error:
            raise Refusal(error.details()) from None
        self.sent += 1
        return dict(parse_response(self.output, response).tensors)

    def talk(self, sounds: np.ndarray, *, end: bool = True) -> list[dict[str, np.ndarray]]:
        """A whole session, one chunk (CHUNK_SAMPLES,) after the other."""
        return [self.send(sound, end=end and i == len(sounds) - 1) for i, sound in enumerate(sounds)]


@contextmanager
def connect(url: str) -> Iterator[service_pb2_grpc.GRPCInferenceServiceStub]:
    with grpc.insecure_channel(url, options=[("grpc.max_receive_message_length", -1)]) as channel:
        yield service_pb2_grpc.GRPCInferenceServiceStub(channel)


def chunks(path: str, first: int, count: int) -> np.ndarray:
    """(count, CHUNK_SAMPLES) of a sound file of 24 kHz, from chunk `first` on."""
    sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
    assert rate == 24_000
    part: np.ndarray = sound[first * CHUNK_SAMPLES : (first + count) * CHUNK_SAMPLES, 0]
    return part.reshape(count, CHUNK_SAMPLES)
