"""One-Euro filter: steady when the signal rests, quick when it moves.

Casiez, Roussel, Vogel, "1 € Filter: A Simple Speed-based Low-pass Filter for Noisy Input in Interactive Systems", 2012.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def _smoothing(cutoff_hz: NDArray[np.float64] | float, rate_hz: float) -> NDArray[np.float64] | float:
    """Weight of the newest sample in an exponential filter of this cutoff."""
    ratio = 2.0 * np.pi * cutoff_hz / rate_hz
    return ratio / (ratio + 1.0)


class OneEuroFilter:
    """Filters a vector, each element with constants of its own."""

    def __init__(
        self,
        rest: NDArray[np.float64],
        *,
        min_cutoff_hz: NDArray[np.float64] | float,
        beta: NDArray[np.float64] | float,
        rate_hz: float,
        speed_cutoff_hz: float = 4.0,
    ) -> None:
        """`rest` (n,) is where the signal starts from; `beta` is the cutoff gained per unit of speed, Hz / (1/s)."""
        self._value = np.array(rest, np.float64)
        self._speed = np.zeros_like(self._value)
        self._min_cutoff_hz = min_cutoff_hz
        self._beta = beta
        self._rate_hz = rate_hz
        self._speed_weight = _smoothing(speed_cutoff_hz, rate_hz)

    def __call__(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """The filtered (n,) of the next (n,)."""
        speed = (value - self._value) * self._rate_hz
        self._speed = self._speed + self._speed_weight * (speed - self._speed)
        # The larger of the raw and the smoothed speed: a lip that closes on a /p/ must not wait for its own average.
        quickest = np.maximum(np.abs(speed), np.abs(self._speed))
        weight = _smoothing(self._min_cutoff_hz + self._beta * quickest, self._rate_hz)
        self._value = self._value + weight * (value - self._value)
        return self._value.copy()
