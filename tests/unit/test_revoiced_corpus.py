"""Recorded people with other voices: a woman's throat under the wrong times or words would teach worse than none."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from facestream.contract import SAMPLE_RATE

from export.speech.corpus import revoiced
from export.speech.corpus.shard import Utterance, save_shard

pytest.importorskip("pyworld", reason="needs pyworld: pip install -e '.[corpus]'")

from export.speech.corpus.world import take_apart


def spoken(pitch: float, seconds: float = 1.0) -> Utterance:
    """A buzz of so many Hz with a pause in the middle."""
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    buzz = np.asarray(sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, int(5000 / pitch))))
    third = seconds / 3
    quiet = (time > third) & (time < 2 * third)
    sounds = [("AA", 0.0, third), ("P", third, 2 * third), ("IY", 2 * third, seconds)]
    return Utterance((0.2 * buzz * ~quiet).astype(np.float32), sounds)


def median_pitch(utterance: Utterance) -> float:
    """Hertz."""
    take = take_apart(utterance)
    assert take is not None
    return float(np.median(take.pitch[take.pitch > 0]))


def test_a_woman_says_what_a_man_said_at_nearly_the_same_times(tmp_path: Path) -> None:
    path = tmp_path / "recorded_some.npz"
    save_shard(path, [spoken(110.0) for _ in range(3)], "arpabet", 100.0)
    seed = next(seed for seed in range(99) if revoiced.invent(random.Random(seed)).pitch > 190)
    person = revoiced.invent(random.Random(seed))
    made = list(revoiced.revoiced(path, iter(()), random.Random(seed)))
    assert len(made) == 2  # the last line stays unheard
    for utterance in made:
        assert [name for name, _, _ in utterance.phonemes] == ["AA", "P", "IY"]
        ends = [end for _, _, end in utterance.phonemes]
        assert ends == pytest.approx([1 / 3, 2 / 3, 1.0], rel=0.5)
        assert median_pitch(utterance) == pytest.approx(person.pitch * 110 / revoiced.LOW_PITCH, rel=0.15)
        level = [
            float(np.abs(utterance.audio[int(a * SAMPLE_RATE) : int(b * SAMPLE_RATE)]).mean())
            for a, b in [(a + 0.05, b - 0.05) for _, a, b in utterance.phonemes]
        ]
        assert level[1] < 0.1 * min(level[0], level[2])  # the sound is silent where the times say so


def test_who_is_high_already_is_not_moved_twice() -> None:
    """A woman's formants and pitch moved as a man's would be a child's or nobody's."""
    woman = take_apart(spoken(210.0))
    man = take_apart(spoken(110.0))
    assert woman is not None
    assert man is not None
    person = revoiced.Person(205.0, (1.17, 1.17, 1.17), 0.0, 0.0, 1.0)
    same, moved = revoiced.speaker_for(woman, person), revoiced.speaker_for(man, person)
    assert same.pitch == pytest.approx(1.0)
    assert same.tract == pytest.approx((1.0, 1.0, 1.0))
    assert moved.pitch == pytest.approx(205 / 115)
    assert moved.tract == pytest.approx((1.17, 1.17, 1.17))


def test_nobody_is_made_from_somebody_made_up_or_inexact(tmp_path: Path) -> None:
    for name in (
        "recorded_some",
        "recorded_fillets_cs_big_0",
        "recorded_revoiced_some-0",
        "negatives",
        "recorded_half.tmp",
    ):
        save_shard(tmp_path / f"{name}.npz", [spoken(110.0)], "arpabet", 1.0)
    listed = revoiced.revoiced_shards(tmp_path)
    assert [shard.name for shard in listed] == ["recorded_revoiced_some-0"]
    assert listed[0].alphabet == "arpabet"
