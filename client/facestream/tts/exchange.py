"""The bookkeeping of one spoken text, without a connection: what to ask for next, and what a response means."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2

from facestream.errors import BadInput, OutOfOrder
from facestream.tts.marks import check_text, parse
from facestream.tts.protocol import (
    SpokenChunk,
    build_speech_request,
    build_stop_request,
    is_final,
    parse_speech_response,
)

MAX_CHARACTERS = 1_000_000
"""Of a text that is given whole: about 18 hours of speech."""


def check_whole_text(text: str) -> None:
    """Raise `BadInput`, which says what and where, unless the whole text can be spoken."""
    if len(text) > MAX_CHARACTERS:
        raise BadInput(f"the text has {len(text):,} characters; expected at most {MAX_CHARACTERS:,}")
    check_text(text)
    if not any(passage.text or passage.pause_s for passage in list(parse(text))):  # all of it is to be looked at
        raise BadInput("the text holds marks, but nothing to speak")


class SpeechExchange:
    """One text's requests and responses in their order. Sending and receiving may be done by different threads."""

    def __init__(self, voice: str, speed: float, emotion: NDArray[np.float32]) -> None:
        """The arguments are those of `facestream.tts.protocol.build_speech_request`."""
        self._voice = voice
        self._speed = speed
        self._emotion = emotion
        self._speech_id = 1 + secrets.randbelow(2**63 - 1)
        self._sent: deque[str] = deque()  # sentences whose answers are not complete
        self._requests = 0
        self._answered = 0
        self._begun = False
        self._early: deque[service_pb2.ModelStreamInferResponse] = deque()  # of later requests

    @property
    def begun(self) -> bool:
        """Whether the server has answered with sound, or with a sentence's end."""
        return self._begun

    @property
    def waiting(self) -> bool:
        """Whether the server owes an answer."""
        return bool(self._sent)

    def request(self, sentence: str) -> service_pb2.ModelInferRequest:
        """The request for the next sentence; `BadInput` for one that cannot be spoken."""
        check_text(sentence)
        request = build_speech_request(
            str(self._requests), sentence, self._voice, self._speed, self._emotion, self._speech_id
        )
        for passage in parse(sentence, self._emotion):
            self._emotion = passage.emotion
        self._requests += 1
        self._sent.append(sentence)
        return request

    def stop_request(self) -> service_pb2.ModelInferRequest:
        """The request that ends what the server is speaking. Nothing may be sent behind it, and no answer matters."""
        return build_stop_request(str(self._requests), self._speech_id)

    def receive(self, response: service_pb2.ModelStreamInferResponse) -> Iterator[SpokenChunk | None]:
        """Take one response; gives the chunks that are due, and None at the end of each sentence.

        The server works on several sentences at a time: what comes too early waits here for its turn.

        Raises what the server tells of the sentence that is due, and `OutOfOrder` for an answer to nothing.
        """
        self._early.append(response)
        number = 0
        while number < len(self._early):
            response = self._early[number]
            found = response.infer_response.id
            if found and found != str(self._answered):
                if not found.isdigit() or not self._answered < int(found) < self._requests:
                    raise OutOfOrder(f"the server answered request {found}; expected {self._answered}")
                number += 1
                continue
            del self._early[number]
            chunk = parse_speech_response(response)
            self._begun = True
            if chunk is not None:
                yield chunk._replace(sentence=self._sent[0])
            if is_final(response):
                self._answered += 1
                self._sent.popleft()
                yield None
                number = 0
