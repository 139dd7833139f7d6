"""Emotions: what each does to the face, and how one fades into the next.

The action units follow Ekman and Friesen's prototypes (EMFACS), written as ARKit weights. They leave the lips' opening
to the speech: an emotion must not hold a /p/ open.
"""

from __future__ import annotations

import numpy as np
from facestream.contract import FRAME_RATE
from facestream.parameters import ARKIT, EMOTIONS, INDEX
from numpy.typing import NDArray

_BLEND_SECONDS = 0.35  # each of the two stages of the blend

SHAPES: dict[str, dict[str, float]] = {
    "neutral": {},
    "happy": {"mouthSmile": 0.50, "cheekSquint": 0.40, "eyeSquint": 0.25, "mouthDimple": 0.12},
    "sad": {"browInnerUp": 0.65, "mouthFrown": 0.50, "browDown": 0.10, "eyeSquint": 0.12, "mouthShrugLower": 0.12},
    "angry": {"browDown": 0.75, "eyeSquint": 0.30, "noseSneer": 0.25, "mouthFrown": 0.20},
    "surprised": {"browInnerUp": 0.80, "browOuterUp": 0.75, "eyeWide": 0.55},
    "fearful": {"browInnerUp": 0.75, "browOuterUp": 0.25, "browDown": 0.20, "eyeWide": 0.45, "mouthStretch": 0.30},
    "disgusted": {"noseSneer": 0.60, "browDown": 0.40, "cheekSquint": 0.30, "mouthFrown": 0.25},
    "contemptuous": {"mouthSmileLeft": 0.40, "mouthDimpleLeft": 0.35, "eyeSquint": 0.15},
}
"""Weights at full intensity; a name without a side stands for both."""


def _matrix() -> NDArray[np.float64]:
    matrix = np.zeros((len(EMOTIONS), len(ARKIT)))
    for row, emotion in enumerate(EMOTIONS):
        for name, weight in SHAPES[emotion].items():
            for full_name in (name, f"{name}Left", f"{name}Right"):
                if full_name in INDEX:
                    matrix[row, INDEX[full_name]] = weight
    return matrix


_MATRIX = _matrix()


class Emotion:
    """The blended emotion of one session."""

    def __init__(self) -> None:
        self._stages = np.zeros((2, len(EMOTIONS)))

    def __call__(self, intensities: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The shown intensities (8,) and their ARKit weights (52,) in the next frame, on the way to `intensities`."""
        weight = 1.0 / (_BLEND_SECONDS * FRAME_RATE)
        self._stages[0] += weight * (intensities - self._stages[0])
        self._stages[1] += weight * (self._stages[0] - self._stages[1])
        shown = self._stages[1].copy()
        return shown, np.minimum(shown @ _MATRIX, 1.0)
