"""What motion hears in the prosody: a head that nods at nothing, or not at all, is what it guards against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from analysis_window import AnalysisWindow
from cues import CueReader, Cues
from facestream.contract import CHUNK_SAMPLES
from facestream.prosody import Prosody
from prosody_events import CHANNELS, CONTEXT_FRAMES, ProsodyFeatures, load_network

from perf.liveliness import read_speech
from tests.unit.test_motion import chatter


def speech() -> np.ndarray:
    return read_speech([Path(__file__).parents[1] / "data" / "speech.wav"])


def cues_of(audio: np.ndarray) -> list[Cues]:
    window, reader = AnalysisWindow(), CueReader(load_network())
    chunks = audio[: len(audio) // CHUNK_SAMPLES * CHUNK_SAMPLES].reshape(-1, CHUNK_SAMPLES)
    return [reader(window.push(chunk)[1]) for chunk in chunks]


def test_recorded_speech_has_accents_and_an_end() -> None:
    """People stress one to three words a second, not each frame."""
    audio = speech()
    cues = cues_of(audio)
    seconds = len(audio) / 24_000
    accents = [cue.accent for cue in cues if cue.accent > 0.0]
    assert 0.5 < len(accents) / seconds < 4.0
    assert 0.25 <= min(accents) < 0.8 < max(accents) <= 1.0  # strong and weak ones
    assert 1 <= sum(cue.ends for cue in cues) <= seconds
    assert sum(cue.begins for cue in cues) >= 1


@pytest.mark.parametrize("kind", ["silence", "noise"])
def test_nothing_is_heard_in_silence_and_noise(kind: str) -> None:
    audio = np.zeros(24_000 * 5, np.float32)
    if kind == "noise":
        audio = np.random.default_rng(0).normal(0, 0.003, len(audio)).astype(np.float32)
    cues = cues_of(audio)
    assert not any(cue.accent > 0.0 or cue.ends or cue.asks for cue in cues)


@pytest.mark.parametrize("gain", [0.25, 2.0])
def test_loudness_of_the_microphone_changes_little(gain: float) -> None:
    audio = speech() * np.float32(0.4)
    usual, other = cues_of(audio), cues_of(audio * np.float32(gain))
    counts = [sum(cue.accent > 0.0 for cue in cues) for cues in (usual, other)]
    assert counts[1] == pytest.approx(counts[0], rel=0.35)


def test_voice_an_octave_higher_gives_the_same_features() -> None:
    """Women and men must nod alike: what counts is the pitch beside the speaker's own."""
    low, high = ProsodyFeatures(), ProsodyFeatures()
    for row in chatter(10):
        heard = Prosody(*row.tolist())
        features = low(heard), high(heard._replace(pitch_hz=2.0 * heard.pitch_hz))
    assert features[0].shape == (CONTEXT_FRAMES, CHANNELS)
    assert np.allclose(*features, atol=1e-9)


def test_rise_at_the_end_asks_and_a_fall_does_not() -> None:
    def said(last: np.ndarray) -> float:
        features = ProsodyFeatures()
        pitch = np.concatenate([np.tile([118.0, 122.0, 120.0], 20), last])
        for hz in pitch:
            features(Prosody(-20.0, 1.0, float(hz), 0.9, -22.0))
        return float(features.rise)

    assert said(np.geomspace(115, 165, 10)) > 0.8
    assert said(np.geomspace(120, 90, 10)) == 0.0
    assert said(np.full(10, 120.0)) == 0.0
    assert said(np.array([80.0] * 7 + [120.0] * 3)) == 0.0  # a climb back to where the voice usually is


def test_statement_whose_last_accent_rises_and_falls_does_not_ask() -> None:
    """Most statements end so: raised brows and a tilted head behind each of them would doubt all that is said."""

    def asks(last: np.ndarray) -> int:
        reader = CueReader(load_network())
        pitch = np.concatenate([np.tile([118.0, 122.0, 120.0], 20), last])
        said = [Prosody(-20.0, 1.0, float(hz), 0.9, -22.0) for hz in pitch]
        return sum(reader(heard).asks for heard in said + [Prosody(-90.0, 0.0, 0.0, 0.0, -90.0)] * 30)

    accent = np.geomspace(120, 170, 6)
    assert asks(accent) >= 1
    assert asks(np.concatenate([accent, np.geomspace(150, 80, 6)])) == 0
    assert asks(np.concatenate([accent, np.geomspace(175, 185, 4), [85.0]])) >= 1  # the last frame an octave off


def test_the_recorded_statement_does_not_end_as_a_question() -> None:
    """The demo's sentence is told, not asked; its last accent lies 0.2 s before its end."""
    audio = np.concatenate([speech(), np.zeros(24_000, np.float32)])
    second_half = cues_of(audio)[100:]
    assert any(cue.ends for cue in second_half)
    assert not any(cue.asks for cue in second_half)


def test_a_phrase_that_rises_amid_the_speech_does_not_ask() -> None:
    """Readers of verse and lists end phrase after phrase so; a tilt and raised brows at each are a tic."""

    def asks(after: list[Prosody]) -> int:
        reader = CueReader(load_network())
        level = [*np.tile([118.0, 122.0, 120.0], 20)]
        phrase = [*np.tile([118.0, 122.0, 120.0], 8), *np.geomspace(120, 170, 6)]
        spoken = [Prosody(-20.0, 1.0, float(hz), 0.9, -22.0) for hz in level + 4 * (phrase + [130.0] * 4)]
        return sum(reader(heard).asks for heard in spoken + after)

    goes_on = [Prosody(-20.0, 1.0, hz, 0.9, -22.0) for hz in (118.0, 122.0, 120.0) * 10]
    silence = [Prosody(-90.0, 0.0, 0.0, 0.0, -90.0)] * 30
    assert asks(goes_on) == 0
    assert asks(silence) == 1
