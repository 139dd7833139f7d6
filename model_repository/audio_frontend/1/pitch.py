"""Pitch of the newest sound, and how its power lies in the spectrum: one spectrum serves both.

P. Boersma, "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio of a sampled
sound", Proc. Institute of Phonetic Sciences 17, Amsterdam 1993: the autocorrelation of a windowed sound, divided by
that of the window, is 1 at the period of a periodic sound, whatever the window did to it. The choice among the peaks
is made for each frame as it comes, since a live stream cannot wait for the best path through a whole sentence.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from facestream.contract import SAMPLE_RATE
from numpy.typing import NDArray

LOWEST_HZ = 60.0
HIGHEST_HZ = 500.0
WINDOW_SAMPLES = 1200
"""50 ms: three periods of 60 Hz, as Boersma asks for. Its centre lies 25 ms behind the newest sample."""

_TRANSFORM = 2048  # no lag that is looked at wraps around: 1200 + 400 < 2048
_BAND_HZ = 1100.0  # the harmonics that carry pitch; friction above it would only lower the peaks
_SONORANT_HZ = (250.0, 3000.0)  # where vowels are strong, and neither hum nor friction
_OCTAVE_COST = 0.05  # for each octave down: of equal peaks, a period is the right one and not its multiples
_JUMP_COST = 0.10  # for each octave away from the last voiced frame
_REMEMBERED_FRAMES = 6  # the last pitch counts for so long: 0.2 s
_VOICED = 0.45  # of a periodicity in [0, 1]
_QUIETEST_POWER = 1e-9  # -90 dBFS

_SAMPLES = np.arange(WINDOW_SAMPLES)
_WINDOW = 0.5 - 0.5 * np.cos(2.0 * np.pi * (_SAMPLES + 0.5) / WINDOW_SAMPLES)
_FREQUENCIES = np.fft.rfftfreq(_TRANSFORM, 1.0 / SAMPLE_RATE)
# A smooth edge: a steep one would ring in the autocorrelation. Nothing below 50 Hz: rumble is no pitch.
_BAND = np.clip((_BAND_HZ - _FREQUENCIES) / 300.0 + 1.0, 0.0, 1.0) * np.clip((_FREQUENCIES - 40.0) / 20.0, 0.0, 1.0)
_SONORANT_BINS = slice(*np.searchsorted(_FREQUENCIES, _SONORANT_HZ).tolist())
_POWER_SCALE = 2.0 / (_TRANSFORM * float(np.sum(_WINDOW**2)))  # of squared bins to mean square

_FIRST_LAG = int(SAMPLE_RATE / HIGHEST_HZ)
_LAST_LAG = int(np.ceil(SAMPLE_RATE / LOWEST_HZ))
_LAGS = np.arange(_FIRST_LAG, _LAST_LAG + 1)


def _autocorrelation(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Autocorrelation at the lags 0 to _LAST_LAG + 1 of a power spectrum."""
    return np.fft.irfft(power)[: _LAST_LAG + 2]


_WINDOW_POWER = np.abs(np.fft.rfft(_WINDOW, _TRANSFORM)) ** 2
_OF_WINDOW = _autocorrelation(_WINDOW_POWER)
_OF_WINDOW = _OF_WINDOW / _OF_WINDOW[0]
_COST = _OCTAVE_COST * np.log2(_LAGS * LOWEST_HZ / SAMPLE_RATE)


class Pitch(NamedTuple):
    """What a frame of sound tells of the voice."""

    hz: float
    """Fundamental frequency; that of the last voiced frame where this one has none, 0 before the first."""
    voicing: float
    """Periodicity in [0, 1]: noise is below 0.4, a clear vowel above 0.8."""
    sonority_dbfs: float
    """Level of the band in which vowels are strong."""


class PitchTracker:
    """Follows the pitch of one session."""

    def __init__(self) -> None:
        self._hz = 0.0
        self._since_voiced = _REMEMBERED_FRAMES

    def __call__(self, sound: NDArray[np.float32]) -> Pitch:
        """The pitch of the newest sound, float PCM (WINDOW_SAMPLES,)."""
        samples = sound.astype(np.float64)
        spectrum = np.fft.rfft((samples - samples.mean()) * _WINDOW, _TRANSFORM)
        power = spectrum.real**2 + spectrum.imag**2
        sonority = 10.0 * float(np.log10(power[_SONORANT_BINS].sum() * _POWER_SCALE + _QUIETEST_POWER))

        correlation = _autocorrelation(power * _BAND)
        self._since_voiced = min(self._since_voiced + 1, _REMEMBERED_FRAMES)
        if correlation[0] * _POWER_SCALE * 0.5 <= _QUIETEST_POWER:
            return Pitch(self._hz, 0.0, sonority)
        periodicity = correlation / (correlation[0] * _OF_WINDOW)
        left, middle, right = (periodicity[_FIRST_LAG + k : _LAST_LAG + 1 + k] for k in (-1, 0, 1))
        peaks = np.flatnonzero((middle > left) & (middle >= right))
        if not len(peaks):
            return Pitch(self._hz, 0.0, sonority)
        merit = middle[peaks] - _COST[peaks]
        if self._since_voiced < _REMEMBERED_FRAMES:
            merit = merit - _JUMP_COST * np.abs(np.log2(SAMPLE_RATE / (_LAGS[peaks] * self._hz)))
        best = int(peaks[int(np.argmax(merit))])
        before, at, after = float(left[best]), float(middle[best]), float(right[best])
        shift = 0.5 * (before - after) / (before - 2.0 * at + after)  # of the parabola through the three
        voicing = min(max(at, 0.0), 1.0)
        if voicing >= _VOICED:
            self._hz = SAMPLE_RATE / (float(_LAGS[best]) + shift)
            self._since_voiced = 0
        return Pitch(self._hz, voicing, sonority)
