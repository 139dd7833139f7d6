"""Close the lips of a portrait that smiles with parted lips: the photo is the avatar's rest, and its rest is silent.

The face model says how the face moves when the jaw shuts and the smile's lift of the lips is taken back; what gap is
left is shared between the two lips. Each lip with the skin beyond it is one layer of the photo, moved by a thin-plate
spline; they meet in a line, which gets the shade that lips have there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator, RBFInterpolator

from facestream.avatar import landmark_topology as topology
from facestream.avatar.face_model import FaceModel
from facestream.avatar.fit import TO_PICTURE, FaceFit, fit_face
from facestream.avatar.landmarks import detect_faces, find_landmarks
from facestream.avatar.photo import MAX_MOUTH_GAP, PhotoError, Portrait, mouth_gap
from facestream.contract import FRAME_SIZE

Floats = NDArray[np.floating[Any]]
Image = NDArray[np.uint8]

UNDONE = {
    "jawOpen": 1.0,
    "mouthUpperUp": 1.0,
    "mouthLowerDown": 1.0,
    "mouthFunnel": 1.0,
    "mouthSmile": 0.45,
    "mouthStretch": 0.5,
    "cheekSquint": 0.3,
}
"""Shapes of the photo's expression that are taken back, and how much of them."""

WIDE_GAP = 0.08
"""From this gap on (over the distance of the eyes) they are taken back in full."""

UPPER_SHARE = 0.42
"""Of the gap that is left, the upper lip closes this much."""

STRETCH_PX = 9.0
"""Landmarks nearer than this to a lip's outer edge do not hold it: there the skin stretches."""

TRIM_PX = 1.6
"""So much of each lip's inner edge goes as well: light of the teeth has mixed with it."""

GRID_PX = 4
FIELD = (128, 220, 384, 460)
"""left, top, right, bottom (px) of what may move."""
FADE_PX = 28.0
"""The motion fades out over this distance from the field's border."""

LINE_SHADE, LINE_PX = 0.50, 1.4
"""Depth and width of the dark line between the lips."""
BED_SHADE, BED_PX = 0.16, 5.0
"""The same of the soft shadow about it."""

# Each lip's rings of landmarks, from its inner edge to its outer, all from the picture's left to its right.
UPPER_RINGS = (
    topology.LIP_UPPER_INNER,
    (62, 183, 42, 41, 38, 12, 268, 271, 272, 407, 292),
    (76, 184, 74, 73, 72, 11, 302, 303, 304, 408, 306),
    topology.LIP_UPPER_OUTER,
)
LOWER_RINGS = (
    topology.LIP_LOWER_INNER,
    (62, 96, 89, 179, 86, 15, 316, 403, 319, 325, 292),
    (76, 77, 90, 180, 85, 16, 315, 404, 320, 307, 306),
    topology.LIP_LOWER_OUTER,
)
KEPT = (1.0, 0.98, 0.92, 0.85)
"""So far each ring goes with the inner edge: a lip keeps its height, nearly."""


def with_closed_lips(portrait: Portrait, model: FaceModel) -> Portrait:
    """The portrait with its lips closed, where they are apart; else the portrait itself.

    Raises:
        PhotoError: the lips did not come to meet, as far as the landmark network can tell.
    """
    if mouth_gap(portrait.landmarks) <= MAX_MOUTH_GAP[0]:
        return portrait
    image = close_lips(fit_face(portrait.image, portrait.landmarks, model), model)
    faces = detect_faces(image)
    landmarks = find_landmarks(image, faces[0]).landmarks if faces else portrait.landmarks
    gap = mouth_gap(landmarks)
    if gap > MAX_MOUTH_GAP[0]:
        raise PhotoError(
            f"the lips are apart and could not be closed in the picture (still {gap:.3f} of the eyes' distance, at most"
            f" {MAX_MOUTH_GAP[0]:.3f} look closed); use a photo with closed lips"
        )
    return replace(portrait, image=image, landmarks=landmarks)


