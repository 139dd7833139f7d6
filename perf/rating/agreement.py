"""How far raters agree: Krippendorff's alpha, 1 in full agreement, 0 by chance, below 0 where they contradict.

Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Metric = Literal["nominal", "ordinal", "interval"]


def alpha(ratings: Iterable[tuple[Hashable, Hashable, float]], metric: Metric) -> float | None:
    """Krippendorff's alpha of (rater, unit, value); a unit that one rater alone has seen does not count.

    Args:
        ratings: values by rater and unit; each rater rates a unit at most once, and need not rate all.
        metric: how far values are apart: all alike, by rank, or by their difference.

    Returns:
        None where no unit has two ratings, or all values are the same.
    """
    units: dict[Hashable, list[float]] = defaultdict(list)
    for _, unit, value in ratings:
        units[unit].append(value)
    paired = [values for values in units.values() if len(values) > 1]
    levels = sorted({value for values in paired for value in values})
    if len(levels) < 2:
        return None
    place = {value: index for index, value in enumerate(levels)}
    coincidences = np.zeros((len(levels), len(levels)))
    for values in paired:
        counts = np.zeros(len(levels))
        for value, count in Counter(values).items():
            counts[place[value]] = count
        coincidences += (np.outer(counts, counts) - np.diag(counts)) / (len(values) - 1)
    totals = coincidences.sum(1)
    apart = _distances(np.array(levels), totals, metric)
    expected = (np.outer(totals, totals) * apart).sum() / (totals.sum() - 1.0)
    return float(1.0 - (coincidences * apart).sum() / expected)


def _distances(levels: Floats, totals: Floats, metric: Metric) -> Floats:
    """Squared distances [levels, levels]."""
    if metric == "nominal":
        return np.asarray(1.0 - np.eye(len(levels)))
    if metric == "interval":
        return np.asarray((levels[:, None] - levels[None]) ** 2)
    # By rank: how many values lie between, those at both ends counted by half.
    middle = np.cumsum(totals) - totals / 2.0
    return np.asarray((middle[:, None] - middle[None]) ** 2)
