"""How one session's person differs from another: no two move alike, and no face is symmetric."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from facestream.parameters import ARKIT, INDEX, PAIRS
from numpy.typing import NDArray

_SIDE_SPREAD = 0.10
_STRONGER_LEFT = 0.03
"""Most people's left half of the face expresses a little more (Borod, Haywood, Koff, "Neuropsychological aspects of
facial asymmetry during emotional expression", Neuropsychology Review 1997)."""


class Personality(NamedTuple):
    """Traits that last for the session."""

    liveliness: float
    """Factor of head and brow movement, about 1."""
    blink_rate: float
    """Factor of the rate of blinks, about 1."""
    tilt_side: float
    """-1 or 1: to which shoulder the head tilts more readily."""
    sides: NDArray[np.float64]
    """(52,) factors of the emotional ARKit weights: left and right differ."""


def draw(random: np.random.Generator) -> Personality:
    """The traits of a new session."""
    sides = np.ones(len(ARKIT))
    lean = _STRONGER_LEFT + 0.5 * _SIDE_SPREAD * float(random.standard_normal())  # all of one side together
    for left, right, _ in PAIRS:
        if INDEX[left] >= len(ARKIT):
            continue
        difference = lean + _SIDE_SPREAD * float(random.standard_normal())
        difference = min(max(difference, -0.25), 0.25)
        sides[INDEX[left]] += 0.5 * difference
        sides[INDEX[right]] -= 0.5 * difference
    return Personality(
        liveliness=float(np.exp(0.20 * np.clip(random.standard_normal(), -1.5, 1.5))),
        blink_rate=float(np.exp(0.15 * np.clip(random.standard_normal(), -1.5, 1.5))),
        tilt_side=1.0 if random.random() < 0.5 else -1.0,
        sides=sides,
    )
