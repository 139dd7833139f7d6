"""The client for asyncio: the twin of `facestream.session`, same names, same behaviour, same exchange of messages.

async with Client("localhost:8001") as client, client.session(avatar="ada") as session:
    async for frame in session.stream(speech):
        show(frame.picture, at=frame.time_s)
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Any

import grpc
import grpc.aio
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2, service_pb2_grpc

from facestream.audio import Chunker, SoundSource, chunks
from facestream.connection import DRAIN_SECONDS, channel_options, check_url, describe
from facestream.contract import FRAME_RATE
from facestream.conversation import Conversation
from facestream.errors import (
    FacestreamError,
    Overrun,
    ServerUnavailable,
    SessionClosed,
    SessionLost,
)
from facestream.exchange import Exchange
from facestream.protocol import Frame, Output, Sound, emotion_vector, ensemble_of, quality_tier
from facestream.quality import QualityName
from facestream.session import MAX_UNREAD_FRAMES

AsyncSoundSource = SoundSource | AsyncIterable[NDArray[Any]]


class Client:
    """A server's address, and the sessions with it. See `facestream.session.Client`."""

    def __init__(self, url: str = "localhost:8001") -> None:
        self.url = check_url(url)
        self._channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection for questions to the server. Sessions have their own and are not touched."""
        if self._channel is not None:
            await self._channel.close()

    def session(
        self,
        avatar: str = "",
        output: Output = "rgb",
        emotion: Mapping[str, float] | None = None,
        quality: QualityName = "auto",
        max_in_flight: int = 4,
        deadline: float = 10.0,
        resume_seconds: float = 5.0,
        correlation_id: int | None = None,
    ) -> Session:
        """Open a session; the arguments are those of `facestream.session.Client.session`."""
        exchange = Exchange(avatar, output, max_in_flight, correlation_id)
        return Session(self.url, exchange, emotion, quality, deadline, resume_seconds)

    async def check_ready(self, output: Output = "rgb", timeout: float = 2.0) -> None:
        """Raise `ServerUnavailable` unless a server answers and serves what `output` needs."""
        model = ensemble_of(output).model
        try:
            answer = await self._stub().ModelReady(service_pb2.ModelReadyRequest(name=model), timeout=timeout)
        except grpc.RpcError as error:
            raise ServerUnavailable(f"no answer from {self.url} ({describe(error)})") from error
        if not answer.ready:
            raise ServerUnavailable(f"the server at {self.url} is up, but its model '{model}' is not ready")

    async def statistics(self, timeout: float = 5.0) -> service_pb2.ModelStatisticsResponse:
        """Triton's counters of all models since the server's start: `facestream.report` subtracts two of them."""
        try:
            return await self._stub().ModelStatistics(service_pb2.ModelStatisticsRequest(), timeout=timeout)
        except grpc.RpcError as error:
            raise ServerUnavailable(f"no statistics from {self.url} ({describe(error)})") from error

    def _stub(self) -> service_pb2_grpc.GRPCInferenceServiceStub:
        if self._channel is None:  # not in __init__: a channel belongs to the loop that runs when it is made
            self._channel = grpc.aio.insecure_channel(self.url, options=channel_options(self.url))
        return service_pb2_grpc.GRPCInferenceServiceStub(self._channel)


class _Stream:
    """One gRPC call of ModelStreamInfer on a channel of its own."""

    def __init__(self, url: str) -> None:
        self._requests: asyncio.Queue[service_pb2.ModelInferRequest | None] = asyncio.Queue()
        self._channel = grpc.aio.insecure_channel(url, options=channel_options(url))
        stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self.responses = stub.ModelStreamInfer(self._read_requests())

    async def _read_requests(self) -> AsyncIterator[service_pb2.ModelInferRequest]:
        while (request := await self._requests.get()) is not None:
            yield request

    def send(self, request: service_pb2.ModelInferRequest) -> None:
        self._requests.put_nowait(request)

    def end_requests(self) -> None:
        self._requests.put_nowait(None)

    async def close(self) -> None:
        self.end_requests()
        self.responses.cancel()
        await self._channel.close()


class Session(Conversation[_Stream]):
    """One conversation with one avatar. Made by `Client.session`; belongs to the loop that first uses it."""

    def __init__(
        self,
        url: str,
        exchange: Exchange,
        emotion: Mapping[str, float] | None,
        quality: str,
        deadline: float,
        resume_seconds: float,
    ) -> None:
        super().__init__(url, exchange, emotion, quality, deadline, resume_seconds)
        self._waiters: list[asyncio.Future[None]] = []  # of those who wait for a change of what is here
        self._task: asyncio.Task[None] | None = None
        self._reaper: asyncio.Task[None] | None = None  # held, because the loop itself holds tasks weakly

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # --- for callers --------------------------------------------------------------------------------------------

    async def stream(self, sound: AsyncSoundSource, realtime: bool = False) -> AsyncIterator[Frame]:
        """Send sound and give its frames as they come: n chunks of 800 samples in, n frames out, in order.

        Args:
            sound: As for `facestream.session.Session.stream`, or an async iterable of arrays. A plain iterable must not
                block: it is read in the event loop.
            realtime: Send it at the speed of speech instead of as fast as the server takes it.

        Leaving the loop early ends the session (under `async with` at once, else when Python closes the generator).
        """
        if self._task or self._closed:
            raise SessionClosed("this session has had its sound; open another session")
        self._start()
        feeder = asyncio.create_task(self._feed(sound, realtime))
        try:
            async for frame in self.frames():
                yield frame
        finally:
            self._wind_down()
            feeder.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await feeder
            await self.close()

    async def send(self, chunk: NDArray[Any]) -> None:
        """Send one chunk, float32 [800]; waits while `max_in_flight` requests are unanswered.

        Raises `BadInput`, what ended the session, or `Overrun` if the frames are not read.
        """
        if len(self._unread) >= MAX_UNREAD_FRAMES:
            raise Overrun(f"{len(self._unread)} frames wait to be read; read them with frames()")
        await self._push(chunk, lambda: self._exchange.pending)

    async def finish(self) -> None:
        """Say that the sound is over: `frames` gives the frames that are still missing and then ends."""
        self._exchange.finish()
        self._pump()
        self._notify()

    async def frames(self, wait: bool = True) -> AsyncIterator[Frame]:
        """Give frames as they come; arguments and errors are those of `facestream.session.Session.frames`."""
        while True:
            while not self._unread:
                self._raise_if_over()
                if self._exchange.finished:
                    return
                if not wait:
                    self._check_deadline()
                    return
                await self._wait()
            item = self._unread.popleft()
            self._notify()
            if not isinstance(item, Frame):
                raise item
            yield item

    def set_emotion(self, emotion: Mapping[str, float] | None) -> None:
        """Change the emotion for the sound that is sent from now on."""
        self._emotion = emotion_vector(emotion)

    def set_quality(self, quality: QualityName) -> None:
        """Change the quality from the sound on that is sent next; see `facestream.session.Session.set_quality`."""
        self._quality = quality_tier(quality)

    def cancel(self) -> None:
        """End the session now; who waits for a frame gets `SessionClosed`. Waits for nothing."""
        self._hurried = True
        self._wind_down()

    async def close(self) -> None:
        """End the session. Waits until the server has confirmed it, at most 2 s; may be called again."""
        self._wind_down()
        if self._task is not None and not self._hurried:
            await asyncio.wait([self._task], timeout=DRAIN_SECONDS + 0.5)

    # --- within -------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._stream = _Stream(self._url)
        self._task = asyncio.create_task(self._run())

    async def _feed(self, sound: AsyncSoundSource, realtime: bool) -> None:
        """Task: send what `stream` was given, as fast as the server answers and the caller reads."""
        begin, number = 0.0, 0
        try:
            async for chunk in _chunks(sound):
                if realtime:
                    begin = begin or time.monotonic()
                    await asyncio.sleep(begin + number / FRAME_RATE - time.monotonic())
                await self._push(chunk, lambda: self._exchange.pending + len(self._unread))
                number += 1
            await self.finish()
        except asyncio.CancelledError:  # of what the iterable waits for, if the session is not closed
            self._fail(SessionClosed("the source of the sound was cancelled"))
        except BaseException as error:  # of the caller's own iterable: it belongs to whoever reads the frames
            self._fail(error)

    async def _push(self, chunk: Sound, load: Callable[[], int]) -> None:
        self._raise_if_over()
        if self._task is None:
            self._start()
        while load() >= self._exchange.max_in_flight:
            await self._wait()
            self._raise_if_over()
        self._exchange.push(chunk, self._emotion, self._quality)
        self._pump()
        self._notify()

    async def _wait(self) -> None:
        """Wait for a change, but not past the deadline of the oldest request in flight."""
        sent_at = self._exchange.oldest_sent_at
        timeout = None if sent_at is None else max(0.0, sent_at + self._deadline - time.monotonic())
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await asyncio.wait([waiter], timeout=timeout)
        self._check_deadline()

    def _notify(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    def _wind_down(self) -> None:
        """Tell the server END; the session's task goes on until that is answered, or for DRAIN_SECONDS."""
        if self._closed:
            return
        self._closed = True
        self._exchange.abandon()
        self._pump()
        if self._error is None:
            self._unread.clear()
        self._end_stream()
        self._notify()

    def _end_stream(self) -> None:
        """Close our side of the stream; a server that does not close its own within DRAIN_SECONDS is left."""
        stream, task = self._stream, self._task
        if stream is None or task is None:
            return
        stream.end_requests()

        async def reap() -> None:
            await asyncio.wait([task], timeout=DRAIN_SECONDS)
            await stream.close()

        self._reaper = asyncio.create_task(reap())

    async def _run(self) -> None:
        """Task: receive; connect again after a loss."""
        try:
            await self._receive_and_resume()
        except Exception as error:  # no file left for another connection: who waits for frames is to hear of it
            self._fail(error)

    async def _receive_and_resume(self) -> None:
        while (stream := self._stream) is not None:
            reason = await self._receive_all(stream)
            self._stream = None
            await stream.close()
            self._notify()
            if self._closed or self._exchange.finished:
                return
            try:
                delay = self._recovery.next_attempt(reason, time.monotonic())
            except FacestreamError as error:
                self._fail(error)
                return
            self._exchange.resume()
            await asyncio.sleep(delay)
            if not self._closed:
                self._stream = _Stream(self._url)
                self._pump()

    async def _receive_all(self, stream: _Stream) -> FacestreamError | grpc.RpcError:
        """Receive until the stream ends or the server's state is lost; gives the reason."""
        try:
            async for response in stream.responses:
                loss = self._receive(response)
                if loss is not None:
                    return loss
                if self._exchange.finished and not self._closed:
                    self._end_stream()
                self._pump()
                self._notify()
        except grpc.RpcError as error:
            return error
        except asyncio.CancelledError:
            if not self._closed:  # the task itself was cancelled, not the call by `reap`
                raise
        return SessionLost("the server closed the stream")


async def _chunks(sound: AsyncSoundSource) -> AsyncIterator[Sound]:
    """Cut sound into chunks float32 [800]; like `facestream.audio.chunks`, but from async iterables too."""
    if not isinstance(sound, np.ndarray) and isinstance(sound, AsyncIterable):
        chunker = Chunker()
        async for samples in sound:
            for chunk in chunker.push(samples):
                yield chunk
        for chunk in chunker.flush():
            yield chunk
    else:
        for chunk in chunks(sound):
            yield chunk
            await asyncio.sleep(0)  # a long plain iterable lets the frames through
