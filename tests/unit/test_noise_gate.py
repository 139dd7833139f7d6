"""The gate: a mouth that chatters to a fan looks possessed; one that swallows the first word is worse."""

from __future__ import annotations

import numpy as np
from facestream.prosody import Prosody
from noise_gate import NoiseGate

QUIET = Prosody(-90.0, 0.0, 0.0, 0.0, -90.0)
VOWEL = Prosody(-20.0, 1.0, 120.0, 0.9, -22.0)
HISS = Prosody(-24.0, 1.0, 120.0, 0.2, -30.0)


def noise(frames: int, loudness_dbfs: float = -22.0) -> list[Prosody]:
    """Steady noise as audio_frontend hears it."""
    random = np.random.default_rng(0)
    return [
        Prosody(loudness_dbfs + 0.5 * random.standard_normal(), 0.6, 100.0, random.uniform(0.2, 0.5), loudness_dbfs)
        for _ in range(frames)
    ]


def openness(heard: list[Prosody]) -> np.ndarray:
    gate = NoiseGate()
    return np.array([gate(prosody) for prosody in heard])


def test_shuts_in_steady_noise() -> None:
    assert openness(noise(120))[60:].max() < 0.05


def test_beginnings_after_silence_are_never_held_back() -> None:
    for first in (VOWEL, HISS):
        assert openness([QUIET] * 90 + [first] * 6 + [VOWEL] * 10).min() == 1.0
    assert openness([VOWEL] * 30).min() == 1.0
    assert openness([QUIET] * 300).min() == 1.0


def test_opens_with_the_first_vowel_out_of_noise() -> None:
    """Within the look-ahead of two frames and two more."""
    gate = openness(noise(120) + [VOWEL] * 10)
    assert gate[119] < 0.05
    assert gate[124] > 0.9


def test_speech_with_its_stops_and_hisses_keeps_it_open() -> None:
    syllable = [HISS] * 3 + [VOWEL] * 4 + [Prosody(-45.0, 1.0, 120.0, 0.3, -60.0)] * 2
    assert openness(syllable * 20).min() > 0.95


def test_whisper_keeps_it_open() -> None:
    """No voice, but the loudness of syllables."""
    whisper = [Prosody(level, 1.0, 120.0, 0.2, level) for level in (-28.0, -26.0, -30.0, -42.0, -45.0)]
    assert openness(whisper * 30)[30:].min() > 0.9
