"""Room tone: the sound of a recording's place and machine where nobody speaks, made to any length.

Sound editors lay it under what they cut out, since digital silence there is heard at once. Training needs it for the
same reason: pauses of zeros between recorded lines teach nothing about the pauses of a recording.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from facestream.contract import SAMPLE_RATE
from scipy.fft import next_fast_len

Floats = npt.NDArray[np.float64]

FRAME: Final = 960
"""Samples, 40 ms."""

QUIET_SHARE: Final = 0.06
"""Of the frames of an utterance, the quietest, that are taken for its room."""

LOUDEST_DB: Final = -28.0
"""Level of a room against the speech in it: a short word has no pause, and what is quietest in it is no room."""

DIGITAL_SILENCE: Final = 1e-12
"""Power below which a frame holds no recording at all."""


def room_spectrum(audio: Floats) -> Floats | None:
    """Power spectrum float64[FRAME // 2 + 1] of the quietest frames of `audio` [n]; None where all is digital silence.

    Normalised so that white noise of unit variance has a power of 1 everywhere.
    """
    count = len(audio) // (FRAME // 2) - 1
    if count < 1:
        return None
    frames = np.lib.stride_tricks.sliding_window_view(audio, FRAME)[:: FRAME // 2]
    power = (frames - frames.mean(1, keepdims=True)).var(1)
    heard = np.flatnonzero(power > DIGITAL_SILENCE)
    if not len(heard):
        return None
    quietest = heard[np.argsort(power[heard])[: max(round(QUIET_SHARE * len(heard)), 2)]]
    window = np.hanning(FRAME)
    spectra = np.abs(np.fft.rfft(frames[quietest] * window)) ** 2
    spectrum = spectra.mean(0) / (window**2).sum()
    allowed = 10 ** (LOUDEST_DB / 10) * float(audio.var())
    return np.asarray(spectrum * min(allowed / max(float(spectrum.mean()), DIGITAL_SILENCE), 1.0))


def room_tone(spectrum: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Noise float64[count] at SAMPLE_RATE with the power `spectrum` that `room_spectrum` returned."""
    if not count:
        return np.zeros(0)
    # A length of large prime factors would take the transform three times as long.
    length = next_fast_len(count, real=True)
    noise = np.fft.rfft(rng.standard_normal(length))
    own = np.linspace(0, SAMPLE_RATE / 2, len(spectrum))
    shape = np.sqrt(np.interp(np.linspace(0, SAMPLE_RATE / 2, len(noise)), own, spectrum))
    return np.asarray(np.fft.irfft(noise * shape, length)[:count])
