"""The analysis window: the encoder must see exactly the recent past."""

from __future__ import annotations

import numpy as np
import pytest
from analysis_window import SILENCE_DBFS, AnalysisWindow
from facestream.contract import CHUNK_SAMPLES, LOOKAHEAD_FRAMES, WINDOW_SAMPLES
from facestream.sequence import BadInput


def tone(frame: int, amplitude: float) -> np.ndarray:
    times = (np.arange(CHUNK_SAMPLES) + frame * CHUNK_SAMPLES) / 24_000
    return (amplitude * np.sin(2 * np.pi * 220 * times)).astype(np.float32)


def test_window_is_the_recent_past_and_zeros_before_the_start() -> None:
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, (30, CHUNK_SAMPLES)).astype(np.float32)
    window = AnalysisWindow()
    for count in range(1, len(sound) + 1):
        got, _, frame_index = window.push(sound[count - 1])
        expected = np.concatenate([np.zeros(WINDOW_SAMPLES, np.float32), sound[:count].reshape(-1)])[-WINDOW_SAMPLES:]
        assert np.array_equal(got, expected)
        assert frame_index == count - 1 - LOOKAHEAD_FRAMES


def test_level_belongs_to_the_shown_frame() -> None:
    """Head and brows would otherwise move before the mouth does."""
    window = AnalysisWindow()
    levels = [window.push(tone(frame, 0.5 if frame == 4 else 0.0))[1][0] for frame in range(8)]
    assert levels[4 + LOOKAHEAD_FRAMES] == pytest.approx(-9.03, abs=0.1)
    assert [level for frame, level in enumerate(levels) if frame != 4 + LOOKAHEAD_FRAMES] == [SILENCE_DBFS] * 7


def test_voice_stands_out_of_steady_noise() -> None:
    window = AnalysisWindow()
    noise = np.random.default_rng(1).normal(0, 0.01, (90, CHUNK_SAMPLES)).astype(np.float32)
    voices = [
        float(window.push(noise[frame] + tone(frame, 0.3 if 60 <= frame < 75 else 0.0))[1][1]) for frame in range(90)
    ]
    assert max(voices[45 : 60 + LOOKAHEAD_FRAMES]) < 0.2
    assert min(voices[60 + LOOKAHEAD_FRAMES : 75 + LOOKAHEAD_FRAMES]) > 0.9


@pytest.mark.parametrize(
    ("value", "message"),
    [(np.nan, r"AUDIO\[7\] is nan"), (np.inf, r"AUDIO\[7\] is inf"), (20_000.0, "AUDIO peaks at 20000.*32768")],
)
def test_broken_sound_is_refused_and_changes_nothing(value: float, message: str) -> None:
    window, undisturbed = AnalysisWindow(), AnalysisWindow()
    for frame in range(3):
        window.push(tone(frame, 0.3))
        undisturbed.push(tone(frame, 0.3))
    broken = tone(3, 0.3)
    broken[7] = value
    with pytest.raises(BadInput, match=message):
        window.push(broken)
    for got, expected in zip(window.push(tone(3, 0.3)), undisturbed.push(tone(3, 0.3)), strict=True):
        assert np.array_equal(got, expected)
