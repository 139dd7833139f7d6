"""The head: it nods with accents, doubts with questions and follows a glance; one that does none of it is a statue."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from cues import Cues
from emotion import STYLES
from facestream.contract import FRAME_RATE
from facestream.parameters import ARKIT, HEAD
from head import Head
from personality import Personality

PERSON = Personality(liveliness=1.0, blink_rate=1.0, tilt_side=1.0, sides=np.ones(len(ARKIT)))
SPEAKS = Cues(1.0, -20.0, 0.0, 0.0, begins=False, ends=False, asks=False, hesitates=False)
YAW, PITCH, ROLL = range(3)
UPRIGHT, AHEAD = np.zeros(len(HEAD)), np.zeros(2)


def course(
    cues: Sequence[Cues],
    *,
    seed: int = 0,
    person: Personality = PERSON,
    carriage: np.ndarray = UPRIGHT,
    glance: np.ndarray = AHEAD,
) -> np.ndarray:
    """Poses (frames, 6) of a session."""
    head = Head(np.random.default_rng(seed), person)
    return np.array([head(cue, carriage, 1.0, glance)[0] for cue in cues])


def answer(cues: Sequence[Cues], **given: object) -> np.ndarray:
    """What of the poses (frames, 6) the cues have done: beside the same session without them."""
    return course(cues, **given) - course([SPEAKS] * len(cues), **given)  # type: ignore[arg-type]


def test_accents_move_it_in_half_of_a_second_and_mostly_downwards() -> None:
    nods = []
    for seed in range(200):
        pose = answer([SPEAKS._replace(accent=1.0)] + [SPEAKS] * 14, seed=seed)
        if np.abs(pose[:12]).max() > 0.01:
            nods.append(pose[:12, PITCH])
    assert 0.5 < len(nods) / 200 < 0.8
    downwards = [nod for nod in nods if nod.max() > -nod.min()]
    assert 0.6 < len(downwards) / len(nods) < 0.95
    assert 0.02 < np.median([nod.max() for nod in downwards]) < 0.07  # rad: 1 to 4 degrees


@pytest.mark.parametrize("side", [-1.0, 1.0])
def test_a_question_tilts_it_to_the_side_that_the_person_favours_and_lets_go(side: float) -> None:
    asks = [SPEAKS._replace(asks=True)] + [SPEAKS] * 89
    pose = answer(asks, person=PERSON._replace(tilt_side=side))
    tilt = pose[np.abs(pose[:, ROLL]).argmax(), ROLL] * side
    assert 0.03 < tilt < 0.07
    assert pose[:, PITCH].min() < -0.01  # and up
    assert np.abs(pose[-1]).max() < 0.003


def test_it_rises_with_the_voice() -> None:
    """Munhall et al. 2004: it follows the pitch."""
    pose = answer([SPEAKS._replace(melody=0.5)] * FRAME_RATE)
    assert -0.06 < pose[-1, PITCH] < -0.03


def test_it_sinks_a_little_as_a_phrase_ends() -> None:
    pose = answer([SPEAKS] * 10 + [SPEAKS._replace(ends=True)] + [SPEAKS] * 15)
    assert 0.005 < pose[-1, PITCH] < 0.05


def test_it_follows_a_glance_for_a_part_of_the_way() -> None:
    """Eyes that turn by ten degrees in a head that holds still look at somebody behind its back."""
    still = [SPEAKS] * 25
    pose = course(still, glance=np.array([0.15, 0.1])) - course(still)
    assert pose[-1, YAW] == pytest.approx(0.3 * 0.15, rel=0.15)
    assert pose[-1, PITCH] == pytest.approx(0.3 * 0.1, rel=0.15)


@pytest.mark.parametrize("emotion", STYLES)
def test_a_feeling_carries_it(emotion: str) -> None:
    still = [SPEAKS] * 60
    carriage = np.array(STYLES[emotion].carriage)
    pose = course(still, carriage=carriage) - course(still)
    assert pose[-1, :3] == pytest.approx(carriage[:3], abs=0.01)


@pytest.mark.parametrize(("speaks", "fewest", "most"), [(1.0, 16, 42), (0.0, 7, 17)])
def test_it_stands_otherwise_every_few_seconds(speaks: float, fewest: int, most: int) -> None:
    """One stance held for a minute is a passport photo."""
    head = Head(np.random.default_rng(3), PERSON)
    stances = []
    for _ in range(60 * FRAME_RATE):
        head(SPEAKS._replace(speaks=speaks), UPRIGHT, 1.0, AHEAD)
        stances.append(head._stance.copy())
    changes = int((np.abs(np.diff(stances, axis=0)).max(axis=1) > 0.0).sum())
    assert fewest <= changes <= most


def test_a_lively_person_moves_more() -> None:
    accents = ([SPEAKS._replace(accent=1.0)] + [SPEAKS] * 14) * 20
    moved = [
        np.abs(np.diff(course(accents, person=PERSON._replace(liveliness=liveliness))[:, PITCH])).mean()
        for liveliness in (0.75, 1.35)
    ]
    assert moved[1] > 1.3 * moved[0]
