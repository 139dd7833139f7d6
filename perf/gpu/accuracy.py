"""How far a measured network is from the same network in fp32 on the CPU, by the tolerances of export.networks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from export.networks import Precision, network
from export.precision.errors import Errors


def judge(
    stage: str, precision: Precision, made: Mapping[str, NDArray[Any]], wanted: Mapping[str, NDArray[Any]]
) -> dict[str, dict[str, Any]]:
    """Errors of every output that has a tolerance.

    Args:
        stage: of export.networks.
        precision: whose tolerances hold.
        made: outputs [n, ...] of the measured network.
        wanted: those of the reference.

    Returns:
        By output: `largest` and `usual` (99.9th percentile) absolute error, None where a number is not finite; and
        `exceeded`, what of the tolerance is not kept, in words: empty where all is well.
    """
    found: dict[str, dict[str, Any]] = {}
    for output, tolerance in network(stage).tolerances[precision].items():
        errors = Errors()
        try:
            errors.add(made[output], wanted[output])
        except (KeyError, ValueError) as error:
            found[output] = {"largest": None, "usual": None, "exceeded": [f"it cannot be compared: {error}"]}
            continue
        found[output] = {
            "largest": _digits(errors.largest),
            "usual": _digits(errors.usual),
            "exceeded": errors.exceeded(tolerance),
        }
    return found


def _digits(value: float) -> float | None:
    """As JSON holds it."""
    return float(f"{value:.4g}") if math.isfinite(value) else None
