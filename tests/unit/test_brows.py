"""Brows: still ones make a voice look dubbed, and one that goes up at nothing looks startled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from brows import NAMES, WHERE, Brows
from cues import Cues
from emotion import Emotion
from facestream.contract import FRAME_RATE
from facestream.parameters import ARKIT, EMOTIONS
from personality import Personality

PERSON = Personality(liveliness=1.0, blink_rate=1.0, tilt_side=1.0, sides=np.ones(len(ARKIT)))
SPEAKS = Cues(1.0, -20.0, 0.0, 0.0, begins=False, ends=False, asks=False, hesitates=False)
RELAXED = np.zeros(len(NAMES))
INNER = NAMES.index("browInnerUp")


def shown(cues: Sequence[Cues], seed: int = 0) -> np.ndarray:
    """Weights of NAMES (frames, 9), without the small life that goes on by itself."""
    answering, idle = (Brows(np.random.default_rng(seed), PERSON) for _ in range(2))
    return np.array([answering(cue, 1.0, RELAXED) - idle(SPEAKS, 1.0, RELAXED) for cue in cues])


def test_a_share_of_the_accents_raises_them() -> None:
    """Flecha-Garcia 2010: about a third of the pitch accents; on each, or on none, it is a tic or a mask."""
    raised = [shown([SPEAKS._replace(accent=1.0)] + [SPEAKS] * 8, seed)[:, INNER].max() > 0.1 for seed in range(200)]
    assert 0.3 < np.mean(raised) < 0.5


def test_a_raise_comes_and_goes_with_its_syllable() -> None:
    courses = [shown([SPEAKS._replace(accent=1.0)] + [SPEAKS] * 30, seed)[:, INNER] for seed in range(20)]
    raised = [course for course in courses if course.max() > 0.1]
    assert raised
    for course in raised:
        assert 4 <= int(course.argmax()) <= 9  # 0.13 to 0.3 s
        assert abs(course[-1]) < 0.4 * course.max()  # beside what lives on by itself


def test_every_question_raises_them() -> None:
    for seed in range(10):
        course = shown([SPEAKS._replace(asks=True)] + [SPEAKS] * 60, seed)
        assert course[:, :3].max(axis=0).min() > 0.2
        assert np.abs(course[-1]).max() < 0.02


@pytest.mark.parametrize(("octaves", "least", "most"), [(0.6, 0.04, 0.12), (-0.6, -0.001, 0.001)])
def test_they_rise_with_the_voice_and_do_not_sink_below_rest(octaves: float, least: float, most: float) -> None:
    course = shown([SPEAKS._replace(melody=octaves)] * FRAME_RATE)
    assert least <= course[-1, INNER] <= most


def test_a_face_that_says_nothing_lives_a_little() -> None:
    """Each moment of it is small, none is the same as the one before, and no weight is below 0."""
    brows = Brows(np.random.default_rng(1), PERSON)
    course = np.array([brows(SPEAKS._replace(speaks=0.0), 1.0, RELAXED) for _ in range(60 * FRAME_RATE)])
    assert course.min() >= 0.0
    assert 0.02 < course[:, INNER].max() < 0.1
    levels = course[::60, INNER]
    assert len(np.unique(levels.round(3))) > 10


def accented(emotion: str) -> np.ndarray:
    """Weights of NAMES (frames, 9) beside what a whole emotion holds, of a speaker whose every accent is strong."""
    mood = Emotion()
    wanted = np.array([name == emotion for name in EMOTIONS], np.float32)
    held = [mood(wanted) for _ in range(5 * FRAME_RATE)][-1].shapes[WHERE]
    brows, course = Brows(np.random.default_rng(5), PERSON), []
    for _ in range(20):
        for cue in [SPEAKS._replace(accent=1.0)] + [SPEAKS] * 20:
            course.append(held + brows(cue, 1.0, held))
    return np.array(course)


@pytest.mark.parametrize(
    ("emotion", "name"),
    [
        ("sad", "browInnerUp"),
        ("surprised", "browInnerUp"),
        ("surprised", "browOuterUpRight"),
        ("fearful", "browInnerUp"),
        ("angry", "browDownRight"),
        ("disgusted", "browDownRight"),
    ],
)
def test_accents_move_those_that_a_feeling_holds_too(emotion: str, name: str) -> None:
    """Brows at the end of their way stand still through the liveliest speech, like painted ones."""
    course = accented(emotion)[:, NAMES.index(name)]
    assert course.max() < 1.0
    assert course.max() - course.min() > 0.08


@pytest.mark.parametrize("emotion", ["angry", "disgusted"])
def test_accents_press_lowered_ones_down_and_do_not_raise_them(emotion: str) -> None:
    """An inner brow that goes up between lowered ones pleads in the midst of anger."""
    assert accented("neutral")[:, INNER].max() > 0.18
    assert accented(emotion)[:, INNER].max() < 0.5 * accented("neutral")[:, INNER].max()


@pytest.mark.parametrize("pair", [("sad", "surprised"), ("angry", "disgusted"), ("fearful", "angry")])
def test_several_feelings_leave_them_room(pair: tuple[str, str]) -> None:
    mood = Emotion()
    wanted = np.array([name in pair for name in EMOTIONS], np.float32)
    held = [mood(wanted) for _ in range(5 * FRAME_RATE)][-1].shapes[WHERE]
    assert held[:5].max() < 0.85
