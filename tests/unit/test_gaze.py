"""Gaze: eyes that dart out and back look deranged, and a feeling must let go of them when it ends."""

from __future__ import annotations

import numpy as np
import pytest
from cues import Cues
from emotion import STYLES
from facestream.contract import FRAME_RATE
from gaze import Gaze

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
