"""Emotions: what each does to the face, the head and the eyes, and how one fades into the next.

The action units follow Ekman and Friesen's prototypes (EMFACS), written as ARKit weights. What else a feeling does, to
lids, gaze and carriage, is after Darwin's and Wallbott's descriptions ("Bodily expression of emotion", European Journal
of Social Psychology 1998): sad people hold the head low and look down, proud and contemptuous ones hold it high and
look down on others, frightened ones draw back. The amounts are ours, set by eye on rendered faces.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from facestream.contract import FRAME_RATE
from facestream.parameters import ARKIT, EMOTIONS, HEAD, INDEX
from numpy.typing import NDArray

_BLEND_SECONDS = 0.35  # each of the two stages of the blend
_BROWS_MOST = 0.80
"""No feeling moves brows further, nor do several at once: accents move them on top of it."""


class Style(NamedTuple):
    """One emotion at full intensity."""

    shapes: dict[str, float]
    """ARKit weights; a name without a side stands for both."""
    carriage: tuple[float, ...] = (0.0,) * len(HEAD)
    """Added to the head's yaw, pitch, roll (rad), x, y (picture sizes) and growth."""
    liveliness: float = 1.0
    """Factor of the movement of head and brows."""
    blinks: float = 1.0
    """Factor of the rate of blinks."""
    aversion: float = 1.0
    """Factor of the share of time spent looking away."""
    averted: tuple[float, float] = (0.0, 0.0)
    """Where glances away tend to, yaw and pitch, rad."""
    opening: float = 1.0
    """Factor of how far speech opens the jaw."""


STYLES: dict[str, Style] = {
    "neutral": Style({}),
    "happy": Style(
        {"mouthSmile": 0.80, "cheekSquint": 0.75, "eyeSquint": 0.40, "browOuterUp": 0.12},
        carriage=(0.0, -0.020, 0.010, 0.0, 0.0, 0.004),
        liveliness=1.25,
        blinks=1.1,
        aversion=0.8,
        opening=1.05,
    ),
    "sad": Style(
        {"browInnerUp": 0.80, "browDown": 0.25, "mouthFrown": 0.85, "mouthShrugLower": 0.40, "eyeLookDown": 0.08}
        | {"eyeSquint": 0.25, "eyeBlink": 0.08},
        carriage=(0.0, 0.050, 0.020, 0.0, 0.006, -0.004),
        liveliness=0.6,
        blinks=0.9,
        aversion=1.8,
        averted=(0.0, 0.09),
        opening=0.9,
    ),
    "angry": Style(
        {"browDown": 0.80, "eyeSquint": 0.60, "noseSneer": 0.40, "mouthPress": 0.80, "cheekSquint": 0.15}
        | {"mouthFrown": 0.60, "mouthShrugLower": 0.20, "mouthRollLower": 0.25, "mouthRollUpper": 0.15},
        carriage=(0.0, 0.060, 0.0, 0.0, 0.0, 0.012),
        liveliness=1.2,
        blinks=0.7,
        aversion=0.3,
        opening=1.05,
    ),
    "surprised": Style(
        {"browInnerUp": 0.80, "browOuterUp": 0.80, "eyeWide": 0.95, "jawOpen": 0.18, "mouthFunnel": 0.08},
        carriage=(0.0, -0.020, 0.0, 0.0, 0.0, -0.006),
        blinks=0.6,
        aversion=0.3,
        opening=1.15,
    ),
    "fearful": Style(
        {"browInnerUp": 0.80, "browOuterUp": 0.35, "browDown": 0.45, "eyeWide": 0.95, "mouthStretch": 0.80}
        | {"mouthFrown": 0.25, "jawOpen": 0.06},
        carriage=(0.0, 0.010, 0.0, 0.0, 0.0, -0.014),
        liveliness=0.8,
        blinks=1.5,
        aversion=1.5,
        opening=0.95,
    ),
    "disgusted": Style(
        {"noseSneer": 0.90, "browDown": 0.70, "cheekSquint": 0.60, "eyeSquint": 0.45, "mouthFrown": 0.50}
        | {"mouthUpperUp": 0.12, "mouthShrugLower": 0.45},
        carriage=(0.020, -0.020, 0.015, 0.0, 0.0, -0.008),
        liveliness=0.9,
        aversion=1.5,
        averted=(0.08, 0.03),
    ),
    "contemptuous": Style(
        # A deeper dimple beside the smile is drawn as a bruise on the cheek.
        {"mouthSmileLeft": 0.70, "mouthDimpleLeft": 0.20, "mouthLeft": 0.10, "cheekSquintLeft": 0.35}
        | {"eyeSquint": 0.25, "eyeBlink": 0.10, "browOuterUpRight": 0.35},
        carriage=(0.0, -0.040, 0.030, 0.0, 0.0, 0.0),
        liveliness=0.8,
        blinks=0.8,
        aversion=1.2,
        averted=(0.06, 0.04),
    ),
}


class Mood(NamedTuple):
    """The blend of the emotions in one frame; each field as in Style."""

    intensities: NDArray[np.float64]
    """(8,) as shown."""
    shapes: NDArray[np.float64]
    """(52,) ARKit weights."""
    carriage: NDArray[np.float64]
    liveliness: float
    blinks: float
    aversion: float
    averted: tuple[float, float]
    opening: float


def _shape_rows() -> NDArray[np.float64]:
    rows = np.zeros((len(EMOTIONS), len(ARKIT)))
    for row, emotion in enumerate(EMOTIONS):
        for name, weight in STYLES[emotion].shapes.items():
            for full_name in (name, f"{name}Left", f"{name}Right"):
                if full_name in INDEX:
                    rows[row, INDEX[full_name]] = weight
    return rows


_SHAPES = _shape_rows()
_MOST = np.ones(len(ARKIT))
_MOST[[index for name, index in INDEX.items() if name.startswith("brow")]] = _BROWS_MOST
_CARRIAGES = np.array([STYLES[name].carriage for name in EMOTIONS])
_OTHERS = np.array(
    [
        [style.liveliness - 1.0, style.blinks - 1.0, style.aversion - 1.0, style.opening - 1.0, *style.averted]
        for style in (STYLES[name] for name in EMOTIONS)
    ]
)


class Emotion:
    """The blended emotion of one session."""

    def __init__(self) -> None:
        self._stages = np.zeros((2, len(EMOTIONS)))

    def __call__(self, intensities: NDArray[np.float32]) -> Mood:
        """The mood of the next frame, on the way to the wanted `intensities` (8,)."""
        weight = 1.0 / (_BLEND_SECONDS * FRAME_RATE)
        self._stages[0] += weight * (intensities - self._stages[0])
        self._stages[1] += weight * (self._stages[0] - self._stages[1])
        shown = self._stages[1].copy()
        whole = max(float(shown.sum()), 1.0)  # two whole emotions at once are half of each for what is a factor
        liveliness, blinks, aversion, opening, *averted = (shown @ _OTHERS / whole).tolist()
        return Mood(
            intensities=shown,
            shapes=np.minimum(shown @ _SHAPES, _MOST),
            carriage=shown @ _CARRIAGES / whole,
            liveliness=1.0 + liveliness,
            blinks=1.0 + blinks,
            aversion=1.0 + aversion,
            averted=(averted[0], averted[1]),
            opening=1.0 + opening,
        )
