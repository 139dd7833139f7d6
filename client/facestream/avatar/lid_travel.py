"""How far each point of a lid has to go for a blink to close this person's eye, and no further.

The model's blink closes the model's eyes. On a fitted face its upper lid came down 5 px too far in the outer half,
where it hung over the lower one, and 1 px too little near the nose, where a slit stayed open; and both drew the outer
corner down with them. So what hangs on the lids follows the model by a share of its own in each column.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from facestream.avatar.layers_seams import Seam

Floats = NDArray[np.floating[Any]]

OVERLAP_PX = 1.5
"""A closed upper lid ends so far below the edge of the lower one ..."""
OVERLAP_CORNER = 0.3
"""... and less towards the corners, over this share of half the width."""
LOWEST_SHARE, HIGHEST_SHARE = 0.35, 1.4
"""Limits of a column's share: the lids answer other shapes than a blink, too."""
CORNER_PX = 1.0
"""A blink moves the corner of an eye by no more than this."""
OPENING_PX = 3.0
"""The mesh comes to rest within so much of the lids' edges, where the layers follow the edges themselves."""
SKIN_CM = (0.45, 0.95)
"""The skin above the lid's edge follows as the edge does, up to the first height; from the second on, the model."""
BESIDE_CM = 0.9
"""Beyond the corners the model is followed again from here on."""


def blink_gain(opening: Floats, closing: Floats) -> float:
    """Factor on a blink whose lids near each other by `closing` [n] px, for an eye that is open by `opening` [n] px."""
    return float(np.clip((opening.mean() + OVERLAP_PX) / max(closing.mean(), 1.0), 0.7, 1.6))


def upper_share(x: Floats, lower: Seam, upper: Seam, closing: Floats) -> Floats:
    """Share [n] of its motion by which the upper lid follows the model at x [n].

    Args:
        x: px, from left to right, between the corners.
        lower, upper: the edges of the lids.
        closing: [n] px: how far a full blink brings the lids towards each other there, its gain included.
    """
    opening = lower.at(x) - upper.at(x)
    wanted = opening + OVERLAP_PX * np.clip(upper.to_corner(x) / OVERLAP_CORNER, 0.0, 1.0)
    # One pixel more in both: where lids hardly open, hardly anything is to be shared out.
    share: Floats = gaussian_filter1d((wanted + 1.0) / np.maximum(closing + 1.0, 1.0), 0.7, mode="nearest")
    return np.clip(share, LOWEST_SHARE, HIGHEST_SHARE)


def lower_share(moved: Floats) -> Floats:
    """The same of the lower lid, which a full blink moves by `moved` [n] px: it is held where the corner is drawn."""
    share: Floats = CORNER_PX / np.maximum(np.abs(moved), CORNER_PX)
    return share


def skin_share(points: Floats, x: Floats, share: Floats, lower: Seam, upper: Seam, scale: float) -> Floats:
    """Share [N] of its motion by which the skin of an upper lid follows the model at points [N, 2] px.

    Args:
        points: nodes of the mesh.
        x, share: the upper lid's columns [n], px, and their shares.
        lower, upper: the edges of the lids.
        scale: px per cm.
    """
    across, down = points[:, 0], points[:, 1]
    beside = np.maximum(np.maximum(upper.left - across, across - upper.right), 0.0) / (BESIDE_CM * scale)
    above = (upper.at(across) - down) / scale
    below = (down - lower.at(across)) / scale
    begins, ends = SKIN_CM
    near = np.clip((ends - above) / (ends - begins), 0.0, 1.0) * np.clip(1.0 - below / begins, 0.0, 1.0)
    weight = near * np.clip(1.0 - beside, 0.0, 1.0)
    weight = weight * weight * (3.0 - 2.0 * weight)
    followed: Floats = 1.0 + weight * (np.interp(across, x, share) - 1.0)
    return followed


def beside_opening(points: Floats, lower: Seam, upper: Seam) -> Floats:
    """Factor [N] on the motion of mesh nodes at points [N, 2] px: 0 between the lids, where there is no skin to move.

    The model's lid covers its eye wherever the fit is a pixel off, and there the mesh would move as the lid does: next
    to the lower lid that stands still, which folds the layer of the upper one.
    """
    across, down = points[:, 0], points[:, 1]
    between = np.minimum(down - upper.at(across), lower.at(across) - down) / OPENING_PX
    inside = (across > upper.left) & (across < upper.right)
    factor: Floats = 1.0 - np.where(inside, np.clip(between, 0.0, 1.0), 0.0)
    return factor
