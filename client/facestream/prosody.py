"""What each frame of sound tells of how something is said: the rows of the PROSODY tensor."""

from __future__ import annotations

from typing import NamedTuple


class Prosody(NamedTuple):
    """The sound of one request, the newest that is heard: LOOKAHEAD_FRAMES ahead of the frame that is shown."""

    loudness_dbfs: float
    """Root mean square level, -90 for digital silence."""
    voice: float
    """Certainty in [0, 1] that somebody speaks: the loudness of the last quarter of a second above that of the
    quietest moments of the last seconds."""
    pitch_hz: float
    """Fundamental frequency; that of the last voiced frame where this one has none, 0 before the first."""
    voicing: float
    """Periodicity in [0, 1]: noise is below 0.4, a clear vowel above 0.8."""
    sonority_dbfs: float
    """Level of 250 to 3,000 Hz, where vowels are strong: it rises and falls with the syllables."""
