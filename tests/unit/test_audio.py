"""Sound on its way in: what is read, cut or refused."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from facestream.audio import Chunker, chunks, pace, read_sound, resample, to_float
from facestream.contract import CHUNK_SAMPLES, SAMPLE_RATE
from facestream.errors import BadInput

SPEECH = Path(__file__).parents[1] / "data" / "speech.wav"


def tone(rate: int, seconds: float, hertz: float = 440.0) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


@pytest.mark.parametrize(
    ("suffix", "rate", "channels"), [("wav", 16_000, 1), ("flac", 44_100, 2), ("ogg", 48_000, 2), ("mp3", 22_050, 1)]
)
def test_any_file_becomes_mono_at_24_khz(tmp_path: Path, suffix: str, rate: int, channels: int) -> None:
    """A file at the wrong speed makes a mouth for another sentence: length and pitch must survive."""
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, np.repeat(tone(rate, 1.0)[:, None], channels, axis=1), rate)
    sound = read_sound(path)
    assert sound.speech.dtype == np.float32
    assert abs(len(sound.speech) - SAMPLE_RATE) < 0.1 * SAMPLE_RATE  # MP3 pads
    assert sound.original.shape[1] == channels
    assert sound.original_rate == rate
    spectrum = np.abs(np.fft.rfft(sound.speech[:SAMPLE_RATE]))
    assert abs(float(spectrum.argmax()) * SAMPLE_RATE / len(sound.speech[:SAMPLE_RATE]) - 440) < 2


def test_resampling_keeps_the_time() -> None:
    """A delay in the resampler would shift the mouth against the sound."""
    sound = np.zeros(48_000, dtype=np.float32)
    sound[24_000] = 1.0
    assert abs(int(np.abs(resample(sound, 48_000)).argmax()) - 12_000) <= 1


def test_the_test_speech() -> None:
    """The sentence that the other tests use is 7.1 s of sound that is not clipped."""
    assert 7.0 < read_sound(SPEECH).seconds < 7.2


@pytest.mark.parametrize(
    ("samples", "words"), [(np.zeros(0), "no sound"), (np.array([0.0, np.nan]), "NaN"), (np.array([np.inf]), "NaN")]
)
def test_files_without_usable_sound(tmp_path: Path, samples: np.ndarray, words: str) -> None:
    """Say which file and what about it, before a session is opened."""
    path = tmp_path / "bad.wav"
    soundfile.write(path, samples, 24_000, subtype="FLOAT")
    with pytest.raises(BadInput, match=rf"bad\.wav.*{words}"):
        read_sound(path)


def test_files_that_are_no_sound(tmp_path: Path) -> None:
    """The name in the error is the user's."""
    (tmp_path / "text.wav").write_text("not a sound")
    with pytest.raises(BadInput, match=r"text\.wav cannot be read"):
        read_sound(tmp_path / "text.wav")
    with pytest.raises(BadInput, match=r"absent\.wav is not a file"):
        read_sound(tmp_path / "absent.wav")


def test_clipped_sound_is_told(tmp_path: Path) -> None:
    """Clipping smears the fricatives: the user should know why the mouth is worse."""
    soundfile.write(tmp_path / "loud.wav", np.clip(4 * tone(24_000, 1.0), -1, 1), 24_000, subtype="FLOAT")
    with pytest.warns(UserWarning, match="clipped"):
        read_sound(tmp_path / "loud.wav")


@pytest.mark.parametrize("lengths", [[2400], [1] * 30, [799, 1, 800], [801, 799, 3], [0, 5000, 0]])
def test_chunks_hold_every_sample_once(lengths: list[int]) -> None:
    """A sample lost or doubled at a border is a click, and the sound drifts from the picture."""
    sound = np.arange(1, sum(lengths) + 1, dtype=np.float32) / 1e4
    found = list(chunks(iter(np.split(sound, list(itertools.accumulate(lengths))[:-1]))))
    assert all(chunk.shape == (CHUNK_SAMPLES,) and chunk.dtype == np.float32 for chunk in found)
    assert len(found) == -(-len(sound) // CHUNK_SAMPLES)
    joint = np.concatenate(found)
    np.testing.assert_array_equal(joint[: len(sound)], sound)
    assert not joint[len(sound) :].any()


def test_nothing_left_no_chunk_more() -> None:
    """A frame of silence too many at each utterance adds up to a drift."""
    chunker = Chunker()
    assert len(list(chunker.push(np.zeros(CHUNK_SAMPLES)))) == 1
    assert list(chunker.flush()) == []


def test_integers_are_scaled() -> None:
    """16-bit PCM is what synthesisers speak; taken as it is it would be 90 dB too loud."""
    np.testing.assert_allclose(to_float(np.array([-32768, 0, 16384], dtype=np.int16)), [-1.0, 0.0, 0.5])
    np.testing.assert_allclose(to_float(np.array([1 << 30], dtype=np.int32)), [0.5])


@pytest.mark.parametrize(
    ("sound", "words"),
    [
        (np.zeros((2, 800), dtype=np.float32), r"\[2, 800\]; expected \[n\]"),
        (np.zeros(800, dtype=np.uint8), "uint8; expected float32"),
        (np.array([np.nan]), "NaN"),
    ],
)
def test_arrays_that_are_no_sound(sound: np.ndarray, words: str) -> None:
    """Stereo taken as mono would be half as fast; the error says what is expected."""
    with pytest.raises(BadInput, match=words):
        to_float(sound)


def test_pace_is_that_of_speech() -> None:
    """Sound that comes too early hides the server's latency."""
    begin = time.monotonic()
    times = [time.monotonic() - begin for _ in pace(np.zeros(7 * CHUNK_SAMPLES, dtype=np.float32))]
    assert times[0] < 0.03
    assert 0.2 <= times[-1] < 0.3
