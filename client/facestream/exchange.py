"""The bookkeeping of one session, without a connection: what to send next, and what a response means.

The blocking session (`facestream.session`) and the one for asyncio (`facestream.aio`) both drive this, so order,
look-ahead, END and resuming have one implementation, which is tested without a network.

Chunks are numbered from 0. Request c completes frame c - LOOKAHEAD_FRAMES, so the first two answers carry no frame of
the sound (preroll), and two chunks of silence behind the last one bring its frames out: n chunks in, n frames out.

Resuming. The server keeps the state of a sequence; when a connection breaks or the server restarts, the state is gone.
`resume` opens the sequence anew, at most REPLAY_CHUNKS before the first frame that is still missing: the sound that
the speech encoder's window holds. The frames of the replay are dropped, those after them continue with the next index,
and no frame is given twice or left out. The mouth continues as if nothing had happened; blinks and the sway of the head
start anew, because they live in the server's state only. With H.264 the new stream begins with a keyframe inside of
the replay: it and what follows it up to the first missing frame travel in that frame's `prelude`.
"""

from __future__ import annotations

import math
import secrets
from collections import deque
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from tritonclient.grpc import service_pb2

from facestream.avatar_name import encode_avatar_name
from facestream.contract import CHUNK_SAMPLES, LOOKAHEAD_FRAMES, WINDOW_SAMPLES
from facestream.errors import BadInput, OutOfOrder, ServerUnavailable, SessionLost, SessionRefused
from facestream.protocol import (
    Frame,
    Output,
    Sound,
    build_request,
    check_chunk,
    check_correlation_id,
    check_index,
    emotion_vector,
    ensemble_of,
    error_from_message,
    make_frame,
    parse_response,
)
from facestream.quality import Quality

REPLAY_CHUNKS = math.ceil(WINDOW_SAMPLES / CHUNK_SAMPLES) - 1
"""Chunks before the one that completes a frame which the server needs for the same frame: 20."""


class _Chunk(NamedTuple):
    sound: Sound
    emotion: Sound
    quality: Quality


class _Sent(NamedTuple):
    request_id: str
    at: float
    start: bool
    end: bool


