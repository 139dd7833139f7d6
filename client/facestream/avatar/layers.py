"""From a fitted face to the tensors that the graphs draw: `build_layers`.

All in the canonical picture (see layers_canvas). What a node of the mesh grid follows is read off the fitted mesh
once, here, so that no mesh is drawn at run time.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from facestream.avatar import layers_canvas as canvas
from facestream.avatar.face_model import FaceModel
from facestream.avatar.fit import FaceFit
from facestream.avatar.glasses import glasses_mask
from facestream.avatar.hair import hair_mask
from facestream.avatar.layers_eyes import Eyeballs, paint_eyeballs, paint_lids
from facestream.avatar.layers_head import backdrop_tensor, head_relief
from facestream.avatar.layers_raster import Surface, draw_surface
from facestream.avatar.layers_seams import (
    LEFT_LOWER_LID,
    LEFT_UPPER_LID,
    RIGHT_LOWER_LID,
    RIGHT_UPPER_LID,
    Seam,
    lid_seams,
    lip_seams,
)
from facestream.avatar.lid_travel import beside_opening, blink_gain, lower_share, skin_share, upper_share
from facestream.avatar.matte import backdrop, denser, person_matte
from facestream.contract import FRAME_SIZE
from facestream.parameters import ARKIT

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
INCISOR_EDGE = -3.53
"""Model y (cm) of the edge of the upper incisors."""
INCISORS_BELOW_SEAM_CM = 0.28
"""So far the upper incisors reach below the line of the closed lips; the fit does not know. (The model's mean face:
0.15; its random identities: 0.13 +- 0.09; a path-traced face, measured in the picture: 0.33.)"""
CHEEK_HUE = (1.22, 0.95, 0.83)
"""RGB of a cheek in white light over its mean."""
SHOWN_NOISE = 0.25
"""What the fit finds of an expression up to this weight is its noise: in calm faces it reads smiles of 0.15 to 0.4."""
BLINKS = ("eyeBlinkRight", "eyeBlinkLeft")
"""In the order of lid_seams."""
LIP_RIM_CM = 0.16
"""Width of the inner lip that turns out when the mouth opens."""


def build_layers(fit: FaceFit, model: FaceModel) -> dict[str, NDArray[np.generic]]:
    """Make all tensors of an avatar: names, dtypes and shapes as in layers_canvas.AVATAR_TENSORS.

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
    matte = person_matte(fit.photo, fit.landmarks)
    hair = hair_mask(fit.photo, matte, fit.landmarks)
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


def face_outline(landmarks: Floats) -> Floats:
    """Convex outline [N, 2] (px) of the face's landmarks."""
    hull: Floats = cv2.convexHull(landmarks[:468, :2].astype(np.float32)).reshape(-1, 2).astype(np.float64)
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


def pixels_per_cm(fit: FaceFit) -> Floats:
    """[2, 3]: px of the picture's x and y for each cm of the model's x, y and z."""
    flip = np.array([1.0, -1.0, 1.0])
    projection: Floats = (fit.scale * np.asarray(fit.rotation, np.float64) * flip[None]).T[:2]
    return projection


def constants(
    fit: FaceFit, model: FaceModel, projection: Floats, gains: Floats, lips: tuple[Seam, Seam], eyeballs: Eyeballs
) -> NDArray[np.float32]:
    """AVATAR_CONSTANTS."""
    packed = np.zeros(canvas.CONSTANTS_SIZE, np.float32)

    def put(name: str, values: object) -> None:
        first, count = canvas.CONSTANTS[name]
        packed[first : first + count] = np.asarray(values, np.float64).reshape(count)

    put("gain", gains)
    put("projection", projection)
    put("pivot", fit.pivot)
    put("scale", fit.scale)
    put("teeth", teeth_place(fit, model, lips[0]))
    middle = 0.5 * (lips[0].left + lips[0].right)
    put("mouth", [lips[0].left, lips[0].right, lips[0].at(np.array([middle]))[0], LIP_RIM_CM * fit.scale])
    # The whites of eyes in shadow or behind glasses tell too little light, those of a dark face too much for its teeth.
    cheek = cheek_colour(fit)
    light = np.clip(eyeballs.white, 0.95 * cheek.mean(), 1.3 * cheek.mean()) / 175.0
    light = np.clip(light, 0.35, 1.15)
    # Some of what makes a cheek redder than most is the light, and falls on the teeth as well.
    cast = np.clip(np.sqrt(cheek / cheek.mean() / np.array(CHEEK_HUE)), 0.94, 1.06)
    put("enamel", np.clip((0.6 * light + 0.4 * light.mean()) * cast * np.array([1.16, 1.12, 1.06]), 0.0, 1.05))
    lip = lip_colour(fit.photo, lips, fit.scale)
    put("flesh", np.clip(0.5 * lip / np.array([190.0, 112.0, 105.0]) + 0.5 * light.mean(), 0.3, 1.1))
    put("cavity", np.array([44.0, 16.0, 14.0]) * light.mean())
    put("eye_radius", float(model.eye_radius.mean()) * fit.scale)
    return packed


