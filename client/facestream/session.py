"""The blocking client: sound goes in, frames come out, over one gRPC stream for each session.

    with Client("localhost:8001") as client, client.session(avatar="ada") as session:
        for frame in session.stream(speech):
            show(frame.picture, at=frame.time_s)

Several requests are in flight at a time, so the server's stages work in parallel; the frames come in order all the
same. How order, look-ahead, END and resuming after a lost connection work is told in `facestream.exchange`.

A session ends by itself: at the end of the sound, when the loop over its frames is left early, on errors and at the end
of the `with` block. The server is always told END. A session that ends early waits for what is in flight (some frames)
instead of cancelling the gRPC call, because cancelled calls leave a Triton sequence open until it times out.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from queue import SimpleQueue
from types import TracebackType
from typing import Any

import grpc
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2, service_pb2_grpc

from facestream.audio import SoundSource, chunks, pace
from facestream.connection import DRAIN_SECONDS, channel_options, describe
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

MAX_UNREAD_FRAMES = 3 * FRAME_RATE
"""`Session.send` refuses more sound while so many frames wait to be read."""


class Client:
    """A server's address, and the sessions with it.

    Args:
        url: host:port of the server's gRPC endpoint. Raises `BadInput` for what is none.
    """

    def __init__(self, url: str = "localhost:8001") -> None:
        self.url = url
        self._channel = grpc.insecure_channel(url, options=channel_options(url))
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection for questions to the server. Sessions have their own and are not touched."""
        self._channel.close()

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
        """Open a session; the server hears of it with the first chunk.

        Args:
            avatar: Name of an avatar of the server. Output "parameters" needs none.
            output: "rgb": pictures; "h264": packets; "parameters": the 73 face parameters and no picture.
            emotion: Intensities from 0 to 1 by the names in `facestream.parameters.EMOTIONS`.
            quality: How much work goes into the face: "fast", "standard", "high", or "auto" for the best that the
                server's load allows. `Frame.quality` tells what it was. A tier that the server lacks is refused with
                `BadInput`. Output "parameters" has no face, and none of it.
            max_in_flight: Requests on the way at a time. More of them hide a slower network, and let `set_emotion`
                and `cancel` take effect later.
            deadline: Seconds that the server may take for one frame before `FrameTimeout`.
            resume_seconds: How long to try to have a lost session back before `SessionLost`; 0: not at all.
            correlation_id: Names the session on the server, 1 .. 2**63 - 1; no two live sessions may share one. It also
                seeds blinks and head movement: the same sound under the same id gives the same frames. None: random.
        """
        exchange = Exchange(avatar, output, max_in_flight, correlation_id)
        return Session(self.url, exchange, emotion, quality, deadline, resume_seconds)

    def check_ready(self, output: Output = "rgb", timeout: float = 2.0) -> None:
        """Raise `ServerUnavailable` unless a server answers and serves what `output` needs."""
        model = ensemble_of(output).model
        try:
            ready = self._stub.ModelReady(service_pb2.ModelReadyRequest(name=model), timeout=timeout).ready
        except grpc.RpcError as error:
            raise ServerUnavailable(f"no answer from {self.url} ({describe(error)})") from error
        if not ready:
            raise ServerUnavailable(f"the server at {self.url} is up, but its model '{model}' is not ready")

    def statistics(self, timeout: float = 5.0) -> service_pb2.ModelStatisticsResponse:
        """Triton's counters of all models since the server's start: `facestream.report` subtracts two of them."""
        try:
            return self._stub.ModelStatistics(service_pb2.ModelStatisticsRequest(), timeout=timeout)
        except grpc.RpcError as error:
            raise ServerUnavailable(f"no statistics from {self.url} ({describe(error)})") from error


