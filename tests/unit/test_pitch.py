"""Pitch: a head that nods to octave errors, or brows that rise with noise, would look like a twitch."""

from __future__ import annotations

import numpy as np
import pytest
from facestream.contract import CHUNK_SAMPLES, SAMPLE_RATE
from pitch import WINDOW_SAMPLES, Pitch, PitchTracker

FORMANTS = {"a": (750, 1200, 2500), "i": (280, 2250, 2900), "u": (310, 870, 2250)}


def vowel(name: str, hz: np.ndarray, signal_to_noise_db: float, seed: int = 0) -> np.ndarray:
    """A sung vowel, float32, -20 dBFS, of pulses at `hz` (n,) through three formants, with white noise."""
    random = np.random.default_rng(seed)
    phase = np.cumsum(hz * (1 + 0.005 * random.standard_normal(len(hz)))) / SAMPLE_RATE
    spectrum = np.fft.rfft(np.diff(np.floor(phase), prepend=0.0))
    z = np.exp(-2j * np.pi * np.fft.rfftfreq(len(hz), 1 / SAMPLE_RATE) / SAMPLE_RATE)
    spectrum /= 1 - 0.97 * z  # the glottis' slope
    for formant in FORMANTS[name]:
        radius = np.exp(-np.pi * 100 / SAMPLE_RATE)
        spectrum /= 1 - 2 * radius * np.cos(2 * np.pi * formant / SAMPLE_RATE) * z + radius**2 * z * z
    spectrum[0] = 0.0
    sound = np.fft.irfft(spectrum, len(hz))
    sound *= 0.1 / np.sqrt((sound**2).mean())
    sound += 0.1 * 10 ** (-signal_to_noise_db / 20) * random.standard_normal(len(hz))
    return sound.astype(np.float32)


def follow(sound: np.ndarray) -> list[Pitch]:
    tracker = PitchTracker()
    return [tracker(sound[at : at + WINDOW_SAMPLES]) for at in range(0, len(sound) - WINDOW_SAMPLES, CHUNK_SAMPLES)]


@pytest.mark.parametrize("name", FORMANTS)
@pytest.mark.parametrize("signal_to_noise_db", [40.0, 10.0, 5.0])
@pytest.mark.parametrize("hz", [70.0, 85.0, 120.0, 180.0, 250.0, 330.0, 400.0])
def test_pitch_of_a_vowel_is_found_without_octave_errors(name: str, signal_to_noise_db: float, hz: float) -> None:
    heard = follow(vowel(name, np.full(SAMPLE_RATE, hz), signal_to_noise_db))
    semitones = 12 * np.log2(np.array([pitch.hz for pitch in heard]) / hz)
    assert np.abs(semitones).max() < 0.5
    assert np.median([pitch.voicing for pitch in heard]) > 0.7


def test_glide_is_followed() -> None:
    """A question's rise of an octave within half a second."""
    hz = np.geomspace(110, 220, SAMPLE_RATE // 2)
    heard = follow(vowel("a", hz, 20.0))
    centres = WINDOW_SAMPLES // 2 + CHUNK_SAMPLES * np.arange(len(heard))
    semitones = 12 * np.log2(np.array([pitch.hz for pitch in heard]) / hz[centres])
    assert np.abs(semitones).max() < 0.7


def test_noise_and_silence_have_no_voice_and_keep_the_last_pitch() -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, SAMPLE_RATE).astype(np.float32)
    assert np.percentile([pitch.voicing for pitch in follow(noise)], 95) < 0.45
    sound = np.concatenate([vowel("a", np.full(SAMPLE_RATE // 2, 140.0), 30.0), np.zeros(SAMPLE_RATE // 2, np.float32)])
    last = follow(sound)[-1]
    assert last.voicing == 0.0
    assert last.hz == pytest.approx(140.0, rel=0.03)


def test_constant_offset_changes_nothing() -> None:
    """Cheap sound cards add one."""
    sound = vowel("u", np.full(SAMPLE_RATE // 2, 100.0), 30.0)
    shifted = follow(sound + np.float32(0.2))
    assert [pitch.hz for pitch in shifted] == pytest.approx([pitch.hz for pitch in follow(sound)], rel=1e-3)


def test_sonority_is_the_level_of_the_vowels_band() -> None:
    assert follow(vowel("a", np.full(SAMPLE_RATE, 120.0), 40.0))[5].sonority_dbfs == pytest.approx(-20.0, abs=2.0)
    assert follow(np.zeros(SAMPLE_RATE // 2, np.float32))[0].sonority_dbfs == pytest.approx(-90.0)
