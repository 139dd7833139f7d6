"""A stand-in for the model repository, as scripted by a test, by itself and behind a real gRPC server in this process.

Its PARAMETERS[0] is the sum of the last WINDOW_SAMPLES of the sequence's sound: a client that loses, repeats or
reorders sound gets another number, and so does one that resumes with too little of it.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import grpc
import numpy as np
from facestream.contract import CHUNK_SAMPLES, FRAME_SIZE, LOOKAHEAD_FRAMES, SPEECH_MODEL, WINDOW_SAMPLES
from facestream.tts.marks import parse
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2, service_pb2_grpc

KEYFRAME, DELTA = b"\0\0\0\1\x65", b"\0\0\0\1\x41"


class Seen(NamedTuple):
    """One request as the server got it."""

    correlation_id: int
    start: bool
    end: bool
    sound: NDArray[np.float32]
    avatar: str | None
    emotion: NDArray[np.float32]
    quality: int | None
    connection: int


@dataclass
class _Sequence:
    heard: deque[NDArray[np.float32]] = field(default_factory=lambda: deque(maxlen=21))
    steps: int = 0
    quality: int | None = None


def expected_sums(sound: NDArray[np.float32]) -> list[float]:
    """What PARAMETERS[0] is for each frame of `sound`, [n * 800]."""
    chunks = len(sound) // CHUNK_SAMPLES
    padded = np.concatenate([np.zeros(WINDOW_SAMPLES), sound, np.zeros(LOOKAHEAD_FRAMES * CHUNK_SAMPLES)])
    ends = [WINDOW_SAMPLES + (frame + LOOKAHEAD_FRAMES + 1) * CHUNK_SAMPLES for frame in range(chunks)]
    return [float(padded[end - WINDOW_SAMPLES : end].sum()) for end in ends]


class FakeRepository:
    """Answers requests. Script it through the attributes; read `seen` afterwards."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.refuse_start: list[str] = []
        """One message for each START that is to be refused."""
        self.refuse: dict[int, str] = {}
        """Request number (over all connections) -> message."""
        self.break_at: list[int] = []
        """Request numbers (over all connections) at which the connection breaks instead of an answer."""
        self.break_at_sound: bytes | None = None
        """Sound of the requests at which the connection breaks, each time that they come."""
        self.forget_at: list[int] = []
        """Request numbers (over all connections) before which the server drops its state."""
        self.skip_index_at: int | None = None
        self.sequences: dict[int, _Sequence] = {}

    def answer(self, request: Any, connection: int) -> Any:
        """The response to one request; None where the connection is to break."""
        seen = _read(request, connection)
        number = len(self.seen)
        self.seen.append(seen)
        if number in self.break_at or seen.sound.tobytes() == self.break_at_sound:
            self.sequences.clear()
            return None
        if number in self.forget_at:
            self.sequences.clear()
        response = service_pb2.ModelStreamInferResponse()
        response.infer_response.id = request.id
        if seen.start and self.refuse_start:
            response.error_message = self.refuse_start.pop(0)
            return response
        if number in self.refuse:
            response.error_message = self.refuse[number]
            return response
        if seen.start:
            self.sequences[seen.correlation_id] = _Sequence()
        sequence = self.sequences.get(seen.correlation_id)
        if sequence is None:
            response.error_message = "in ensemble 'avatar', session lost: session is not live here"
            return response
        sequence.heard.append(seen.sound)
        sequence.steps += 1
        sequence.quality = seen.quality
        index = sequence.steps - 1 - LOOKAHEAD_FRAMES
        if number == self.skip_index_at:
            index += 1
        if seen.end:
            del self.sequences[seen.correlation_id]
        _write(response.infer_response, request.model_name, index, sequence)
        return response


