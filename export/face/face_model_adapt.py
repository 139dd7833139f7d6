"""Make the compact face of another group's morphable face: its people, our vertices, ARKit's expressions.

FLAME and the Basel Face Model have identities, but no shapes of ARKit's, no teeth and no tongue. So our surface is bent
onto their mean face. Their identity modes are then read off at our vertices; our expressions are carried over in each
vertex's own frame, as the bending has turned and stretched it (what deformation transfer, Sumner and Popovic 2004,
solves for with as little displacement as a face has); teeth, tongue, gums and eyeballs go along with lips and lids.
The result has the arrays, vertices and triangles of `face_model.npz`, so graphs and avatars are made of it as ever.

Where the two faces correspond at first is seen by the landmark network, which knows a face even in clay.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from facestream.avatar import landmark_topology as topology
from facestream.avatar.face_model import FaceModel
from facestream.avatar.fit import similarity
from facestream.avatar.landmarks import detect_faces, find_landmarks
from facestream.avatar.layers_raster import barycentric, draw_surface
from numpy.typing import NDArray

from export.face.face_model import EYE_CENTRES, MOUTH_CENTRE, quantise
from export.face.face_model_foreign import ForeignModel
from export.face.face_model_register import Sheet, register

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CLAY_SIZE = 384
CLAY = np.array([215.0, 170.0, 145.0])
LIGHT = np.array([0.3, 0.5, 0.8])
VIEWS_DEG = ((0.0, 0.0), (-12.0, 3.0), (12.0, 3.0))
"""Yaw and pitch of each look at the clay."""
FACE_HEIGHT_SHARE = 0.72
"""Share of the clay picture that the model's height takes, at most."""

FINE_TRUST, OVAL_TRUST = 2.0, 0.15
"""Landmarks of lips and lids are exact; the oval's slide along the cheek."""

MAX_OFF_CM = 1.0
"""A face whose landmarks are farther from ours, after turning and sizing, was not seen rightly."""
MIN_FACING = 0.8
"""Cosine of the turn between the two faces."""

BEYOND_CM = 3.0
"""Where the other model has no surface, its modes fade out over this distance."""
MOUTH_REACH, EYE_REACH = 1.3, 1.3
"""Skin within so many of the ellipsoids about mouth and eyes carries the parts behind it."""


def clay_picture(points: Floats, normals: Floats, triangles: Ints) -> tuple[NDArray[np.uint8], Floats]:
    """A picture [S, S, 3] of a shaded mesh from the front, and its points' pixels [V, 3] (x right, y down)."""
    low, high = points.min(0), points.max(0)
    scale = FACE_HEIGHT_SHARE * CLAY_SIZE / min(high[1] - low[1], 1.6 * (high[0] - low[0]))
    middle = np.array([(low[0] + high[0]) / 2, high[1] - 0.5 * FACE_HEIGHT_SHARE * CLAY_SIZE / scale, 0.0])
    pixels = (points - middle) * scale * [1.0, -1.0, 1.0] + [CLAY_SIZE / 2, CLAY_SIZE / 2, 0.0]
    seen = draw_surface(pixels, triangles, CLAY_SIZE)
    covered = seen.front >= 0
    rows, columns = np.nonzero(covered)
    corner = seen.triangles[seen.front[covered]]
    weight = barycentric(np.stack([columns + 0.5, rows + 0.5], 1), pixels[corner][..., :2])
    facing = (normals[corner] * weight[..., None]).sum(1)
    light = 0.25 + 0.75 * np.clip(facing @ (LIGHT / np.linalg.norm(LIGHT)), 0.0, 1.0)
    picture = np.full((CLAY_SIZE, CLAY_SIZE, 3), 90.0)
    picture[covered] = CLAY * light[:, None]
    return np.clip(picture, 0, 255).astype(np.uint8), pixels


def clay_landmarks(points: Floats, triangles: Ints, name: str) -> tuple[Ints, Floats]:
    """Vertices [468, 3] and weights [468, 3] of the landmarks on a mesh, as the landmark network sees them.

    It looks from several sides; the mean of what it sees is less noisy than one look.

    Raises:
        ValueError: no face is seen: the mesh does not look towards z with y up, or is no face.
    """
    total = np.zeros((topology.MESH_POINTS, 3))
    count = np.zeros((topology.MESH_POINTS, 1))
    normals = Sheet(points, triangles).normals()
    for yaw, pitch in VIEWS_DEG:
        turn = _turned(np.radians(yaw), np.radians(pitch))
        picture, pixels = clay_picture(points @ turn, normals @ turn, triangles)
        faces = detect_faces(picture)
        if not faces:
            continue
        marks = find_landmarks(picture, faces[0]).landmarks[: topology.MESH_POINTS, :2].astype(np.float64)
        surface = draw_surface(pixels, triangles, CLAY_SIZE)
        corner, weight = surface.locate(marks + 0.5)
        # A mark at the rim of what is seen may be anywhere behind it: skin that faces the viewer is to be trusted.
        facing = np.clip(((normals @ turn)[corner] * weight[..., None]).sum(1)[:, 2:], 0.02, 1.0) ** 2
        total += facing * (points[corner] * weight[..., None]).sum(1)
        count += facing
    if not count.any():
        raise ValueError(f"{name}: no face is seen from the front; expected y up, z to the viewer, x to its left")
    corner, weight, _ = Sheet(points, triangles).closest(total / count)
    return corner, weight


