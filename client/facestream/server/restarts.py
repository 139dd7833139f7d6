"""Whether a server that has died is started again, and how soon."""

from __future__ import annotations

from collections import deque

WINDOW_SECONDS = 600.0
"""Restarts are counted over so long; one that is older is forgotten."""

MAX_RESTARTS = 5
"""Restarts within WINDOW_SECONDS; a server that dies more often has a fault that a start does not mend."""

MAX_FAILED_STARTS = 2
"""Starts in a row that fail. One may meet a port that is not free yet; two have a reason that lasts."""

LONGEST_DELAY_SECONDS = 30.0


class Restarts:
    """Counts deaths and failed starts. The first restart comes at once, the next after 1, 2, 4 ... seconds."""

    def __init__(self, limit: int = MAX_RESTARTS) -> None:
        """limit: restarts within WINDOW_SECONDS."""
        self.limit = limit
        self._at: deque[float] = deque()
        self._failed_starts = 0

    @property
    def count(self) -> int:
        """Restarts within the last WINDOW_SECONDS, the one that was granted last included."""
        return len(self._at)

    def started(self) -> None:
        """Note a start that succeeded."""
        self._failed_starts = 0

    def after_failed_start(self, now: float) -> float | None:
        """Like `after_death`, for a restart that failed."""
        self._failed_starts += 1
        return None if self._failed_starts >= MAX_FAILED_STARTS else self.after_death(now)

    def after_death(self, now: float) -> float | None:
        """Seconds to wait before the server is started again; None: not any more. `now` is a monotonic clock's."""
        while self._at and self._at[0] <= now - WINDOW_SECONDS:
            self._at.popleft()
        if len(self._at) >= self.limit:
            return None
        self._at.append(now)
        earlier = len(self._at) - 1
        return min(2.0 ** (earlier - 1), LONGEST_DELAY_SECONDS) if earlier else 0.0
