"""The judge itself: a judge that cannot tell a good mouth from a bad one passes everything."""

from __future__ import annotations

import numpy as np
import pytest
from facestream.contract import CHUNK_SAMPLES, SAMPLE_RATE
from facestream.parameters import ARKIT, INDEX

from perf.lip_sync import Audio, Clip, Floats, frame_times, judge, loudness_faces, wanted_gap, with_gain
from perf.lip_sync.__main__ import conditions
from perf.lip_sync.conditions import Condition

PHONEMES = [
    ("SIL", 0.0, 0.5),
    ("M", 0.5, 0.6),
    ("AA", 0.6, 0.85),
    ("B", 0.85, 0.95),
    ("AE", 0.95, 1.2),
    ("S", 1.2, 1.3),
    ("UW", 1.3, 1.5),
    ("P", 1.5, 1.6),
    ("AH", 1.6, 1.8),
    ("SIL", 1.8, 2.4),
]
CLIP = Clip("made up", np.full(int(2.4 * SAMPLE_RATE), 0.1, np.float32), PHONEMES)


def perfect(audio: Audio, late: float = 0.0) -> Floats:
    """The mouth that the phonemes ask for, `late` seconds late; at rest for any other sound."""
    faces = np.zeros((len(audio) // CHUNK_SAMPLES, len(ARKIT)))
    if len(audio) == len(CLIP.audio):
        faces[:, INDEX["jawOpen"]] = 0.55 * wanted_gap(PHONEMES, frame_times(len(faces)) - late)
    return faces


def test_a_perfect_mouth_passes() -> None:
    """A judge that fails a perfect mouth would be tuned until it means nothing."""
    result = judge([CLIP], perfect)
    assert result["lip_gap_r"] == pytest.approx(1.0, abs=1e-6)
    assert result["pbm_closed"] == 1.0
    assert result["open_vowels_closed"] == 0.0
    assert result["abs_lag_ms"] == 0.0
    assert (result["silence_motion_percent"] or 0.0) < 2.0


def test_a_late_mouth_is_late() -> None:
    """A sign error would turn a lag into a lead, and somebody would 'correct' it."""
    result = judge([CLIP], lambda audio: perfect(audio, late=0.08))
    assert result["lag_ms"] == pytest.approx(80, abs=15)


def test_a_mouth_that_never_closes_is_caught() -> None:
    """The complaint about most systems: lips apart on p, b, m."""

    def agape(audio: Audio) -> Floats:
        faces = perfect(audio)
        faces[:, INDEX["jawOpen"]] += 0.2
        return faces

    assert judge([CLIP], agape)["pbm_closed"] == 0.0


def test_a_restless_mouth_is_caught() -> None:
    """A mouth that trembles in silence must not hide behind a good correlation."""

    def restless(audio: Audio) -> Floats:
        faces = perfect(audio)
        faces[::2, INDEX["mouthStretchLeft"]] += 0.02
        return faces

    result = judge([CLIP], restless)
    silence = result["silence_motion_percent"]
    assert silence is not None
    assert silence > 10


def test_gain_changes_the_level_alone() -> None:
    """A condition that moved the sound in time would be judged as lag."""
    louder = with_gain(6.0)(CLIP)
    assert louder.phonemes == CLIP.phonemes
    assert louder.audio[0] / CLIP.audio[0] == pytest.approx(10 ** (6 / 20))


def test_a_folder_of_one_recording_is_judged_without_other_talkers() -> None:
    """Of nobody else's voice the babble was 0 / 0, and the judge broke off after minutes."""
    heard = {}

    class Ear:
        def voices(self, group: str, case: str, clips: list[Clip], sure: bool = False) -> None:
            pass

        def heard(self, group: str, case: str, clips: list[Clip], condition: Condition) -> None:
            heard[case] = condition(clips[0]).audio

    conditions(Ear(), [CLIP])  # type: ignore[arg-type]
    assert len(heard) == 11
    assert all(np.isfinite(audio).all() for audio in heard.values())
    conditions(Ear(), [CLIP, CLIP._replace(audio=0.5 * CLIP.audio)])  # type: ignore[arg-type]
    assert np.isfinite(heard["six talkers 10 dB below"]).all()


def test_the_baseline_opens_with_loudness() -> None:
    """A baseline that does nothing makes every network look good."""
    audio = np.concatenate([np.zeros(SAMPLE_RATE), 0.1 * np.ones(SAMPLE_RATE)]).astype(np.float32)
    jaw = loudness_faces(audio)[:, INDEX["jawOpen"]]
    assert jaw[:29].max() == 0
    assert jaw[31:].min() > 0.3
