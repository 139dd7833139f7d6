"""What turns with the head, how far, and what is behind: AVATAR_HEAD and AVATAR_BACKDROP.

Face, hair and ears turn as one body, the neck gives way between them and the shoulders, and the shoulders come along a
little. Around the person the motion goes on, so that no edge is torn, and fades out where nothing but background is
left to show it; the compositor puts the background there that stands still.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

from facestream.avatar import landmark_topology as topology
from facestream.avatar import layers_canvas as canvas
from facestream.avatar.fit import FaceFit
from facestream.avatar.layers_raster import Surface
from facestream.contract import FRAME_SIZE

Floats = NDArray[np.floating[Any]]
Image = NDArray[np.uint8]

DEEPEST_CM = 7.0
"""The relief is clipped so far behind the nose: steep cheeks would slide under the hair."""
NECK_CM = 6.5
"""So far from the head the neck comes down to what the shoulders follow."""
LONG_HAIR_CM = 11.0
"""The same for hair that hangs down."""
LOOSE_HAIR_CM = 2.0
"""Below the chin by this, hair no longer is fixed to the head."""
SHOULDERS_FOLLOW = 0.10
"""Share of the head's motion that shoulders take."""
SOFT_PX = 6.0
"""Smoothing of the motion (Gaussian)."""
RIGID_PX = 24.0
"""So far beyond the person the background moves along ..."""
FADE_PX = 90.0
"""... and over this distance less and less."""
BORDER_PX = 51.0
"""A person who touches the picture's border stands still there; motion grows over this distance from it."""
TOUCHES = 32
"""A matte of this much at the border is a touch: half a strand's colour would be drawn out into a grey block."""


def backdrop_tensor(background: Image, matte: Image) -> Image:
    """AVATAR_BACKDROP of the background [3, 512, 512] and the person's matte [512, 512]."""
    size = (FRAME_SIZE // canvas.BACKDROP_PITCH,) * 2
    planes = [cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in (*background, matte)]
    return np.ascontiguousarray(np.stack(planes).astype(np.uint8))


def head_relief(
    surface: Surface, landmarks: Floats, fit: FaceFit, outline: Floats, matte: Image, hair: Image
) -> Floats:
    """AVATAR_HEAD [2, 64, 64]: depth relative to the pivot (px) and how far each node follows the head's pose."""
    person = matte > 127
    depth = person_depth(surface, person, fit.scale) - float(fit.pivot[2])
    follows = following(landmarks, outline, person, hair, fit.scale) * border_ramp(matte > TOUCHES)
    size = (canvas.HEAD_GRID, canvas.HEAD_GRID)
    return np.stack([cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in (depth, follows)])


def person_depth(surface: Surface, person: NDArray[np.bool_], scale: float) -> Floats:
    """Depth [512, 512] (px) of the person: the mesh's where it is, beyond it that of the nearest skin."""
    covered = surface.front >= 0
    nearest = surface.depth[covered].max()
    depth = np.where(covered, np.maximum(surface.depth, nearest - DEEPEST_CM * scale), 0.0)
    return spread(depth, covered & person if (covered & person).any() else covered, 3.0)


def following(landmarks: Floats, outline: Floats, person: NDArray[np.bool_], hair: Image, scale: float) -> Floats:
    """How far each pixel [512, 512] follows the head's pose, 0..1, wherever the picture ends."""
    y = np.arange(FRAME_SIZE)[:, None] + 0.5
    face = np.zeros((FRAME_SIZE, FRAME_SIZE), np.uint8)
    cv2.fillConvexPoly(face, np.round(outline).astype(np.int32), 1)
    chin, mouth = float(landmarks[topology.CHIN, 1]), float(landmarks[[61, 291], 1].mean())
    hanging = hair.astype(np.float64) / 255.0
    head = (face > 0) | (person & (y < mouth)) | ((hanging > 0.5) & (y < chin + LOOSE_HAIR_CM * scale))
    away = distance_transform_edt(~head)
    on_skin, on_hair = (smooth(away / (length * scale)) for length in (NECK_CM, LONG_HAIR_CM))
    leaves = on_skin + gaussian_filter(hanging, SOFT_PX) * (on_hair - on_skin)
    follows = 1.0 - (1.0 - SHOULDERS_FOLLOW) * leaves
    follows = spread(follows, person | head, SOFT_PX)
    beyond = distance_transform_edt(~(person | head))
    return follows * (1.0 - smooth((beyond - RIGID_PX) / FADE_PX))


def border_ramp(person: NDArray[np.bool_]) -> Floats:
    """[512, 512] 0 at the picture's border, 1 beyond BORDER_PX from it; at the top only if the person touches it."""
    along = np.arange(FRAME_SIZE) + 0.5
    left, top = smooth(along / BORDER_PX)[None], smooth(along / BORDER_PX)[:, None]
    ramp: Floats = left * left[:, ::-1] * top[::-1]
    return ramp * top if person[:3].any() else ramp


def spread(values: Floats, known: NDArray[np.bool_], softness: float) -> Floats:
    """`values` smoothed by `softness` (px) where known, and continued from there to all pixels."""
    mask = known.astype(np.float64)
    filled, total = np.zeros_like(values), np.zeros_like(values)
    for sigma, share in ((softness, 1.0), (12.0, 1e-3), (40.0, 1e-6), (120.0, 1e-9)):
        filled += share * gaussian_filter(values * mask, sigma)
        total += share * gaussian_filter(mask, sigma)
    result: Floats = gaussian_filter(filled / (total + 1e-30), 3.0)
    return result


def smooth(value: Floats) -> Floats:
    """Ease 0..1 in and out."""
    t = np.clip(value, 0.0, 1.0)
    eased: Floats = t * t * (3.0 - 2.0 * t)
    return eased
