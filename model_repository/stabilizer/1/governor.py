"""Chooses the tiers of the sessions that leave it to the server, by what the stage measures of its own load.

The stage serves all sessions in turn, so what counts is the share of each second that it is at work. A refiner that
takes a session's tier above FAST adds its own time, 30 times a second. From time to time:

- Too busy, or frames that come later than their turn: the session that rose last goes down a tier, before frames are
  late; when the stage is overrun, all do.
- Calm for long enough, and room for what one more refiner costs: the session that has waited longest rises by a tier.
  A rise that had to be taken back makes the next one wait twice as long.

All that it knows of time comes from `clock`, so a test can be the load.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from facestream.contract import FRAME_RATE
from facestream.quality import Quality

BUSY: Final = 0.70
"""Share of time at work above which a session goes down a tier."""
OVERRUN: Final = 0.95
"""Share of time at work above which all sessions do."""
CALM: Final = 0.50
"""Share of time at work that must not be passed with one more session a tier higher."""
REFINER_SECONDS: Final = 0.4 / FRAME_RATE
"""A single call of a refiner that takes longer than this leaves too little of the 33.3 ms to the other stages."""
LATE_SHARE: Final = 0.05
"""Share of late frames above which a session goes down a tier."""

PERIOD_SECONDS: Final = 0.25
"""Decisions are so far apart."""
WINDOW_SECONDS: Final = 1.0
"""Time constant of the measured shares."""
PATIENCE_SECONDS: Final = 5.0
"""Calm must last so long before a session rises, and after any change."""
LONGEST_PATIENCE_SECONDS: Final = 120.0
GONE_SECONDS: Final = 2.0
"""A session that is silent for so long weighs nothing: nobody tells the stage of a lost client."""


@dataclass
class _Session:
    tier: Quality = Quality.FAST
    seen: float = 0.0
    first: float = 0.0
    rose: float = float("-inf")
    frames: int = 0
    due: float | None = None  # when the next frame is due at the pace of speech
    tiers: list[Quality] = field(default_factory=list)


class Governor:
    """The tiers of all sessions with quality `auto` in one stage. Not thread-safe: the stage's own thread calls it."""

    def __init__(self, limit: Quality, clock: Callable[[], float] = time.monotonic) -> None:
        """`limit` is the best tier that it gives."""
        self.limit = limit
        self._clock = clock
        self._sessions: dict[int, _Session] = {}
        now = clock()
        self._decided = self._changed = self._calm_since = now
        self._patience = PATIENCE_SECONDS
        self._working = 0.0  # seconds at work since the last decision
        self._slowest: dict[Quality, float] = {}  # seconds of the slowest call since the last decision
        self._cost: dict[Quality, float] = {}  # seconds for a frame, mean
        self._frames = self._late = 0
        self.load = 0.0
        """Share of time at work."""
        self.late_share = 0.0
        """Share of frames that came more than a frame after their turn."""

    # --- what the stage tells -------------------------------------------------------------------------------------

    def frame(self, session: int, offered: Sequence[Quality]) -> Quality:
        """A frame of a session with quality `auto` is here: the tier to draw it in, one of `offered`."""
        now = self._clock()
        entry = self._sessions.get(session)
        if entry is None or now - entry.seen > GONE_SECONDS:
            entry = self._sessions[session] = _Session(first=now)
        self._pace(entry, now)
        entry.seen = now
        entry.tiers = [tier for tier in offered if tier <= self.limit]
        if now - self._decided >= PERIOD_SECONDS:
            self._decide(now)
        return max((tier for tier in entry.tiers if tier <= entry.tier), default=Quality.FAST)

    def end(self, session: int) -> None:
        """The session has ended or asks for a tier by name."""
        self._sessions.pop(session, None)

    def refined(self, tier: Quality, frames: int, seconds: float) -> None:
        """A refiner was called for a batch of frames."""
        each = seconds / frames
        self._cost[tier] = each if tier not in self._cost else 0.9 * self._cost[tier] + 0.1 * each
        self._slowest[tier] = max(self._slowest.get(tier, 0.0), seconds)

    def worked(self, seconds: float) -> None:
        """The stage was at work, refiners included."""
        self._working += seconds

    # --- within ---------------------------------------------------------------------------------------------------

    def _pace(self, entry: _Session, now: float) -> None:
        """Count the frame as late if its session keeps the pace of speech and it came a frame after its turn.

        Who sends faster is never late; a pause is no lateness, but begins a new count of time.
        """
        interval = 1.0 / FRAME_RATE
        if entry.due is None or now < entry.due or now - entry.due > GONE_SECONDS / 4:
            entry.due = now
        self._frames += 1
        self._late += now - entry.due > interval
        # A clock of its own that runs a little behind forgives a sender whose clock is slower than ours.
        entry.due += interval * 1.01

    def _decide(self, now: float) -> None:
        passed = now - self._decided
        self._decided = now
        share = min(passed / WINDOW_SECONDS, 1.0)
        self.load += share * (self._working / passed - self.load)
        self.late_share += share * ((self._late / self._frames if self._frames else 0.0) - self.late_share)
        slow = [tier for tier, seconds in self._slowest.items() if seconds > REFINER_SECONDS]
        self._working, self._frames, self._late = 0.0, 0, 0
        self._slowest = {}
        for key in [key for key, entry in self._sessions.items() if now - entry.seen > GONE_SECONDS]:
            del self._sessions[key]

        raised = [entry for entry in self._sessions.values() if entry.tier > Quality.FAST]
        if raised and self.load > OVERRUN:
            self._fall(raised, now)
        elif raised and (self.load > BUSY or self.late_share > LATE_SHARE):
            self._fall([max(raised, key=lambda entry: entry.rose)], now)
        elif slow and any(entry.tier in slow for entry in raised):
            self._fall([entry for entry in raised if entry.tier in slow], now)
        elif self.load > CALM or self.late_share > 0.5 * LATE_SHARE:
            self._calm_since = now
        elif now - max(self._calm_since, self._changed) >= self._patience:
            self._rise(now)

    def _fall(self, entries: list[_Session], now: float) -> None:
        """Take these sessions a tier down."""
        if any(now - entry.rose < 2.0 * self._patience for entry in entries):
            self._patience = min(2.0 * self._patience, LONGEST_PATIENCE_SECONDS)
        for entry in entries:
            entry.tier = max((tier for tier in entry.tiers if tier < entry.tier), default=Quality.FAST)
        self._changed = self._calm_since = now
        # What was measured belongs to the load before; the new one needs a moment to show.
        self.load = min(self.load, BUSY)
        self.late_share = 0.0

    def _rise(self, now: float) -> None:
        """Take the session that has waited longest a tier up, if there is room for it."""
        waiting = [entry for entry in self._sessions.values() if any(tier > entry.tier for tier in entry.tiers)]
        if not waiting:
            return
        entry = min(waiting, key=lambda entry: (entry.tier, entry.first))
        tier = min(tier for tier in entry.tiers if tier > entry.tier)
        cost = self._cost.get(tier, 0.0) - self._cost.get(entry.tier, 0.0)
        if self._cost.get(tier, 0.0) > REFINER_SECONDS:
            # Measured as too slow: forgotten by a tenth each time it is asked for, so a try comes again one day.
            self._cost[tier] *= 0.9
            self._changed = now
            return
        if self.load + FRAME_RATE * cost > CALM:
            return
        if now - self._changed > 4.0 * self._patience:
            self._patience = PATIENCE_SECONDS
        entry.tier, entry.rose = tier, now
        self._changed = now
