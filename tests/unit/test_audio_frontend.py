"""The analysis window: the encoder must see exactly the recent past, at one level of speech."""

from __future__ import annotations

import numpy as np
import pytest
from analysis_window import SILENCE_DBFS, AnalysisWindow
from facestream.contract import CHUNK_SAMPLES, LOOKAHEAD_FRAMES, WINDOW_SAMPLES
from facestream.sequence import BadInput
from speech_level import MOST_GAIN_DB, SHARE, SPEECH_DBFS, level_gain


def tone(frame: int, amplitude: float) -> np.ndarray:
    times = (np.arange(CHUNK_SAMPLES) + frame * CHUNK_SAMPLES) / 24_000
    return (amplitude * np.sin(2 * np.pi * 220 * times)).astype(np.float32)


def test_window_is_the_recent_past_and_zeros_before_the_start() -> None:
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, (30, CHUNK_SAMPLES)).astype(np.float32)
    window = AnalysisWindow()
    for count in range(1, len(sound) + 1):
        got, _, frame_index = window.push(sound[count - 1])
        expected = np.concatenate([np.zeros(WINDOW_SAMPLES, np.float32), sound[:count].reshape(-1)])[-WINDOW_SAMPLES:]
        assert np.array_equal(got, expected * level_gain(expected))
        assert frame_index == count - 1 - LOOKAHEAD_FRAMES


def test_loudness_is_that_of_the_newest_sound() -> None:
    """motion delays it by the look-ahead: head and brows would otherwise move beside the mouth."""
    window = AnalysisWindow()
    levels = [window.push(tone(frame, 0.5 if frame == 4 else 0.0))[1].loudness_dbfs for frame in range(8)]
    assert levels[4] == pytest.approx(-9.03, abs=0.1)
    assert [level for frame, level in enumerate(levels) if frame != 4] == [SILENCE_DBFS] * 7


def test_voice_stands_out_of_steady_noise() -> None:
    window = AnalysisWindow()
    noise = np.random.default_rng(1).normal(0, 0.01, (90, CHUNK_SAMPLES)).astype(np.float32)
    voices = [window.push(noise[frame] + tone(frame, 0.3 if 60 <= frame < 75 else 0.0))[1].voice for frame in range(90)]
    assert max(voices[45:60]) < 0.2
    assert min(voices[60:75]) > 0.9


def test_pitch_follows_the_sound() -> None:
    """A pitch of sound long gone would have the brows rise after the word."""
    window = AnalysisWindow()
    heard = [window.push(tone(frame, 0.3 if frame >= 4 else 0.0))[1] for frame in range(8)]
    assert heard[3].pitch_hz == 0.0
    assert heard[3].voicing == 0.0
    assert [prosody.pitch_hz for prosody in heard[5:]] == pytest.approx([220.0] * 3, rel=0.005)
    assert heard[6].sonority_dbfs < -20.0  # 220 Hz lies below the band of vowels


@pytest.mark.parametrize("decibels", [-12.0, 12.0])
def test_most_of_a_microphones_level_is_taken_out(decibels: float) -> None:
    """Whoever speaks softly, or far from the microphone, would open the mouth less."""
    window, other = AnalysisWindow(), AnalysisWindow()
    factor = np.float32(10 ** (decibels / 20))
    for frame in range(25):
        heard = window.push(tone(frame, 0.08))[0]
        got, prosody, _ = other.push(tone(frame, 0.08) * factor)
        if frame >= 5:  # before it is a syllable it could be anything
            np.testing.assert_allclose(got, heard * factor ** (1.0 - SHARE), rtol=1e-3, atol=1e-6)
        assert prosody.loudness_dbfs == pytest.approx(-25.0 + decibels, abs=0.3)  # motion hears how loud it is said


def at(dbfs: float, spoken: slice = slice(None)) -> np.ndarray:
    """A window of noise at a level, in some of its 20 frames alone."""
    frames = np.zeros((20, CHUNK_SAMPLES), np.float32)
    frames[spoken] = np.random.default_rng(0).normal(0, 10 ** (dbfs / 20), frames[spoken].shape)
    return np.concatenate([np.zeros(WINDOW_SAMPLES % CHUNK_SAMPLES, np.float32), frames.reshape(-1)])


def test_the_gain_knows_no_more_than_the_window() -> None:
    """A session that goes on after a lost connection has the sound of its last window and no more."""
    sound = np.random.default_rng(3).normal(0, 0.02, (60, CHUNK_SAMPLES)).astype(np.float32)
    sound[:30] *= 20
    unbroken, resumed = AnalysisWindow(), AnalysisWindow()
    for frame in range(40):
        unbroken.push(sound[frame])
    for frame in range(20, 40):
        resumed.push(sound[frame])
    for frame in range(40, 60):
        assert np.array_equal(unbroken.push(sound[frame])[0], resumed.push(sound[frame])[0])


def test_the_gain_is_that_of_the_syllables() -> None:
    """A pause within the window would have its syllables shouted, a click turn the words behind it down."""
    assert 20 * np.log10(level_gain(at(-30.0))) == pytest.approx(SHARE * (SPEECH_DBFS + 30.0), abs=0.2)
    assert level_gain(at(-30.0, slice(4, 10))) == pytest.approx(level_gain(at(-30.0)), rel=0.05)  # half a decibel
    click = at(-30.0)
    click[9000] = 0.9
    assert 20 * np.log10(level_gain(click) / level_gain(at(-30.0))) > -2.0


def test_silence_and_a_quiet_room_are_not_raised() -> None:
    """A fan raised to the level of speech would be all that the networks hear in a pause."""
    assert level_gain(at(-300.0)) == 1.0
    assert level_gain(at(-58.0)) == 1.0
    assert level_gain(at(-58.0) + np.float32(0.1)) == 1.0  # an offset is no sound


def test_the_gain_is_bounded() -> None:
    """A voice in the next room must not become the speaker's."""
    assert 20 * np.log10(level_gain(at(-44.0))) == pytest.approx(MOST_GAIN_DB)
    assert 20 * np.log10(level_gain(at(2.0))) == pytest.approx(-MOST_GAIN_DB)


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


@pytest.mark.parametrize("offset", [0.01, 0.3, -0.9])
def test_an_offset_is_no_voice(offset: float) -> None:
    """A bad sound card's constant would keep the face awake, brows and head in speech, for a whole session."""
    window = AnalysisWindow()
    heard = [window.push(np.full(CHUNK_SAMPLES, offset, np.float32))[1] for _ in range(60)]
    assert all(prosody.loudness_dbfs == SILENCE_DBFS and prosody.voice < 0.01 for prosody in heard)
    spoken = [window.push(tone(frame, 0.05) + np.float32(offset))[1] for frame in range(5)]
    assert spoken[-1].voice > 0.9
    assert spoken[-1].loudness_dbfs == pytest.approx(-29.0, abs=0.2)
