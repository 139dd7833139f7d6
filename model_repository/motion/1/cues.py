"""From certainties about the prosody to moments that a body answers: this accent, this end, this hesitation."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from facestream.contract import FRAME_RATE, LOOKAHEAD_FRAMES
from facestream.prosody import Prosody
from prosody_events import ProsodyEvents, ProsodyNetwork

_SPEAKS = 0.5
_ACCENT, _ACCENT_OVER = 0.42, 0.32  # begins above the first, is over below the second
_ACCENTS_APART = 8  # frames; no head nods faster than four times a second
_END = 0.40
_ENDS_APART = 15
_PAUSE_FRAMES = 9  # silence of 0.3 s, on top of the quarter of a second for which a voice is held
_ENDED_FRAMES = 30  # a pause within a second of a phrase's end belongs to it
_QUESTION_FRAMES = 18  # a voice is held for a quarter of a second before its end is noticed
_MELODY_SECONDS = 0.20

SILENCE = Prosody(-90.0, 0.0, 0.0, 0.0, -90.0)


class Cues(NamedTuple):
    """What the speech does in the shown frame; moments are told once, in the frame in which they are noticed."""

    speaks: float
    """Certainty in [0, 1] of a voice."""
    loudness_dbfs: float
    melody: float
    """Pitch in octaves above the speaker's usual one, smoothed; 0 in silence."""
    accent: float
    """Strength in (0, 1] of an accent that is noticed now, else 0."""
    begins: bool
    """Somebody begins to speak after silence."""
    ends: bool
    """A phrase ends."""
    asks: bool
    """The voice stops after a rise. One that goes on tells: most phrases of a verse or a list end in a rise, too."""
    hesitates: bool
    """Speech has stopped where no phrase had ended."""


class CueReader:
    """Reads the cues of one session."""

    def __init__(self, network: ProsodyNetwork) -> None:
        self._events = ProsodyEvents(network)
        self._heard = deque([SILENCE] * LOOKAHEAD_FRAMES, maxlen=LOOKAHEAD_FRAMES + 1)
        self._melody = 0.0
        self._in_accent = False
        self._since_accent = _ACCENTS_APART
        self._since_end = _ENDED_FRAMES
        self._since_rise = _QUESTION_FRAMES
        self._silent = _PAUSE_FRAMES + 1
        self._spoke = False

    def __call__(self, heard: Prosody) -> Cues:
        """Takes the newest prosody, LOOKAHEAD_FRAMES ahead of the shown frame."""
        events = self._events(heard)
        self._heard.append(heard)
        shown = self._heard[0]
        speaks = shown.voice >= _SPEAKS
        self._melody += (events.melody * shown.voice - self._melody) / (_MELODY_SECONDS * FRAME_RATE)

        self._since_accent += 1
        accent = 0.0
        if self._in_accent:
            self._in_accent = events.accent > _ACCENT_OVER
        elif speaks and events.accent >= _ACCENT and self._since_accent >= _ACCENTS_APART:
            self._in_accent = True
            self._since_accent = 0
            accent = min(max(0.55 + 1.5 * (events.accent - _ACCENT) + self._melody, 0.25), 1.0)

        if events.rise > 0.5:
            self._since_rise = 0
        else:
            self._since_rise = _QUESTION_FRAMES if events.fallen else self._since_rise + 1
        self._since_end += 1
        ends = speaks and events.final >= _END and self._since_end >= _ENDS_APART
        if ends:
            self._since_end = 0
        stops = self._spoke and not speaks
        asks = stops and self._since_rise < _QUESTION_FRAMES
        hesitates = stops and not asks and self._since_end > _ENDED_FRAMES
        begins = speaks and self._silent > _PAUSE_FRAMES
        self._silent = 0 if speaks else self._silent + 1
        self._spoke = speaks
        return Cues(
            speaks=shown.voice,
            loudness_dbfs=shown.loudness_dbfs,
            melody=self._melody,
            accent=accent,
            begins=begins,
            ends=ends,
            asks=asks,
            hesitates=hesitates,
        )