def lip_colour(photo: NDArray[np.uint8], lips: tuple[Seam, Seam], scale: float) -> Floats:
    """Median RGB [3] of the lips beside their line."""
    seam = lips[1]
    x = np.linspace(seam.left + 0.3 * (seam.right - seam.left), seam.right - 0.3 * (seam.right - seam.left), 20)
    y = seam.at(x) + 0.4 * scale
    colour: Floats = np.median(photo[y.astype(int), x.astype(int)].astype(np.float64), axis=0)
    return colour


def cheek_colour(fit: FaceFit) -> Floats:
    """Median RGB [3] of the cheeks."""
    samples = []
    for landmark in (50, 280):
        x, y = fit.landmarks[landmark, :2].astype(int)
        samples.append(fit.photo[y - 6 : y + 7, x - 6 : x + 7].reshape(-1, 3))
    colour: Floats = np.median(np.concatenate(samples).astype(np.float64), axis=0)
    return colour


def shape_gains(fit: FaceFit, model: FaceModel, projection: Floats, lids: list[tuple[Seam, Seam]]) -> Floats:
    """Factor [52] on each ARKit weight.

    The photo's own expression is the rest, so a shape that it clearly shows has less way to go, left and right alike:
    a gain for each side would make every smile lopsided by the noise of the fit. A blink has to close this person's
    eyes from where the photo has them, whatever the model's lids do.
    """
    shown = np.clip(np.asarray(fit.expression, np.float64) - SHOWN_NOISE, 0.0, 1.0)
    matrix = model.arkit_matrix().astype(np.float64)
    gains: Floats = np.clip(1.0 - (matrix @ shown) / matrix.sum(1), 0.6, 1.0)
    names = [entry.name for entry in ARKIT]
    for left, name in enumerate(names):
        if name.endswith("Left") and (other := name.removesuffix("Left") + "Right") in names:
            pair = [left, names.index(other)]
            gains[pair] = gains[pair].mean()
    for (lower, upper), name, upper_ids, lower_ids in (
        (lids[0], BLINKS[0], RIGHT_UPPER_LID, RIGHT_LOWER_LID),
        (lids[1], BLINKS[1], LEFT_UPPER_LID, LEFT_LOWER_LID),
    ):
        moved = model.expression[model.row(name)].astype(np.float64) @ projection.T  # [V, 2] px
        at_landmarks = model.landmarks(moved)
        middle = slice(3, -3)
        x = fit.landmarks[list(upper_ids), 0][middle].astype(np.float64)
        opening = lower.at(x) - upper.at(x)
        closing = at_landmarks[list(upper_ids), 1][middle] - at_landmarks[list(lower_ids), 1][middle]
        gains[names.index(name)] = blink_gain(opening, closing)
    return gains


def blinks_px(model: FaceModel, projection: Floats, gains: Floats) -> Floats:
    """[2, V]: how far down (px) a full blink of the right and of the left eye moves each vertex."""
    names = [entry.name for entry in ARKIT]
    down = [gains[names.index(name)] * (model.expression[model.row(name)] @ projection[1]) for name in BLINKS]
    return np.array(down, np.float64)


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


def teeth_place(fit: FaceFit, model: FaceModel, seam: Seam) -> Floats:
    """Origin (px) and scale (cm per px) of x and y: across from the fitted front teeth, in height from the lips."""
    teeth = model.part_vertices("teeth_upper")
    teeth = teeth[model.neutral[teeth, 2] > 9.0]
    slope, offset = np.polyfit(model.neutral[teeth, 0].astype(np.float64), fit.vertices[teeth, 0], 1)
    middle = np.array([0.5 * (seam.left + seam.right)])
    edge = float(seam.at(middle)[0]) + INCISORS_BELOW_SEAM_CM * fit.scale
    return np.array([offset, edge + INCISOR_EDGE * fit.scale, 1.0 / slope, -1.0 / fit.scale])
