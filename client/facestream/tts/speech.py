"""A speech under way: what `facestream.tts.text_to_speech.TextToSpeech.speak` gives.

It ends politely. A caller who leaves in mid-text has the server told to stop, and the connection is closed once the
server has said its last word, because a gRPC call that is cancelled while Triton writes the answers of a decoupled
model can crash Triton (2.51). Only where that word does not come in time is the call cancelled.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Generator, Iterable, Iterator

import grpc
from tritonclient.grpc import service_pb2

from facestream.connection import describe
from facestream.errors import FrameTimeout, ServerUnavailable, SessionLost
from facestream.session import GrpcStream
from facestream.tts.exchange import SpeechExchange
from facestream.tts.protocol import SpokenChunk
from facestream.tts.sentences import sentences

AHEAD = 2
"""Sentences asked for and not yet heard to their end."""

LAST_WORD_SECONDS = 5.0
"""How long a caller who leaves waits for the server to stop before the call is cancelled. It takes milliseconds, except
on a server that is out of breath, which is no reason to crash it."""


class Speech(Iterator[SpokenChunk]):
    """The sound of a text in chunks of 1/30 s, as they come. The server hears of it with the first `next`.

    To be read by one thread; may be closed by any. One that is dropped unread is closed by Python's garbage collector.
    """

    def __init__(self, url: str, deadline: float, text: str | Iterable[str], exchange: SpeechExchange) -> None:
        """The arguments are those of `TextToSpeech` and its `speak`, checked."""
        self._call = _Call(url, deadline, text, exchange)
        self._chunks = self._call.chunks()
        self._turn = threading.RLock()

    def __iter__(self) -> Speech:
        return self

    def __next__(self) -> SpokenChunk:
        with self._turn:
            return next(self._chunks)

    def __enter__(self) -> Speech:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the speech; who waits for a chunk gets StopIteration. Waits for the server's last word."""
        self._call.leave()
        with self._turn, contextlib.suppress(ValueError):  # of a signal handler's call within __next__: it ends itself
            self._chunks.close()


class _Left:
    """Stands in the queue of responses where the caller has left."""


class _Call:
    """The gRPC call. Nothing here refers to the `Speech`, whose end must not wait for threads of its own."""

    def __init__(self, url: str, deadline: float, text: str | Iterable[str], exchange: SpeechExchange) -> None:
        self._url = url
        self._deadline = deadline
        self._text = text
        self._exchange = exchange
        self._places = threading.Semaphore(AHEAD)
        self._left = threading.Event()  # the caller has stopped reading
        self._sending = threading.Lock()
        self._all_sent = False
        self._failures: list[BaseException] = []
        self._arrived: queue.SimpleQueue[service_pb2.ModelStreamInferResponse | grpc.RpcError | _Left | None] = (
            queue.SimpleQueue()
        )

    def leave(self) -> None:
        """Nobody wants more chunks."""
        self._left.set()
        self._arrived.put(_Left())

    def chunks(self) -> Generator[SpokenChunk, None, None]:
        stream = GrpcStream(self._url)
        threading.Thread(target=self._send, args=(stream,), name="facestream-text", daemon=True).start()
        receiver = threading.Thread(target=self._receive, args=(stream,), name="facestream-speech", daemon=True)
        receiver.start()
        try:
            while not self._left.is_set() and (item := self._next()) is not None:
                if isinstance(item, _Left):
                    return
                if isinstance(item, grpc.RpcError):
                    if self._all_sent and not self._exchange.waiting:
                        break  # a server that stops once all is said
                    raise self._loss(item) from item
                for chunk in self._exchange.receive(item):
                    if chunk is None:
                        self._places.release()
                        self._finish(stream)
                    else:
                        yield chunk
                    if self._left.is_set():
                        return
            if self._failures:
                raise self._failures[0]
            if self._exchange.waiting and not self._left.is_set():
                raise SessionLost(f"{self._url} closed the stream before the text was spoken to its end")
        finally:
            self._end(stream, receiver)

    def _end(self, stream: GrpcStream, receiver: threading.Thread) -> None:
        """Tell the server to stop where it is still speaking, and close the connection when it has said its last."""
        with self._sending:  # no text is sent behind this
            self._left.set()
            if self._exchange.waiting and receiver.is_alive():
                stream.send(self._exchange.stop_request())
        self._places.release()
        stream.end_requests()
        try:
            receiver.join(LAST_WORD_SECONDS)
        finally:
            stream.close()

    def _send(self, stream: GrpcStream) -> None:
        """Thread: ask for the sentences, each when there is room for it."""
        try:
            for sentence in sentences(self._text):
                self._places.acquire()
                with self._sending:
                    if self._left.is_set():
                        return
                    stream.send(self._exchange.request(sentence))
        except BaseException as error:  # of the text or of the caller's own iterable: told when its turn comes
            self._failures.append(error)
        finally:
            self._all_sent = True
            self._finish(stream)

    def _finish(self, stream: GrpcStream) -> None:
        """Close our side of the call once all is heard; before that it may yet have to carry the word to stop."""
        with self._sending:
            if self._all_sent and not self._exchange.waiting:
                stream.end_requests()

    def _receive(self, stream: GrpcStream) -> None:
        """Thread: take what comes."""
        try:
            for response in stream.responses:
                self._arrived.put(response)
            self._arrived.put(None)
        except grpc.RpcError as error:
            self._arrived.put(error)

    def _next(self) -> service_pb2.ModelStreamInferResponse | grpc.RpcError | _Left | None:
        """The next response. Waits without a limit for a caller who has not written on, for the server has a limit."""
        while True:
            owed = self._exchange.waiting
            try:
                return self._arrived.get(timeout=self._deadline)
            except queue.Empty:
                if owed:
                    raise FrameTimeout(f"{self._url} did not go on speaking within {self._deadline:g} s") from None

    def _loss(self, error: grpc.RpcError) -> ServerUnavailable | SessionLost:
        """What a broken call means: nobody was there, or whoever spoke is gone."""
        if not self._exchange.begun:
            return ServerUnavailable(f"no speech from {self._url} ({describe(error)})")
        return SessionLost(
            f"the server at {self._url} was lost in mid-text ({describe(error)}); "
            "have what was not heard spoken again once it answers"
        )
