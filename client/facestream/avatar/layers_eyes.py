"""The eyeballs without lids, and the lids when closed: what a portrait hides is painted on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from facestream.avatar import landmark_topology as topology
from facestream.avatar import layers_canvas as canvas
from facestream.avatar.layers_seams import Seam

Floats = NDArray[np.floating[Any]]

IRISES = (topology.RIGHT_IRIS, topology.LEFT_IRIS)
NO_WHITE = 0.8
"""What is redder than the cheeks is not the white of an eye, which then is taken to be so bright beside them ..."""
WHITE_HUE = np.array([1.03, 1.00, 0.97])
"""... and of this colour."""


@dataclass(frozen=True)
class Eyeballs:
    """The eyes' window of the portrait with whole eyeballs."""

    picture: NDArray[np.uint8]
    """[3, 64, 192] RGB; the photo in the middle of each opening."""
    white: Floats
    """[3] RGB 0..255: the whites of the eyes, which tell the light of the photo."""


def paint_eyeballs(photo: NDArray[np.uint8], landmarks: Floats, lids: list[tuple[Seam, Seam]]) -> Eyeballs:
    """Complete irises by their mean colour at each radius, and the whites around them by their own mean colour."""
    window = in_window(photo).astype(np.float64)
    line_x = np.arange(canvas.CANVAS_WIDTH) + canvas.CANVAS_X + 0.5
    line_y = np.arange(canvas.EYES_HEIGHT) + canvas.CANVAS_Y + 0.5
    x, y = np.meshgrid(line_x, line_y)
    picture = window.copy()
    whites = []
    soft = cv2.GaussianBlur(photo, (0, 0), 4.0).astype(np.float64)
    cheek = np.mean([soft[int(down), int(across)] for across, down in landmarks[list(topology.CHEEKS), :2]], axis=0)
    for (lower, upper), iris in zip(lids, IRISES, strict=True):
        side = (x < 256.0) if upper.left < 256.0 else (x >= 256.0)
        limit = canvas.SCORE_LIMIT
        edge = np.maximum(lower.distance(x, y, limit), upper.distance(x, y, limit))  # negative between the lids
        centre = landmarks[iris[0], :2]
        radius = float(np.linalg.norm(landmarks[list(iris[1:]), :2] - centre, axis=1).mean())
        away = np.hypot(x - centre[0], y - centre[1])
        clear = side & (edge < -2.5)
        white_mask = clear & (away > 1.2 * radius)
        if white_mask.sum() < 6:
            white_mask = side & (edge < -1.0) & (away > 1.1 * radius)
        white = np.percentile(window[white_mask], 60, axis=0) if white_mask.any() else np.full(3, 170.0)
        if white[0] / white.mean() > cheek[0] / cheek.mean():
            # Of narrow eyes behind glasses only lids and their shadows are seen.
            white = NO_WHITE * cheek.mean() * WHITE_HUE
        whites.append(white)
        painted = np.broadcast_to(white, window.shape).copy()
        fade = 0.92 ** np.clip((away - 1.5 * radius) / 3.0, 0.0, None)
        painted *= fade[..., None]
        # The iris, ring by ring, from the clear part (mostly its lower half and sides).
        rings = np.clip(np.round(away / 0.75).astype(int), 0, 200)
        for ring in range(int(np.ceil(1.15 * radius / 0.75)) + 1):
            members = rings == ring
            known = members & clear
            if known.sum() >= 2:
                painted[members & side] = np.median(window[known], axis=0)
        painted = cv2.GaussianBlur(painted, (0, 0), 0.6)
        blend = np.clip((edge + 3.5) / 2.0, 0.0, 1.0)[..., None]  # the photo away from lashes and shadows
        picture = np.where(side[..., None], window + blend * (painted - window), picture)
    packed = np.clip(np.round(picture), 0, 255).astype(np.uint8).transpose(2, 0, 1)
    return Eyeballs(np.ascontiguousarray(packed), np.mean(whites, axis=0))