def _turned(yaw: float, pitch: float) -> Floats:
    """[3, 3]: row vectors times this are turned, radians."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    about_y = np.array([[cy, 0.0, -sy], [0.0, 1.0, 0.0], [sy, 0.0, cy]])
    about_x = np.array([[1.0, 0.0, 0.0], [0.0, cp, sp], [0.0, -sp, cp]])
    turn: Floats = about_y @ about_x
    return turn


def adapt(foreign: ForeignModel, model: FaceModel) -> dict[str, NDArray[Any]]:
    """The arrays of a face_model.npz with the other model's people; prints what it does.

    Raises:
        ValueError: the other model's mean face is not seen as a face.
    """
    own = model.neutral.astype(np.float64)
    skin = model.part_triangles("face", "head")
    corner, weight = clay_landmarks(own, skin, "the face model")
    their_corner, their_weight = clay_landmarks(foreign.neutral, foreign.triangles, foreign.name)
    trust = np.ones(topology.MESH_POINTS)
    trust[list(topology.LIP_OUTER + topology.LIP_INNER + topology.RIGHT_EYE + topology.LEFT_EYE)] = FINE_TRUST
    trust[list(topology.FACE_OVAL)] = OVAL_TRUST
    ours = (own[corner] * weight[..., None]).sum(1)
    theirs = (foreign.neutral[their_corner] * their_weight[..., None]).sum(1)
    scale, rotation, shift = similarity(theirs, ours, trust)
    points = scale * foreign.neutral @ rotation + shift
    modes = scale * foreign.identity @ rotation
    target = Sheet(points, foreign.triangles)
    off = float(np.median(np.linalg.norm(scale * theirs @ rotation + shift - ours, axis=1)))
    if off > MAX_OFF_CM or rotation[2, 2] < MIN_FACING:
        turned = np.degrees(np.arccos(np.clip(rotation[2, 2], -1.0, 1.0)))
        raise ValueError(
            f"{foreign.name}: its landmarks are {off:.1f} cm off a face's (median; at most {MAX_OFF_CM:.1f} cm), and it"
            f" is turned by {turned:.0f} degrees: expected a face with y up, z to the viewer, x to its left"
        )
    print(f"{foreign.name}: {len(points)} vertices, {len(modes)} modes; one of its units is {scale:.4g} cm")

    sheet_triangles = model.part_triangles("face", "head", "mouth_socket")
    used = np.unique(sheet_triangles)
    number = np.full(len(own), -1)
    number[used] = np.arange(len(used))
    on_skin = np.zeros(len(own), dtype=bool)
    on_skin[np.unique(skin)] = True
    sheet = Sheet(own[used], number[sheet_triangles])
    moved, linear = register(
        sheet,
        target,
        (number[corner], weight),
        (points[their_corner] * their_weight[..., None]).sum(1),
        trust,
        ~on_skin[used],
        lambda line: print("  " + line, flush=True),
    )

    # Identity: read off where our skin now lies on theirs, fading where theirs ends.
    found, share, distance = target.closest(moved)
    fade = np.exp(-((np.maximum(distance - 0.3, 0.0) / BEYOND_CM) ** 2))
    neutral = own.copy()
    neutral[used] = moved
    identity = np.zeros((len(modes), len(own), 3))
    identity[:, used] = np.einsum("nk,mnkd->mnd", share, modes[:, found]) * fade[:, None]
    maps = np.tile(np.eye(3), (len(own), 1, 1))
    maps[used] = linear

    # What lies behind lips and lids goes along with them, as a whole.
    radius = model.eye_radius.astype(np.float64).copy()
    centres = model.eye_centre.astype(np.float64).copy()
    mouth = on_skin & (np.linalg.norm((own - MOUTH_CENTRE) / [2.6, 1.6, 2.0], axis=1) < MOUTH_REACH)
    inner = {"gums_upper": mouth, "gums_lower": mouth, "tongue": mouth, "teeth_upper": mouth, "teeth_lower": mouth}
    eyes = [on_skin & (np.linalg.norm((own - c) / [1.7, 1.0, 1.5], axis=1) < EYE_REACH) for c in EYE_CENTRES]
    regions = {**inner, "eye_left": eyes[0], "eye_right": eyes[1]}
    for part, around in regions.items():
        vertices = np.setdiff1d(model.part_vertices(part), used)
        size, turn, step = similarity(own[around], neutral[around], np.ones(int(around.sum())))
        neutral[vertices] = size * own[vertices] @ turn + step
        maps[vertices] = size * turn.T
        # As a whole: fits of turn or growth to the skin's motion threw far teeth about more than they do move.
        identity[:, vertices] = identity[:, around].mean(1, keepdims=True)
        if part.startswith("eye_"):
            side = ("eye_left", "eye_right").index(part)
            centres[side] = size * centres[side] @ turn + step
            radius[side] *= size

    expression = np.einsum("vij,evj->evi", maps, model.expression.astype(np.float64))
    expression_q, expression_scale = quantise(expression)
    identity_q, identity_scale = quantise(identity)
    return {
        "neutral": neutral.astype(np.float32),
        "triangles": model.triangles.astype(np.uint16),
        "part": model.part,
        "part_names": np.array(model.part_names),
        "expression": expression_q,
        "expression_scale": expression_scale,
        "expression_names": np.array(model.expression_names),
        "identity": identity_q,
        "identity_scale": identity_scale,
        "landmark_vertices": model.landmark_vertices.astype(np.uint16),
        "landmark_weights": model.landmark_weights,
        "jaw_weight": model.jaw_weight,
        "eye_centre": centres.astype(np.float32),
        "eye_radius": radius.astype(np.float32),
    }
