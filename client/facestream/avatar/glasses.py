"""Find glasses in a portrait: the rims, so that they do not bend as brows and lids move behind them.

No network: a rim is a line, darker or lighter than the skin, that runs around the eye at some distance, and a bridge is
one across the nose. The best such lines are found by dynamic programming; whether they are glasses is decided by how
strong they are where a bare face is smooth: below the eyes and on the root of the nose.

Rimless glasses are not found (they hardly show, and hardly bend), nor are rims wholly under hair.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from facestream.avatar import landmark_topology as topology

Floats = NDArray[np.floating[Any]]
Image = NDArray[np.uint8]

LINE_SIZES = (9, 15)
"""Widths of the closings and openings that lines stand out from, px: lines of up to 14 px are found."""

ANGLES = 96
INNER = (0.275, 0.17)
"""Half axes of the ellipse about an eye within which its lashes and lids lie, in distances of the eyes."""
LASHES = (0.275, 0.13)
"""The same of the ellipse beyond which nothing dark is a lash."""
OUTER_SCALE = 2.5
"""A rim lies between that ellipse and one so much larger."""
RADII = 48
BEND = 2
"""A rim's radius changes by at most so many of RADII from one of ANGLES to the next."""

LOWER = (25.0, 155.0)
"""Directions (degrees, from the picture's right, downwards) in which a bare face is smooth."""
LOWER_PERCENTILE = 30
BRIDGE_PERCENTILE = 20

MIN_RIM = 0.075
MIN_BRIDGE = 0.09
"""Least strength of rims and bridge, as a share of the skin's brightness."""

BROW_DOUBT = 0.6
"""Lines over the brows count so much less: they are hairs more often than rims."""

THICK_DARK = 0.5
"""What is darker than this share of the cheeks and touches a found rim belongs to it: rims of horn are no lines."""
THICK_REACH = 0.09
"""As far as this from the found rim, in distances of the eyes."""

SHADED = 0.42
"""Lenses are dark when what they show is less bright than this share of the cheeks."""


class Glasses(NamedTuple):
    """What was found."""

    rims: Image
    """[512, 512]: 255 on rims, bridge and the beginning of the arms, 0 elsewhere."""
    strength: float
    """How clearly they stand out: 1 is just enough."""
    dark: bool
    """The lenses are so dark that the eyes behind them cannot be seen."""


def glasses_mask(photo: Image, landmarks: Floats) -> Image | None:
    """The rims of glasses [512, 512], 255 there and 0 elsewhere; None where no glasses were found.

    Args:
        photo: aligned portrait, RGB [512, 512, 3].
        landmarks: [478, 3] px.
    """
    found = find_glasses(photo, landmarks)
    return None if found is None else found.rims


def find_glasses(photo: Image, landmarks: Floats) -> Glasses | None:
    """Glasses in an aligned portrait RGB [512, 512, 3] with landmarks [478, 3], or None."""
    points = landmarks[:, :2].astype(np.float64)
    eyes = [points[[33, 133]].mean(0), points[[362, 263]].mean(0)]
    apart = float(np.linalg.norm(eyes[1] - eyes[0]))
    light = _brightness(photo, points)
    lines = _lines(photo) / light * (1.0 - BROW_DOUBT * _brows(points, photo.shape[:2]))
    rims, strengths = [], []
    for eye in eyes:
        rim, strength = _rim(lines, eye, apart)
        rims.append(rim)
        strengths.append(strength)
    bridge, across = _bridge(lines, eyes, apart)
    # Both lenses, or a strong bridge and one of them: the other may be in a shadow.
    strength = min(float(np.mean(strengths)) / MIN_RIM, min(strengths) / (0.6 * MIN_RIM), across / MIN_BRIDGE)
    if strength < 1.0:
        return None
    mask = np.zeros(photo.shape[:2], np.uint8)
    for rim in rims:
        cv2.polylines(mask, [_pixels(rim)], isClosed=True, color=255, thickness=9)
    cv2.polylines(mask, [_pixels(bridge)], isClosed=False, color=255, thickness=9)
    for side, rim in zip((-1.0, 1.0), rims, strict=True):
        outer = rim[np.argmax(side * rim[:, 0])]
        arm = outer + np.array([[0.0, 0.0], [side * 0.35 * apart, 0.0]])
        cv2.polylines(mask, [_pixels(arm)], isClosed=False, color=255, thickness=11)
    mask = np.maximum(mask, _thick(mask, photo, eyes, light))
    return Glasses(mask, strength, _dark(photo, points, light))