LID_CM = 0.85
"""A closed lid is painted up to this height above the open one's edge."""
SKIN_ABOVE_CM = (0.40, 0.50, 0.60, 0.70, 0.80, 0.90, 1.00, 1.10)
"""Its colour is that of the skin so far above the open lid's edge ..."""
SKIN_RANK = 5
"""... of which so many of these places are darker."""
LASH_LINE_CM = 0.09
CORNER = 0.25
"""Towards the corners, over this share of half the eye's width, the painted lid gives way ..."""
TUFT_CM = (0.90, 0.30)
"""... to the photo's skin without the lashes, which reach so far beyond the outer and the inner corner ..."""
TUFT_ABOVE_CM = (0.60, 1.00)
"""... and between these heights above them at most ..."""
TUFT_BELOW_CM = 0.08
"""... and as far below."""
LASHES_PX = 13
"""Diameter of the disc that closes the gaps of bright skin between dark lashes."""
ABOUT_CM = (0.30, 1.10)
"""Behind glasses a lid has the colour of the skin that lies so far from the eye's edges ..."""
ABOUT_PERCENTILE = 60
"""... and is no darker than this share of it: folds and lashes are, and reflections are brighter."""
ABOUT_SOFT_CM = 1.0
"""That colour changes along the lid as slowly as this (Gaussian): little skin is free of rims and reflections."""
RIM_PX = 4.0
"""Height of the strip along the lower lid in which the iris is painted out ..."""
RIM_BELOW_PX = 2.0
"""... and so far below the lid's edge, which the landmarks may miss."""


