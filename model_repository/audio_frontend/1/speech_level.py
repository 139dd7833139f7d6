"""The gain that brings the sound of the recent past nearer to the level at which the mouth was learnt.

Whoever speaks softly, or far from the microphone, opens the mouth no less. To the speech encoder a change of level is a
little of a change in articulation: the gain takes most of it out, and what the encoder learnt of levels the rest.
"""

from __future__ import annotations

import numpy as np
from facestream.contract import CHUNK_SAMPLES, WINDOW_SAMPLES
from numpy.typing import NDArray

SPEECH_DBFS = -20.0
"""Level that the loudest frames of a window are brought nearer to."""

SHARE = 0.6
"""Of the way. All of it would raise rooms and other people's voices to the speaker's level wherever that one rests."""

MOST_GAIN_DB = 11.0
"""Up or down."""

_FRAMES = WINDOW_SAMPLES // CHUNK_SAMPLES
_LOUDEST = 6  # of the window's 20 frames, 0.2 s: about a syllable, so that a pause in the window does not count
_NOTHING_DBFS, _ALL_DBFS = -55.0, -45.0  # softer than the first is a room, not a speaker; from the second on all counts
_SILENCE = 1e-12


def level_gain(window: NDArray[np.float32]) -> np.float32:
    """The factor for the sound of a window, float PCM (WINDOW_SAMPLES,).

    It is a function of the window alone: a session that goes on elsewhere, with the sound of its last window and
    nothing else, goes on with the same bits.
    """
    powers = np.var(window[-_FRAMES * CHUNK_SAMPLES :].reshape(_FRAMES, CHUNK_SAMPLES), axis=1, dtype=np.float64)
    level = 10.0 * np.log10(np.sort(powers)[-_LOUDEST:].mean() + _SILENCE)
    speech = np.clip((level - _NOTHING_DBFS) / (_ALL_DBFS - _NOTHING_DBFS), 0.0, 1.0)
    gain = speech * np.clip(SHARE * (SPEECH_DBFS - level), -MOST_GAIN_DB, MOST_GAIN_DB)
    return np.float32(10.0 ** (gain / 20.0))
