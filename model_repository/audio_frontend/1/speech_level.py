"""How loud a session's speech is, and the gain that brings it to the level at which the mouth was learnt.

Whoever speaks softly, or far from the microphone, opens the mouth no less. To the speech encoder a change of level is a
little of a change in articulation: the gain takes the level out before it.
"""

from __future__ import annotations

from collections import deque

from facestream.contract import FRAME_RATE
from facestream.prosody import Prosody

SPEECH_DBFS = -25.0
"""Mean level of voiced sound that the gain aims at: that of the passages which the networks learnt from, before their
level was varied."""

MOST_GAIN_DB = 18.0
"""Up or down. It bounds what a voice in the next room is raised to, and lies within the levels that were learnt."""

_VOICED_FRAMES = 5 * FRAME_RATE
_SURE = 0.5  # of voice and of voicing: hiss and hum of a room tell nothing of the speaker's level


class SpeechLevel:
    """Follows the level of one session's speech: the mean power of its last five voiced seconds.

    Of power, not of decibels: whoever grows loud is believed at once, whoever grows soft only as what was loud is
    forgotten, so that soft syllables stay soft.
    """

    def __init__(self) -> None:
        self._powers: deque[float] = deque(maxlen=_VOICED_FRAMES)

    def gain(self, prosody: Prosody) -> float:
        """Takes the newest sound's prosody; returns the factor for the sound of the recent past, 1 before any voice."""
        if prosody.voice > _SURE and prosody.voicing > _SURE:
            self._powers.append(10.0 ** (prosody.loudness_dbfs / 10.0))
        if not self._powers:
            return 1.0
        aimed = 10.0 ** (SPEECH_DBFS / 20.0) / (sum(self._powers) / len(self._powers)) ** 0.5
        most = 10.0 ** (MOST_GAIN_DB / 20.0)
        return float(min(max(aimed, 1.0 / most), most))
