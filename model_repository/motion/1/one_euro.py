"""One-Euro filter: steady when the signal rests, quick when it moves.

Casiez, Roussel, Vogel, "1 € Filter: A Simple Speed-based Low-pass Filter for Noisy Input in Interactive Systems", 2012.
Three things differ from the paper. The speed is the larger of the raw and the smoothed one: a lip that closes on a /p/
must not wait for its own average. The cutoff grows with the speed above that of the noise only, so that noise does
not open the filter to itself. And a signal that is exactly at rest has no noise in it, as that of a speech network
which hears nobody: what is left of a movement goes at once, or a mouth that has fallen silent would creep shut.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SPEED_CUTOFF_HZ = 4.0
"""Cutoff of the smoothed speed."""


def _smoothing(cutoff_hz: NDArray[np.float64], rate_hz: float) -> NDArray[np.float64]:
    """Weight of the newest sample in an exponential filter of this cutoff."""
    ratio = (2.0 * np.pi / rate_hz) * cutoff_hz
    return np.asarray(ratio / (ratio + 1.0))


class OneEuroFilter:
    """Filters a vector (n,), each element with constants of its own."""

    def __init__(
        self,
        rest: NDArray[np.float64],
        *,
        min_cutoff_hz: NDArray[np.float64],
        beta: NDArray[np.float64],
        noise_speed: NDArray[np.float64],
        rate_hz: float,
    ) -> None:
        """`rest` (n,) is where the signal starts from, and comes back to exactly.

        The constants, (n,) each, are those of facestream.parameters.Group.
        """
        self._rest = np.array(rest, np.float64)
        self._value = self._rest.copy()
        self._speed = np.zeros_like(self._value)
        self._min_cutoff_hz = min_cutoff_hz
        self._beta = beta
        self._noise_speed = noise_speed
        self._rate_hz = rate_hz
        self._speed_weight = _smoothing(np.asarray(SPEED_CUTOFF_HZ), rate_hz)

    def __call__(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """The filtered (n,) of the next (n,)."""
        speed = (value - self._value) * self._rate_hz
        self._speed += self._speed_weight * (speed - self._speed)
        quickest = np.maximum(np.abs(speed), np.abs(self._speed))
        noise = np.where(value == self._rest, 0.0, self._noise_speed)
        cutoff = self._min_cutoff_hz + self._beta * np.maximum(quickest - noise, 0.0)
        self._value = self._value + _smoothing(cutoff, self._rate_hz) * (value - self._value)
        return self._value.copy()
