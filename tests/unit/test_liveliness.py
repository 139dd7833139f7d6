"""The figures of the face's life: a wrong ruler would call a stare human."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from facestream.contract import FRAME_RATE, SAMPLE_RATE
from facestream.errors import BadInput
from facestream.parameters import INDEX, PARAMETERS

from perf.liveliness import main, read_speech, statistics

MINUTE = 60 * FRAME_RATE


def still(frames: int = MINUTE) -> np.ndarray:
    return np.zeros((frames, len(PARAMETERS)))


def test_blinks_are_counted_and_timed() -> None:
    frames = still()
    for start in range(100, MINUTE - 20, 150):  # 12 of them, closed by more than half for 4 frames
        for side in ("Left", "Right"):
            frames[start : start + 6, INDEX[f"eyeBlink{side}"]] = (0.0, 0.75, 1.0, 1.0, 0.75, 0.0)
    figures = statistics(frames)
    assert figures["blinks_per_minute_silent"] == pytest.approx(12.0, abs=0.1)
    assert figures["blinks_per_minute_speaking"] is None
    # From a third behind the first frame's middle to the same before the last: 3 + 2 / 3 frames.
    assert figures["blink_half_closed_ms"] == pytest.approx(1000 * (3 + 2 / 3) / FRAME_RATE, abs=1)
    assert figures["blink_interval_median_s"] == pytest.approx(5.0)


def test_head_is_told_in_degrees_and_gaze_against_it() -> None:
    frames = still()
    times = np.arange(MINUTE) / FRAME_RATE
    frames[:, INDEX["headYaw"]] = np.deg2rad(4.0) * np.sin(2 * np.pi * 0.5 * times)
    for side in ("Left", "Right"):
        frames[:, INDEX[f"gazeYaw{side}"]] = -frames[:, INDEX["headYaw"]]
    figures = statistics(frames)
    assert figures["head_yaw_deviation_degrees"] == pytest.approx(4.0 / np.sqrt(2), rel=0.01)
    assert figures["head_yaw_speed_degrees_per_s"] == pytest.approx(8.0, rel=0.02)  # four times 4 degrees in 2 s
    assert figures["at_viewer_silent"] == 1.0
    assert figures["saccades_per_minute"] == 0.0


def test_pitch_that_the_head_follows_is_explained_by_it() -> None:
    frames = still()
    random = np.random.default_rng(0)
    frames[:, INDEX["voiceActivity"]] = 1.0
    frames[:, INDEX["headPitch"]] = 0.05 * random.standard_normal(MINUTE)
    follows = 120.0 * 2.0 ** (frames[:, INDEX["headPitch"]])
    assert statistics(frames, follows)["pitch_explained_by_head"] == pytest.approx(1.0, abs=1e-3)
    alone = 120.0 * 2.0 ** (0.1 * random.standard_normal(MINUTE))
    explained = statistics(frames, alone)["pitch_explained_by_head"]
    assert explained is not None
    assert explained < 0.05


def test_speech_is_heard_as_a_session_hears_it(tmp_path: Path) -> None:
    """Of a recording whose second channel is silent the session takes the first; half of it would be another voice."""
    tone = (0.2 * np.sin(2 * np.pi * 220 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)).astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE).astype(np.float32)
    soundfile.write(tmp_path / "a.WAV", np.stack([tone, np.zeros_like(tone)], 1), SAMPLE_RATE, subtype="FLOAT")
    (tmp_path / "more").mkdir()
    soundfile.write(tmp_path / "more" / "b.flac", noise, SAMPLE_RATE)
    (tmp_path / "notes.txt").write_text("no sound")
    with pytest.warns(UserWarning, match="channel"):
        heard = read_speech([tmp_path], pause_seconds=0.5)
    assert len(heard) == 3 * SAMPLE_RATE
    for first, sound in ((0, tone), (1.5, noise)):
        part = heard[int(first * SAMPLE_RATE) :][:SAMPLE_RATE]
        assert np.sqrt((part**2).mean()) == pytest.approx(0.07, rel=1e-3)  # -23 dBFS
        assert np.corrcoef(part, sound)[0, 1] > 0.999
    soundfile.write(tmp_path / "c.aiff", noise, SAMPLE_RATE)
    assert len(read_speech([tmp_path / "c.aiff"])) > SAMPLE_RATE  # named, so it is read whatever its ending


def test_sound_that_cannot_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A traceback out of libsndfile does not say which of a hundred files is broken."""
    with pytest.raises(BadInput, match=r"no \.wav, \.flac, \.ogg in"):
        read_speech([tmp_path])
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    for given, complaint in ((tmp_path, "broken.wav cannot be read as sound"), (tmp_path / "absent.wav", "absent.wav")):
        monkeypatch.setattr("sys.argv", ["liveliness", str(given)])
        with pytest.raises(SystemExit):
            main()
        assert complaint in capsys.readouterr().err


def test_no_session_is_no_listener(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty table looks like a face without life."""
    monkeypatch.setattr("sys.argv", ["liveliness", "speech.wav", "--sessions", "0"])
    with pytest.raises(SystemExit):
        main()
    assert "--sessions is 0, expected 1 or more" in capsys.readouterr().err
