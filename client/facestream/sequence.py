"""The state of live sessions in one stage: one entry for each correlation id, and its eviction.

Triton ends a sequence by itself after an idle time, a cancel or a lost connection, and tells the model nothing of it
(measured on 2.51). So each stage forgets by its own clock, a little later than Triton does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from facestream.contract import BAD_INPUT, SESSION_LOST, SESSION_REFUSED, STATE_IDLE_SECONDS

State = TypeVar("State")


class SequenceError(Exception):
    """A request that a stage refuses; its text is what the client sees."""

    kind = BAD_INPUT

    def __str__(self) -> str:
        return f"{self.kind}: {super().__str__()}"


class BadInput(SequenceError):
    """The request was refused and changed nothing."""


class SessionRefused(SequenceError):
    """The session did not begin."""

    kind = SESSION_REFUSED


class SessionLost(SequenceError):
    """The stage holds no fitting state for this session."""

    kind = SESSION_LOST


class FrameOrder:
    """Asserts that a session's frames reach a stage one after the other, none missing and none twice."""

    def __init__(self, first: int) -> None:
        self._next = first

    def check(self, frame_index: int) -> None:
        """Raises SessionLost where `frame_index` is not the next one."""
        if frame_index != self._next:
            raise SessionLost(f"frame {frame_index} arrived where frame {self._next} was due; begin anew with START")

    def advance(self) -> None:
        """The frame was answered."""
        self._next += 1


class SequenceTable(Generic[State]):
    """Sessions by correlation id. Safe to evict from another thread than the one that serves."""

    def __init__(
        self,
        create: Callable[[int], State],
        *,
        admit: Callable[[int], None] | None = None,
        most: int | None = None,
        idle_seconds: float = STATE_IDLE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`create` makes the state of a new session from its correlation id.

        `admit` is asked before a session begins that is not live here, with the number of those that are, and raises
        SessionRefused to keep it out. Left out, all are let in.

        Of more than `most` states the one that was used longest ago goes. Left out, all stay until they are idle.
        """
        self._create = create
        self._admit = admit
        self._most = most
        self._idle_seconds = idle_seconds
        self._clock = clock
        self._lock = threading.Lock()
        # State, time of its last request; the one used last stands last.
        self._live: dict[int, tuple[State, float]] = {}

    def __len__(self) -> int:
        return len(self._live)

    def peek(self, correlation_id: int) -> State | None:
        """The session's state, outside of a request and not to be changed; None where it is not live."""
        with self._lock:
            entry = self._live.get(correlation_id)
        return None if entry is None else entry[0]

    def evict_idle(self) -> int:
        """Forgets sessions idle for longer than `idle_seconds`; returns how many."""
        with self._lock:
            oldest = self._clock() - self._idle_seconds
            idle = [key for key, (_, used) in self._live.items() if used < oldest]
            for key in idle:
                del self._live[key]
            return len(idle)

    def begin(self, correlation_id: int | str, *, start: bool) -> State:
        """The session's state for one request, to be kept by `keep` where the request succeeds.

        A START makes a fresh state, which nobody else sees until then. It ends what was live under its id, even where
        it is refused later on: the stages before the one that refuses it have begun anew, perhaps with another face,
        and what is left of the old session must not go on behind them.

        Raises:
            BadInput: the correlation id is not a non-zero integer.
            SessionRefused: a START that is not admitted.
            SessionLost: no START, and no state under this id.
        """
        if not isinstance(correlation_id, int) or correlation_id == 0:
            raise BadInput(f"correlation id {correlation_id!r}, expected an unsigned 64-bit integer other than 0")
        if start:
            self.evict_idle()
        with self._lock:
            entry = self._live.get(correlation_id)
            live = len(self._live)
        if start:
            if entry is None and self._admit is not None:
                self._admit(live)
            self.forget(correlation_id)
            return self._create(correlation_id)
        if entry is None:
            raise SessionLost(
                f"session {correlation_id} is not live here (ended, idle for more than {self._idle_seconds:g} s, or "
                "pushed out by newer ones); begin anew with START"
            )
        return entry[0]

    def keep(self, correlation_id: int, state: State) -> None:
        """A request of the session succeeded, and this is its state."""
        with self._lock:
            self._live.pop(correlation_id, None)
            self._live[correlation_id] = (state, self._clock())
            if self._most is not None and len(self._live) > self._most:
                del self._live[next(iter(self._live))]

    def forget(self, correlation_id: int) -> None:
        """The session has ended."""
        with self._lock:
            self._live.pop(correlation_id, None)

    @contextmanager
    def request(self, correlation_id: int | str, *, start: bool, end: bool) -> Iterator[State]:
        """The session's state for the time of one request, raising what `begin` raises.

        A START makes a fresh state, which is kept only if the request succeeds: a refused one leaves none.
        END forgets the state, whatever becomes of a request that began.
        """
        state = self.begin(correlation_id, start=start)
        assert isinstance(correlation_id, int)
        try:
            yield state
            self.keep(correlation_id, state)
        finally:
            if end:
                self.forget(correlation_id)
