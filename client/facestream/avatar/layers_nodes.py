"""What each node of the mesh and seam grids follows: AVATAR_MESH_*, AVATAR_SEAM_INDEX, _WEIGHT and _BLEND.

Read off the fitted mesh once, so that no mesh is drawn at run time.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from facestream.avatar import landmark_topology as topology
from facestream.avatar import layers_canvas as canvas
from facestream.avatar.face_model import FaceModel
from facestream.avatar.layers_raster import Surface
from facestream.avatar.layers_seams import Seam
from facestream.avatar.lid_travel import beside_opening, lower_share, skin_share, upper_share
from facestream.contract import FRAME_SIZE

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]

FADE_CM = 4.5
"""The expression's motion fades out over this distance beyond the face's outline (Gaussian)."""
HAIR_HELD = 0.8
"""Share of the expression's motion that hair does not take part in ..."""
HELD_SOFT_PX = 6.0
"""... and the softness (Gaussian) of its edge."""
RIM_WIDER_PX = 8
"""The rims of glasses hold the skin about them, too: the nodes of the mesh are 4 px apart."""
FRAME_MARGIN_PX = 51.0
"""The picture's border stands still; motion grows over this distance from it."""
BAND_CM = 0.22
"""A layer begins to follow its seam this far inside of its own skin, where the mesh may be a pixel off."""
LID_EDGE_CM = 0.16
"""Behind glasses an upper lid follows its edge in full from this far above it: its lashes are not to be drawn out."""
BELOW_RIM_CM = 0.85
"""Behind glasses, whose rims hold the mesh, a lid's layer does so this far inside at most."""
LIP_FLAT_CM = 0.55
LID_FLAT_CM = 0.15
"""So far beyond its seam a layer moves as the seam does; then it gives way to the mesh."""
CORNER_FADE = 0.20
"""Towards the corners, over this share of half their width, the layers give way to the mesh."""


def face_outline(landmarks: Floats) -> Floats:
    """Convex outline [N, 2] (px) of the face's landmarks."""
    hull: Floats = (
        cv2.convexHull(landmarks[: topology.MESH_POINTS, :2].astype(np.float32)).reshape(-1, 2).astype(np.float64)
    )
    return hull


def to_outline(points: Floats, outline: Floats, inset: float) -> tuple[Floats, Floats]:
    """How far points [N, 2] lie outside of a convex outline, and where they meet it.

    Returns:
        Distances [N], px, 0 inside; and the nearest points [N, 2] of the outline shrunk by `inset` px, or the points
        themselves where they lie inside of it.
    """
    centre = outline.mean(0)
    shrunk = outline + (centre - outline) * (inset / np.linalg.norm(outline - centre, axis=1, keepdims=True))
    distance = np.where(within(points, outline), 0.0, np.linalg.norm(points - nearest_on(points, outline), axis=1))
    nearest = np.where(within(points, shrunk)[:, None], points, nearest_on(points, shrunk))
    return distance, nearest


def nearest_on(points: Floats, polygon: Floats) -> Floats:
    """The nearest points [N, 2] on the edges of a polygon [M, 2]."""
    nearest = points.copy()
    shortest = np.full(len(points), np.inf)
    for start, end in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        edge = end - start
        along = np.clip((points - start) @ edge / max(float(edge @ edge), 1e-9), 0.0, 1.0)
        foot = start + along[:, None] * edge
        distance = np.linalg.norm(points - foot, axis=1)
        nearest = np.where((distance < shortest)[:, None], foot, nearest)
        shortest = np.minimum(distance, shortest)
    return nearest


def within(points: Floats, polygon: Floats) -> Bools:
    """Whether points [N, 2] lie in a convex polygon [M, 2] (either sense of rotation)."""
    edges = np.roll(polygon, -1, axis=0) - polygon
    away = points[:, None] - polygon[None]  # [N, M, 2]
    sides = edges[None, :, 0] * away[..., 1] - edges[None, :, 1] * away[..., 0]
    inside: Bools = np.logical_or((sides >= 0).all(axis=1), (sides <= 0).all(axis=1))
    return inside


