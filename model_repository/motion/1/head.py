"""Head movement: nods with the accents, a stance that changes with the phrases, breath and sway.

That heads move with the prosody, and how: Hadar, Steiner, Grant, Rose, "Head movement correlates of juncture and stress
at sentence level", Language and Speech 1983; Graf, Cosatto, Strom, Huang, "Visual prosody: facial movements
accompanying speech", FG 2002 (nods on accents, swings to a new stance at phrases); Munhall et al., "Visual prosody and
speech intelligibility: head movement improves auditory speech perception", Psychological Science 2004 (movement follows
the pitch); Alexanderson, House, Beskow, AVSP 2013 (nods peak on the stressed syllable). The amplitudes are ours, within
what those describe: nods of 1 to 4 degrees, stances of about 2.
"""

from __future__ import annotations

import numpy as np
from cues import Cues
from facestream.contract import FRAME_RATE
from facestream.parameters import HEAD
from numpy.typing import NDArray
from personality import Personality
from spring import Spring

# In the order of HEAD: yaw, pitch, roll in rad; x, y in picture sizes; growth.
_SWAY = np.array([0.010, 0.006, 0.006, 0.0025, 0.0015, 0.003])
_SWAY_HZ = np.array([0.07, 0.13, 0.23])
_BREATH_HZ = 0.24  # 14 breaths a minute
_BREATH = np.array([0.0, 0.004, 0.0, 0.0, 0.0015, 0.0])
_STANCE = np.array([0.042, 0.016, 0.022])  # standard deviations while speaking
_STANCE_AT_REST = 0.45  # of that
_STANCE_SECONDS = ((1.2, 3.5), (3.0, 8.0))  # from one to the next: speaking, silent
_STANCE_HZ, _NOD_HZ = 0.75, 2.6
_NOD_RAD = 0.075  # of the nod's target: the spring reaches about half of it
_NOD = np.sin(np.pi * (np.arange(9) + 0.5) / 9) ** 2  # course of the target: 0.3 s, without corners
_NODS = 0.65  # share of accents that move the head
# The gestures on accents: a nod, a raise, a tilt, a turn; the share of each, summed up, and its yaw, pitch and roll.
_CUMULATED = np.array([0.62, 0.78, 0.90, 1.0])
_DIRECTIONS = np.array([[0.0, 1.0, 0.0], [0.0, -0.7, 0.0], [0.0, 0.3, 0.9], [0.7, 0.35, 0.2]])
_MELODY_RAD = 0.09  # for each octave: the head rises with the voice
_ASK = np.array([0.0, -0.025, 0.055])
_ASK_FRAMES = 24
_END_RAD = 0.014  # the head sinks a little as a phrase ends
_FOLLOWS_GAZE = 0.30  # of a glance away
_NECK = np.array([[0.0, 0.0, 0.05], [0.0, 0.03, 0.0], [0.0, 0.04, 0.0]])
"""x, y and growth for yaw, pitch, roll: the head turns about the neck, not about its own centre."""
_LIMIT = np.array([0.19, 0.14, 0.14])
"""Turns approach these softly; facestream.parameters allows a little more."""
_EASE_SECONDS = 1.5


class Head:
    """Pose of one session's head."""

    def __init__(self, random: np.random.Generator, personality: Personality) -> None:
        self._random = random
        self._personality = personality
        self._phases = random.uniform(0.0, 2.0 * np.pi, (len(_SWAY_HZ), len(HEAD)))
        self._rates = 2.0 * np.pi * _SWAY_HZ[:, None] * random.uniform(0.8, 1.25, self._phases.shape)
        self._breath_phase = float(random.uniform(0.0, 2.0 * np.pi))
        self._time = 0.0
        self._stance = np.zeros(3)
        self._wait = 1.0
        self._gesture = np.zeros(3)
        self._gesture_frame = len(_NOD)
        self._ask = 0
        self._slow = Spring(3, _STANCE_HZ, FRAME_RATE)
        self._carried = Spring(len(HEAD), _STANCE_HZ, FRAME_RATE)
        self._quick = Spring(3, _NOD_HZ, FRAME_RATE)

    def __call__(
        self, cues: Cues, carriage: NDArray[np.float64], liveliness: float, glance: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], float]:
        """The next frame.

        Args:
            cues: of the frame.
            carriage: (6,) how the emotion holds the head, in the units of the pose.
            liveliness: factor of movement, of the emotion.
            glance: (2,) yaw and pitch of where the eyes go, rad.

        Returns:
            Pose (6,): yaw, pitch, roll (rad), x, y (picture sizes), growth; breath in [-1, 1].
        """
        self._time += 1.0 / FRAME_RATE
        lively = liveliness * self._personality.liveliness
        self._move_on(cues, lively)

        quick = self._gesture * (_NOD[self._gesture_frame] if self._gesture_frame < len(_NOD) else 0.0)
        quick[1] -= _MELODY_RAD * lively * cues.melody
        if self._ask > 0:
            quick = quick + _ASK * (1.0, 1.0, self._personality.tilt_side)
        slow = self._stance.copy()
        slow[:2] += _FOLLOWS_GAZE * glance
        turn = self._slow(slow) + self._quick(quick)

        share = min(self._time / _EASE_SECONDS, 1.0)
        ease = share * share * (3.0 - 2.0 * share)  # the first frame is the avatar's own pose
        waves = np.sin(self._rates * self._time + self._phases).mean(axis=0) * np.sqrt(len(_SWAY_HZ))
        breath = float(np.sin(2.0 * np.pi * _BREATH_HZ * self._time + self._breath_phase))
        pose = ease * (_SWAY * waves + _BREATH * breath) + self._carried(carriage)
        pose[:3] = _LIMIT * np.tanh((pose[:3] + turn) / _LIMIT)
        pose[3:] += _NECK @ pose[:3]
        return pose, breath

    def _move_on(self, cues: Cues, lively: float) -> None:
        """Takes a new stance or begins a gesture where the cues ask for one."""
        self._gesture_frame += 1
        self._ask -= 1
        self._wait -= 1.0 / FRAME_RATE
        if self._wait <= 0.0 or cues.begins:
            speaking = cues.speaks > 0.5
            spread = lively if speaking else _STANCE_AT_REST
            self._stance = spread * _STANCE * self._random.standard_normal(3).clip(-2.0, 2.0)
            self._stance[2] += 0.006 * self._personality.tilt_side
            self._wait = float(self._random.uniform(*_STANCE_SECONDS[0 if speaking else 1]))
        if cues.ends:
            self._stance = 0.5 * self._stance
            self._stance[1] += _END_RAD
        if cues.asks:
            self._ask = _ASK_FRAMES
        if cues.accent > 0.0 and self._random.random() < _NODS:
            direction = _DIRECTIONS[int(np.searchsorted(_CUMULATED, self._random.random()))]
            strength = cues.accent * lively * float(np.exp(0.35 * np.clip(self._random.standard_normal(), -2.0, 2.0)))
            side = self._personality.tilt_side if self._random.random() < 0.7 else -self._personality.tilt_side
            self._gesture = _NOD_RAD * strength * direction * (side, 1.0, side)
            self._gesture_frame = 0
