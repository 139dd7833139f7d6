"""Rounded lips: a mouth whose width jumps from one frame to the next looks like a film with frames cut out."""

from __future__ import annotations

import numpy as np
from facestream.parameters import ARKIT, INDEX
from rounding import Rounding

PUCKER = INDEX["mouthPucker"]


def shown(wanted: list[float]) -> np.ndarray:
    """mouthPucker (n,) of a session whose speech network asks for `wanted`."""
    rounding = Rounding()
    faces = np.zeros((len(wanted), len(ARKIT)))
    faces[:, PUCKER] = wanted
    return np.array([rounding(face)[PUCKER] for face in faces])


def test_lips_take_three_frames_for_an_oo() -> None:
    course = shown([0.0, 0.6, 0.6, 0.6, 0.6, 0.6])
    assert np.allclose(course, [0.0, 0.1, 0.3, 0.6, 0.6, 0.6])


def test_no_frame_covers_more_than_a_third() -> None:
    random = np.random.default_rng(0)
    course = shown(random.uniform(0.0, 0.95, 500).tolist())
    assert np.abs(np.diff(course)).max() <= 0.3 + 1e-9
    assert course.min() >= 0.0
    assert course.max() <= 0.95


def test_a_certainty_that_comes_for_one_frame_is_no_twitch() -> None:
    """Speech networks are sure of a w for a frame and doubt it in the next."""
    assert shown([0.0] * 5 + [0.6] + [0.0] * 5).max() < 0.11


def test_slow_movements_are_left_as_they_are() -> None:
    slow = (0.4 - 0.4 * np.cos(np.arange(60) / 10.0)).tolist()
    assert np.array_equal(shown(slow), slow)


def test_nothing_but_the_rounding_waits() -> None:
    """A /p/ beside a rounded vowel closes in its own time."""
    face = np.random.default_rng(1).uniform(0.0, 1.0, len(ARKIT))
    others = np.arange(len(ARKIT)) != PUCKER
    assert np.array_equal(Rounding()(face)[others], face[others])
    assert Rounding()(face)[PUCKER] < face[PUCKER]
