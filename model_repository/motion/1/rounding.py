"""The rounding of the lips, as fast as lips are.

The speech network rounds and spreads the lips from one frame to the next as its certainty comes and goes, and a mouth
whose width jumps is seen to. Lips protrude within 0.1 to 0.2 s: the movement sets in, and no frame covers more than a
third of the way. Only the width waits: rounded or not, lips that meet meet in time.
"""

from __future__ import annotations

import numpy as np
from facestream.parameters import INDEX
from numpy.typing import NDArray

_PUCKER = INDEX["mouthPucker"]
_SETS_IN = 0.10  # of the weight's range in the first frame of a movement, and by how much each next one may cover more
_MOST = 0.30  # of it in one frame


class Rounding:
    """The rounding of one session's lips."""

    def __init__(self) -> None:
        self._shown = 0.0
        self._step = 0.0

    def __call__(self, speech: NDArray[np.float64]) -> NDArray[np.float64]:
        """The ARKit weights (52,) of `speech` (52,) with lips that round no faster than lips do."""
        wanted = float(speech[_PUCKER])
        towards = wanted - self._shown
        before = abs(self._step) if self._step * towards > 0.0 else 0.0
        farthest = min(before + _SETS_IN, _MOST)
        self._step = min(max(towards, -farthest), farthest)
        self._shown = wanted if self._step == towards else self._shown + self._step
        shown = speech.copy()
        shown[_PUCKER] = self._shown
        return shown
