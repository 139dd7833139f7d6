"""Turns at the voices, so that a text does not wait behind all those that came before it.

Speech is made some hundred times faster than it is heard, and a long text takes seconds of that. All texts are at work
at a time, and wait for each other piece by piece, in the order in which they ask.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from synthesizer import Synthesizer


class Turns:
    """So many pieces of sound are made at a time, whoever's they are."""

    def __init__(self, at_a_time: int) -> None:
        self._free = at_a_time
        self._waiting: deque[threading.Event] = deque()
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Waits until it is this thread's turn, which lasts as long as the context."""
        called: threading.Event | None = None
        with self._lock:
            if self._free:
                self._free -= 1
            else:
                called = threading.Event()
                self._waiting.append(called)
        if called is not None:
            called.wait()
        try:
            yield
        finally:
            with self._lock:
                if self._waiting:  # handed on: who has just had a turn cannot come before those who wait
                    self._waiting.popleft().set()
                else:
                    self._free += 1


class InTurn:
    """A voice that waits for its turn with each piece of sound."""

    def __init__(self, voice: Synthesizer, turns: Turns) -> None:
        self._voice = voice
        self._turns = turns
        self.sample_rate = voice.sample_rate

    def synthesize(self, text: str, speed: float) -> Iterator[NDArray[np.float32]]:
        """See `synthesizer.Synthesizer`."""
        with self._turns.turn():
            sound = self._voice.synthesize(text, speed)
        while True:
            with self._turns.turn():
                piece = next(sound, None)
            if piece is None:
                return
            yield piece