class FakeTriton(FakeRepository, service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]  # generated
    """The repository behind gRPC; `most_waiting` is the largest number of requests that waited for an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.connections = 0
        self.most_waiting = 0
        self.gate = threading.Event()
        """The server answers only while it is set."""
        self.gate.set()
        self.drop_connections = threading.Event()
        """Set: the next connection that waits for a request breaks, its sequences with it."""
        self.seconds = 0.0
        """Time for one answer."""
        self.seconds_for_word = 0.0
        self.statistics = service_pb2.ModelStatisticsResponse()
        self.texts: list[str] = []
        """What the model tts was asked to speak."""
        self.refuse_text: dict[str, str] = {}
        """Text -> message."""
        self.stops: list[int] = []
        """SPEECH_ID of each request to stop."""
        self.cancelled = 0
        """Calls whose client did not wait for their end."""
        self._lock = threading.Lock()
        self._server = grpc.server(futures.ThreadPoolExecutor(16))
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self._server)
        self.url = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        self.gate.set()
        self._server.stop(0.2).wait()

    def ModelReady(self, request: Any, context: Any) -> Any:
        return service_pb2.ModelReadyResponse(ready=request.name != "avatar_h264")

    def speech(self, request: Any, stopped: threading.Event) -> Iterator[Any]:
        """One chunk for each word, which holds a hundredth of the word's length."""
        raw = _tensors(request)
        if "STOP" in raw:
            yield speech_response(request.id)
            return
        text = raw["TEXT"].rstrip(b"\0").decode()
        self.texts.append(text)
        if text in self.refuse_text:
            yield service_pb2.ModelStreamInferResponse(error_message=self.refuse_text[text])
            return
        for passage in parse(text, np.frombuffer(raw["EMOTION"], "<f4")):
            for word in passage.text.split():
                if stopped.wait(self.seconds_for_word):
                    break
                yield speech_response(request.id, np.full(CHUNK_SAMPLES, len(word) / 100, np.float32), passage.emotion)
        yield speech_response(request.id)

    def ModelStatistics(self, request: Any, context: Any) -> Any:
        return self.statistics

    def ModelStreamInfer(self, request_iterator: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        with self._lock:
            self.connections += 1
            connection = self.connections
        waiting: deque[Any] = deque()
        done, stopped = threading.Event(), threading.Event()

        def read() -> None:
            try:
                for request in request_iterator:
                    raw = _tensors(request)
                    if "STOP" in raw:
                        self.stops.append(int(np.frombuffer(raw["SPEECH_ID"], "<i8")[0]))
                        stopped.set()
                    waiting.append(request)
                    self.most_waiting = max(self.most_waiting, len(waiting))
            except Exception:
                pass
            done.set()

        ended = threading.Event()

        def gone() -> None:
            if not ended.is_set():
                self.cancelled += 1

        context.add_callback(gone)
        threading.Thread(target=read, daemon=True).start()
        while not (done.is_set() and not waiting) and context.is_active():
            if self.drop_connections.is_set():
                self.sequences.clear()
                self.drop_connections.clear()
                context.abort(grpc.StatusCode.UNAVAILABLE, "the network is gone")
            if not waiting or not self.gate.is_set():
                time.sleep(0.001)
                continue
            time.sleep(self.seconds)
            request = waiting[0]
            if request.model_name == SPEECH_MODEL:
                yield from self.speech(request, stopped)
                waiting.popleft()
                continue
            with self._lock:
                response = self.answer(request, connection)
            waiting.popleft()
            if response is None:
                context.abort(grpc.StatusCode.UNAVAILABLE, "the network is gone")
            yield response
        if context.is_active():
            ended.set()


def speech_response(
    request_id: str, sound: NDArray[np.float32] | None = None, emotion: NDArray[np.float32] | None = None
) -> Any:
    """A response of the model tts; the final one without `sound`."""
    response = service_pb2.ModelStreamInferResponse()
    response.infer_response.id = request_id
    response.infer_response.parameters["triton_final_response"].bool_param = sound is None
    if sound is not None:
        emotion = np.zeros(8, np.float32) if emotion is None else emotion
        for name, array in (("AUDIO", sound), ("EMOTION", emotion)):
            response.infer_response.outputs.add(name=name, datatype="FP32", shape=[1, *array.shape])
            response.infer_response.raw_output_contents.append(array.tobytes())
    return response


def _tensors(request: Any) -> dict[str, bytes]:
    return dict(zip([tensor.name for tensor in request.inputs], request.raw_input_contents, strict=True))


def _read(request: Any, connection: int) -> Seen:
    raw = _tensors(request)
    parameters = request.parameters
    return Seen(
        correlation_id=parameters["sequence_id"].int64_param,
        start=parameters["sequence_start"].bool_param,
        end=parameters["sequence_end"].bool_param,
        sound=np.frombuffer(raw["AUDIO"], "<f4"),
        avatar=raw["AVATAR"].rstrip(b"\0").decode() if "AVATAR" in raw else None,
        emotion=np.frombuffer(raw["EMOTION"], "<f4"),
        quality=raw["QUALITY"][0] if "QUALITY" in raw else None,
        connection=connection,
    )


def _write(response: Any, model: str, index: int, sequence: _Sequence) -> None:
    def add(name: str, datatype: str, array: NDArray[Any]) -> None:
        response.outputs.add(name=name, datatype=datatype, shape=[1, *array.shape])
        response.raw_output_contents.append(array.tobytes())

    add("FRAME_INDEX", "INT64", np.array([index], dtype=np.int64))
    if model != "avatar_parameters":
        add("QUALITY_USED", "UINT8", np.array([sequence.quality or 1], dtype=np.uint8))
    if model == "avatar":
        add("FRAME", "UINT8", np.full((FRAME_SIZE, FRAME_SIZE, 3), sequence.steps % 256, dtype=np.uint8))
    elif model == "avatar_h264":
        first = sequence.steps == 1
        packet = (KEYFRAME if first else DELTA) + bytes([sequence.steps])
        add("ACCESS_UNIT", "UINT8", np.frombuffer(packet, dtype=np.uint8))
        add("KEYFRAME", "BOOL", np.array([first]))
    else:
        window = np.concatenate(sequence.heard)[-WINDOW_SAMPLES:]
        parameters = np.zeros(73, dtype=np.float32)
        parameters[0] = window.sum()
        add("PARAMETERS", "FP32", parameters)
        add("VISEME", "FP32", np.zeros(12, dtype=np.float32))