class GrpcStream:
    """One gRPC call of ModelStreamInfer on a channel of its own."""

    def __init__(self, url: str) -> None:
        self._requests: SimpleQueue[service_pb2.ModelInferRequest | None] = SimpleQueue()
        self._channel = grpc.insecure_channel(url, options=channel_options(url))
        stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)
        self.responses = stub.ModelStreamInfer(iter(self._requests.get, None))

    def send(self, request: service_pb2.ModelInferRequest) -> None:
        self._requests.put(request)

    def end_requests(self) -> None:
        self._requests.put(None)

    def close(self) -> None:
        self._requests.put(None)  # lets gRPC's thread that waits for requests end
        self.responses.cancel()
        self._channel.close()


class Session(Conversation[GrpcStream]):
    """One conversation with one avatar. Made by `Client.session`; a context manager; safe to use from several threads.

    `stream` is all that most callers need. Live sources use `send`, `frames` and `finish`.
    """

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
        # All that changes in a session is guarded by this; whoever waits for a change of it, waits here.
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._ending = threading.Event()  # set with _closed: ends a pause between two attempts to connect

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- for callers --------------------------------------------------------------------------------------------

    def stream(self, sound: SoundSource, realtime: bool = False) -> Iterator[Frame]:
        """Send sound and give its frames as they come: n chunks of 800 samples in, n frames out, in order.

        Args:
            sound: float or int16/int32 [n], mono at 24 kHz, or an iterable of such arrays of any lengths. An iterable
                is read in a thread of its own and may wait for its source, say a microphone or a speech synthesiser.
            realtime: Send it at the speed of speech instead of as fast as the server takes it.

        Leaving the loop early ends the session. A session has one stream; open another session for another one.
        """
        with self._changed:
            if self._thread or self._closed:
                raise SessionClosed("this session has had its sound; open another session")
            self._start()
        source = pace(sound) if realtime else chunks(sound)
        threading.Thread(target=self._feed, args=(source,), name="facestream-sound", daemon=True).start()
        try:
            yield from self.frames()
        finally:
            self.close()

    def send(self, chunk: NDArray[Any]) -> None:
        """Send one chunk, float32 [800]; waits while `max_in_flight` requests are unanswered.

        Raises `BadInput`, what ended the session, or `Overrun` if the frames are not read.
        """
        with self._changed:
            if len(self._unread) >= MAX_UNREAD_FRAMES:
                raise Overrun(f"{len(self._unread)} frames wait to be read; read them with frames()")
        self._push(chunk, lambda: self._exchange.pending)

    def finish(self) -> None:
        """Say that the sound is over: `frames` gives the frames that are still missing and then ends."""
        with self._changed:
            self._exchange.finish()
            self._pump()
            self._changed.notify_all()

    def frames(self, wait: bool = True) -> Iterator[Frame]:
        """Give frames as they come.

        Args:
            wait: Wait for the next one until the session is over. Otherwise give those that are here, and return.

        Raises:
            BadInput, RequestRefused: One chunk was refused; the session goes on and `frames` may be called again.
            FacestreamError: The session is over; see `facestream.errors`.
        """
        while True:
            with self._changed:
                while not self._unread:
                    self._raise_if_over()
                    if self._exchange.finished:
                        return
                    if not wait:
                        self._check_deadline()
                        return
                    self._wait()
                item = self._unread.popleft()
                self._changed.notify_all()
            if not isinstance(item, Frame):
                raise item
            yield item

    def set_emotion(self, emotion: Mapping[str, float] | None) -> None:
        """Change the emotion for the sound that is sent from now on."""
        vector = emotion_vector(emotion)
        with self._changed:
            self._emotion = vector

    def set_quality(self, quality: QualityName) -> None:
        """Change the quality from the sound on that is sent next; the server fades to it within 8 frames.

        Where the server lacks the tier, each chunk sent with it is refused: `frames` raises `BadInput`, the session
        goes on, and another `set_quality` mends it.
        """
        tier = quality_tier(quality)
        with self._changed:
            self._quality = tier

    def cancel(self) -> None:
        """End the session now, from any thread; who waits for a frame gets `SessionClosed`. Waits for nothing."""
        with self._changed:
            self._hurried = True
            self._wind_down()

    def close(self) -> None:
        """End the session. Waits until the server has confirmed it, at most 2 s; may be called again."""
        with self._changed:
            self._wind_down()
            thread = None if self._hurried else self._thread
        if thread and thread is not threading.current_thread():
            thread.join(DRAIN_SECONDS + 0.5)

    # --- within -------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._stream = GrpcStream(self._url)
        thread = threading.Thread(target=self._run, name="facestream-session", daemon=True)
        thread.start()
        self._thread = thread

    def _feed(self, source: Iterator[Sound]) -> None:
        """Thread: send what `stream` was given, as fast as the server answers and the caller reads."""
        try:
            for chunk in source:
                self._push(chunk, lambda: self._exchange.pending + len(self._unread))
            self.finish()
        except BaseException as error:  # of the caller's own iterable: it belongs to whoever reads the frames
            with self._changed:
                self._fail(error)

    def _push(self, chunk: Sound, load: Callable[[], int]) -> None:
        with self._changed:
            self._raise_if_over()
            if self._thread is None:
                self._start()
            while load() >= self._exchange.max_in_flight:
                self._wait()
                self._raise_if_over()
            self._exchange.push(chunk, self._emotion, self._quality)
            self._pump()
            self._changed.notify_all()

    def _wait(self) -> None:
        """Wait for a change, but not past the deadline of the oldest request in flight."""
        sent_at = self._exchange.oldest_sent_at
        self._changed.wait(None if sent_at is None else max(0.0, sent_at + self._deadline - time.monotonic()))
        self._check_deadline()

    def _wind_down(self) -> None:
        """Tell the server END; the session's thread goes on until that is answered, or for DRAIN_SECONDS."""
        if self._closed:
            return
        self._closed = True
        self._exchange.abandon()
        self._pump()
        self._ending.set()
        if self._error is None:
            self._unread.clear()
        self._end_stream()
        self._changed.notify_all()

    def _end_stream(self) -> None:
        """Close our side of the stream; a server that does not close its own within DRAIN_SECONDS is left."""
        stream, thread = self._stream, self._thread
        if stream is None or thread is None:
            return
        stream.end_requests()

        def reap() -> None:
            thread.join(DRAIN_SECONDS)
            stream.close()

        threading.Thread(target=reap, name="facestream-reaper", daemon=True).start()

    def _run(self) -> None:
        """Thread: receive; connect again after a loss."""
        try:
            self._receive_and_resume()
        except BaseException as error:  # no thread left for another connection: who waits for frames is to hear of it
            with self._changed:
                self._fail(error)

    def _receive_and_resume(self) -> None:
        while (stream := self._stream) is not None:
            reason = self._receive_all(stream)
            stream.close()
            with self._changed:
                self._stream = None
                self._changed.notify_all()
                if self._closed or self._exchange.finished:
                    return
                try:
                    delay = self._recovery.next_attempt(reason, time.monotonic())
                except FacestreamError as error:
                    self._fail(error)
                    return
                self._exchange.resume()
            self._ending.wait(delay)
            with self._changed:
                if not self._closed:
                    self._stream = GrpcStream(self._url)
                    self._pump()

    def _receive_all(self, stream: GrpcStream) -> FacestreamError | grpc.RpcError:
        """Receive until the stream ends or the server's state is lost; gives the reason."""
        try:
            for response in stream.responses:
                with self._changed:
                    loss = self._receive(response)
                    if loss is not None:
                        return loss
                    if self._exchange.finished and not self._closed:
                        self._end_stream()
                    self._pump()
                    self._changed.notify_all()
        except grpc.RpcError as error:
            return error
        return SessionLost("the server closed the stream")
