"""How far a measured network is from the same network in fp32 on the CPU, by the tolerances of export.networks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.networks import network

Errors = dict[str, float]


def errors(made: NDArray[Any], wanted: NDArray[Any]) -> Errors:
    """Absolute errors of one output [n, ...]: `largest`, `usual` (99.9th percentile), and for pictures `psnr`, dB, of
    the worst frame. All are NaN where what was made holds a number that is not finite, or has another shape.
    """
    if made.shape != wanted.shape or not np.isfinite(made.astype(np.float64)).all():
        return {"largest": math.nan, "usual": math.nan}
    off = np.abs(made.astype(np.float64) - wanted.astype(np.float64))
    found = {"largest": float(off.max()), "usual": float(np.percentile(off, 99.9))}
    if wanted.dtype == np.uint8:
        worst = max(float((frame**2).mean()) for frame in off)
        found["psnr"] = 10.0 * math.log10(255.0**2 / worst) if worst else 99.0
    return found


def kept(stage: str, precision: str, found: Mapping[str, Mapping[str, float | None]], output: str) -> bool:
    """Whether one output keeps to its tolerance; what is not finite, NaN or None, does not."""
    tolerance = dict(network(stage).tolerances)[precision][output]  # type: ignore[index]
    off = found[output]

    def below(value: float | None, limit: float) -> bool:
        return value is not None and value <= limit

    if not (below(off["largest"], tolerance.largest) and below(off["usual"], tolerance.usual)):
        return False
    return tolerance.least_psnr is None or (off.get("psnr") or 0.0) >= tolerance.least_psnr


def within(stage: str, precision: str, found: Mapping[str, Errors]) -> bool:
    """Whether all outputs of a network keep to their tolerances."""
    return all(kept(stage, precision, found, output) for output in dict(network(stage).tolerances)[precision])  # type: ignore[index]
