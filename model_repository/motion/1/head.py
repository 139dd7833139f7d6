"""Head movement: slow sway, breath, and a nod with the stress of the speech."""

from __future__ import annotations

import numpy as np
from facestream.contract import FRAME_RATE
from numpy.typing import NDArray

# yaw, pitch, roll in rad; x, y in picture sizes; growth
_SWAY = np.array([0.030, 0.016, 0.016, 0.004, 0.002, 0.004])
_SWAY_HZ = (0.07, 0.13, 0.23)
_BREATH_HZ = 0.24
_BREATH = np.array([0.0, 0.004, 0.0, 0.0, 0.0015, 0.0])
_SPEECH_GAIN = 1.45  # people move more while they speak
_NOD_RAD = 0.035
_NOD_HZ = 1.6  # of the critically damped spring that carries the nod
_STRESS_DB = 4.0  # rise above the mean of the last second that counts as a stress


class Head:
    """Pose of one session's head."""

    def __init__(self, random: np.random.Generator) -> None:
        self._phases = random.uniform(0.0, 2.0 * np.pi, (len(_SWAY_HZ), 6))
        self._rates = np.array(_SWAY_HZ)[:, None] * random.uniform(0.8, 1.25, (len(_SWAY_HZ), 6))
        self._breath_phase = float(random.uniform(0.0, 2.0 * np.pi))
        self._time = 0.0
        self._ease = 0.0  # 0 at the start, so that the first frame is the avatar's own pose
        self._liveliness = 1.0
        self._mean_level = -90.0
        self._nod = 0.0
        self._nod_speed = 0.0

    def __call__(self, level_dbfs: float, voice: float) -> tuple[NDArray[np.float64], float, float]:
        """The next frame.

        Args:
            level_dbfs: loudness of the frame.
            voice: certainty in [0, 1] that somebody speaks.

        Returns:
            Pose (6,): yaw, pitch, roll (rad), x, y (picture sizes), growth; stress in [0, 1]; breath in [-1, 1].
        """
        step = 1.0 / FRAME_RATE
        self._time += step
        self._ease = min(self._ease + step / 1.5, 1.0)
        self._liveliness += (1.0 + (_SPEECH_GAIN - 1.0) * voice - self._liveliness) * step / 0.8
        self._mean_level += (level_dbfs - self._mean_level) * step / 1.0
        stress = voice * float(np.clip((level_dbfs - self._mean_level - _STRESS_DB) / 8.0, 0.0, 1.0))

        omega = 2.0 * np.pi * _NOD_HZ
        pull = omega * omega * (_NOD_RAD * stress - self._nod) - 2.0 * omega * self._nod_speed
        self._nod_speed += pull * step
        self._nod += self._nod_speed * step

        waves = np.sin(2.0 * np.pi * self._rates * self._time + self._phases).mean(axis=0) * np.sqrt(len(_SWAY_HZ))
        breath = float(np.sin(2.0 * np.pi * _BREATH_HZ * self._time + self._breath_phase))
        ease = self._ease * self._ease * (3.0 - 2.0 * self._ease)
        pose = ease * (_SWAY * waves * self._liveliness + _BREATH * breath)
        pose[1] += self._nod
        return pose, stress, breath
