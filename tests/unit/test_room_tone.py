"""Pauses of a recording: training on digital zeros in their place teaches a mouth that twitches in every real room."""

from __future__ import annotations

import numpy as np
from facestream.contract import SAMPLE_RATE

from export.speech.room_tone import LOUDEST_DB, room_spectrum, room_tone


def talk_in_a_room(level: float) -> np.ndarray:
    """A second of loud tone with half a second of quiet noise behind it."""
    rng = np.random.default_rng(1)
    tone = np.sin(2 * np.pi * 200 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)
    return np.concatenate([tone, level * rng.standard_normal(SAMPLE_RATE // 2)])


def test_room_tone_is_as_loud_as_the_room() -> None:
    """Louder, it would bury the speech; quieter, the pauses would stay a stranger's."""
    spectrum = room_spectrum(talk_in_a_room(0.01))
    assert spectrum is not None
    tone = room_tone(spectrum, 3 * SAMPLE_RATE, np.random.default_rng(2))
    assert abs(20 * np.log10(tone.std() / 0.01)) < 1.5


def test_a_word_without_a_pause_has_no_loud_room() -> None:
    """The quietest part of a short word is speech: laid under everything it would be babble."""
    audio = np.sin(2 * np.pi * 200 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)
    spectrum = room_spectrum(audio)
    assert spectrum is not None
    assert 10 * np.log10(spectrum.mean() / audio.var()) <= LOUDEST_DB + 0.1


def test_digital_silence_has_no_room() -> None:
    """A recording of nothing, or of less than a frame, must not make a training fail after hours."""
    assert room_spectrum(np.zeros(SAMPLE_RATE)) is None
    assert room_spectrum(np.zeros(10)) is None
    assert len(room_tone(np.ones(481), 0, np.random.default_rng(0))) == 0


def test_room_tone_is_as_long_as_asked() -> None:
    """Of a line of 78,125 samples, a rare odd length of the transform, one was missing: training stopped there."""
    for count in (78_124, 78_125, 78_126):
        assert len(room_tone(np.ones(481), count, np.random.default_rng(0))) == count