def _thick(mask: Image, photo: Image, eyes: list[Floats], light: float) -> Image:
    """[512, 512] 255 where dark rims, of which `mask` is the line that was found, are wider than that."""
    apart = float(np.linalg.norm(eyes[1] - eyes[0]))
    reach = 2 * round(THICK_REACH * apart) + 1
    near = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    # Brows are no exception: landmarks take a dark upper rim for one.
    dark = ((photo.max(2) < THICK_DARK * light) & (near > 0)).astype(np.uint8)
    for eye in eyes:  # lashes are dark, too
        axes = (round(LASHES[0] * apart), round(LASHES[1] * apart))
        cv2.ellipse(dark, tuple(_pixels(eye).tolist()), axes, 0.0, 0.0, 360.0, 0, -1)
    _, regions = cv2.connectedComponents(dark)
    touching = np.unique(regions[(mask > 0) & (dark > 0)])
    thick: Image = np.where(np.isin(regions, touching[touching > 0]), 255, 0).astype(np.uint8)
    return thick


def dark_lenses(photo: Image, landmarks: Floats) -> bool:
    """Whether the eyes hide behind dark lenses, whatever the rims.

    The landmark network draws eyes on them all the same, and they would blink.
    """
    points = landmarks[:, :2].astype(np.float64)
    return _dark(photo, points, _brightness(photo, points))


def _brows(points: Floats, shape: tuple[int, ...]) -> Floats:
    """[H, W] 1 on the brows, 0 elsewhere, with a soft edge."""
    mask = np.zeros(shape[:2], np.uint8)
    for upper, lower in (
        (topology.RIGHT_BROW_UPPER, topology.RIGHT_BROW_LOWER),
        (topology.LEFT_BROW_UPPER, topology.LEFT_BROW_LOWER),
    ):
        outline = np.concatenate([points[list(upper)], points[list(lower)][::-1]])
        cv2.fillPoly(mask, [_pixels(outline)], 255)
        cv2.polylines(mask, [_pixels(outline)], isClosed=True, color=255, thickness=7)
    soft: Floats = np.asarray(cv2.GaussianBlur(mask, (0, 0), 1.5), np.float32) / 255.0
    return soft


def _pixels(line: Floats) -> NDArray[np.int32]:
    return np.round(line).astype(np.int32)


def _brightness(photo: Image, points: Floats) -> float:
    """Brightness of the cheeks, 0..255, as the brightest of the colours shows it."""
    samples = [photo[int(y) - 6 : int(y) + 7, int(x) - 6 : int(x) + 7].max(2) for x, y in points[list(topology.CHEEKS)]]
    return max(float(np.median(np.concatenate(samples))), 20.0)


def _lines(photo: Image) -> Floats:
    """How much each pixel belongs to a line, in levels [H, W]: the strongest of colours, widths and both signs."""
    strongest: Floats = np.zeros(photo.shape[:2], np.float32)
    blurred = np.asarray(cv2.GaussianBlur(photo, (0, 0), 0.8), np.uint8)
    for size in LINE_SIZES:
        disc = np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)
        for sign in (cv2.MORPH_BLACKHAT, cv2.MORPH_TOPHAT):
            found = np.asarray(cv2.morphologyEx(blurred, sign, disc), np.float32).max(2)
            strongest = np.maximum(strongest, found)
    return strongest


def _sample(field: Floats, points: Floats) -> Floats:
    """Bilinear samples of a field [H, W] at points [..., 2] px."""
    at = points.astype(np.float32)
    return np.asarray(
        cv2.remap(field.astype(np.float32), at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE),
        np.float32,
    )


