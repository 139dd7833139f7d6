"""The baked picture of teeth, gums and tongue: what all avatars show in their mouths."""

from __future__ import annotations

import cv2
import numpy as np

from export.face.mouth_interior import (
    LAYER_HEIGHT,
    LAYER_WIDTH,
    PICTURE,
    PIXELS_PER_CM,
    SUPERSAMPLING,
    TEETH_APART_CM,
    between_teeth,
)


def test_neighbouring_teeth_touch_and_nothing_grows_beyond_their_row() -> None:
    """ICT-FaceKit's teeth stand apart: each narrow opening showed black lines, the broadest between the incisors."""
    cm = PIXELS_PER_CM * SUPERSAMPLING
    row = np.zeros((60, 400), bool)
    near, far = round(0.8 * TEETH_APART_CM * cm), round(1.5 * TEETH_APART_CM * cm)
    row[:, 40:100] = row[:, 100 + near : 160 + near] = True
    row[:, 160 + near + far : 240 + near + far] = True
    row[40:, 85 : 115 + near] = False  # rounded corners
    found = between_teeth(row)
    assert found[:40, 100 : 100 + near].all()
    assert found.sum() == 40 * near


def test_the_upper_teeth_are_one_row_in_the_picture() -> None:
    """The picture that is shipped is one that today's command bakes, gaps filled."""
    encoded = cv2.imread(str(PICTURE), cv2.IMREAD_UNCHANGED)
    assert encoded is not None
    assert encoded.shape == (3 * LAYER_HEIGHT, LAYER_WIDTH, 4)
    upper = encoded[:LAYER_HEIGHT].astype(float)
    middle = slice(LAYER_WIDTH // 2 - 20, LAYER_WIDTH // 2 + 20)  # six front teeth
    row = upper[34, middle]  # halfway down the incisors
    assert row[:, 3].min() == 255
    light = row[:, :3].mean(1)
    assert light.min() > 0.55 * light.max()
