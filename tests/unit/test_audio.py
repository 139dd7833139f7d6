"""Sound on its way in: what is read, cut or refused."""

from __future__ import annotations

import itertools
import os
import re
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from facestream.audio import Chunker, SoundFile, chunks, pace, read_sound, resample, to_float
from facestream.contract import CHUNK_SAMPLES, FRAME_RATE, SAMPLE_RATE
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
    ("samples", "words"),
    [
        (np.zeros(0), "holds no sound: 0 samples"),
        (np.repeat([0.0, np.nan], [24_000, 3]), r"sample 24000 \(1\.000 s\) is nan, expected finite"),
        (np.repeat([0.0, -np.inf], [100_000, 1]), r"sample 100000 \(4\.167 s\) is -inf"),
        (np.full((9, 2), [0.0, 20_000.0]), r"sample 0 \(0\.000 s, channel 2\) is 20000, .*divide .* 32768"),
    ],
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
    (tmp_path / "empty.mp3").touch()
    (tmp_path / "noise.ogg").write_bytes(np.random.default_rng(0).bytes(5000))
    for name in ("text.wav", "empty.mp3", "noise.ogg"):
        with pytest.raises(BadInput, match=rf"{name} cannot be read as sound"):
            read_sound(tmp_path / name)
    soundfile.write(tmp_path / "bare.raw", np.zeros(100), 24_000, "PCM_16")
    with pytest.raises(BadInput, match=r"bare\.raw cannot be read as sound: samplerate must be specified"):
        read_sound(tmp_path / "bare.raw")
    (tmp_path / "folder.wav").mkdir()
    for name in ("absent.wav", "folder.wav"):
        with pytest.raises(BadInput, match=rf"{name} is not a file"):
            read_sound(tmp_path / name)


def test_a_name_that_is_not_utf8_is_a_name(tmp_path: Path) -> None:
    """Files from old discs are called so, and Python hands their names on as lone surrogates."""
    soundfile.write(tmp_path / "sound.wav", np.zeros(800), 24_000)
    file = (tmp_path / "sound.wav").rename(tmp_path / os.fsdecode(b"gru\xdf.wav"))
    assert SoundFile(file).frames == 1


