"""Places where an observer could see that a face is put together, enlarged twice, the worst first.

A number ranks the canvas's border: how much steeper brightness steps across it than anywhere near in the portrait, mean
over SPAN px along it, and than in the same frame drawn without a canvas: where a smile pushes a cheek against dark hair
their edge grows steeper, with or without a canvas, and even outside of it. Lips, lids, hair and outline have no number:
they are laid side by side, and looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from facestream.avatar import layers_canvas as canvas
from facestream.avatar.preview import lay_out, parameter_vector
from numpy.typing import NDArray

from perf.face.ablation import Ablation
from perf.face.picture_measures import luma
from perf.face_sheet import EYES, HEADS, MOUTHS

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]

SPAN: Final = 12
"""px along the border; a shorter step is a freckle."""
RINGS: Final = range(-10, 4)
"""px from the canvas's border, inside negative: the border itself fades over 8 px."""
NEAR: Final = 16
BESIDE: Final = 1
"""px that an edge may lie elsewhere in the frame without a canvas."""
ZOOM: Final = 2
TURNS: Final[Mapping[str, Mapping[str, float]]] = {
    "yaw +10": {"headYaw": 0.175, "jawOpen": 0.15},
    "yaw -10": {"headYaw": -0.175, "jawOpen": 0.15},
    "pitch +8": {"headPitch": 0.14},
    "pitch -8": {"headPitch": -0.14},
    "roll +8": {"headRoll": 0.14},
    "roll -8": {"headRoll": -0.14},
}
CROPS: Final = {
    "border": (canvas.CANVAS_X - 24, canvas.CANVAS_Y - 24, canvas.CANVAS_WIDTH + 48, canvas.CANVAS_HEIGHT + 48),
    "lips": (canvas.CANVAS_X + 32, canvas.MOUTH_Y + 28, canvas.CANVAS_WIDTH - 64, 96),
    "lids": (canvas.CANVAS_X, canvas.CANVAS_Y - 4, canvas.CANVAS_WIDTH, canvas.EYES_HEIGHT + 16),
    "outline": (96, 60, 320, 320),
}
"""Left, top, width, height of what a sheet shows of the frame, px."""


class Look(NamedTuple):
    """One frame of one avatar."""

    caption: str
    jump: float
    """Levels; 0 where the head is turned, since there the border lies elsewhere."""
    frame: Image


def steps(picture: Image, ring: int) -> Floats:
    """How brightness steps across a ring by the canvas's border, beyond the slopes on both sides, [n], levels."""
    grey = luma(picture)
    left, right = canvas.CANVAS_X - ring, canvas.CANVAS_X + canvas.CANVAS_WIDTH + ring
    top, bottom = canvas.CANVAS_Y - ring, canvas.CANVAS_Y + canvas.CANVAS_HEIGHT + ring
    lines = [grey[top:bottom, x - 2 : x + 2] for x in (left, right)]
    lines += [grey[y - 2 : y + 2, left:right].T for y in (top, bottom)]
    across = np.concatenate(lines)  # [n, 4]: two pixels on each side
    slopes = np.abs(np.diff(across, axis=1))
    return np.asarray(slopes[:, 1] - 0.5 * (slopes[:, 0] + slopes[:, 2]))


def jump(frame: Image, rest: Image, bare: Image | None = None) -> float:
    """The worst step along the canvas's border that is steeper than any near it in the portrait, levels.

    Near is NEAR px across and along the border: a brow that has moved onto the border is no seam. Nor is what `bare`,
    the same frame drawn without a canvas, has at the same place.
    """
    window = np.full(SPAN, 1.0 / SPAN)
    length = len(np.convolve(steps(rest, 0), window, "valid"))

    def along(picture: Image, ring: int) -> Floats:
        means = np.convolve(steps(picture, ring), window, "valid")
        # Rings differ in length: what lies at the same share of the way around lies beside each other.
        return np.interp(np.linspace(0.0, 1.0, length), np.linspace(0.0, 1.0, len(means)), means)

    own = np.max([along(rest, ring) for ring in range(-NEAR, NEAR + 1, 1)], axis=0)
    own = np.asarray(cv2.dilate(own[:, None], np.ones((2 * NEAR + 1, 1)))[:, 0], np.float64)

    def moved(ring: int) -> Floats:
        """What the portrait's own edges come to where they move."""
        if bare is None:
            return own
        beside = np.max([along(bare, ring + away) for away in range(-BESIDE, BESIDE + 1)], axis=0)
        wide = np.asarray(cv2.dilate(beside[:, None], np.ones((2 * BESIDE + 1, 1)))[:, 0], np.float64)
        steepest: Floats = np.maximum(own, wide)
        return steepest

    return max(0.0, max(float((along(frame, ring) - moved(ring)).max()) for ring in RINGS))


def looks(
    ablation: Ablation, name: str, avatar: Mapping[str, NDArray[Any]], row: str = "fast"
) -> dict[str, list[Look]]:
    """Frames of one avatar for each sheet of CROPS."""

    def draw(values: Mapping[str, float]) -> Image:
        return next(ablation.draw(avatar, [parameter_vector(values)], [row]))[row].frame

    rest = draw({})

    def look(label: str, values: Mapping[str, float]) -> Look:
        frame = draw(values)
        turned = any(key.startswith("head") for key in values)
        found = 0.0 if turned else jump(frame, rest)
        if found:  # hardly ever: seldom enough to draw once more
            found = jump(frame, rest, ablation.without_canvas(avatar, parameter_vector(values)))
        return Look(f"{name} {label}", found, frame)

    mouths = [look(label, values) for label, values in MOUTHS.items() if values]
    eyes = [look(label, values) for label, values in EYES.items() if values]
    turns = [look(label, values) for label, values in {**TURNS, **HEADS}.items() if values]
    return {"border": mouths + eyes, "lips": mouths, "lids": eyes, "outline": turns[: len(TURNS)]}


def sheet(crop: str, shown: Sequence[Look], columns: int = 4) -> Image:
    """A contact sheet of one of CROPS, twice as large as in the frame, RGB."""
    left, top, width, height = CROPS[crop]
    cells = []
    for one in shown:
        part = one.frame[top : top + height, left : left + width]
        size = (ZOOM * width, ZOOM * height)
        large = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_CUBIC), np.uint8)
        cells.append((f"{one.caption}{f'  {one.jump:.1f}' if one.jump else ''}", large))
    return lay_out(cells, columns)
