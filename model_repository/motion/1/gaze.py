"""Gaze: mostly at the viewer, with small saccades."""

from __future__ import annotations

import numpy as np
from facestream.contract import FRAME_RATE
from numpy.typing import NDArray

_FIXATION_SECONDS = (0.7, 2.8)
_AT_VIEWER = 0.65  # share of fixations that return to the viewer
_SPREAD_RAD = np.array([0.035, 0.018])  # yaw, pitch of the glances away
_SACCADE = 0.62  # share of the remaining way that a frame covers: over in about 3 frames, 100 ms


class Gaze:
    """Direction of both eyes of one session."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self._direction = np.zeros(2)
        self._target = np.zeros(2)
        self._wait = 2 * FRAME_RATE

    def __call__(self) -> NDArray[np.float64]:
        """Yaw and pitch (2,) of the next frame, rad, in the picture's sense of facestream.parameters."""
        self._wait -= 1
        if self._wait <= 0:
            self._wait = int(self._random.uniform(*_FIXATION_SECONDS) * FRAME_RATE)
            away = self._random.random() >= _AT_VIEWER
            self._target = self._random.normal(size=2) * _SPREAD_RAD if away else np.zeros(2)
        self._direction = self._direction + _SACCADE * (self._target - self._direction)
        return self._direction.copy()
