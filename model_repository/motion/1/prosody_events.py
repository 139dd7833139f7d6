"""What the prosody says: accents, ends of phrases, rises. A small network over the last second of it.

Trained by `python -m export.motion.prosody_network` on synthetic speech whose accents are known; its weights lie beside
this file. Pitch and levels are seen relative to the speaker's own, so that one network hears low and high voices, near
and far microphones alike.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from facestream.prosody import Prosody
from numpy.typing import NDArray

CONTEXT_FRAMES = 30
"""One second."""
CHANNELS = 5
DELAY_FRAMES = 4
"""The events are those of the frame so far behind the newest sound: a syllable is judged by what follows it, too. With
the look-ahead of 2 frames they come 67 ms after their frame is shown, early enough for a head, whose nods peak about
the middle or the end of their syllable (Alexanderson, House, Beskow, "Aspects of co-occurring syllables and head nods
in spontaneous dialogue", AVSP 2013)."""
WEIGHTS = Path(__file__).with_name("prosody_network.npz")

_VOICED = 0.45
_SPEAKS = 0.5
_PITCH_MEMORY = 240  # voiced frames, 8 s, of the running mean that stands for the speaker's usual pitch
_LEVEL_MEMORY = 240
_FIRST_PITCH_HZ = 140.0  # until the first voiced frame
_FIRST_LEVEL_DBFS = -30.0
_VOICED_WITHIN, _VOICED_LEAST = 12, 3  # frames
_RISE_FRAMES = 15
_RISE_OCTAVES = 0.15  # nearly 2 semitones
_NEWEST_FRAMES = 3  # voiced: one that is heard an octave off decides nothing


class Events(NamedTuple):
    """Certainties in [0, 1] for the frame DELAY_FRAMES behind the newest sound."""

    accent: float
    """It belongs to a syllable that bears a pitch accent."""
    final: float
    """It belongs to the last syllable of a phrase."""
    rise: float
    """The pitch has risen to above the speaker's usual one: where the voice stops so, it asks. By rule, not learned:
    most of the voices that the network learns from do not raise their questions."""
    fallen: bool
    """The newest sound is voiced and below the speaker's usual pitch: what rose before has come down again, as it does
    after the last accent of a statement."""
    melody: float
    """Pitch in octaves above the speaker's usual one, 0 where unvoiced."""


class ProsodyFeatures:
    """The last second of one session's prosody, relative to its speaker."""

    def __init__(self) -> None:
        self._history = np.zeros((CONTEXT_FRAMES, CHANNELS))
        self._history[:, 2:4] = -1.5  # before the start there was silence
        self._log_pitch = math.log2(_FIRST_PITCH_HZ)
        self._levels = [_FIRST_LEVEL_DBFS, _FIRST_LEVEL_DBFS]
        self._voiced_frames = 0
        self._spoken_frames = 0

    def __call__(self, heard: Prosody) -> NDArray[np.float64]:
        """Takes the newest prosody; the features (CONTEXT_FRAMES, CHANNELS), oldest first.

        Channels: pitch in octaves above the speaker's usual one, 0 where unvoiced; voicing; loudness and sonority in
        units of 20 dB above the speaker's usual one; certainty of a voice.
        """
        voiced = heard.voicing >= _VOICED and heard.voice >= _SPEAKS and heard.pitch_hz > 0.0
        pitch = 0.0
        if voiced:
            log_pitch = math.log2(heard.pitch_hz)
            self._voiced_frames += 1
            self._log_pitch += (log_pitch - self._log_pitch) / min(self._voiced_frames, _PITCH_MEMORY)
            pitch = min(max(log_pitch - self._log_pitch, -1.0), 1.0)
        levels = (heard.loudness_dbfs, heard.sonority_dbfs)
        if heard.voice >= _SPEAKS:
            self._spoken_frames += 1
            weight = 1.0 / min(self._spoken_frames, _LEVEL_MEMORY)
            self._levels = [usual + weight * (level - usual) for usual, level in zip(self._levels, levels, strict=True)]
        relative = [
            min(max((level - usual) / 20.0, -1.5), 1.0) for level, usual in zip(levels, self._levels, strict=True)
        ]
        self._history[:-1] = self._history[1:]
        self._history[-1] = (pitch, heard.voicing if voiced else 0.0, *relative, heard.voice)
        return self._history

    @property
    def rise(self) -> float:
        """Certainty in [0, 1] of a rise: the newest voiced frames are above the usual pitch, and above those before."""
        pitch = self._voiced_pitch()
        if len(pitch) < 5:
            return 0.0
        newest = float(pitch[-_NEWEST_FRAMES:].mean())
        above = (newest - _RISE_OCTAVES) / _RISE_OCTAVES
        climbed = (newest - float(pitch[:-2].min()) - _RISE_OCTAVES) / _RISE_OCTAVES
        return min(max(min(above, climbed), 0.0), 1.0)

    @property
    def fallen(self) -> bool:
        """Whether the newest frame is voiced, and the newest voiced ones are below the usual pitch."""
        return bool(self._history[-1, 1] > 0.0 and self._voiced_pitch()[-_NEWEST_FRAMES:].mean() < 0.0)

    def _voiced_pitch(self) -> NDArray[np.float64]:
        """Pitch of the voiced ones among the last frames, octaves above the usual one."""
        recent = self._history[-_RISE_FRAMES:]
        pitch: NDArray[np.float64] = recent[recent[:, 1] > 0.0, 0]
        return pitch


class ProsodyNetwork:
    """A perceptron of two hidden layers that finds accents and ends of phrases. It holds no state."""

    def __init__(self, weights: Path = WEIGHTS) -> None:
        """Reads the weights that training has written."""
        with np.load(weights) as data:
            self._layers = [
                (data[f"weight{i}"].astype(np.float64), data[f"bias{i}"].astype(np.float64)) for i in range(3)
            ]

    def __call__(self, features: NDArray[np.float64]) -> tuple[float, float]:
        """Certainties of accent and end for features (CONTEXT_FRAMES, CHANNELS)."""
        x = features.reshape(-1)
        for weight, bias in self._layers[:-1]:
            x = np.tanh(weight @ x + bias)
        weight, bias = self._layers[-1]
        accent, final = (1.0 / (1.0 + np.exp(-(weight @ x + bias)))).tolist()
        return accent, final


@cache
def load_network() -> ProsodyNetwork:
    """The network that all sessions share."""
    return ProsodyNetwork()


class ProsodyEvents:
    """What one session's prosody says, frame by frame."""

    def __init__(self, network: ProsodyNetwork) -> None:
        self._network = network
        self._features = ProsodyFeatures()

    def __call__(self, heard: Prosody) -> Events:
        """Takes the newest prosody."""
        features = self._features(heard)
        accent, final = self._network(features)
        delayed = features[-1 - DELAY_FRAMES]
        if np.count_nonzero(features[-_VOICED_WITHIN:, 1]) < _VOICED_LEAST:
            accent = final = 0.0  # noise bears no accent
        return Events(accent, final, self._features.rise, self._features.fallen, float(delayed[0]))
