"""Blinks at human statistics.

Rates: 17 a minute at rest and 26 in conversation, log-normal (Bentivoglio et al., "Analysis of blink rate patterns in
normal subjects", Movement Disorders 1997). Course: closing takes 75 to 100 ms, opening about twice as long (VanderWerf
et al., "Eyelid movements: behavioral studies of blinking in humans under different stimulus conditions",
J Neurophysiology 2003). Blinks gather at the ends of phrases (Cummins, "Gaze and blinking in dyadic conversation",
Language and Cognitive Processes 2012) and accompany large shifts of gaze (Evinger et al., "Not looking while leaping",
Experimental Brain Research 1994).
"""

from __future__ import annotations

import math

import numpy as np
from facestream.contract import FRAME_RATE
from personality import Personality

_AT_REST, _IN_SPEECH = 17.0 / 60.0, 26.0 / 60.0  # per second
_OWN_IN_SPEECH = 0.86 * _IN_SPEECH  # the rest of the blinks in speech come early, with a phrase's end or a gaze shift
_SPREAD = 0.70  # of the logarithm of intervals
_SHORTEST_SECONDS = 0.5  # from blink to blink: two within less look like a twitch
_AT_END = 0.45  # chance that the end of a phrase takes the next blink
_WITH_GAZE = 0.35
_RIPE = 0.45  # of the interval: before it is over by so much, no end of a phrase takes its blink
_INCOMPLETE = 0.10  # share of blinks that do not close the lids


class Blink:
    """Lid closure of one session, both eyes alike."""

    def __init__(self, random: np.random.Generator, personality: Personality) -> None:
        self._random = random
        self._pace = personality.blink_rate
        self._waited = 0.0
        self._wait = 0.5 + 0.5 * self._interval()
        self._time = math.inf
        self._draw_course()

    def _interval(self) -> float:
        """In units of the mean interval."""
        return math.exp(_SPREAD * float(self._random.standard_normal()) - 0.5 * _SPREAD**2)

    def _draw_course(self) -> None:
        closing, held, opening, depth = map(float, self._random.standard_normal(4).clip(-2.0, 2.0))
        self._closing = 0.080 + 0.008 * closing
        self._opens = self._closing + 0.025 + 0.008 * held
        self._opening = 0.185 + 0.020 * opening
        self._depth = 0.85 + 0.04 * depth if self._random.random() < _INCOMPLETE else 1.0

    def _closure(self) -> float:
        if self._time < self._closing:
            return self._depth * (0.5 - 0.5 * math.cos(math.pi * self._time / self._closing))
        if self._time < self._opens:
            return self._depth
        share = min((self._time - self._opens) / self._opening, 1.0)
        return self._depth * (1.0 - share * share * (3.0 - 2.0 * share))

    def __call__(self, speaks: float, rate: float, phrase_ends: bool, gaze_leaps: bool) -> float:
        """Closure in [0, 1] of the next frame.

        Args:
            speaks: certainty in [0, 1] of a voice.
            rate: factor of the usual rate, of the emotion.
            phrase_ends: a phrase ends in this frame.
            gaze_leaps: the eyes begin a large saccade in this frame.
        """
        self._time += 1.0 / FRAME_RATE
        self._waited += rate * self._pace * (_AT_REST + (_OWN_IN_SPEECH - _AT_REST) * speaks) / FRAME_RATE
        due = self._waited >= self._wait
        if self._waited >= _RIPE * self._wait:
            due = due or (phrase_ends and self._random.random() < _AT_END)
            due = due or (gaze_leaps and self._random.random() < _WITH_GAZE)
        if due and self._time >= _SHORTEST_SECONDS:
            self._waited, self._wait = 0.0, self._interval()
            self._draw_course()
            self._time = 0.5 / FRAME_RATE
        return self._closure()
