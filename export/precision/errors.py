"""How far one run of numbers is from another, gathered frame by frame."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.networks import Tolerance

PERCENTILE = 99.9
LEVELS = 255.0
_LOWEST, _HIGHEST, _PER_DECADE = -10, 6, 200
"""Errors are counted by their size, in steps of 1.2 %: keeping them all would take gigabytes."""


class Errors:
    """Absolute errors of one tensor over frames."""

    def __init__(self) -> None:
        self.frames = 0
        self.largest = 0.0
        self.worst_frame = 0
        """Where `largest` was, counted from 0."""
        self.finite = True
        """No NaN and no infinity on either side."""
        self.least_psnr = math.inf
        """dB of the worst frame against 255 levels."""
        self._sum = 0.0
        self._count = 0
        # The first bin holds what is smaller than the smallest size, and equality.
        self._bins = np.zeros((_HIGHEST - _LOWEST) * _PER_DECADE + 1, np.int64)

    def add(self, made: NDArray[Any], wanted: NDArray[Any]) -> None:
        """One more frame, or several [n, ...] whose first dimension counts frames.

        Raises:
            ValueError: the shapes differ.
        """
        if made.shape != wanted.shape:
            raise ValueError(f"the shape is {list(made.shape)}, expected {list(wanted.shape)}")
        for one, other in zip(made, wanted, strict=True):
            self._add(one.astype(np.float32), other.astype(np.float32))

    def _add(self, made: NDArray[np.float32], wanted: NDArray[np.float32]) -> None:
        error = np.abs(made - wanted).ravel()
        if not np.isfinite(error).all():
            self.finite = False
            error = np.nan_to_num(error, nan=math.inf, posinf=math.inf)
        largest = float(error.max(initial=0.0))
        if largest > self.largest:
            self.largest, self.worst_frame = largest, self.frames
        square = float(np.mean(np.square(error, dtype=np.float64))) if error.size else 0.0
        if square > 0.0:
            self.least_psnr = min(self.least_psnr, 10.0 * math.log10(LEVELS**2 / square) if square < math.inf else 0.0)
        self._sum += float(error.sum(dtype=np.float64))
        self._count += error.size
        seen = error[error > 10.0**_LOWEST]
        if seen.size:
            sizes = (np.log10(np.minimum(seen, 10.0 ** (_HIGHEST - 0.01))) - _LOWEST) * _PER_DECADE
            self._bins += np.bincount(sizes.astype(np.int64) + 1, minlength=len(self._bins))
        self._bins[0] += error.size - seen.size
        self.frames += 1

    @property
    def mean(self) -> float:
        """Mean of all absolute errors."""
        return self._sum / self._count if self._count else 0.0

    @property
    def usual(self) -> float:
        """The 99.9th percentile of all absolute errors, at most 1.2 % too large."""
        place = int(np.searchsorted(np.cumsum(self._bins), PERCENTILE / 100.0 * self._count))
        return 0.0 if place == 0 else min(10.0 ** (_LOWEST + place / _PER_DECADE), self.largest)

    def exceeded(self, tolerance: Tolerance) -> list[str]:
        """What of a tolerance is not kept: figure, value and limit, in words."""
        told = []
        if not self.finite:
            told.append("it holds a value that is not finite")
        if not self.largest <= tolerance.largest:
            told.append(
                f"its largest error is {self.largest:.3g} {tolerance.unit} in frame {self.worst_frame}, "
                f"the limit {tolerance.largest:g}"
            )
        if not self.usual <= tolerance.usual:
            told.append(f"the 99.9th percentile of its errors is {self.usual:.3g}, the limit {tolerance.usual:g}")
        if tolerance.least_psnr is not None and not self.least_psnr >= tolerance.least_psnr:
            told.append(f"the PSNR of a frame falls to {self.least_psnr:.1f} dB, the limit {tolerance.least_psnr:g}")
        return told

    def summary(self) -> dict[str, Any]:
        """The figures for JSON; a PSNR without any error is null."""
        return {
            "frames": self.frames,
            "largest": self.largest if math.isfinite(self.largest) else None,
            "worst_frame": self.worst_frame,
            "p99.9": self.usual,
            "mean": self.mean if math.isfinite(self.mean) else None,
            "least_psnr_db": self.least_psnr if math.isfinite(self.least_psnr) else None,
            "finite": self.finite,
        }
