"""A critically damped spring: reaches its target as soon as it can without overshooting, and never jerks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Spring:
    """Carries a vector (n,) to its target."""

    def __init__(self, size: int, hz: float, rate_hz: float) -> None:
        """`hz` is the natural frequency: a step is half done after 0.27 / hz seconds."""
        self._value = np.zeros(size)
        self._speed = np.zeros(size)
        self._omega = 2.0 * np.pi * hz
        self._step = 1.0 / rate_hz
        self._decay = float(np.exp(-self._omega * self._step))

    def __call__(self, target: NDArray[np.float64]) -> NDArray[np.float64]:
        """The value (n,) of the next frame, by the exact solution for a target that holds still during the frame."""
        distance = self._value - target
        push = self._speed + self._omega * distance
        self._value = target + (distance + push * self._step) * self._decay
        self._speed = (self._speed - self._omega * push * self._step) * self._decay
        return self._value.copy()
