"""What the blocking session and the one for asyncio hold in common: their state, and what an answer does to it.

How they wait, lock and run differs and is theirs: `facestream.session`, `facestream.aio`.
"""

from __future__ import annotations

import abc
import time
from collections import deque
from collections.abc import Mapping
from typing import Generic, Protocol, TypeVar

from tritonclient.grpc import service_pb2

from facestream.connection import Recovery, check_deadline
from facestream.errors import BadInput, FacestreamError, FrameTimeout, RequestRefused, SessionClosed
from facestream.exchange import Exchange
from facestream.protocol import Frame, emotion_vector, quality_tier


class RequestStream(Protocol):
    """The sending side of one gRPC call."""

    def send(self, request: service_pb2.ModelInferRequest) -> None:
        """Send a request, without waiting."""


Stream = TypeVar("Stream", bound=RequestStream)


class Conversation(abc.ABC, Generic[Stream]):
    """State of one session on the client's side. Not thread-safe: its owner serialises the calls."""

    def __init__(
        self,
        url: str,
        exchange: Exchange,
        emotion: Mapping[str, float] | None,
        quality: str,
        deadline: float,
        resume_seconds: float,
    ) -> None:
        self._url = url
        self._exchange = exchange
        self._emotion = emotion_vector(emotion)
        self._quality = quality_tier(quality)
        self._deadline = check_deadline(deadline)
        self._recovery = Recovery(url, resume_seconds)
        self._unread: deque[Frame | FacestreamError] = deque()
        self._stream: Stream | None = None
        self._error: BaseException | None = None
        self._closed = False
        self._hurried = False  # close does not wait for the server

    @abc.abstractmethod
    def _wind_down(self) -> None:
        """Tell the server END, once; who runs the session goes on until that is answered, or for DRAIN_SECONDS."""

    def _pump(self) -> None:
        """Send what may be sent."""
        if self._stream is None:
            return
        while (request := self._exchange.next_request(time.monotonic())) is not None:
            self._stream.send(request)

    def _raise_if_over(self) -> None:
        if self._error is not None:
            raise self._error
        if self._closed:
            raise SessionClosed("the session was closed")

    def _check_deadline(self) -> None:
        sent_at = self._exchange.oldest_sent_at
        if sent_at is not None and not self._closed and time.monotonic() >= sent_at + self._deadline:
            self._hurried = True
            self._fail(FrameTimeout(f"{self._url} did not answer a request within {self._deadline} s"))
            self._raise_if_over()

    def _fail(self, error: BaseException) -> None:
        """End the session with an error."""
        if not self._closed:
            self._error = error
        self._wind_down()

    def _receive(self, response: service_pb2.ModelStreamInferResponse) -> FacestreamError | None:
        """Take one response; gives an error if the session is lost by it and may be resumed."""
        try:
            frame = self._exchange.receive(response, time.monotonic())
        except FacestreamError as error:
            if self._closed:
                return None
            if isinstance(error, (BadInput, RequestRefused)) and self._exchange.opened:
                self._unread.append(error)
                return None
            if self._recovery.may_help(error):
                return error
            self._fail(error)
        else:
            # In a pause of the speaker no frame is missing: all that was asked for is answered.
            self._recovery.answered(progress=frame is not None or self._exchange.pending == 0)
            if frame is not None and not self._closed:
                self._unread.append(frame)
        return None
