"""Shuts the mouth in steady sound that nobody speaks: noise, hum, a fan.

Speech has voice in it, and where it has none, as in a whisper, its loudness goes up and down. A sound that for most of
a second has neither is no speech, whatever the speech network takes it for. The gate stands open otherwise, also in
silence, so that no beginning of speech has to open it; out of noise it opens with the first voice that the look-ahead
hears. Music has both, and is left to the network.
"""

from __future__ import annotations

import numpy as np
from facestream.prosody import Prosody

_FRAMES = 24  # 0.8 s
_VOICED_FRAMES = 18
_BEST = 3  # single frames of noise may look voiced
# Of the third best frame: steady noise stays below the first, vowels in 5 dB of noise come above the second.
_VOICING = (0.60, 0.78)
_SWING_DB = (3.8, 5.0)  # standard deviation of the loudness
_AUDIBLE_DBFS = -60.0
_SHUTS, _OPENS = 0.15, 0.6  # share of the rest of the way that a frame covers


def _between(value: float, low: float, high: float) -> float:
    return min(max((value - low) / (high - low), 0.0), 1.0)


class NoiseGate:
    """The gate of one session."""

    def __init__(self) -> None:
        self._loudness = np.full(_FRAMES, -90.0)
        self._voicing = np.zeros(_VOICED_FRAMES)
        self._at = 0
        self._openness = 1.0

    def __call__(self, heard: Prosody) -> float:
        """How far the mouth may follow the speech network in the shown frame, in [0, 1]; takes the newest prosody."""
        self._loudness[self._at % _FRAMES] = heard.loudness_dbfs
        self._voicing[self._at % _VOICED_FRAMES] = heard.voicing
        self._at += 1
        open_wide = 1.0
        if heard.loudness_dbfs > _AUDIBLE_DBFS:
            voiced = _between(float(np.partition(self._voicing, -_BEST)[-_BEST]), *_VOICING)
            swings = _between(float(self._loudness.std()), *_SWING_DB)
            open_wide = max(voiced, swings)
        share = _OPENS if open_wide > self._openness else _SHUTS
        self._openness += share * (open_wide - self._openness)
        return self._openness