def grid_points(count: int, pitch: int) -> Floats:
    """Centres [count * count, 2] (px) of the nodes of a grid over the picture, row by row."""
    line = (np.arange(count) + 0.5) * pitch
    x, y = np.meshgrid(line, line)
    points: Floats = np.c_[x.ravel(), y.ravel()]
    return points


def frame_ramp(points: Floats) -> Floats:
    """[N] 0 at the picture's border, 1 beyond FRAME_MARGIN_PX from it."""
    edge = np.minimum(points, FRAME_SIZE - points).min(1)
    t = np.clip(edge / FRAME_MARGIN_PX, 0.0, 1.0)
    ramp: Floats = t * t * (3.0 - 2.0 * t)
    return ramp


def held(hair: NDArray[np.uint8], rims: NDArray[np.uint8] | None) -> Floats:
    """[512, 512] how far the expression's motion is held back, 0..1.

    Hair lies on the skin and does not stretch; the `rims` of glasses are stiff, whatever brows and lids do beneath.
    """
    lies: Floats = gaussian_filter(hair.astype(np.float64) * (HAIR_HELD / 255.0), HELD_SOFT_PX)
    if rims is None:
        return lies
    wide = cv2.dilate(rims, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * RIM_WIDER_PX + 1,) * 2))
    stiff: Floats = np.maximum(lies, gaussian_filter(wide.astype(np.float64) / 255.0, 0.4 * RIM_WIDER_PX))
    return stiff


def mesh_nodes(
    surface: Surface, usable: Bools, outline: Floats, scale: float, still: Floats
) -> tuple[NDArray[np.int64], Floats]:
    """AVATAR_MESH_INDEX, _WEIGHT: inside the outline the mesh; outside its rim, fading out; less where it is held."""
    points = grid_points(canvas.MESH_GRID, canvas.MESH_PITCH)
    away, nearest = to_outline(points, outline, inset=0.4 * scale)
    index, weight = surface.locate(nearest, usable)
    grid = (canvas.MESH_GRID, canvas.MESH_GRID)
    free = 1.0 - cv2.resize(still, grid, interpolation=cv2.INTER_AREA).ravel()
    weight = weight * (free * np.exp(-((away / (FADE_CM * scale)) ** 2)) * frame_ramp(points))[:, None]
    size = (3, *grid)
    return index.T.reshape(size), weight.T.reshape(size)


