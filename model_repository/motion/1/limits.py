"""Limits of the shown face: each parameter within its range, left and right not further apart than faces can be."""

from __future__ import annotations

import numpy as np
from facestream.parameters import INDEX, PAIRS, PARAMETERS
from numpy.typing import NDArray

_LOW = np.array([parameter.low for parameter in PARAMETERS])
_HIGH = np.array([parameter.high for parameter in PARAMETERS])
_LEFT = np.array([INDEX[left] for left, _, _ in PAIRS])
_RIGHT = np.array([INDEX[right] for _, right, _ in PAIRS])
_APART = np.array([apart for _, _, apart in PAIRS])


def within_limits(parameters: NDArray[np.float64]) -> NDArray[np.float32]:
    """The parameters (73,), each in its range; a pair that is too far apart comes together about its mean."""
    bounded = np.clip(parameters, _LOW, _HIGH)
    left, right = bounded[_LEFT], bounded[_RIGHT]
    difference = left - right
    excess = 0.5 * (difference - np.clip(difference, -_APART, _APART))
    bounded[_LEFT] = left - excess
    bounded[_RIGHT] = right + excess
    return bounded.astype(np.float32)
