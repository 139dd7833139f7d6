"""Real closed lids for AVATAR_LIDS, from a picture of the same person with shut eyes.

AVATAR_LIDS lies over the open eye's lid and is drawn down with it. So each pixel of it is looked up where the blink
will bring it: the strip from the lid's crease to its edge stretches down to where the lower lid is.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from facestream.avatar import layers_canvas as canvas
from facestream.avatar.layers_eyes import LID_CM
from facestream.avatar.layers_seams import (
    LEFT_LOWER_LID,
    LEFT_UPPER_LID,
    RIGHT_LOWER_LID,
    RIGHT_UPPER_LID,
    lid_seams,
)

Floats = NDArray[np.floating[Any]]
Image = NDArray[np.uint8]

ANCHORS = (
    (33, 133, 70, 63, 105, 66, 107, 111, 117, 118, 119, 120, 121, 6, 197),
    (362, 263, 336, 296, 334, 293, 300, 340, 346, 347, 348, 349, 350, 6, 197),
)
"""Landmarks of the right and the left eye that the two pictures are laid over each other by: corners, brow, cheek."""
BELOW_CM = 0.25
"""The lid is continued so far beyond its edge: lashes."""
SOFT_CM = 0.35
MAX_GAIN = (0.6, 1.7)
"""Light may differ between the pictures by these factors."""


def real_lids(
    painted: Image, photo: Image, landmarks: Floats, shut: Image, shut_landmarks: Floats, scale: float
) -> Image:
    """AVATAR_LIDS [3, 64, 192] with the lids of another picture.

    Args:
        painted: AVATAR_LIDS as painted; what it adds along the lower lids stays.
        photo: the portrait [512, 512, 3].
        landmarks: [478, 3] of the portrait, px.
        shut: the aligned picture with shut eyes [512, 512, 3].
        shut_landmarks: [478, 3] of it, px.
        scale: px per cm.
    """
    rows = np.arange(canvas.EYES_HEIGHT) + canvas.CANVAS_Y + 0.5
    columns = np.arange(canvas.CANVAS_WIDTH) + canvas.CANVAS_X + 0.5
    window = photo[
        canvas.CANVAS_Y : canvas.CANVAS_Y + canvas.EYES_HEIGHT, canvas.CANVAS_X : canvas.CANVAS_X + canvas.CANVAS_WIDTH
    ].astype(np.float64)
    added = painted.transpose(1, 2, 0).astype(np.float64) - 128.0
    points, closed = landmarks[:, :2].astype(np.float64), shut_landmarks[:, :2].astype(np.float64)
    for (_, upper), anchors, upper_ids, lower_ids in zip(
        lid_seams(points),
        ANCHORS,
        (RIGHT_UPPER_LID, LEFT_UPPER_LID),
        (RIGHT_LOWER_LID, LEFT_LOWER_LID),
        strict=True,
    ):
        to_shut, _ = cv2.estimateAffine2D(points[list(anchors)], closed[list(anchors)], method=cv2.LMEDS)
        if to_shut is None:
            continue
        # The line between the shut lids, in the portrait's pixels.
        line = 0.5 * (closed[list(upper_ids)] + closed[list(lower_ids)])
        back = cv2.invertAffineTransform(to_shut)
        line = line @ back[:, :2].T + back[:, 2]
        order = np.argsort(line[:, 0])
        shut_edge = np.interp(columns, line[order, 0], line[order, 1])

        open_edge, crease = upper.at(columns), upper.at(columns) - LID_CM * scale
        above = (open_edge[None] - rows[:, None]) / scale  # cm above the open lid's edge
        share = np.clip((rows[:, None] - crease[None]) / (open_edge - crease)[None], 0.0, None)
        beyond = np.maximum(rows[:, None] - open_edge[None], 0.0)
        height = crease[None] + np.minimum(share, 1.0) * (shut_edge - crease)[None] + beyond
        places = np.stack([np.broadcast_to(columns[None], height.shape), height], axis=-1)
        at = (places @ to_shut[:, :2].T + to_shut[:, 2] - 0.5).astype(np.float32)
        lid = np.asarray(cv2.remap(shut, at[..., 0], at[..., 1], cv2.INTER_CUBIC), np.float64)
        lid *= _gain(photo, shut, points, to_shut, anchors)

        side = (columns < 256.0) if upper.left < 256.0 else (columns >= 256.0)
        ends = np.clip(upper.to_corner(columns) / 0.25, 0.0, 1.0) * side
        t = np.clip((LID_CM - above) / SOFT_CM, 0.0, 1.0)
        own = (above > -BELOW_CM) & side[None]
        alpha = (ends[None] * t * t * (3.0 - 2.0 * t))[..., None]
        added = np.where(own[..., None], alpha * (lid - window) + (1.0 - alpha) * added, added)
    return np.clip(np.round(added + 128.0), 0, 255).astype(np.uint8).transpose(2, 0, 1).copy()


def _gain(photo: Image, shut: Image, points: Floats, to_shut: NDArray[Any], anchors: tuple[int, ...]) -> Floats:
    """RGB factors [3] that give the shut eye the light of the portrait: of the skin below the brow and the eye."""
    places = points[list(anchors[2:13])]
    there = places @ to_shut[:, :2].T + to_shut[:, 2]
    colours = []
    for picture, at in ((photo, places), (shut, there)):
        soft = cv2.GaussianBlur(picture, (0, 0), 2.0)
        x, y = np.clip(np.round(at - 0.5).astype(int), 0, picture.shape[0] - 1).T
        colours.append(np.median(soft[y, x].astype(np.float64) + 1.0, axis=0))
    gain: Floats = np.clip(colours[0] / colours[1], *MAX_GAIN)
    return gain
