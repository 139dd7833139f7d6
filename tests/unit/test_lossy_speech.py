"""Lines that have been an MP3: their phonemes' times must still be theirs."""

from __future__ import annotations

import numpy as np
import pytest
from facestream.contract import SAMPLE_RATE

from export.speech.lossy import CODINGS, through_mp3


@pytest.mark.parametrize(("rate", "bits_per_second"), CODINGS)
def test_the_coder_moves_nothing_in_time(rate: int, bits_per_second: int) -> None:
    """A coder's delay of 50 ms left in the sound would teach lips that are late."""
    rng = np.random.default_rng(1)
    times = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    bursts = (np.sin(2 * np.pi * 3 * times) > 0.7) * np.sin(2 * np.pi * 440 * times)
    audio = 0.3 * bursts + 0.003 * rng.standard_normal(SAMPLE_RATE)
    coded = through_mp3(audio, rate, bits_per_second)
    assert coded.shape == audio.shape
    size = 2 * len(audio)
    fit = np.fft.irfft(np.fft.rfft(coded, size) * np.conj(np.fft.rfft(audio, size)), size)
    lag = int(np.argmax(fit))
    assert min(lag, size - lag) < 0.003 * SAMPLE_RATE
    assert 0.7 < coded.std() / audio.std() < 1.3


def test_silence_stays_silence() -> None:
    """A line that is all zeros must not become noise of full scale."""
    assert np.abs(through_mp3(np.zeros(SAMPLE_RATE), *CODINGS[0])).max() < 1e-5