def _rim(lines: Floats, eye: Floats, apart: float) -> tuple[Floats, float]:
    """The best closed line about an eye [ANGLES, 2], and its strength where a bare face is smooth."""
    angle = np.arange(ANGLES) * (2.0 * np.pi / ANGLES)
    radius = np.linspace(1.0, OUTER_SCALE, RADII)
    direction = np.stack([np.cos(angle), np.sin(angle)], axis=-1) * np.array(INNER) * apart
    places = eye + direction[:, None] * radius[None, :, None]  # [A, R, 2]
    # No farther towards the nose than its middle.
    places[..., 0] = eye[0] + np.clip(places[..., 0] - eye[0], -0.56 * apart, 0.56 * apart)
    value = _sample(lines, places)
    # A closed line, nearly: once around to find where it begins, once more from there.
    path = _best_path(np.concatenate([value, value]), BEND)[ANGLES // 2 : ANGLES // 2 + ANGLES]
    path = np.roll(path, ANGLES // 2)
    rim = places[np.arange(ANGLES), path]
    degrees = np.degrees(angle)
    low = (degrees > LOWER[0]) & (degrees < LOWER[1])
    along = value[np.arange(ANGLES), path][low]
    return rim, float(np.percentile(along, LOWER_PERCENTILE))


def _bridge(lines: Floats, eyes: list[Floats], apart: float) -> tuple[Floats, float]:
    """The best line across the root of the nose [N, 2], and its strength."""
    along = np.linspace(0.36, 0.64, 32)
    down = np.linspace(-0.28, 0.22, 48) * apart
    middle = eyes[0] + along[:, None] * (eyes[1] - eyes[0])
    across = np.array([-(eyes[1] - eyes[0])[1], (eyes[1] - eyes[0])[0]]) / apart
    places = middle[:, None] + down[None, :, None] * across
    value = _sample(lines, places)
    path = _best_path(value, 1)
    columns = np.arange(len(along))
    return places[columns, path], float(np.percentile(value[columns, path], BRIDGE_PERCENTILE))


def _best_path(value: Floats, bend: int) -> NDArray[np.intp]:
    """The columns, one per row of `value` [N, M], of the path of the greatest sum that moves by at most `bend`."""
    count, width = value.shape
    total = np.asarray(value[0], np.float64).copy()
    came = np.zeros((count, width), np.intp)
    for row in range(1, count):
        padded = np.pad(total, bend, constant_values=-np.inf)
        choices = np.stack([padded[k : k + width] - 1e-4 * abs(k - bend) for k in range(2 * bend + 1)])
        best = choices.argmax(0)
        came[row] = np.arange(width) + best - bend
        total = choices[best, np.arange(width)] + value[row]
    path = np.zeros(count, np.intp)
    path[-1] = int(total.argmax())
    for row in range(count - 1, 0, -1):
        path[row - 1] = came[row, path[row]]
    return path


def _dark(photo: Image, points: Floats, light: float) -> bool:
    """Whether both eyes, their lids and what is about them are dark, with nothing of the whites to be seen."""
    brightest = photo.max(2)
    for upper, lower in (
        (topology.RIGHT_EYE_UPPER, topology.RIGHT_EYE_LOWER),
        (topology.LEFT_EYE_UPPER, topology.LEFT_EYE_LOWER),
    ):
        corners = points[[upper[0], upper[-1]]]
        middle = points[list(upper + lower)].mean(0)
        width = float(np.linalg.norm(corners[1] - corners[0]))
        mask = np.zeros(photo.shape[:2], np.uint8)
        axes = (max(int(0.62 * width), 2), max(int(0.42 * width), 2))
        cv2.ellipse(mask, (int(middle[0]), int(middle[1])), axes, 0.0, 0.0, 360.0, 255, -1)
        # Of a bare eye, lids, whites and skin about it make up far more than a tenth.
        if float(np.percentile(brightest[mask > 0], 85)) >= SHADED * light:
            return False
    return True
