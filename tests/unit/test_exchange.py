"""A session's bookkeeping without a network: every place where it can be interrupted, one after the other."""

from __future__ import annotations

import re
from collections import deque
from typing import Any

import numpy as np
import pytest
from facestream.contract import CHUNK_SAMPLES, LOOKAHEAD_FRAMES
from facestream.errors import BadInput, RequestRefused
from facestream.exchange import Exchange
from facestream.protocol import Frame, emotion_vector
from fake_triton import FakeRepository, expected_sums

CHUNKS = 28
"""More than a window: the oldest chunks of a late replay are not those of the session's start."""

SOUND = np.random.default_rng(3).uniform(-1, 1, CHUNKS * CHUNK_SAMPLES).astype(np.float32)


def talk(
    server: FakeRepository, in_flight: int, *, lose_answer: int | None = None, abandon_at: int | None = None
) -> tuple[Exchange, list[Frame]]:
    """Run a session to its end, with several requests in flight.

    Args:
        server: Answers; None of it is a broken connection.
        in_flight: For the exchange.
        lose_answer: The connection breaks after the server has dealt with this request, before its answer arrives.
        abandon_at: Give up after so many answers.
    """
    exchange = Exchange("ada", "parameters", in_flight)
    left = deque(SOUND.reshape(-1, CHUNK_SAMPLES))
    frames: list[Frame] = []
    flying: deque[Any] = deque()
    answers = 0
    while not exchange.finished:
        while left and exchange.pending < in_flight:
            exchange.push(left.popleft(), emotion_vector(None))
        if not left:
            exchange.finish()
        while (request := exchange.next_request(0.0)) is not None:
            flying.append(request)
        assert flying, "nothing is sent and nothing is awaited"
        assert len(flying) <= exchange.max_in_flight
        number = len(server.seen)
        response = server.answer(flying.popleft(), 0)
        if response is None or number == lose_answer:
            server.sequences.clear()
            flying.clear()
            exchange.resume()
            continue
        frame = exchange.receive(response, 0.0)
        answers += 1
        if frame is not None:
            frames.append(frame)
        if answers == abandon_at:
            left.clear()
            exchange.abandon()
    return exchange, frames


def check(frames: list[Frame]) -> None:
    """All frames, in order, each from the right sound."""
    assert [frame.index for frame in frames] == list(range(CHUNKS))
    sums = [float(frame.parameters[0]) for frame in frames if frame.parameters is not None]
    np.testing.assert_allclose(sums, expected_sums(SOUND), atol=1e-2)


@pytest.mark.parametrize("in_flight", [1, 2, 5])
def test_connection_lost_at_any_request(in_flight: int) -> None:
    """Wherever the connection breaks, no frame is doubled, left out or made from other sound."""
    for broken in range(CHUNKS + LOOKAHEAD_FRAMES):
        server = FakeRepository()
        server.break_at = [broken]
        check(talk(server, in_flight)[1])


@pytest.mark.parametrize("in_flight", [1, 5])
def test_answer_lost_at_any_request(in_flight: int) -> None:
    """The server was further than the client knows, even at END."""
    for lost in range(CHUNKS + LOOKAHEAD_FRAMES):
        check(talk(FakeRepository(), in_flight, lose_answer=lost)[1])


def test_connection_lost_in_the_replay_too() -> None:
    """A network that comes and goes breaks the replay as well."""
    for first in range(0, 30, 7):
        for second in range(first + 1, first + 30, 3):
            server = FakeRepository()
            server.break_at = [first, second]
            check(talk(server, 3)[1])


@pytest.mark.parametrize("in_flight", [1, 2, 5])
def test_abandoned_after_any_answer(in_flight: int) -> None:
    """Whenever a session is given up, the server is told END, once, and holds nothing afterwards."""
    for answers in range(1, CHUNKS + LOOKAHEAD_FRAMES):
        server = FakeRepository()
        talk(server, in_flight, abandon_at=answers)
        assert [seen.end for seen in server.seen].count(True) == 1
        assert server.seen[-1].end
        assert not server.sequences


def test_abandoned_before_anything_was_sent() -> None:
    """Nothing was opened, so nothing is to be ended."""
    exchange = Exchange("ada", "parameters", 4)
    exchange.push(SOUND[:CHUNK_SAMPLES], emotion_vector(None))
    exchange.abandon()
    assert exchange.next_request(0.0) is None
    assert exchange.finished


@pytest.mark.parametrize(("message", "kind"), [("bad input: too loud", BadInput), ("no memory", RequestRefused)])
def test_chunk_refused_anywhere(message: str, kind: type[Exception]) -> None:
    """A refused chunk is as if it had not been sent: the rest is the film of the sound without it."""
    for refused in range(1, CHUNKS):
        server = FakeRepository()
        server.refuse = {refused: message}
        exchange = Exchange("ada", "parameters", 3)
        for chunk in SOUND.reshape(-1, CHUNK_SAMPLES):
            exchange.push(chunk, emotion_vector(None))
        exchange.finish()
        flying: deque[Any] = deque()
        frames, errors = [], 0
        while not exchange.finished:
            while (request := exchange.next_request(0.0)) is not None:
                flying.append(request)
            try:
                frame = exchange.receive(server.answer(flying.popleft(), 0), 0.0)
            except kind:
                errors += 1
                continue
            if frame is not None:
                frames.append(frame)
        assert errors == 1
        rest = np.delete(SOUND.reshape(-1, CHUNK_SAMPLES), refused, axis=0).reshape(-1)
        sums = [float(frame.parameters[0]) for frame in frames if frame.parameters is not None]
        np.testing.assert_allclose(sums, expected_sums(rest), atol=1e-2)
        assert [frame.index for frame in frames] == list(range(CHUNKS - 1))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"avatar": "../ada"}, "'../ada'"),
        ({"max_in_flight": 0}, "max_in_flight is 0; expected 1 or more"),
        ({"correlation_id": 0}, "0"),
        ({"correlation_id": 2**63}, str(2**63)),
    ],
)
def test_a_session_that_cannot_be_is_refused_before_its_sound(options: dict[str, Any], told: str) -> None:
    """By the error that callers catch, where they wrote it, and not in a thread once somebody speaks."""
    wanted: dict[str, Any] = {"avatar": "ada", "output": "rgb", "max_in_flight": 4, **options}
    with pytest.raises(BadInput, match=re.escape(told)):
        Exchange(**wanted)
