"""The colour of a person's teeth, from a picture that shows them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from facestream.avatar import landmark_topology as topology

Floats = NDArray[np.floating[Any]]
Image = NDArray[np.uint8]

SHOWN = (184.0, 172.0, 163.0)
"""RGB of the brighter part of the shared picture's front teeth where enamel is 1, in a smile: its 70th percentile, with
the light that gets in between the lips (0.92)."""
LIMITS = (0.35, 1.3)
"""Enamel beyond these is a reflection or a shadow."""
MIN_PIXELS = 60


def teeth_colour(image: Image, landmarks: Floats) -> Floats | None:
    """RGB [3] (0..255) of the teeth in a portrait [512, 512, 3], or None where too little of them shows."""
    outline = np.concatenate(
        [landmarks[list(topology.LIP_UPPER_INNER), :2], landmarks[list(topology.LIP_LOWER_INNER), :2][::-1]]
    )
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(outline).astype(np.int32)], 1)
    mask = np.asarray(cv2.erode(mask, np.ones((3, 3), np.uint8)), np.uint8)
    lip = np.median(image[tuple(np.round(landmarks[[16, 15, 315, 85], :2]).astype(int).T[::-1])].astype(float), axis=0)
    inside = image[mask > 0].astype(np.float64)
    if not len(inside):
        return None
    # Teeth are brighter than the dark of the mouth, and less red than lips, gums and tongue.
    redness = inside[:, 0] / np.maximum(inside[:, 1], 1.0)
    lip_redness = lip[0] / max(lip[1], 1.0)
    like = (inside.mean(1) > 0.75 * lip.mean()) & (redness < 1.0 + 0.6 * (lip_redness - 1.0))
    if like.sum() < MIN_PIXELS:
        return None
    found: Floats = np.percentile(inside[like], 70, axis=0)
    return found


def real_enamel(image: Image, landmarks: Floats, portrait: Image, portrait_landmarks: Floats) -> Floats | None:
    """The constant `enamel` [3] (layers_canvas.CONSTANTS) for a portrait, from a picture with teeth.

    Args:
        image: the aligned picture with teeth [512, 512, 3].
        landmarks: [478, 3] of it, px.
        portrait: the portrait [512, 512, 3], in whose light the teeth are to be.
        portrait_landmarks: [478, 3] of it, px.

    Returns:
        RGB factors, or None where too little of the teeth shows.
    """
    teeth = teeth_colour(image, landmarks)
    if teeth is None:
        return None
    there, here = _cheeks(image, landmarks), _cheeks(portrait, portrait_landmarks)
    factors: Floats = np.clip(teeth * np.clip(here / there, 0.5, 2.0) / np.array(SHOWN), *LIMITS)
    return factors


def _cheeks(image: Image, landmarks: Floats) -> Floats:
    """Median RGB [3] of the cheeks."""
    samples = []
    for x, y in np.round(landmarks[list(topology.CHEEKS), :2]).astype(int):
        samples.append(image[y - 6 : y + 7, x - 6 : x + 7].reshape(-1, 3))
    median: Floats = np.median(np.concatenate(samples).astype(np.float64), axis=0) + 1.0
    return median