def test_a_rate_that_no_recorder_has_is_refused(tmp_path: Path) -> None:
    """A header with a wrong rate would make an hour of a second, or a film of nothing."""
    for rate in (50, 2_000_000):
        soundfile.write(tmp_path / "odd.wav", np.zeros(100), rate)
        with pytest.raises(BadInput, match=rf"odd\.wav has a sample rate of {rate} Hz; expected 4000 to 384000 Hz"):
            read_sound(tmp_path / "odd.wav")


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_a_file_that_breaks_off_gives_what_is_there_or_says_where(tmp_path: Path, suffix: str) -> None:
    """Half an upload: never a crash, never sound that was not said, never a message without the place."""
    path = tmp_path / f"half.{suffix}"
    soundfile.write(path, tone(24_000, 20.0), 24_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    try:
        speech = SoundFile(path).speech
    except BadInput as error:
        assert re.search(rf"half\.{suffix} is broken after sample \d+ \(\d+\.\d+ s\)", str(error))  # noqa: PT017
    else:
        assert 5 * SAMPLE_RATE < len(speech) < 15 * SAMPLE_RATE


def test_a_file_that_is_shorter_than_it_says_is_remarked_on(tmp_path: Path) -> None:
    """A download that broke off: the film ends early, and the user should know why."""
    path = tmp_path / "half.mp3"
    soundfile.write(path, tone(24_000, 20.0), 24_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    (remark,) = SoundFile(path).remarks
    assert re.search(r"half\.mp3 breaks off after 1[34]\.\d+ s; its header promises more", remark)


@pytest.mark.parametrize(("suffix", "subtype"), [("wav", "PCM_16"), ("wav", "PCM_24"), ("aiff", "PCM_16")])
def test_an_uncompressed_file_that_is_shorter_than_it_says_is_remarked_on(
    tmp_path: Path, suffix: str, subtype: str
) -> None:
    """The same of the commonest format, where libsndfile counts what is there and keeps the promise to itself."""
    path = tmp_path / f"half.{suffix}"
    soundfile.write(path, tone(24_000, 20.0), 24_000, subtype=subtype)
    assert SoundFile(path).remarks == ()
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    (remark,) = SoundFile(path).remarks
    assert re.search(rf"half\.{suffix} breaks off after 13\.\d+ s; its header promises more", remark)


@pytest.mark.parametrize("size", [0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_a_file_out_of_a_pipe_promises_nothing(tmp_path: Path, size: int) -> None:
    """`ffmpeg ... | tee` and sox write such sizes, and nothing is missing."""
    path = tmp_path / "piped.wav"
    soundfile.write(path, tone(24_000, 1.0), 24_000)
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = size.to_bytes(4, "little")
    path.write_bytes(data)
    assert SoundFile(path).remarks == ()


def test_a_header_that_promises_hours_costs_nothing(tmp_path: Path) -> None:
    """A file of 1 kB must not take 4 GB of memory."""
    path = tmp_path / "boast.wav"
    soundfile.write(path, tone(24_000, 0.02), 24_000)
    header = bytearray(path.read_bytes())
    header[4:8] = header[40:44] = (0xFFFFFFF0).to_bytes(4, "little")
    path.write_bytes(header)
    assert read_sound(path).samples == 480


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"])
def test_every_kind_of_sample_is_scaled_alike(tmp_path: Path, subtype: str) -> None:
    soundfile.write(tmp_path / "tone.wav", tone(24_000, 1.0), 24_000, subtype=subtype)
    np.testing.assert_allclose(read_sound(tmp_path / "tone.wav").speech, tone(24_000, 1.0), atol=0.02)


@pytest.mark.parametrize("rate", [4_000, 8_000, 24_000, 44_100, 192_000, 384_000])
def test_one_sample_is_one_frame(tmp_path: Path, rate: int) -> None:
    """A film without a frame is a file that no player opens."""
    soundfile.write(tmp_path / "click.wav", np.array([0.5]), rate)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the telephone's rates
        sound = read_sound(tmp_path / "click.wav")
    assert len(list(chunks(sound.speech))) == sound.frames == 1


@pytest.mark.parametrize("rate", [16_000, 22_050, 24_000, 44_100])
@pytest.mark.parametrize("seconds", [31 / 30, 62 / 30, 1.0, 1.0001, 0.0334])
def test_frames_are_those_that_come(tmp_path: Path, rate: int, seconds: float) -> None:
    """Who counts on one frame more than comes, waits at the end for ever; 31 of them were once told as 32."""
    soundfile.write(tmp_path / "tone.wav", tone(rate, seconds), rate)
    sound = read_sound(tmp_path / "tone.wav")
    assert sound.frames == len(list(chunks(sound.speech)))


@pytest.mark.parametrize(
    ("samples", "rate", "words"),
    [
        (np.zeros(24_000), 24_000, r"is silent \(all zeros\): the mouth will rest"),
        (2e-4 * tone(24_000, 1.0), 24_000, r"is silent \(its loudest sample is at -80 dBFS\)"),
        (
            np.tile([1, -1], 12_000) * np.repeat([0.1, 1.5, 0.1], 8000),
            24_000,
            r"is clipped: 33\.3% of it is at full scale, from 0\.33 s on",
        ),
        (0.3 + 0.5 * tone(24_000, 1.0), 24_000, r"has an offset of \+0\.30 of full scale"),
        (tone(8_000, 1.0), 8_000, "holds nothing above 4000 Hz, as on a telephone"),
        (np.outer(tone(24_000, 1.0), [1.0, 0.5]), 24_000, "has 2 channels: the mouth follows the mean of them"),
        (
            np.outer(tone(24_000, 1.0), [0.5, -0.6]),
            24_000,
            "channels that cancel each other out: channel 2",
        ),
    ],
)
def test_what_spoils_the_mouth_is_told(tmp_path: Path, samples: np.ndarray, rate: int, words: str) -> None:
    """The user should know why the mouth is worse than it could be, and of which file."""
    soundfile.write(tmp_path / "poor.wav", samples, rate, subtype="FLOAT")
    (remark,) = SoundFile(tmp_path / "poor.wav").remarks
    assert re.search(r"poor\.wav .*" + words, remark)


def test_16_bit_clipping_is_seen_on_both_sides(tmp_path: Path) -> None:
    """The highest number of 16 bits is a little below 1."""
    soundfile.write(tmp_path / "loud.wav", np.clip(4 * np.abs(tone(24_000, 1.0)), -1, 1), 24_000, subtype="PCM_16")
    assert "is clipped" in " ".join(SoundFile(tmp_path / "loud.wav").remarks)


def test_good_sound_is_not_remarked_on(tmp_path: Path) -> None:
    """Who is warned of everything reads nothing. Two equal channels are one."""
    assert SoundFile(SPEECH).remarks == ()
    soundfile.write(tmp_path / "both.wav", np.outer(tone(48_000, 1.0), [1.0, 1.0]), 48_000)
    assert SoundFile(tmp_path / "both.wav").remarks == ()
    peaks = 0.5 * tone(24_000, 1.0)
    peaks[1000:1020] = 1.0  # of a thousand samples less than one at full scale: a plosive, no clipping
    soundfile.write(tmp_path / "peaks.wav", peaks, 24_000)
    assert SoundFile(tmp_path / "peaks.wav").remarks == ()


def test_the_mouth_follows_the_mean_of_the_channels(tmp_path: Path) -> None:
    """Two speakers on a channel each: of one alone the other's words would come from closed lips."""
    left, right = tone(24_000, 1.0), np.random.default_rng(0).uniform(-0.1, 0.1, 24_000)
    soundfile.write(tmp_path / "talk.wav", np.stack([left, right], 1), 24_000, subtype="FLOAT")
    np.testing.assert_allclose(SoundFile(tmp_path / "talk.wav").speech, (left + right) / 2, atol=1e-6)


def test_channels_that_cancel_out_still_speak(tmp_path: Path) -> None:
    """A microphone wired the wrong way round: the mean of the channels is silence, and the mouth would rest."""
    soundfile.write(tmp_path / "wired.wav", np.outer(tone(24_000, 1.0), [1.0, -1.0]), 24_000, subtype="FLOAT")
    with pytest.warns(UserWarning, match="cancel"):
        speech = read_sound(tmp_path / "wired.wav").speech
    np.testing.assert_array_equal(np.abs(speech), np.abs(tone(24_000, 1.0)))


def test_a_long_file_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    """An hour of stereo would be 1.4 GB as an array. Here 3 minutes, 69 MB: the reader holds a few blocks."""
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 48_000, 2, "PCM_16") as file:
        for _ in range(180):
            file.write(np.outer(tone(48_000, 1.0), [1.0, 0.5]))
    tracemalloc.start()
    try:
        sound = SoundFile(path)
        count = sum(1 for _ in chunks(sound.speech_blocks()))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == sound.frames == 180 * 30
    assert peak < 8e6


def test_blocks_change_no_sample(tmp_path: Path) -> None:
    """A seam between two blocks would be a click, and the mouth of a long file another than that of its parts."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 300_000).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", noise, 44_100, subtype="FLOAT")
    np.testing.assert_array_equal(read_sound(tmp_path / "noise.wav").speech, soxr.resample(noise, 44_100, SAMPLE_RATE))


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


def test_broken_sound_in_a_stream_is_told_with_its_place() -> None:
    """Counted from the stream's beginning: the block that a sound came in is nothing that a user knows."""
    blocks = [np.zeros(24_000), np.zeros(12_000), np.array([0.0, np.nan])]
    with pytest.raises(BadInput, match=r"sample 36001 \(1\.500 s\) is nan"):
        list(chunks(iter(blocks)))


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
        (np.array([0.0, np.nan]), r"sample 1 \(0\.000 s\) is nan"),
    ],
)
def test_arrays_that_are_no_sound(sound: np.ndarray, words: str) -> None:
    """Stereo taken as mono would be half as fast; the error says what is expected."""
    with pytest.raises(BadInput, match=words):
        to_float(sound)


def test_pace_is_that_of_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sound that comes too early hides the server's latency."""
    clock = [5.0]
    monkeypatch.setattr("facestream.audio.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("facestream.audio.time.sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    times = [clock[0] for _ in pace(np.zeros(7 * CHUNK_SAMPLES, dtype=np.float32))]
    assert times == pytest.approx([5.0 + number / FRAME_RATE for number in range(7)])
