"""Whether the face answers its parameters: each asked for in small steps and read back from the frames.

Lips and lids are seen in two ways, by landmarks (perf.lip_sync.rendered) and for the lips by the pixels between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from facestream.parameters import INDEX, PARAMETERS
from numpy.typing import NDArray

from perf.face.ablation import Ablation
from perf.lip_sync.rendered import FrameMeasure

Floats = NDArray[np.float64]

STEPS: Final = 17
HIGHEST_JAW: Final = 0.8
TREMBLE: Final = 0.009
"""A smaller step back of the lips is none, in distances of the eyes' corners: three standard deviations of the
difference of two looks, each of which trembles by 0.0021 (perf.lip_sync.rendered_calibration)."""
LID_TREMBLE: Final = 0.03
"""The same for the lids, in terms of their opening at rest. Lids that are read as less than nothing apart are shut, and
as shut when they are read as nothing apart."""


def ramp(names: Sequence[str], highest: float, steps: int = STEPS) -> NDArray[np.float32]:
    """PARAMETERS [steps, 73] that raise the named ones together from 0."""
    parameters = np.zeros((steps, len(PARAMETERS)), np.float32)
    for name in names:
        parameters[:, INDEX[name]] = np.linspace(0.0, highest, steps)
    return parameters


def monotone(values: Floats, tolerance: float) -> bool:
    """Whether values never fall by more than `tolerance` below what was reached before."""
    return bool((values >= np.maximum.accumulate(values) - tolerance).all())


def response(ablation: Ablation, avatar: Mapping[str, NDArray[Any]], row: str = "fast") -> dict[str, Any]:
    """How lips follow jawOpen and lids follow eyeBlink on one avatar.

    Raises:
        ValueError: no face is found in the avatar's picture.
    """

    def seen(parameters: NDArray[np.float32]) -> list[dict[str, float]]:
        # Each step is a session of its own: this is about the drawing, not about time.
        frames = [next(ablation.draw(avatar, [vector], [row]))[row].frame for vector in parameters]
        return [look(frame) for frame in frames]

    rest = next(ablation.draw(avatar, [np.zeros(len(PARAMETERS), np.float32)], [row]))[row].frame
    look = FrameMeasure(rest)
    jaw = seen(ramp(["jawOpen"], HIGHEST_JAW))
    lids = seen(ramp(["eyeBlinkLeft", "eyeBlinkRight"], 1.0))
    gap = np.array([one["gap"] for one in jaw])
    opening = np.array([one["teeth"] + one["cavity"] for one in jaw])
    open_eyes = np.array([one["eyes"] for one in lids])
    return {
        "gap": gap.round(4).tolist(),
        "opening": opening.round(4).tolist(),
        "eyes": open_eyes.round(4).tolist(),
        "gap_monotone": monotone(gap, TREMBLE),
        "opening_monotone": monotone(opening, TREMBLE),
        "eyes_monotone": monotone(-open_eyes.clip(min=0.0), LID_TREMBLE),
        "gap_at_highest": float(gap[-1]),
        "eyes_at_highest": float(open_eyes[-1]),
    }
