"""Brows: raised on accents and questions, and the small life of a face that feels nothing in particular.

Brow raises go with pitch accents (Flecha-Garcia, "Eyebrow raises in dialogue and their relation to discourse structure,
utterance function and pitch accents in English", Speech Communication 2010). About a third of the accents has one here.
A face whose feeling holds the brows down presses them further down instead: raised, they would plead in the midst of
anger.
"""

from __future__ import annotations

import numpy as np
from cues import Cues
from facestream.contract import FRAME_RATE
from facestream.parameters import INDEX
from numpy.typing import NDArray
from personality import Personality
from spring import Spring

NAMES = (
    "browInnerUp",
    "browOuterUpLeft",
    "browOuterUpRight",
    "browDownLeft",
    "browDownRight",
    "cheekSquintLeft",
    "cheekSquintRight",
    "eyeSquintLeft",
    "eyeSquintRight",
)
WHERE = [INDEX[name] for name in NAMES]
"""Places of NAMES among the parameters. The mouth is not there: in silence it is still."""

_RAISED, _LOWERED, _BROWS = slice(0, 3), slice(3, 5), slice(0, 5)  # of NAMES
_RAISE = np.zeros(len(NAMES))
_RAISE[_RAISED] = (0.32, 0.26, 0.26)
_RAISES = 0.40  # share of accents
_RAISE_FRAMES = 6
_RAISE_HZ = 2.0
_MELODY = 0.35  # of a raise, for each octave above the usual pitch
_ASK_FRAMES = 22
_FLICKER = np.array([0.030, 0.022, 0.022, 0.025, 0.025, 0.020, 0.020, 0.025, 0.025])
_FLICKER_HZ = 0.9
_FLICKER_FRAMES = (10, 50)


class Brows:
    """Brows, cheeks and lids of one session, beside what its emotion does."""

    def __init__(self, random: np.random.Generator, personality: Personality) -> None:
        self._random = random
        self._lively = personality.liveliness
        self._raised = np.zeros(len(NAMES))
        self._frames = 0
        self._spring = Spring(len(NAMES), _RAISE_HZ, FRAME_RATE)
        self._flicker = np.zeros(len(NAMES))
        self._next_flicker = _FLICKER_FRAMES[0]
        self._drift = Spring(len(NAMES), _FLICKER_HZ, FRAME_RATE)

    def __call__(self, cues: Cues, liveliness: float, felt: NDArray[np.float64]) -> NDArray[np.float64]:
        """What is added to the weights of NAMES in the next frame.

        Args:
            cues: of the frame.
            liveliness: factor of movement, of the emotion.
            felt: (9,) weights of NAMES that the emotion holds; those of brows are below 1, see emotion.
        """
        self._frames -= 1
        self._next_flicker -= 1
        lively = liveliness * self._lively
        if cues.asks:
            self._raised, self._frames = 1.1 * _RAISE, _ASK_FRAMES
        elif cues.accent > 0.0 and self._frames <= 0 and self._random.random() < _RAISES:
            inner, left, right = 1.0 + 0.25 * self._random.standard_normal(3).clip(-2.0, 2.0)
            self._raised = cues.accent * lively * _RAISE
            self._raised[_RAISED] *= (inner, left, right)
            self._frames = _RAISE_FRAMES
        if self._next_flicker <= 0:
            self._next_flicker = int(self._random.integers(*_FLICKER_FRAMES))
            self._flicker = _FLICKER * self._random.standard_normal(len(NAMES)).clip(0.0, 2.5)
        target = self._raised if self._frames > 0 else np.zeros(len(NAMES))
        target = target + max(cues.melody, 0.0) * _MELODY * _RAISE
        added = np.maximum(self._spring(target) + self._drift(self._flicker), 0.0)
        frowns = max(float(felt[_LOWERED].mean() - felt[_RAISED][0]), 0.0)
        added[_LOWERED] += frowns * added[_RAISED][1:]
        added[_RAISED] *= 1.0 - frowns
        # Brows that are as far up or down already still answer an accent, by as much as there is room for.
        room = 1.0 - felt[_BROWS]
        added[_BROWS] = room * np.tanh(added[_BROWS] / room)
        return added
