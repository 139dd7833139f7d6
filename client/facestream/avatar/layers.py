"""From a fitted face to the tensors that the graphs draw: `build_layers`.

All in the canonical picture (see layers_canvas).
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from facestream.avatar import layers_canvas as canvas
from facestream.avatar.face_model import FaceModel
from facestream.avatar.fit import FaceFit
from facestream.avatar.glasses import glasses_mask
from facestream.avatar.hair import hair_mask
from facestream.avatar.layers_constants import blinks_px, constants, pixels_per_cm, shape_gains
from facestream.avatar.layers_eyes import paint_eyeballs, paint_lids
from facestream.avatar.layers_head import backdrop_tensor, head_relief
from facestream.avatar.layers_nodes import face_outline, held, mesh_nodes, seam_nodes, share_out_blinks
from facestream.avatar.layers_raster import draw_surface
from facestream.avatar.layers_seams import Seam, lid_seams, lip_seams
from facestream.avatar.matte import backdrop, denser, person_matte
from facestream.contract import FRAME_SIZE

Floats = NDArray[np.floating[Any]]
Image = NDArray[np.uint8]


def build_layers(
    fit: FaceFit, model: FaceModel, matte: Image | None = None, hair: Image | None = None
) -> dict[str, NDArray[np.generic]]:
    """Make all tensors of an avatar: names, dtypes and shapes as in layers_canvas.AVATAR_TENSORS.

    Args:
        fit: the fitted portrait.
        model: the face model.
        matte: its `person_matte` [512, 512]; found here where it is left out.
        hair: its `hair_mask` [512, 512]; the same.

    Raises:
        ValueError: the fit does not lie where the canonical picture wants it (the message says what is off).
    """
    check_alignment(fit)
    landmarks = fit.landmarks.astype(np.float64)
    vertices = fit.vertices.astype(np.float64)
    surface = draw_surface(vertices, model.part_triangles("face", "head"), FRAME_SIZE)
    outline = face_outline(landmarks)
    inside = np.zeros((FRAME_SIZE, FRAME_SIZE), np.uint8)
    cv2.fillConvexPoly(inside, np.round(outline).astype(np.int32), 1)
    usable = cv2.erode(inside, np.ones((5, 5), np.uint8)).astype(bool)
    lips = lip_seams(fit.photo, landmarks, fit.scale)
    lids = lid_seams(landmarks)
    rims = glasses_mask(fit.photo, fit.landmarks)
    seam_index, seam_weight, blend = seam_nodes(landmarks, model, lips, lids, fit.scale, rims)
    projection = pixels_per_cm(fit)
    gains = shape_gains(fit, model, projection, lids)
    scores = seam_scores(lips, lids)
    matte = person_matte(fit.photo, fit.landmarks) if matte is None else matte
    hair = hair_mask(fit.photo, matte, fit.landmarks) if hair is None else hair
    mesh_index, mesh_weight = mesh_nodes(surface, usable, outline, fit.scale, held(hair, rims))
    share_out_blinks(seam_index, seam_weight, mesh_weight, lids, fit.scale, blinks_px(model, projection, gains))
    eyeballs = paint_eyeballs(fit.photo, landmarks, lids)
    behind = backdrop(fit.photo, matte)
    tensors: dict[str, NDArray[np.generic]] = {
        "AVATAR_PHOTO": np.ascontiguousarray(fit.photo.transpose(2, 0, 1)),
        "AVATAR_MESH_INDEX": mesh_index.astype(np.int32),
        "AVATAR_MESH_WEIGHT": mesh_weight.astype(np.float16),
        "AVATAR_SEAM_INDEX": seam_index.astype(np.int32),
        "AVATAR_SEAM_WEIGHT": seam_weight.astype(np.float16),
        "AVATAR_SEAM_BLEND": blend.astype(np.float16),
        "AVATAR_HEAD": head_relief(surface, landmarks, fit, outline, matte, hair).astype(np.float16),
        "AVATAR_SCORES": scores.astype(np.float16),
        "AVATAR_LIPS": inner_lips(fit.photo, lips, fit.scale),
        "AVATAR_EYES": eyeballs.picture,
        "AVATAR_LIDS": paint_lids(fit.photo, landmarks, lids, fit.scale, rims),
        "AVATAR_CONSTANTS": constants(fit, model, projection, gains, lips, eyeballs),
        "AVATAR_BACKDROP": backdrop_tensor(behind, denser(fit.photo, behind, matte)),
        "AVATAR_ADAPTER": np.zeros(canvas.ADAPTER_SIZE, np.float32),
    }
    for name, (dtype, shape) in canvas.AVATAR_TENSORS.items():
        made = tensors[name]
        assert (str(made.dtype), made.shape) == (dtype, shape), f"{name} is {made.dtype} {made.shape}"
    return tensors


def check_alignment(fit: FaceFit) -> None:
    """Refuse a portrait whose eyes and mouth lie outside of their windows."""
    eyes = fit.landmarks[[33, 133, 362, 263], :2]
    mouth = fit.landmarks[[61, 291, 13, 14], :2]
    right, bottom = canvas.CANVAS_X + canvas.CANVAS_WIDTH, canvas.CANVAS_Y + canvas.EYES_HEIGHT
    for what, points, box in (
        ("eyes", eyes, (canvas.CANVAS_X + 8, canvas.CANVAS_Y + 20, right - 8, bottom - 20)),
        ("mouth", mouth, (canvas.LIPS_X, canvas.LIPS_Y + 10, canvas.LIPS_X + canvas.LIPS_WIDTH, canvas.LIPS_Y + 46)),
    ):
        low, high = points.min(0), points.max(0)
        if low[0] < box[0] or low[1] < box[1] or high[0] > box[2] or high[1] > box[3]:
            raise ValueError(
                f"the {what} span x {low[0]:.0f}..{high[0]:.0f}, y {low[1]:.0f}..{high[1]:.0f} px of the aligned "
                f"portrait; they must lie within x {box[0]}..{box[2]}, y {box[1]}..{box[3]}"
            )


def seam_scores(lips: tuple[Seam, Seam], lids: list[tuple[Seam, Seam]]) -> Floats:
    """AVATAR_SCORES."""
    pitch = canvas.SCORE_PITCH
    columns = (np.arange(canvas.CANVAS_WIDTH // pitch) + 0.5) * pitch + canvas.CANVAS_X
    rows = (np.arange(canvas.CANVAS_HEIGHT // pitch) + 0.5) * pitch + canvas.CANVAS_Y
    x, y = np.meshgrid(columns, rows)
    limit = canvas.SCORE_LIMIT
    layers = np.full((2, *x.shape), limit)
    mouth = y >= canvas.MOUTH_Y
    for layer, seam, where in (
        [(0, lips[0], mouth), (1, lips[1], mouth)]
        + [(0, lower, ~mouth) for lower, _ in lids]
        + [(1, upper, ~mouth) for _, upper in lids]
    ):
        layers[layer] = np.where(where, np.minimum(layers[layer], seam.distance(x, y, limit)), layers[layer])
    return layers


def inner_lips(photo: NDArray[np.uint8], lips: tuple[Seam, Seam], scale: float) -> NDArray[np.uint8]:
    """AVATAR_LIPS: the lips without their dark line, with moist inner lips beyond it, as a difference to the photo."""
    columns = np.arange(canvas.LIPS_WIDTH) + canvas.LIPS_X + 0.5
    rows = np.arange(canvas.LIPS_HEIGHT) + canvas.LIPS_Y + 0.5
    window = photo[
        canvas.LIPS_Y : canvas.LIPS_Y + canvas.LIPS_HEIGHT, canvas.LIPS_X : canvas.LIPS_X + canvas.LIPS_WIDTH
    ]
    window = window.astype(np.float64)
    layers = []
    for seam in lips:
        own = 1.0 if seam.above else -1.0
        height = seam.at(columns)
        bands = []
        for offset in (0.26, 0.32, 0.38):  # cm inside of the lip, past its dark line
            row = np.clip(height - own * offset * scale - canvas.LIPS_Y - 0.5, 0, canvas.LIPS_HEIGHT - 1.001)
            low = row.astype(int)
            part = (row - low)[:, None]
            index = np.arange(canvas.LIPS_WIDTH)
            bands.append(window[low, index] * (1 - part) + window[low + 1, index] * part)
        base = gaussian_filter1d(np.median(bands, axis=0), 2.5, axis=0)  # [W, 3]
        past = own * (rows[:, None] - height[None]) / scale + 0.20  # cm past where the photo stops being good
        inner = np.clip(past / 0.45, 0.0, 1.0)[..., None]
        colour = base[None] * (1.0 - inner * np.array([0.20, 0.32, 0.32]))
        gloss = 4.0 * np.exp(-(((past - 0.17) / 0.07) ** 2)) * (0.4 if seam.above else 1.0)
        colour = colour + gloss[..., None]
        middle, half = 0.5 * (seam.left + seam.right), 0.5 * (seam.right - seam.left)
        ends = np.clip((half - np.abs(columns - middle)) / (0.10 * 2 * half), 0.0, 1.0)
        t = np.clip(past / 0.16, 0.0, 1.0) * ends[None]
        alpha = (t * t * (3.0 - 2.0 * t))[..., None]
        layers.append(alpha * (colour - window))
    both = np.concatenate(layers, axis=2).transpose(2, 0, 1)
    return np.clip(np.round(both + 128.0), 0, 255).astype(np.uint8)
