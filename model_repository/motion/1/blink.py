"""Blinks at human statistics."""

from __future__ import annotations

import numpy as np
from facestream.contract import FRAME_RATE

LID_COURSE = (0.45, 0.95, 1.0, 0.80, 0.48, 0.22, 0.07)
"""Closure of the lids in the frames of one blink: closing takes 70 ms, opening about twice as long
(VanderWerf et al., "Eyelid movements: behavioral studies of blinking in humans", J Neurophysiol 2003)."""

_MEDIAN_SECONDS = 3.2
_SPREAD = 0.55  # of the log-normal intervals; 15 to 20 blinks a minute (Bentivoglio et al., Mov Disord 1997)
_SHORTEST_SECONDS = 0.9
_PAUSE_SECONDS = 0.6  # people put their blinks into the pauses of their speech


class Blink:
    """Lid closure of one session, both eyes alike."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self._wait = self._interval()
        self._phase = len(LID_COURSE)
        self._spoke = False

    def _interval(self) -> int:
        seconds = _MEDIAN_SECONDS * np.exp(_SPREAD * self._random.standard_normal())
        return int(max(seconds, _SHORTEST_SECONDS) * FRAME_RATE)

    def __call__(self, speaks: bool) -> float:
        """Closure in [0, 1] of the next frame."""
        if self._spoke and not speaks and self._wait < _PAUSE_SECONDS * FRAME_RATE:
            self._wait = 0
        self._spoke = speaks
        if self._phase < len(LID_COURSE):
            closure = LID_COURSE[self._phase]
            self._phase += 1
            return closure
        self._wait -= 1
        if self._wait <= 0:
            self._wait = self._interval()
            self._phase = 0
        return 0.0
