"""Lids behind glasses, whose rims hold the face and lie where a lid's colour is sought, have to close all the same."""

from __future__ import annotations

import cv2
import numpy as np
from facestream.avatar.layers_eyes import paint_eyeballs, paint_lids, skin_about
from facestream.avatar.layers_nodes import BAND_CM, BELOW_RIM_CM, below_rim
from facestream.avatar.layers_seams import LEFT_LOWER_LID, LEFT_UPPER_LID, Seam
from numpy.typing import NDArray

SCALE = 14.0
SKIN = np.array([190.0, 140.0, 115.0])
LINE = np.linspace(280.0, 320.0, 81)
ARCH = 1.0 - ((LINE - 300.0) / 20.0) ** 2
UPPER = Seam(LINE, 205.0 - 8.0 * ARCH, True, LEFT_UPPER_LID, reach=1.9)
LOWER = Seam(LINE, 205.0 + 3.0 * ARCH, False, LEFT_LOWER_LID, reach=1.6)


def with_glasses() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A patch of skin with an eye, a dark rim 10 px above its lid, and a reflection; and the rims [512, 512]."""
    photo = np.broadcast_to(SKIN, (512, 512, 3)).astype(np.uint8).copy()
    outline = np.concatenate([np.c_[UPPER.x, UPPER.y], np.c_[LOWER.x, LOWER.y][::-1]]).round().astype(np.int32)
    cv2.fillPoly(photo, [outline], (110, 45, 40))  # of a narrow eye only red lids and shadow are seen
    rims = np.zeros((512, 512), np.uint8)
    cv2.rectangle(rims, (260, 180), (340, 188), 255, -1)
    photo[rims > 0] = (25, 20, 25)
    cv2.rectangle(photo, (318, 190), (322, 194), (255, 255, 255), -1)
    return photo, rims


def test_a_lid_is_painted_of_skin_and_not_of_the_rim() -> None:
    """A rim that is taken for skin makes a closed lid a dark hole."""
    photo, rims = with_glasses()
    columns = np.arange(284.0, 317.0)
    found = skin_about(photo, rims, LOWER, UPPER, columns, SCALE)
    assert found.shape == (len(columns), 3)
    assert np.abs(found - SKIN).max() < 3.0


def test_a_lid_is_let_down_from_the_rim_that_holds_it() -> None:
    """The skin under a rim stands still: a lid that makes all its way below is drawn out of its lashes."""
    _, rims = with_glasses()
    x = np.arange(286.0, 316.0, 4.0)
    band = below_rim(UPPER, x, rims, SCALE)
    assert np.abs(band[2:-2] - (UPPER.at(x) - 188.0)[2:-2]).max() < 2.5
    free = below_rim(UPPER, x, np.zeros_like(rims), SCALE)
    assert np.allclose(free, round(BELOW_RIM_CM * SCALE))
    assert below_rim(UPPER, x, np.full_like(rims, 255), SCALE).min() >= BAND_CM * SCALE


def test_no_eye_has_red_whites() -> None:
    """They would be seen as soon as the eye turns."""
    photo, rims = with_glasses()
    landmarks = np.full((478, 3), 300.0)
    landmarks[[50, 280], 1] = 260.0
    for first, x in ((468, 210.0), (473, 300.0)):
        landmarks[first : first + 5, :2] = (x, 202.0)
        landmarks[first + 1 : first + 5, :2] += 4.0 * np.array([[1, 0], [0, -1], [-1, 0], [0, 1]])
    lower, upper = (Seam(seam.x - 90.0, seam.y, seam.above, seam.landmarks, seam.reach) for seam in (LOWER, UPPER))
    lids = [(lower, upper), (LOWER, UPPER)]
    white = paint_eyeballs(photo, landmarks, lids).white
    assert white[0] / white.mean() < SKIN[0] / SKIN.mean()
    assert paint_lids(photo, landmarks, lids, SCALE, rims).shape == (3, 64, 192)