def paint_lids(
    photo: NDArray[np.uint8],
    landmarks: Floats,
    lids: list[tuple[Seam, Seam]],
    scale: float,
    rims: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """What closed upper lids, and lower lids without an iris behind, add to the photo, [3, 64, 192] RGB + 128.

    A lid coming down stretches the narrow strip of lid that the portrait shows, and the lashes that lie on it with
    it. So that strip is replaced by plain skin with a dark line of lashes at its edge. Behind glasses, whose `rims`
    ([512, 512], 255 there) lie over the skin above the lid, it has the colour of the skin all about the eye.

    The wet rim of a lower lid, on the other hand, shows some of the iris above it, which has to go when the eye turns.
    """
    window = in_window(photo).astype(np.float64)
    columns = np.arange(canvas.CANVAS_WIDTH) + canvas.CANVAS_X + 0.5
    rows = np.arange(canvas.EYES_HEIGHT) + canvas.CANVAS_Y + 0.5
    added = np.zeros_like(window)
    bare, free = without_lashes(window), np.ones((*window.shape[:2], 1))
    if rims is not None:
        wide = cv2.GaussianBlur(cv2.dilate(rims, np.ones((LASHES_PX, LASHES_PX))), (0, 0), 1.5)
        free -= in_window(wide.astype(np.float64))[..., None] / 255.0
    for (lower, upper), iris in zip(lids, IRISES, strict=True):
        height = upper.at(columns)
        band = []
        for offset in SKIN_ABOVE_CM:
            row = np.clip(height - offset * scale - canvas.CANVAS_Y, 0, canvas.EYES_HEIGHT - 1).astype(int)
            band.append(window[row, np.arange(canvas.CANVAS_WIDTH)])
        # Creases, lashes and brows are darker than plain skin.
        order = np.argsort(np.mean(band, axis=2), axis=0)[SKIN_RANK]
        skin = np.array(band)[order, np.arange(canvas.CANVAS_WIDTH)]
        skin = gaussian_filter1d(skin, 0.35 * scale, axis=0)
        if rims is not None:
            skin = skin_about(photo, rims, lower, upper, columns, scale)
        above = (height[None] - rows[:, None]) / scale  # cm above the lid's edge
        colour = skin[None] * (1.0 - 0.10 * np.clip(1.0 - above / LID_CM, 0.0, 1.0))[..., None]
        middle = np.linspace(upper.left, upper.right, 40)[8:-8]
        opening = np.clip((upper.at(middle) + 0.5 - canvas.CANVAS_Y).astype(int), 0, canvas.EYES_HEIGHT - 1)
        lash = np.percentile(window[opening, (middle - canvas.CANVAS_X).astype(int)], 15, axis=0)
        line = np.clip(1.0 - np.abs(above + 0.02) / LASH_LINE_CM, 0.0, 1.0)[..., None]
        line = np.where(above[..., None] < 0, np.maximum(line, 0.75), line)
        colour = colour + 0.85 * line * (lash - colour)
        ends = np.clip(upper.to_corner(columns) / CORNER, 0.0, 1.0)
        top = np.clip((0.95 * LID_CM - above) / (0.5 * LID_CM), 0.0, 1.0)
        top = top * top * (3.0 - 2.0 * top) * (above > -0.25)
        alpha = (ends[None] * top)[..., None]
        lashes = tufts(upper, columns, above, scale) * (1.0 - alpha) * free
        added += alpha * (colour - window) + lashes * (bare - window)

        centre = landmarks[iris[0], 0]
        half = 1.3 * float(np.linalg.norm(landmarks[list(iris[1:]), :2] - landmarks[iris[0], :2], axis=1).mean())
        sides = np.clip(np.array([centre - half - 1.0, centre + half + 1.0]), lower.left + 1.0, lower.right - 1.0)
        share = np.clip((columns - sides[0]) / max(sides[1] - sides[0], 1.0), 0.0, 1.0)
        edge = lower.at(columns)
        inside = np.clip((half - np.abs(columns - centre)) / 2.0, 0.0, 1.0)
        for offset in np.arange(-RIM_PX, RIM_BELOW_PX + 1.0):  # row by row along the rim, counted from the lid's edge
            ends = []
            for side in sides:
                row = int(np.clip(lower.at(np.array([side]))[0] + offset - canvas.CANVAS_Y, 0, canvas.EYES_HEIGHT - 1))
                ends.append(window[row, int(side) - canvas.CANVAS_X])
            colour = ends[0] + share[:, None] * (ends[1] - ends[0])
            fill = np.clip(1.0 - np.abs(rows[:, None] - edge[None] - offset), 0.0, 1.0) * inside[None]
            added += fill[..., None] * (colour[None] - window) * (above[..., None] < -0.25)
    packed = np.clip(np.round(added + 128.0), 0, 255).astype(np.uint8).transpose(2, 0, 1)
    return np.ascontiguousarray(packed)


def in_window(picture: NDArray[Any]) -> NDArray[Any]:
    """The part [64, 192, ...] of a picture [512, 512, ...] in the eyes' window."""
    rows = slice(canvas.CANVAS_Y, canvas.CANVAS_Y + canvas.EYES_HEIGHT)
    return picture[rows, canvas.CANVAS_X : canvas.CANVAS_X + canvas.CANVAS_WIDTH]


def without_lashes(window: Floats) -> Floats:
    """A picture [h, w, 3] whose thin dark lines are as bright as what lies beside them."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (LASHES_PX, LASHES_PX))
    closed = cv2.morphologyEx(window.astype(np.float32), cv2.MORPH_CLOSE, disc)
    bare: Floats = cv2.GaussianBlur(closed, (0, 0), 1.5).astype(np.float64)
    return bare


def tufts(upper: Seam, columns: Floats, above: Floats, scale: float) -> Floats:
    """Where about the corners of an eye [h, w, 1] lashes stand that go down with the lid, 0..1.

    Args:
        upper: edge of the upper lid.
        columns: [w] px.
        above: [h, w] cm above that edge; beyond its ends, above its end.
        scale: px per cm.
    """
    outer, inner = TUFT_CM if upper.left < 256.0 else TUFT_CM[::-1]  # of the left and of the right end
    before, after = (upper.left - columns) / (outer * scale), (columns - upper.right) / (inner * scale)
    beyond = np.maximum(before, after)[None]
    near = np.clip((1.0 - beyond) / 0.6, 0.0, 1.0) * np.clip(2.0 - 2.0 * upper.to_corner(columns) / CORNER, 0.0, 1.0)
    highest, gone = TUFT_ABOVE_CM
    high = np.clip((gone - above) / (gone - highest), 0.0, 1.0)
    # Between the corners the lashes' line at the edge stays.
    lowest = np.where(beyond > 0.0, -TUFT_BELOW_CM, 0.05)
    low = np.clip((above - lowest) / 0.15, 0.0, 1.0)
    share: Floats = (near * high * low)[..., None]
    return share


def skin_about(
    photo: NDArray[np.uint8], rims: NDArray[np.uint8], lower: Seam, upper: Seam, columns: Floats, scale: float
) -> Floats:
    """RGB [n, 3] of the skin about an eye at each of `columns` [n] (px), without what the `rims` of glasses cover."""
    begins, ends = ABOUT_CM[0] * scale, ABOUT_CM[1] * scale
    x, y = np.meshgrid(np.arange(photo.shape[1]) + 0.5, np.arange(photo.shape[0]) + 0.5)
    limit = 2.0 * ends
    away = np.maximum(lower.distance(x, y, limit), upper.distance(x, y, limit))  # outside of the opening
    near = (away > begins) & (away < ends) & (x > upper.left - ends) & (x < upper.right + ends) & (rims < 128)
    if near.sum() < 20:
        near = (away > begins) & (away < limit) & (x > upper.left - ends) & (x < upper.right + ends)
    found = photo[near].astype(np.float64)
    light = found.mean(1)
    low, high = np.percentile(light, [ABOUT_PERCENTILE, 95])
    chosen = (light >= low) & (light <= high)
    apart = (columns[:, None] - x[near][chosen][None]) / (ABOUT_SOFT_CM * scale)
    weight = np.exp(-0.5 * apart**2) + 1e-6
    colour: Floats = (weight @ found[chosen]) / weight.sum(1, keepdims=True)
    return colour
