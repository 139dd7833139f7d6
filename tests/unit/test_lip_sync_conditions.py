"""What the judge does to the sound: a condition that shifts it in time or misses its level would blame the mouth."""

from __future__ import annotations

import numpy as np
import pytest
from facestream.contract import SAMPLE_RATE

from perf.lip_sync.alignment import Clip
from perf.lip_sync.conditions import (
    Condition,
    telephone,
    through_codec,
    with_babble,
    with_gain,
    with_noise,
    with_reverberation,
)
from perf.lip_sync.still import coloured, noises, rooms


def clip(seed: int = 0) -> Clip:
    """A second of bursts that sound a little like syllables, silence on both sides."""
    count = 2 * SAMPLE_RATE
    times = np.arange(count) / SAMPLE_RATE
    tone = sum(np.sin(2 * np.pi * (120 + 7 * seed) * k * times) / k for k in range(1, 25))
    envelope = np.clip(np.sin(2 * np.pi * 4 * times), 0, 1) * ((times > 0.5) & (times < 1.5))
    return Clip(f"clip {seed}", (0.1 * tone * envelope).astype(np.float32), [("AA", 0.5, 1.5)])


def level(audio: np.ndarray) -> float:
    return float(20 * np.log10(np.sqrt((audio.astype(np.float64) ** 2).mean())))


@pytest.mark.parametrize("make", [lambda: with_noise(10), lambda: with_noise(10, 0.5)])
@pytest.mark.parametrize("listed", [False, True])
def test_noise_lies_that_far_below_the_speech_not_below_the_silence_around_it(make: object, listed: bool) -> None:
    """The aligner lists silences, too: taken for speech they make the noise softer than its row says."""
    clean = clip()
    if listed:
        clean = clean._replace(phonemes=[("SIL", 0.0, 0.5), *clean.phonemes, ("SIL", 1.5, 2.0)])
    noise = make()(clean).audio - clean.audio  # type: ignore[operator]
    spoken = clean.audio[SAMPLE_RATE // 2 : 3 * SAMPLE_RATE // 2]
    assert level(spoken) - level(noise) == pytest.approx(10, abs=0.1)


def test_babble_is_made_of_the_others() -> None:
    clean, others = clip(), [clip(seed) for seed in range(1, 8)]
    noisy = with_babble(10, [clean, *others])(clean)
    assert len(noisy.audio) == len(clean.audio)
    assert not np.allclose(noisy.audio, clean.audio)
    np.testing.assert_array_equal(noisy.audio, with_babble(10, [clean, *others])(clean).audio)


@pytest.mark.parametrize(
    "condition",
    [
        telephone,
        with_reverberation(0.3),
        with_reverberation(0.6),
        with_gain(-18),
        through_codec("libmp3lame", "mp3", 24000, 16000),
        through_codec("libopus", "ogg", 12000, 48000),
    ],
    ids=["telephone", "small room", "large room", "gain", "mp3", "opus"],
)
def test_no_condition_moves_the_sound_in_time(condition: Condition) -> None:
    clean = clip()
    heard = condition(clean).audio
    assert heard.dtype == np.float32
    assert len(heard) == len(clean.audio)

    def loudness(audio: np.ndarray) -> np.ndarray:
        return np.asarray(np.sqrt((audio.reshape(-1, 240).astype(np.float64) ** 2).mean(1)))

    a, b = loudness(clean.audio), loudness(heard)
    fits = [np.corrcoef(a[20:-20], np.roll(b, -shift)[20:-20])[0, 1] for shift in range(-6, 7)]
    assert abs(int(np.argmax(fits)) - 6) <= 1  # 10 ms; a room's tail pulls that way


def test_a_telephone_lets_through_its_band_only() -> None:
    rng = np.random.default_rng(0)
    wide = Clip("wide", (0.1 * rng.standard_normal(2 * SAMPLE_RATE)).astype(np.float32), [("AA", 0.0, 2.0)])
    power = np.abs(np.fft.rfft(telephone(wide).audio)) ** 2
    frequencies = np.fft.rfftfreq(2 * SAMPLE_RATE, 1 / SAMPLE_RATE)

    def band(low: float, high: float) -> float:
        return float(power[(frequencies >= low) & (frequencies < high)].mean())

    assert band(20, 120) < 0.01 * band(500, 3000)
    assert band(4200, 12000) < 0.001 * band(500, 3000)


def test_sounds_that_nobody_speaks_are_as_loud_as_speech_and_always_the_same() -> None:
    assert [level(noise) for noise in noises()] == pytest.approx([-20.0] * 5, abs=0.1)
    assert np.abs(rooms()[0]).max() < 1e-8
    assert level(rooms()[3]) == pytest.approx(-50, abs=0.5)
    np.testing.assert_array_equal(noises()[1], noises()[1])


def test_coloured_noise_falls_as_its_name_says() -> None:
    power = np.abs(np.fft.rfft(coloured(np.random.default_rng(0), 8 * SAMPLE_RATE, 1.0))) ** 2
    frequencies = np.fft.rfftfreq(8 * SAMPLE_RATE, 1 / SAMPLE_RATE)
    low = power[(frequencies > 100) & (frequencies < 200)].mean()
    high = power[(frequencies > 1000) & (frequencies < 2000)].mean()
    assert 10 * np.log10(low / high) == pytest.approx(20, abs=1)
