"""The judge's figures on mouths whose faults are known: a wrong figure would bless a mouth that people reject."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from facestream.contract import CHUNK_SAMPLES, FRAME_RATE, SAMPLE_RATE

from perf.lip_sync.alignment import Clip
from perf.lip_sync.baselines import exchanged, jittered
from perf.lip_sync.lips import Lips, frame_times
from perf.lip_sync.measures import measure, ranking, wanted

PHONEMES = [
    ("SIL", 0.0, 0.5),
    ("P", 0.5, 0.6),
    ("AA", 0.6, 0.8),
    ("T", 0.8, 0.9),
    ("IY", 0.9, 1.1),
    ("F", 1.1, 1.2),
    ("AE", 1.2, 1.4),
    ("N", 1.4, 1.5),
    ("UW", 1.5, 1.7),
    ("M", 1.7, 1.8),
    ("AH", 1.8, 2.0),
    ("SIL", 2.0, 2.6),
]


def clip(shift: float = 0.0) -> Clip:
    phonemes = [(name, start + shift, end + shift) for name, start, end in PHONEMES]
    return Clip("made up", np.zeros(int((2.6 + shift) * SAMPLE_RATE), np.float32), phonemes)


def ideal(of: Clip) -> Lips:
    """The mouth that does what the phonemes want."""
    times = frame_times(len(of.audio) // CHUNK_SAMPLES)
    gap, width = wanted(of.phonemes, times)
    contact = np.zeros(len(times))
    for name, start, end in of.phonemes:
        if name == "F":
            contact[(times >= start) & (times < end)] = 0.4
    return Lips(gap, width, contact, np.abs(np.diff(gap)))


def test_an_ideal_mouth_is_judged_ideal() -> None:
    found = measure([clip()], [ideal(clip())])
    assert found["lip_gap_r"] == pytest.approx(1.0)
    assert found["width_r"] == pytest.approx(1.0)
    assert found["pbm_closed"] == 1.0
    assert found["open_vowels_closed"] == 0.0
    assert found["tongue_closed"] == 0.0
    assert found["fv_contact"] == 1.0
    assert found["other_contact"] == 0.0
    assert found["rounding_auc"] == 1.0
    assert found["open_vowels_auc"] == 1.0
    assert found["lag_ms"] == 0.0
    assert found["jitter"] == pytest.approx(found["wanted_jitter"])
    assert (found["bilabials"], found["open_vowels"], found["labiodentals"]) == (2, 3, 1)


@pytest.mark.parametrize("frames", [-2, 1, 3])
def test_a_late_mouth_is_told_how_late_it_is(frames: int) -> None:
    right = ideal(clip())
    late = right._replace(gap=np.roll(right.gap, frames))
    found = measure([clip()], [late])
    assert found["lag_ms"] == pytest.approx(1000 * frames / FRAME_RATE, abs=3)
    assert found["lip_gap_r"] < found["best_lag_r"]


@pytest.mark.parametrize("late", [-0.010, 0.0, 0.005, 0.020])
def test_a_trembling_mouth_is_told_no_other_lag_than_a_calm_one(late: float) -> None:
    """Between two frames their mean trembles less and fits better: every mouth was told 5 to 15 ms that it had not."""
    clips = [clip(0.011 * index) for index in range(12)]
    noise = np.random.default_rng(0)
    lips = []
    for one in clips:
        gap, _ = wanted(one.phonemes, frame_times(len(one.audio) // CHUNK_SAMPLES) - late)
        lips.append(ideal(one)._replace(gap=gap + 0.15 * noise.standard_normal(len(gap))))
    assert measure(clips, lips)["lag_ms"] == pytest.approx(1000 * late, abs=5)


def test_a_spread_o_is_counted_among_the_rounded() -> None:
    """ARPAbet's o is a diphthong: whatever the mouth did on it was passed over."""
    said = clip()._replace(phonemes=[("OW", 0.5, 0.8), ("IY", 0.8, 1.1), ("UW", 1.1, 1.4)])
    times = frame_times(len(said.audio) // CHUNK_SAMPLES)
    width = np.select([times < 0.8, times < 1.1], [0.9, 0.5], -0.8)
    assert measure([said], [ideal(said)._replace(width=width)])["rounding_auc"] == pytest.approx(0.5)


def test_a_mouth_that_shuts_on_everything_gets_no_praise_for_its_closures() -> None:
    """Without the counter-figures, never opening would be the best way to close on p, b and m."""
    right = ideal(clip())
    shut = right._replace(gap=np.where(frame_times(len(right.gap)) > 1.0, 0.0, right.gap))
    found = measure([clip()], [shut])
    assert found["pbm_closed"] == 1.0
    assert found["open_vowels_closed"] == pytest.approx(2 / 3)


def test_a_tongue_sound_with_shut_lips_is_counted() -> None:
    right = ideal(clip())
    times = frame_times(len(right.gap))
    shut = right._replace(gap=np.where((times > 1.4) & (times < 1.5), 0.0, right.gap))
    assert measure([clip()], [shut])["tongue_closed"] == pytest.approx(1 / 2)


def test_what_is_not_seen_is_not_judged() -> None:
    blind = ideal(clip())._replace(contact=np.full(len(ideal(clip()).gap), np.nan))
    found = measure([clip()], [blind])
    assert found["fv_contact"] is None
    assert found["contact_auc"] is None
    assert found["pbm_closed"] == 1.0


def test_motion_in_silence_is_told_in_percent_of_that_in_speech() -> None:
    right = ideal(clip())
    restless = right._replace(motion=np.full(len(right.motion), 0.2))
    found = measure([clip()], [restless], np.full(100_000, 0.002))
    assert found["pause_motion_percent"] == pytest.approx(100.0)
    assert found["silence_motion_percent"] == pytest.approx(1.0, abs=0.05)
    assert measure([clip()], [restless])["silence_motion_percent"] is None  # of rooms that nobody listened to


def test_intervals_hold_the_figure_and_are_wide_where_clips_differ() -> None:
    clips = [clip(0.1 * index) for index in range(6)]
    noise = np.random.default_rng(0)
    lips = [ideal(one) for one in clips]
    worse = [one._replace(gap=one.gap + 0.15 * index * noise.random(len(one.gap))) for index, one in enumerate(lips)]
    found = measure(clips, worse, intervals=True)
    low, high = found["intervals"]["lip_gap_r"]
    assert low < found["lip_gap_r"] < high
    same = measure(clips[:1] * 6, worse[:1] * 6, intervals=True)["intervals"]["lip_gap_r"]
    assert same[1] - same[0] < 1e-9 < high - low


def test_another_clips_mouth_is_the_floor() -> None:
    short = Clip("short", np.zeros(SAMPLE_RATE, np.float32), [("SIL", 0.0, 0.4), ("AA", 0.4, 0.9), ("SIL", 0.9, 1.0)])
    faces = [np.arange(5.0)[:, None], np.arange(10.0, 13.0)[:, None]]
    swapped = exchanged(faces)
    np.testing.assert_array_equal(swapped[0][:, 0], [10, 11, 12, 10, 11])
    np.testing.assert_array_equal(swapped[1][:, 0], [0, 1, 2])
    assert len(jittered(short, 0.01).phonemes) == 3


def test_jittered_phonemes_stay_in_order_and_joined() -> None:
    moved = jittered(clip(), 0.05).phonemes
    assert all(start <= end for _, start, end in moved)
    assert all(a[2] == b[1] for a, b in itertools.pairwise(moved))


def test_ranking_knows_chance_certainty_and_nothing() -> None:
    assert ranking([1, 2], [1, 2]) == 0.5
    assert ranking([3, 4], [1, 2]) == 1.0
    assert ranking([], [1.0]) is None