class Exchange:
    """One session's requests and responses in their order. Not thread-safe: its owner serialises the calls."""

    def __init__(self, avatar: str, output: Output, max_in_flight: int, correlation_id: int | None = None) -> None:
        if "AVATAR" in ensemble_of(output).inputs:
            try:
                encode_avatar_name(avatar)
            except ValueError as error:
                raise BadInput(str(error)) from error
        if max_in_flight < 1:
            raise BadInput(f"max_in_flight is {max_in_flight}; expected 1 or more")
        if correlation_id is not None:
            check_correlation_id(correlation_id)
        self.output = output
        self.max_in_flight = max_in_flight
        self.correlation_id = secrets.randbelow(2**63 - 1) + 1 if correlation_id is None else correlation_id
        self.finished = False
        """The answer to END has come: nothing is missing."""
        self._avatar = avatar
        self._chunks: deque[_Chunk] = deque()  # chunk number _first, _first + 1, ...
        self._first = 0
        self._origin = 0  # chunk that opened the server's present sequence
        self._next_send = 0  # chunk
        self._next_answer = 0  # chunk
        self._next_frame = 0  # the first frame that the caller lacks
        self._sent: deque[_Sent] = deque()
        self._requests = 0
        self._closing = False  # no more chunks will come
        self._start_sent = self._end_sent = False
        self._dropped: list[bytes] = []  # packets since the last dropped keyframe

    # --- sending ------------------------------------------------------------------------------------------------

    def push(self, sound: Sound, emotion: Sound, quality: Quality = Quality.AUTO) -> None:
        """Take the next chunk, float32 [800], the emotion, float32 [8], that it is to be spoken with, and the tier."""
        if self._closing:
            raise BadInput("the sound of this session has ended; open another session")
        self._chunks.append(_Chunk(check_chunk(sound), emotion, quality))

    def finish(self) -> None:
        """Say that the last chunk was pushed: silence follows for the look-ahead, with END on the last request."""
        if self._closing:
            return
        if self._chunks:
            silence = np.zeros(CHUNK_SAMPLES, dtype=np.float32)
            self._chunks.extend([self._chunks[-1]._replace(sound=silence)] * LOOKAHEAD_FRAMES)
        else:
            self.finished = True  # no sound, no frames: the server never hears of it
        self._closing = True

    def abandon(self) -> None:
        """Give up what was not sent yet. If the server knows the session, the next request is END."""
        self._closing = True
        last = self._next_send - self._first
        while len(self._chunks) > max(last, 0):
            self._chunks.pop()
        if self._start_sent and not self._end_sent:
            silence = np.zeros(CHUNK_SAMPLES, dtype=np.float32)
            last_chunk = self._chunks[-1] if self._chunks else _Chunk(silence, emotion_vector(None), Quality.AUTO)
            self._chunks.append(last_chunk._replace(sound=silence))
            self.max_in_flight = len(self._sent) + 1  # END does not wait for its turn
        elif not self._sent:
            self.finished = True

    def next_request(self, now: float) -> service_pb2.ModelInferRequest | None:
        """The request to send at time `now`, or None: nothing to send, or `max_in_flight` requests unanswered."""
        position = self._next_send - self._first
        if position >= len(self._chunks) or len(self._sent) >= self.max_in_flight:
            return None
        chunk = self._chunks[position]
        start = self._next_send == self._origin and not self._start_sent
        end = self._closing and position == len(self._chunks) - 1
        request_id = str(self._requests)
        request = build_request(
            self.output,
            request_id,
            self.correlation_id,
            chunk.sound,
            self._avatar,
            chunk.emotion,
            chunk.quality,
            start=start,
            end=end,
        )
        self._requests += 1
        self._next_send += 1
        self._start_sent |= start
        self._end_sent |= end
        self._sent.append(_Sent(request_id, now, start, end))
        return request

    @property
    def pending(self) -> int:
        """Chunks that are pushed and not answered: what waits here and what is in flight."""
        return self._first + len(self._chunks) - self._next_answer

    @property
    def oldest_sent_at(self) -> float | None:
        """When the oldest unanswered request was sent, in the clock of `next_request`."""
        return self._sent[0].at if self._sent else None

    @property
    def opened(self) -> bool:
        """The server has answered at least once in its present sequence."""
        return self._next_answer > self._origin

    # --- receiving ----------------------------------------------------------------------------------------------

    def receive(self, response: service_pb2.ModelStreamInferResponse, now: float) -> Frame | None:
        """Put a response in its place.

        Returns:
            The frame, or None for an answer without one (preroll, replay).

        Raises:
            ServerUnavailable: The server does not serve the model.
            SessionRefused: The session was not opened.
            SessionLost: The server does not know the session any more; `resume` may have it back.
            BadInput: One chunk was refused. It is as if it had not been pushed: the session goes on.
            RequestRefused: Like `BadInput`, for another reason than the input.
            OutOfOrder: The answer is not the next one.
        """
        if not self._sent:
            raise OutOfOrder("the server answered without a request")
        sent = self._sent.popleft()
        request_id = response.infer_response.id
        if request_id and request_id != sent.request_id:
            raise OutOfOrder(f"the server answered request {request_id}; expected {sent.request_id}")
        if response.error_message:
            error = error_from_message(response.error_message, start=sent.start)
            if not isinstance(error, (ServerUnavailable, SessionRefused, SessionLost)):
                self._forget_refused()
            self.finished |= sent.end  # Triton has closed the sequence, whatever became of its last request
            raise error
        answer = parse_response(self.output, response.infer_response)
        check_index(answer.frame_index, self._next_answer - self._origin - LOOKAHEAD_FRAMES)
        index = self._next_answer - LOOKAHEAD_FRAMES
        self._next_answer += 1
        self.finished |= sent.end
        if index < self._next_frame:
            self._drop(make_frame(index, now - sent.at, answer.tensors))
            return None
        frame = make_frame(index, now - sent.at, answer.tensors)
        if self._dropped and not frame.keyframe:
            frame = replace(frame, prelude=tuple(self._dropped))
        self._dropped.clear()
        self._next_frame += 1
        self._forget_old()
        return frame

    def resume(self) -> None:
        """Begin a new sequence that continues with the first missing frame. What was in flight is sent again."""
        self._sent.clear()
        self._dropped.clear()
        self._origin = max(self._first, self._next_frame + LOOKAHEAD_FRAMES - REPLAY_CHUNKS, 0)
        self._next_send = self._next_answer = self._origin
        self._start_sent = self._end_sent = False

    def _drop(self, frame: Frame) -> None:
        """Keep the packet of a frame that is not shown, because a later packet may refer to it."""
        if frame.packet:
            if frame.keyframe:
                self._dropped.clear()
            self._dropped.append(frame.packet)

    def _forget_old(self) -> None:
        """Forget the chunks that no replay can need any more."""
        keep = min(self._next_frame + LOOKAHEAD_FRAMES - REPLAY_CHUNKS, self._next_answer)
        while self._first < keep:
            self._chunks.popleft()
            self._first += 1

    def _forget_refused(self) -> None:
        """Take the refused chunk out: the server's count did not move, so the numbers behind it shift by one."""
        del self._chunks[self._next_answer - self._first]
        self._next_send -= 1
