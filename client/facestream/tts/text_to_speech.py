"""Text to sound, by the server's model `tts`: sentence by sentence, each asked for while the one before it is heard.

    for chunk in TextToSpeech("localhost:8001").speak("Hello. [happy] How nice to see you!"):
        play(chunk.sound)

Synthesis is faster than speech. At most two sentences are on their way: the one that the caller reads and the next. So
the memory, here and on the server, does not grow with the text, and a text may come while it is spoken, say from a
language model.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable, Mapping

import grpc
from tritonclient.grpc import service_pb2

from facestream.connection import describe
from facestream.errors import BadInput, FrameTimeout, ServerUnavailable, SessionLost
from facestream.protocol import emotion_vector
from facestream.session import GrpcStream
from facestream.tts.exchange import SpeechExchange, check_whole_text
from facestream.tts.protocol import SpokenChunk
from facestream.tts.sentences import sentences
from facestream.tts.tensors import check_speed, check_voice

AHEAD = 2
"""Sentences asked for and not yet heard to their end."""


class TextToSpeech:
    """A server's `tts`. Each text has a connection of its own.

    Args:
        url: host:port of the server's gRPC endpoint.
        deadline: Seconds that the server may take for the next chunk before `FrameTimeout`.
    """

    def __init__(self, url: str = "localhost:8001", deadline: float = 20.0) -> None:
        if deadline <= 0:
            raise BadInput(f"deadline is {deadline}; expected a positive number of seconds")
        self._url = url
        self._deadline = deadline

    def speak(
        self,
        text: str | Iterable[str],
        voice: str = "",
        speed: float = 1.0,
        emotion: Mapping[str, float] | None = None,
    ) -> Generator[SpokenChunk, None, None]:
        """Speak a text; gives its sound in chunks of 1/30 s as they come. To close it ends the speech.

        Args:
            text: With marks (`facestream.tts.marks`): whole, or in pieces of any lengths as they come. An iterable is
                read in a thread of its own and may wait for its source.
            voice: As the server knows it: a language of espeak-ng such as "en-us" or "de", or the name of a Piper
                voice; "": the server's own choice.
            speed: 0.5 to 2; 1 is the voice's own.
            emotion: In force until the text's first mark of an emotion.

        Raises:
            BadInput: At once, where a whole text is empty, too long or wrongly marked; at its place, for one that comes
                in pieces, and for a voice that the server does not know.
            ServerUnavailable: Nobody answers, or the server there has no model `tts`.
            SessionRefused: The server has no room, or lacks the engine; its message says which.
            FrameTimeout: The server did not answer in time.
        """
        exchange = SpeechExchange(check_voice(voice), check_speed(speed), emotion_vector(emotion))
        if isinstance(text, str):
            check_whole_text(text)
        return self._speak(text, exchange)

    def _speak(self, text: str | Iterable[str], exchange: SpeechExchange) -> Generator[SpokenChunk, None, None]:
        stream = GrpcStream(self._url)
        places = threading.Semaphore(AHEAD)
        left = threading.Event()  # the caller has stopped reading
        failures: list[BaseException] = []
        arrived: queue.SimpleQueue[service_pb2.ModelStreamInferResponse | grpc.RpcError | None] = queue.SimpleQueue()

        def send() -> None:
            try:
                for sentence in sentences(text):
                    places.acquire()
                    if left.is_set():
                        return
                    stream.send(exchange.request(sentence))
            except BaseException as error:  # of the text or of the caller's own iterable: told when its turn comes
                failures.append(error)
            finally:
                stream.end_requests()

        def receive() -> None:
            try:
                for response in stream.responses:
                    arrived.put(response)
                arrived.put(None)
            except grpc.RpcError as error:
                arrived.put(error)

        threading.Thread(target=send, name="facestream-text", daemon=True).start()
        threading.Thread(target=receive, name="facestream-speech", daemon=True).start()
        try:
            while (item := self._next(arrived, exchange)) is not None:
                if isinstance(item, grpc.RpcError):
                    raise ServerUnavailable(f"no speech from {self._url} ({describe(item)})") from item
                for chunk in exchange.receive(item):
                    if chunk is None:
                        places.release()
                    else:
                        yield chunk
            if failures:
                raise failures[0]
            if exchange.waiting:
                raise SessionLost(f"{self._url} closed the stream before the text was spoken to its end")
        finally:
            left.set()
            places.release()
            stream.close()

    def _next(
        self,
        arrived: queue.SimpleQueue[service_pb2.ModelStreamInferResponse | grpc.RpcError | None],
        exchange: SpeechExchange,
    ) -> service_pb2.ModelStreamInferResponse | grpc.RpcError | None:
        """The next response. Waits without a limit for a caller who has not written on, for the server has a limit."""
        while True:
            owed = exchange.waiting
            try:
                return arrived.get(timeout=self._deadline)
            except queue.Empty:
                if owed:
                    raise FrameTimeout(f"{self._url} did not go on speaking within {self._deadline:g} s") from None
