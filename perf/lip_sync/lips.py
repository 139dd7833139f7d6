"""What a viewer sees of a mouth, frame by frame: how far the lips are apart, how wide, whether they touch the teeth."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from facestream.contract import FRAME_RATE
from facestream.parameters import ARKIT

Floats = npt.NDArray[np.float64]

# What each weight adds to the distance of the lips, in units of jawOpen's: rough proportions, not measured.
GAP_WEIGHTS: Final = {
    "jawOpen": 1.0,
    "mouthClose": -1.0,
    "mouthLowerDownLeft": 0.12,
    "mouthLowerDownRight": 0.12,
    "mouthUpperUpLeft": 0.09,
    "mouthUpperUpRight": 0.09,
}
# The same for the width of the mouth: positive spread, negative rounded.
WIDTH_WEIGHTS: Final = {
    "mouthPucker": -1.0,
    "mouthFunnel": -0.7,
    "mouthStretchLeft": 0.5,
    "mouthStretchRight": 0.5,
    "mouthSmileLeft": 0.5,
    "mouthSmileRight": 0.5,
    "mouthDimpleLeft": 0.25,
    "mouthDimpleRight": 0.25,
}
# A lower lip at the upper teeth is rolled in while the upper lip is not: both roll in where p, b, m press.
CONTACT_WEIGHTS: Final = {
    "mouthRollLower": 1.0,
    "mouthRollUpper": -1.0,
    "mouthPressLeft": -0.5,
    "mouthPressRight": -0.5,
}

_NAMES: Final = [parameter.name for parameter in ARKIT]
MOUTH: Final = np.array([name.startswith(("jaw", "mouth", "tongue")) for name in _NAMES])
"""bool[52]: the weights that move with speech. Blinks, brows and cheeks live on in silence, as they should."""


class Lips(NamedTuple):
    """The mouth of one clip's n frames. `judge` compares each with itself only, so the units do not matter."""

    gap: Floats
    """float64[n], 0 where the lips meet."""
    width: Floats
    """float64[n], larger is more spread."""
    contact: Floats
    """float64[n], larger where the lower lip is at the upper teeth; all NaN where that is not seen."""
    motion: Floats
    """float64[n - 1]: how much the mouth changes from frame to frame."""


def _weighted(faces: Floats, weights: dict[str, float]) -> Floats:
    total: Floats = np.zeros(len(faces))
    for name, weight in weights.items():
        total += weight * faces[:, _NAMES.index(name)]
    return total


def lip_gap(faces: Floats) -> Floats:
    """Distance of the lips float64[n], in units of jawOpen's, of weights float64[n, 52] or parameters [n, 73]."""
    return np.asarray(np.maximum(_weighted(faces, GAP_WEIGHTS), 0.0))


def lips_of(faces: npt.ArrayLike) -> Lips:
    """Return the lips of weights [n, 52] or parameters [n, 73], whose first 52 are the weights."""
    faces = np.asarray(faces, np.float64)
    return Lips(
        lip_gap(faces),
        _weighted(faces, WIDTH_WEIGHTS),
        _weighted(faces, CONTACT_WEIGHTS),
        np.abs(np.diff(faces[:, : len(_NAMES)][:, MOUTH], axis=0)).sum(1),
    )


def frame_times(count: int) -> Floats:
    """Centres of `count` frames, seconds."""
    return (np.arange(count) + 0.5) / FRAME_RATE
