"""Gaze: at the viewer, with glances away, as people's eyes do it in conversation.

Durations of looks at and away from the other, amplitudes and directions of saccades: Lee, Badler, Badler, "Eyes Alive",
SIGGRAPH 2002. Speakers look away as they begin and hesitate, and return as they end (Kendon, "Some functions of
gaze-direction in social interaction", Acta Psychologica 1967). A saccade lasts 21 ms and 2.2 ms for each degree
(Carpenter, "Movements of the Eyes", 1988).
"""

from __future__ import annotations

import math

import numpy as np
from cues import Cues
from facestream.contract import FRAME_RATE
from numpy.typing import NDArray

_DEGREE = math.pi / 180.0
# At the viewer and away: mean and standard deviation in frames of 1/30 s; while speaking and while listening.
_AT_VIEWER = ((93.9, 60.0), (237.5, 47.1))
_AWAY = ((27.8, 24.0), (13.0, 7.1))
_SHORTEST_FRAMES = 7  # a look that is over sooner is a twitch of the eyes
_DIRECTIONS = np.array([15.54, 6.46, 17.69, 7.44, 16.80, 7.89, 20.38, 7.79])  # %, every 45 degrees from the right, up
_CUMULATED = np.cumsum(_DIRECTIONS / _DIRECTIONS.sum())
_MEAN_DEGREES = 6.9
_LEAST_DEGREES, _MOST_DEGREES = 2.5, 11.0  # the viewer's picture is small: wider glances would leave it
_UPWARDS = 0.6  # eyes and lids reach less far up and down
_ON_FACE_DEGREES = (0.8, 0.5)  # looks wander over the viewer's eyes and mouth
_ON_FACE_FRAMES = (12, 45)
_AVERTS_AT_BEGIN, _AVERTS_IN_HESITATION = 0.35, 0.6
LEAP_RAD = 4.0 * _DEGREE
"""Saccades from here on often come with a blink."""


def _usual_share(speaks: float) -> float:
    """Of the time that is spent looking away, without any emotion."""
    away, at_viewer = (looks[0 if speaks > 0.5 else 1][0] for looks in (_AWAY, _AT_VIEWER))
    return away / (away + at_viewer)


def _pace(aversion: float, usual_share: float) -> float:
    """How much faster than usual a look at the viewer goes by, so that the share of time away is `aversion` times the
    usual one. Glances away last as long as ever: an angry one that is cut short would be a twitch."""
    return aversion * (1.0 - usual_share) / (1.0 - aversion * usual_share)


class Gaze:
    """Direction of both eyes of one session, in the world: 0 is the viewer, however the head stands."""

    def __init__(self, random: np.random.Generator) -> None:
        self._random = random
        self._from = np.zeros(2)
        self._to = np.zeros(2)
        self._elapsed, self._duration = 1.0, 0.021
        self._away = False
        self._look = 60.0  # frames to the next change between the viewer and away, at the usual pace
        self._held = 0  # frames since the last one
        self._usual_share = _usual_share(0.0)
        self._fixation = 20.0
        self.leaps = False
        """A large saccade begins in this frame."""

    @property
    def target(self) -> NDArray[np.float64]:
        """Where the eyes are or are going, rad (2,)."""
        return self._to

    def __call__(self, cues: Cues, aversion: float, averted: tuple[float, float]) -> NDArray[np.float64]:
        """Yaw and pitch (2,) of the next frame, rad, in the picture's sense of facestream.parameters.

        Args:
            cues: of the shown frame.
            aversion: factor of the share of time spent looking away, of the emotion; it counts from this frame on.
            averted: yaw and pitch to which that emotion's glances tend, rad.
        """
        self._elapsed += 1.0 / FRAME_RATE
        self._held += 1
        self._look -= 1.0 if self._away else _pace(aversion, self._usual_share)
        self._fixation -= 1.0
        self.leaps = False
        wants_away = self._away
        if cues.ends and self._away:
            self._look = 0.0
        if self._look <= 0.0 and self._held >= _SHORTEST_FRAMES:
            wants_away = not self._away
        elif not self._away and (
            (cues.begins and self._random.random() < _AVERTS_AT_BEGIN * min(aversion, 2.0))
            or (cues.hesitates and self._random.random() < _AVERTS_IN_HESITATION)
        ):
            wants_away = True
        if wants_away != self._away:
            self._away = wants_away
            self._begin_look(cues.speaks)
            self._leap_to(self._glance(averted) if wants_away else self._on_face())
        elif self._fixation <= 0.0 and not self._away:
            self._leap_to(self._on_face())
        share = min(self._elapsed / self._duration, 1.0)
        return self._from + (self._to - self._from) * (share * share * (3.0 - 2.0 * share))

    def _begin_look(self, speaks: float) -> None:
        mean, spread = (_AWAY if self._away else _AT_VIEWER)[0 if speaks > 0.5 else 1]
        self._look = mean + spread * float(self._random.standard_normal())
        self._held = 0
        self._usual_share = _usual_share(speaks)

    def _leap_to(self, target: NDArray[np.float64]) -> None:
        distance = float(np.hypot(*(target - self._to)))
        self.leaps = distance >= LEAP_RAD
        self._from, self._to = self._to, target
        self._duration = 0.021 + 0.0022 * distance / _DEGREE
        self._elapsed = 0.5 / FRAME_RATE
        self._fixation = float(self._random.integers(*_ON_FACE_FRAMES))

    def _on_face(self) -> NDArray[np.float64]:
        return self._random.standard_normal(2).clip(-2.0, 2.0) * _ON_FACE_DEGREES * _DEGREE

    def _glance(self, averted: tuple[float, float]) -> NDArray[np.float64]:
        degrees = _LEAST_DEGREES - _MEAN_DEGREES * math.log(1.0 - 0.8 * float(self._random.random()))
        size = min(degrees, _MOST_DEGREES) * _DEGREE
        direction = 0.25 * math.pi * int(np.searchsorted(_CUMULATED, self._random.random()))
        direction += 0.25 * float(self._random.standard_normal())
        yaw, pitch = size * math.cos(direction), -_UPWARDS * size * math.sin(direction)
        return np.array([yaw + averted[0], pitch + averted[1]])
