"""Blinks: too few are a stare, two within half a second a twitch."""

from __future__ import annotations

import numpy as np
import pytest
from blink import Blink
from facestream.contract import FRAME_RATE
from facestream.parameters import ARKIT
from personality import Personality


def starts(minutes: float, *, speaks: float, rate: float = 1.0, pace: float = 1.0, leaps: float = 0.0) -> np.ndarray:
    """Times (s) at which blinks begin; `leaps` is the chance of a large saccade in a frame."""
    random = np.random.default_rng(4)
    person = Personality(liveliness=1.0, blink_rate=pace, tilt_side=1.0, sides=np.ones(len(ARKIT)))
    blink = Blink(np.random.default_rng(5), person)
    frames = int(60 * minutes * FRAME_RATE)
    closed = np.array([0.0] + [blink(speaks, rate, False, bool(random.random() < leaps)) for _ in range(frames)])
    return np.flatnonzero((closed[1:] > 0.05) & (closed[:-1] <= 0.05)) / FRAME_RATE


def test_at_rest_as_often_as_people() -> None:
    """Bentivoglio et al. 1997: 17 a minute. In silence no phrase ends and few glances add to the lids' own pace."""
    assert len(starts(200, speaks=0.0)) / 200 == pytest.approx(17.0, rel=0.05)


def test_no_two_blinks_within_half_a_second() -> None:
    """Also of a quick blinker, in speech, in fear, with eyes that leap."""
    times = starts(60, speaks=1.0, rate=1.5, pace=1.25, leaps=0.03)
    assert len(times) > 60 * 30
    assert np.diff(times).min() > 0.5 - 0.5 / FRAME_RATE
