"""Lashes at the corners of an eye: a lid hardly moves there, and the open eye's would stand up from a closed one."""

from __future__ import annotations

import cv2
import numpy as np
from facestream.avatar.layers_canvas import CANVAS_X, CANVAS_Y
from facestream.avatar.layers_eyes import paint_lids
from facestream.avatar.layers_seams import LEFT_LOWER_LID, LEFT_UPPER_LID, Seam
from numpy.typing import NDArray

SCALE = 14.0
SKIN = (190, 140, 115)
LASH = (40, 30, 28)
LINE = np.linspace(280.0, 320.0, 81)
ARCH = 1.0 - ((LINE - 300.0) / 20.0) ** 2
UPPER = Seam(LINE, 205.0 - 8.0 * ARCH, True, LEFT_UPPER_LID, reach=1.9)
LOWER = Seam(LINE, 205.0 + 3.0 * ARCH, False, LEFT_LOWER_LID, reach=1.6)
TUFT = (slice(196, 203), slice(320, 326))
"""Rows and columns of the picture, beyond the outer corner and above it, where lashes stand."""


def painted(rims: NDArray[np.uint8] | None = None) -> NDArray[np.float64]:
    """What the closed lids of a face add to it, [64, 192, 3] levels; its left eye has lashes at the outer corner."""
    photo = np.broadcast_to(np.array(SKIN), (512, 512, 3)).astype(np.uint8).copy()
    landmarks = np.full((478, 3), 300.0)
    lids = []
    for away, first in ((90.0, 468), (0.0, 473)):
        lower, upper = (Seam(seam.x - away, seam.y, seam.above, seam.landmarks, seam.reach) for seam in (LOWER, UPPER))
        lids.append((lower, upper))
        outline = np.concatenate([np.c_[upper.x, upper.y], np.c_[lower.x, lower.y][::-1]]).round().astype(np.int32)
        cv2.fillPoly(photo, [outline], (200, 195, 190))
        landmarks[first : first + 5, :2] = (300.0 - away, 202.0)
        landmarks[first + 1 : first + 5, :2] += 4.0 * np.array([[1, 0], [0, -1], [-1, 0], [0, 1]])
    for end in range(318, 328, 3):
        cv2.line(photo, (end - 4, 204), (end, 196), LASH, 1)
    if rims is not None:
        photo[rims > 0] = LASH
    added = paint_lids(photo, landmarks, lids, SCALE, rims)
    return added.transpose(1, 2, 0).astype(np.float64) - 128.0


def at(rows: slice, columns: slice) -> tuple[slice, slice]:
    """A part of the picture in the eyes' window."""
    return slice(rows.start - CANVAS_Y, rows.stop - CANVAS_Y), slice(columns.start - CANVAS_X, columns.stop - CANVAS_X)


def test_lashes_go_down_with_the_lid() -> None:
    """They would stand up from a closed eye, as soot beside it: whoever watches one blink sees it."""
    added = painted()[at(*TUFT)].mean(2)
    assert added.max() > 60.0  # of the lashes' 107 levels below the skin
    assert added.min() > -8.0  # and no skin becomes darker


def test_skin_beside_the_eye_stays() -> None:
    """Crow's feet that vanish in every blink would be a fault of their own."""
    assert np.abs(painted()[at(slice(190, 215), slice(336, 350))]).max() < 2.0


def test_glasses_stay_where_they_are() -> None:
    """The rim of glasses is dark and thin as well, and beside the eye."""
    rims = np.zeros((512, 512), np.uint8)
    rims[176:232, 325:329] = 255
    assert np.abs(painted(rims)[at(slice(190, 204), slice(325, 329))]).max() < 8.0
