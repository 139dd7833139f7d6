"""The spring that carries head and brows: an overshoot is seen as a bobbing head, a corner as a twitch."""

from __future__ import annotations

import numpy as np
from facestream.contract import FRAME_RATE
from spring import Spring


def test_reaches_its_target_without_overshoot_or_corner() -> None:
    spring = Spring(2, 2.0, FRAME_RATE)
    course = np.array([spring(np.array([1.0, -0.5])) for _ in range(60)])
    assert np.all(np.diff(course[:, 0]) >= 0.0)
    assert course.max() <= 1.0
    assert np.allclose(course[-1], [1.0, -0.5], atol=1e-3)
    assert np.allclose(course[:, 1], -0.5 * course[:, 0])
    assert course[0, 0] < 0.1  # it starts slowly


def test_half_of_a_step_is_done_after_the_documented_time() -> None:
    spring = Spring(1, 0.75, FRAME_RATE)
    course = np.array([spring(np.ones(1))[0] for _ in range(90)])
    half = (int(np.argmax(course >= 0.5)) + 1) / FRAME_RATE
    assert abs(half - 0.27 / 0.75) < 1.5 / FRAME_RATE