def close_lips(fit: FaceFit, model: FaceModel) -> Image:
    """The fitted portrait [512, 512, 3] with closed lips; the landmarks have to be found again in it."""
    landmarks = fit.landmarks[: topology.MESH_POINTS, :2].astype(np.float64)
    shift = _model_shift(fit, model)
    upper, lower = (landmarks[list(rings[0])] + shift[list(rings[0])] for rings in (UPPER_RINGS, LOWER_RINGS))
    line = upper + UPPER_SHARE * (lower - upper)
    x = np.arange(FRAME_SIZE) + 0.5
    seam = _curve(line, x)

    left, top, right, bottom = FIELD
    centre = np.stack(np.meshgrid(np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5), axis=-1)
    edge = np.minimum(centre - (left, top), np.array([right, bottom]) - centre).min(-1)
    t = np.clip(edge / FADE_PX, 0.0, 1.0)
    fade = (t * t * (3.0 - 2.0 * t))[..., None]
    layers = []
    every = np.unique([*UPPER_RINGS, *LOWER_RINGS])
    for rings, sign in ((UPPER_RINGS, -1.0), (LOWER_RINGS, 1.0)):
        moved = shift.copy()
        rest = line - landmarks[list(rings[0])] - shift[list(rings[0])]
        rest[:, 1] -= sign * TRIM_PX * _towards_middle(line[:, 0])  # the edge goes behind the line
        for ring, kept in zip(rings, KEPT, strict=True):
            moved[list(ring)] += kept * rest
        # Points of the other lip would hold this one back, and so would those just beyond its own edge: there the
        # skin stretches.
        others = np.setdiff1d(np.arange(topology.MESH_POINTS), every)
        beyond = np.linalg.norm(landmarks[others][:, None] - landmarks[list(rings[-1])][None], axis=2).min(1)
        used = np.concatenate([others[beyond > STRETCH_PX], np.unique([*rings])])
        layers.append(_layer(fit.photo, landmarks[used], moved[used], centre, fade))

    height = seam[left:right][None]
    below = np.clip(centre[..., 1] - height + 0.5, 0.0, 1.0)[..., None]
    within = (centre[..., 0] > line[0, 0]) & (centre[..., 0] < line[-1, 0])
    # Beyond the corners both layers are the same skin, nearly: they are mixed over a wider seam.
    soft = np.clip((centre[..., 1] - height) / 12.0 + 0.5, 0.0, 1.0)[..., None]
    mix = np.where(within[..., None], below, soft)
    picture = layers[0] * (1.0 - mix) + layers[1] * mix
    picture *= _shade(centre, line, height)[..., None] ** np.array([0.85, 1.1, 1.1])
    result = fit.photo.copy()
    result[top:bottom, left:right] = np.clip(np.round(picture), 0, 255).astype(np.uint8)
    return result


def _model_shift(fit: FaceFit, model: FaceModel) -> Floats:
    """How far each landmark moves (px) [468, 2] when the model takes back UNDONE."""
    change = np.zeros(len(model.expression_names))
    # Lips that are hardly apart need no calmer smile to meet.
    open_ = min(mouth_gap(fit.landmarks) / WIDE_GAP, 1.0)
    for row, name in enumerate(model.expression_names):
        for prefix, share in UNDONE.items():
            if name.startswith(prefix):
                change[row] = -share * open_ * float(fit.expression[row])
    moved = np.tensordot(change, model.expression.astype(np.float64), 1)
    shift: Floats = (model.landmarks(moved) @ fit.rotation.astype(np.float64) * fit.scale * TO_PICTURE)[:, :2]
    return shift


def _towards_middle(x: Floats) -> Floats:
    """0 at the first and last of these, 1 in the middle."""
    share = (x - x[0]) / (x[-1] - x[0])
    rise: Floats = np.clip(6.0 * np.minimum(share, 1.0 - share), 0.0, 1.0)
    return rise


def _curve(points: Floats, x: Floats) -> Floats:
    """Height at x of a smooth curve through points, level beyond its ends."""
    order = np.argsort(points[:, 0])
    ordered = points[order]
    ordered = ordered[np.r_[True, np.diff(ordered[:, 0]) > 0.3]]
    height: Floats = PchipInterpolator(ordered[:, 0], ordered[:, 1])(np.clip(x, ordered[0, 0], ordered[-1, 0]))
    return height


def _layer(photo: Image, points: Floats, moved: Floats, centre: Floats, fade: Floats) -> Floats:
    """The photo with `points` [N, 2] moved by `moved` [N, 2], sampled at `centre` [H, W, 2]."""
    places = points + moved
    # One landmark per place: two of the lips' rings meet at the corners.
    _, first = np.unique(np.round(places, 1), axis=0, return_index=True)
    spline = RBFInterpolator(places[first], -moved[first], neighbors=36, kernel="thin_plate_spline", smoothing=0.5)
    coarse = centre[::GRID_PX, ::GRID_PX]
    flow = spline(coarse.reshape(-1, 2)).reshape(coarse.shape)
    fine = np.stack(
        [
            cv2.remap(
                np.ascontiguousarray(flow[..., k], np.float32),
                ((centre[..., 0] - centre[0, 0, 0]) / GRID_PX).astype(np.float32),
                ((centre[..., 1] - centre[0, 0, 1]) / GRID_PX).astype(np.float32),
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
            for k in range(2)
        ],
        axis=-1,
    )
    at = (centre + fine * fade - 0.5).astype(np.float32)
    return np.asarray(cv2.remap(photo, at[..., 0], at[..., 1], cv2.INTER_LANCZOS4), np.float64)


def _shade(centre: Floats, line: Floats, height: Floats) -> Floats:
    """Factor on the picture [H, W] that darkens the line between the lips."""
    ends = np.stack([line[0], line[-1]])
    share = (centre[..., 0] - ends[0, 0]) / (ends[1, 0] - ends[0, 0])
    along = np.clip(8.0 * np.minimum(share + 0.02, 1.02 - share), 0.0, 1.0)
    away = np.abs(centre[..., 1] - height)
    shade = LINE_SHADE * np.exp(-((away / LINE_PX) ** 2)) + BED_SHADE * np.exp(-((away / BED_PX) ** 2))
    factor: Floats = 1.0 - along * shade
    return factor
