"""The curves along which the photo opens: between the lips and around the eyes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d, median_filter
from scipy.spatial import cKDTree

from facestream.avatar import landmark_topology as topology

Floats = NDArray[np.floating[Any]]

# Landmarks from the picture's left to its right.
UPPER_LIP, LOWER_LIP = topology.LIP_UPPER_INNER, topology.LIP_LOWER_INNER
RIGHT_UPPER_LID, RIGHT_LOWER_LID = topology.RIGHT_EYE_UPPER, topology.RIGHT_EYE_LOWER
LEFT_UPPER_LID, LEFT_LOWER_LID = topology.LEFT_EYE_UPPER, topology.LEFT_EYE_LOWER

CLOSED_CM = 0.35
"""Inner lips nearer than this (median) are taken as closed: both layers share one seam, and the rest is the photo."""
SNAP_CM = 0.35
"""The lips' dark line is sought so far above and below the landmarks."""


@dataclass(frozen=True)
class Seam:
    """One edge of skin, a curve y(x) in px between its two ends."""

    x: Floats
    y: Floats
    above: bool
    """Whether the skin that owns the edge lies above it."""
    landmarks: tuple[int, ...]
    """The landmarks that it runs through, from left to right."""
    reach: float
    """How far beyond the edge its layer is extended, at the middle, as a share of half the width."""

    @property
    def left(self) -> float:
        return float(self.x[0])

    @property
    def right(self) -> float:
        return float(self.x[-1])

    def at(self, x: Floats) -> Floats:
        """Height (px) at x, held at the ends."""
        return np.interp(x, self.x, self.y)

    def to_corner(self, x: Floats) -> Floats:
        """Distance to the nearer end as a share of half the width; 0 at and beyond the ends, 1 in the middle."""
        half = 0.5 * (self.right - self.left)
        share: Floats = np.clip((half - np.abs(x - 0.5 * (self.left + self.right))) / half, 0.0, 1.0)
        return share

    def lens(self, x: Floats) -> Floats:
        """Depth (px) of the foreign side into which the layer is extended: half an ellipse, 0 at the ends."""
        middle, half = 0.5 * (self.left + self.right), 0.5 * (self.right - self.left)
        depth: Floats = self.reach * half * np.sqrt(np.clip(1.0 - ((x - middle) / half) ** 2, 0.0, 1.0))
        return depth

    def distance(self, x: Floats, y: Floats, limit: float) -> Floats:
        """Signed distance (px) of points to the foreign side: negative beyond the edge, between its two ends.

        The foreign side is as deep as the lens at its deepest, but at all of the edge: a mouth opens near its corners
        further than a lens is deep there. The distance has no jump, so that it can be interpolated.
        """
        fine = np.linspace(self.left, self.right, 600)
        tree = cKDTree(np.c_[fine, self.at(fine)])
        away = tree.query(np.c_[x.ravel(), y.ravel()])[0].reshape(x.shape)
        beyond = (y - self.at(x)) if self.above else (self.at(x) - y)
        deepest = self.reach * 0.5 * (self.right - self.left)
        to_side = np.minimum(x - self.left, self.right - x)  # negative beyond the ends
        to_depth = deepest - beyond
        inside = np.minimum(away, np.minimum(to_side, to_depth))
        past = np.hypot(np.minimum(to_side, 0.0), np.minimum(to_depth, 0.0))  # to the foreign side's other borders
        signed: Floats = np.where(beyond > 0, np.where(past > 0.0, past, -inside), away)
        return np.clip(signed, -limit, limit)


def curve(points: Floats) -> tuple[Floats, Floats]:
    """Smooth curve through landmarks [N, 2], as 200 samples x and y."""
    points = points[np.argsort(points[:, 0])]
    points = points[np.r_[True, np.diff(points[:, 0]) > 0.3]]
    x = np.linspace(points[0, 0], points[-1, 0], 200)
    return x, PchipInterpolator(points[:, 0], points[:, 1])(x)


def lip_seams(photo: NDArray[np.uint8], landmarks: Floats, scale: float) -> tuple[Seam, Seam]:
    """Seams of the upper and of the lower lip.

    Closed lips meet in the dark line of the photo, which the landmarks miss by up to 2 px, so there the seam is moved
    onto that line.

    Args:
        photo: [512, 512, 3] RGB.
        landmarks: [478, 2 or 3] px.
        scale: px per cm.
    """
    x, upper = curve(landmarks[list(UPPER_LIP), :2])
    x_low, y_low = curve(landmarks[list(LOWER_LIP), :2])
    lower: Floats = np.interp(x, x_low, y_low)
    if float(np.median(lower - upper)) < CLOSED_CM * scale:
        line = dark_line(photo, x, 0.5 * (upper + lower), SNAP_CM * scale)
        upper = lower = line
    return Seam(x, upper, True, UPPER_LIP, reach=1.9), Seam(x, lower, False, LOWER_LIP, reach=1.1)


def dark_line(photo: NDArray[np.uint8], x: Floats, y: Floats, reach: float) -> Floats:
    """The darkest height near y at each x, smoothed along the mouth; the corners stay where they are."""
    grey = cv2.GaussianBlur(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 0.8)
    offsets = np.arange(-reach, reach + 0.01, 0.25)
    rows = (y[:, None] + offsets[None]).astype(np.float32) - 0.5
    columns = np.broadcast_to(x[:, None], rows.shape).astype(np.float32) - 0.5
    value = cv2.remap(grey, columns, rows, cv2.INTER_LINEAR) + 1.2 * np.abs(offsets)[None]
    step = float(x[1] - x[0])
    found = gaussian_filter1d(median_filter(offsets[value.argmin(1)], int(9 / step) | 1), 4.0 / step)
    ends = np.clip(np.minimum(x - x[0], x[-1] - x) / 5.0, 0.0, 1.0)
    line: Floats = y + ends * found
    return line


def lid_seams(landmarks: Floats) -> list[tuple[Seam, Seam]]:
    """(lower lid, upper lid) of the right eye, then of the left eye."""
    eyes = []
    for upper, lower in ((RIGHT_UPPER_LID, RIGHT_LOWER_LID), (LEFT_UPPER_LID, LEFT_LOWER_LID)):
        x_up, y_up = curve(landmarks[list(upper), :2])
        x_low, y_low = curve(landmarks[list(lower), :2])
        eyes.append((Seam(x_low, y_low, False, lower, reach=1.6), Seam(x_up, y_up, True, upper, reach=1.9)))
    return eyes