def seam_nodes(
    landmarks: Floats,
    model: FaceModel,
    lips: tuple[Seam, Seam],
    lids: list[tuple[Seam, Seam]],
    scale: float,
    rims: NDArray[np.uint8] | None = None,
) -> tuple[NDArray[np.int64], Floats, Floats]:
    """AVATAR_SEAM_INDEX, _WEIGHT and _BLEND; `rims` of glasses [512, 512] are 255 there.

    A seam moves as its landmarks do, not as the mesh near it: where lips or lids touch, the mesh of one may lie over
    the other, but a landmark knows where it belongs.
    """
    x = (np.arange(canvas.SEAM_COLUMNS) + canvas.SEAM_COLUMN + 0.5) * canvas.MESH_PITCH
    y = (np.arange(canvas.SEAM_ROWS) + canvas.SEAM_ROW + 0.5) * canvas.MESH_PITCH
    index = np.zeros((len(canvas.SEAMS), 6, len(x)), np.int64)
    weight = np.zeros((len(canvas.SEAMS), 6, len(x)))
    blend = np.zeros((2, len(y), len(x)))
    tasks = [(0, 0, lips[0], LIP_FLAT_CM), (1, 1, lips[1], LIP_FLAT_CM)]
    for lower, upper in lids:
        tasks += [(2, 0, lower, LID_FLAT_CM), (3, 1, upper, LID_FLAT_CM)]
    for number, layer, seam, flat_cm in tasks:
        own = 1.0 if seam.above else -1.0
        columns = (x > seam.left) & (x < seam.right)
        points = landmarks[list(seam.landmarks), 0]
        after = np.clip(np.searchsorted(points, x), 1, len(points) - 1)
        part = np.clip((x - points[after - 1]) / np.maximum(points[after] - points[after - 1], 1e-6), 0.0, 1.0)
        for k, (nearby, share) in enumerate(((after - 1, 1.0 - part), (after, part))):
            ids = np.array(seam.landmarks)[nearby]
            index[number, 3 * k : 3 * k + 3, columns] = model.landmark_vertices[ids][columns]
            weight[number, 3 * k : 3 * k + 3, columns] = (model.landmark_weights[ids] * share[:, None])[columns]
        past = own * (y[:, None] - seam.at(x)[None])
        beyond = past + BAND_CM * scale
        band = below_rim(seam, x, rims, scale) if number == 3 and rims is not None else BAND_CM * scale
        depth = np.maximum(seam.lens(x), 1e-3)[None]
        flat = np.minimum((flat_cm + BAND_CM) * scale, 0.5 * depth)
        t = np.clip((beyond - flat) / (depth - flat), 0.0, 1.0)
        ends = np.clip(seam.to_corner(x) / CORNER_FADE, 0.0, 1.0)[None]
        full = LID_EDGE_CM * scale if number == 3 and rims is not None else 0.0
        begins = np.clip((past + band) / (band - full), 0.0, 1.0)
        # A lid travels half as far as its layer reaches: only a straight fade bears that without a fold.
        fades = t if number >= 2 else 0.5 * t * (1.0 + t * (3.0 - 2.0 * t))
        follows = begins * ends * columns[None] * (1.0 - fades)
        rows = slice(0, canvas.SEAM_EYE_ROWS) if number >= 2 else slice(canvas.SEAM_EYE_ROWS, None)
        blend[layer][rows] = np.maximum(blend[layer][rows], follows[rows])
    return index, weight, blend


def below_rim(seam: Seam, x: Floats, rims: NDArray[np.uint8], scale: float) -> Floats:
    """How far above an upper lid its skin begins to follow it at x [n], px: from the rim of glasses that holds it on.

    Within less the lid would be drawn out of its lashes.
    """
    height = np.round(seam.at(x)).astype(int)
    columns = np.clip(np.round(x - 0.5).astype(int), 0, FRAME_SIZE - 1)
    reach = np.arange(round(BELOW_RIM_CM * scale))
    above = rims[np.clip(height[:, None] - reach[None], 0, FRAME_SIZE - 1), columns[:, None]] > 127
    free = np.where(above.any(1), above.argmax(1), len(reach)).astype(np.float64)
    band: Floats = np.maximum(gaussian_filter1d(free, 1.5, mode="nearest"), 2.0 * BAND_CM * scale)
    return band


def share_out_blinks(
    seam_index: NDArray[np.int64],
    seam_weight: Floats,
    mesh_weight: Floats,
    lids: list[tuple[Seam, Seam]],
    scale: float,
    blinks: Floats,
) -> None:
    """Change the weights of lids and their skin, in place, so that `blinks` (see blinks_px) close the eyes evenly."""
    x = (np.arange(canvas.SEAM_COLUMNS) + canvas.SEAM_COLUMN + 0.5) * canvas.MESH_PITCH
    points = grid_points(canvas.MESH_GRID, canvas.MESH_PITCH)
    for (lower, upper), down in zip(lids, blinks, strict=True):
        columns = (x > upper.left) & (x < upper.right)
        of_lower, of_upper = (
            (down[seam_index[number][:, columns]] * seam_weight[number][:, columns]).sum(0) for number in (2, 3)
        )
        held = lower_share(of_lower)
        share = upper_share(x[columns], lower, upper, of_upper - of_lower * held)
        seam_weight[2][:, columns] *= held
        seam_weight[3][:, columns] *= share
        follows = skin_share(points, x[columns], share, lower, upper, scale) * beside_opening(points, lower, upper)
        mesh_weight *= follows.reshape(canvas.MESH_GRID, canvas.MESH_GRID)
