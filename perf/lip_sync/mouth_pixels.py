"""What the pixels between the lips show: teeth and dark cavity, without any network's idea of a mouth.

A landmark network has seen millions of mouths and draws lips where lips usually are: it may round a closure off, or see
a gap in a shadow. So the colours of an upright picture of the mouth are looked at as well. Teeth are less red than any
part of the lips, the cavity is darker; the seam of closed lips is a little dark too, so what the face at rest shows
counts as nothing.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HALF_WIDTH: Final = 0.12
"""The middle of the mouth reaches so far to both sides: share of the distance between the outer corners of the eyes."""

INSET: Final = 0.3
"""Share of each lip's height, from its outer edge, that is surely lip."""

TEETH_RED: Final = (0.85, 0.65)
"""Redness in terms of the palest lip's: above the first no tooth, below the second surely one."""

DARK: Final = (0.62, 0.45)
"""Luminance in terms of the lips' median: above the first no cavity, below the second surely."""


class Interior(NamedTuple):
    """Heights of what is seen between the lips, px of the upright picture: means over the mouth's middle columns."""

    teeth: float
    cavity: float
    below_teeth: float
    """Dark rows between the lowest tooth's edge and the lower lip; NaN where no teeth are seen."""

    @property
    def opening(self) -> float:
        return self.teeth + self.cavity


def _redness_and_luminance(picture: NDArray[np.integer]) -> tuple[Floats, Floats]:
    red, green, blue = np.moveaxis(picture.astype(np.float64), -1, 0)
    return (red - green) / np.maximum(red + green, 1.0), 0.299 * red + 0.587 * green + 0.114 * blue


def _share(value: Floats, none: float, all_of_it: float) -> Floats:
    return np.asarray(np.clip((none - value) / (none - all_of_it), 0.0, 1.0))


class MouthPixels:
    """Knows the lips of one avatar from its face at rest."""

    def __init__(self, rest: NDArray[np.uint8], upper: float, lower: float, seam: float, columns: slice) -> None:
        """Learn the colours of the lips.

        Args:
            rest: upright picture (h, w, 3), RGB, of the face at rest, lips closed.
            upper: y of the upper lip's outer edge, px.
            lower: y of the lower lip's outer edge, px.
            seam: y where the lips meet, px.
            columns: the middle of the mouth.
        """
        redness, luminance = _redness_and_luminance(rest[:, columns])
        rows = np.arange(len(rest)) + 0.5
        inside = (rows > upper + INSET * (seam - upper)) & (rows < lower - INSET * (lower - seam))
        lips = inside & (np.abs(rows - seam) > 3.0)  # without the seam and its shadow
        self._pale = float(np.percentile(redness[lips], 5))
        self._light = float(np.median(luminance[lips]))
        self._at_rest = Interior(0.0, 0.0, 0.0)
        self._at_rest = self.look(rest, upper, lower, seam, columns)

    def look(self, picture: NDArray[np.uint8], upper: float, lower: float, seam: float, columns: slice) -> Interior:
        """What lies between the lips of an upright picture (h, w, 3); the other arguments as for the face at rest."""
        first = max(int(upper + INSET * (seam - upper)), 0)
        last = min(int(np.ceil(lower - INSET * (lower - seam))), len(picture))
        redness, luminance = _redness_and_luminance(picture[first:last, columns])
        if redness.size == 0:
            return Interior(0.0, 0.0, float("nan"))
        teeth = _share(redness, TEETH_RED[0] * self._pale, TEETH_RED[1] * self._pale)
        dark = _share(luminance, DARK[0] * self._light, DARK[1] * self._light) * (1.0 - teeth)
        tooth_height, cavity = float(teeth.sum(0).mean()), float(dark.sum(0).mean())
        below = float("nan")
        toothed = (teeth > 0.5).any(0)
        if toothed.mean() > 0.25:
            rows = np.arange(len(teeth))[:, None]
            edge = np.where(teeth > 0.5, rows, -1).max(0)  # lowest tooth pixel of each column
            below = float((dark * (rows > edge))[:, toothed].sum(0).mean())
        return Interior(max(tooth_height - self._at_rest.teeth, 0.0), max(cavity - self._at_rest.cavity, 0.0), below)
