"""Gaze: eyes that dart out and back look deranged, and a feeling must let go of them when it ends."""

from __future__ import annotations

import numpy as np
import pytest
from cues import Cues
from emotion import STYLES
from facestream.contract import FRAME_RATE
from gaze import LEAP_RAD, Gaze

SPEAKS = Cues(1.0, -20.0, 0.0, 0.0, begins=False, ends=False, asks=False, hesitates=False)
LISTENS = SPEAKS._replace(speaks=0.0, loudness_dbfs=-90.0)
AVERSIONS = sorted({style.aversion for style in STYLES.values()})


def away(cues: Cues, aversion: float, minutes: float, seed: int = 0) -> np.ndarray:
    """For each frame whether the eyes look away; of phrases that end every 3 s while `cues` speak."""
    gaze = Gaze(np.random.default_rng(seed))
    shown = []
    for frame in range(int(60 * minutes * FRAME_RATE)):
        gaze(cues._replace(ends=cues.speaks > 0.5 and frame % 90 == 0), aversion, (0.0, 0.0))
        shown.append(gaze._away)
    return np.array(shown)


@pytest.mark.parametrize("cues", [SPEAKS, LISTENS], ids=["speaks", "listens"])
@pytest.mark.parametrize("aversion", AVERSIONS)
def test_no_look_is_shorter_than_a_person_s(cues: Cues, aversion: float) -> None:
    """The shortest look of a quarter of a second counts in frames that are seen, whatever the feeling."""
    changes = np.flatnonzero(np.diff(away(cues, aversion, 20).astype(int)))
    assert len(changes) > 10
    assert np.diff(changes).min() >= 7


@pytest.mark.parametrize("cues", [SPEAKS, LISTENS], ids=["speaks", "listens"])
@pytest.mark.parametrize("aversion", AVERSIONS)
def test_share_of_time_away_is_that_factor_of_the_usual_one(cues: Cues, aversion: float) -> None:
    usual, felt = (np.mean([away(cues, factor, 30, seed).mean() for seed in range(4)]) for factor in (1.0, aversion))
    assert felt / usual == pytest.approx(aversion, rel=0.2)


def glances(averted: tuple[float, float], cues: Cues = LISTENS, minutes: float = 20.0) -> np.ndarray:
    """Where the eyes rest (n, 2), rad, in each look away."""
    gaze = Gaze(np.random.default_rng(2))
    found, was_away = [], False
    for _ in range(int(60 * minutes * FRAME_RATE)):
        gaze(cues, 1.0, averted)
        if gaze._away and not was_away:
            found.append(gaze.target)
        was_away = gaze._away
    return np.array(found)


def test_glances_tend_to_where_the_feeling_looks() -> None:
    """Sad eyes that look up, or contempt that looks to one side and the other, tell another feeling."""
    moved = glances((0.08, 0.09)).mean(axis=0) - glances((0.0, 0.0)).mean(axis=0)
    assert moved == pytest.approx([0.08, 0.09], abs=0.01)


def test_large_saccades_alone_are_leaps() -> None:
    """They take a blink along; with each look from one eye of the viewer to the other it would be a flutter."""
    gaze = Gaze(np.random.default_rng(3))
    sizes, leapt = [], []
    before = gaze.target
    for _ in range(20 * 60 * FRAME_RATE):
        gaze(LISTENS, 1.0, (0.0, 0.0))
        if gaze.target is not before:
            sizes.append(float(np.hypot(*(gaze.target - before))))
            leapt.append(gaze.leaps)
            before = gaze.target
        else:
            assert not gaze.leaps
    assert 20 < sum(leapt) < 0.5 * len(leapt)
    assert np.array_equal(np.array(sizes) >= LEAP_RAD, leapt)


def test_a_speaker_looks_back_as_the_phrase_ends() -> None:
    """Kendon 1967: it hands the turn over."""
    back = []
    for seed in range(40):
        gaze = Gaze(np.random.default_rng(seed))
        while not gaze._away or gaze._held < 8:
            gaze(SPEAKS, 1.0, (0.0, 0.0))
        gaze(SPEAKS._replace(ends=True), 1.0, (0.0, 0.0))
        back.append(not gaze._away)
    assert all(back)


def test_a_speaker_looks_away_more_often_when_beginning_and_hesitating() -> None:
    def share(aversion: float = 1.0, **moment: bool) -> float:
        looked = []
        for seed in range(200):
            gaze = Gaze(np.random.default_rng(seed))
            for _ in range(10):
                gaze(SPEAKS, aversion, (0.0, 0.0))
            gaze(SPEAKS._replace(**moment), aversion, (0.0, 0.0))
            looked.append(gaze._away)
        return float(np.mean(looked))

    assert share() < 0.05
    assert 0.25 < share(begins=True) < 0.45
    assert share(0.3, begins=True) < 0.2 < 0.45 < share(1.8, begins=True)  # anger holds the eye, sorrow shuns it
    assert 0.5 < share(hesitates=True) < 0.7


def test_stare_of_anger_ends_with_the_anger() -> None:
    """An angry look lasts for up to 40 s; drawn in anger, it must not be held through the calm that follows."""
    for seed in range(20):
        gaze = Gaze(np.random.default_rng(seed))
        for _ in range(10 * FRAME_RATE):
            gaze(LISTENS, 0.3, (0.0, 0.0))
        for _ in range(13 * FRAME_RATE):  # a calm listener's looks last 7.9 s, with a deviation of 1.6 s
            gaze(LISTENS, 1.0, (0.0, 0.0))
            if gaze._away:
                break
        assert gaze._away
