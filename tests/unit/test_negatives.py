"""Sound without speech: what the mouth learns to rest through."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from facestream.contract import SAMPLE_RATE

from export.speech.corpus.negatives import Negatives, write_negatives
from export.speech.corpus.shard import read_shard

KINDS = ["music", "steady_noise", "modulated_noise", "hum", "clicks", "breaths", "bursts", "street", "beeps"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_sound_of_the_length_asked_for(kind: str) -> None:
    """One NaN or one silent kind would spoil a batch or teach nothing."""
    made = Negatives(2)
    for seconds in (1.0, 3.3):
        sound = made.piece(getattr(made, kind), seconds)
        assert sound.dtype == np.float32
        assert len(sound) == int(seconds * SAMPLE_RATE)
        assert np.isfinite(sound).all()
        assert 0.03 < np.abs(sound).max() < 1.0


def test_a_seed_fixes_every_piece() -> None:
    """Who rebuilds the corpus must get the corpus."""
    first, again, other = (list(islice(Negatives(seed), 3)) for seed in (4, 4, 5))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(first[0]) != len(other[0])


def test_the_shard_is_nothing_but_silences(tmp_path: Path) -> None:
    """A piece of music with a vowel in it would teach the mouth to sing along."""
    seconds = write_negatives(tmp_path / "negatives.npz", 12.0, 1)
    assert seconds >= 12.0
    for utterance, alphabet in read_shard(tmp_path / "negatives.npz"):
        ((name, start, end),) = utterance.phonemes
        assert alphabet == "arpabet"
        assert (name, start) == ("pau", 0.0)
        assert end == pytest.approx(len(utterance.audio) / SAMPLE_RATE)


def test_music_has_pitch_and_noise_has_none() -> None:
    """If the music were noise, the network would learn no more than that noise is silent."""

    def peak(sound: np.ndarray) -> float:
        power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
        low = power[: len(power) // 4]
        return float(low.max() / np.median(low))

    made = Negatives(7)
    tuned = [peak(made.piece(made.music, 4.0)) for _ in range(4)]
    steady = [peak(made.piece(lambda count: made._coloured(count), 4.0)) for _ in range(4)]
    assert np.median(tuned) > 20 * np.median(steady)
