"""Fit the face model to the landmarks of one portrait.

Weak perspective, alternating: the best similarity for the present shape (Umeyama, PAMI 1991), then bounded least
squares for identity and expression. What the model cannot reach is closed by a thin-plate spline in the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RBFInterpolator
from scipy.linalg import solve_triangular
from scipy.optimize import lsq_linear
from scipy.spatial import cKDTree

from facestream.avatar import landmark_topology as topology
from facestream.avatar.face_model import FaceModel

Doubles = NDArray[np.float64]

TO_PICTURE = np.array([1.0, -1.0, 1.0])
"""Model axes have y up, the picture's have it down."""

NECK_PIVOT = np.array([0.0, -4.0, -1.0])
"""cm, model axes: the point about which a head turns, between the ears and the nape."""

ITERATIONS = 8

# Confidence of the landmarks: the lips carry speech; the oval slides along the cheeks and is only a hint.
LIP_WEIGHT, EYE_WEIGHT, OVAL_WEIGHT = 4.0, 2.0, 0.3
DEPTH_WEIGHT = 0.35
"""The landmark network guesses depth; it measures x and y."""

IDENTITY_PENALTY = 0.4
EXPRESSION_PENALTY, MOUTH_PENALTY = 4.0, 2.0
"""Tikhonov weights, cm: a mode at strength 1 costs as much as one landmark off by so many centimetres. With less, calm
faces were read as raised brows and stretched lips, at no better fit; identity weights now have unit variance."""

UNUSED_SHAPES = ("eyeLook", "mouthClose", "jawLeft", "jawRight", "tongueOut")
"""Shapes that a still portrait does not show or that others can stand for."""

SMOOTHING = 3.0
FADE_BEGIN_CM, FADE_WIDTH_CM = 1.5, 2.0
"""The thin-plate correction fades out this far from the landmarks."""


@dataclass(frozen=True)
class FaceFit:
    """The face model, posed and shaped to a portrait. Pixel frame: x right, y down, z towards the viewer."""

    photo: NDArray[np.uint8]
    """[512, 512, 3] RGB, aligned (see facestream.avatar.photo)."""
    landmarks: NDArray[np.float32]
    """[478, 3] px."""
    vertices: NDArray[np.float32]
    """[V, 3] px: the model's vertices as the photo shows them."""
    scale: float
    """Pixels per centimetre."""
    rotation: NDArray[np.float32]
    """[3, 3]: a displacement d (cm, model axes) moves a vertex by `scale * d @ rotation * [1, -1, 1]` px."""
    pivot: NDArray[np.float32]
    """[3] px: the point in the neck about which the head turns."""
    expression: NDArray[np.float32]
    """[E] weights of the photo's own expression, in the rows of the face model."""
    identity: NDArray[np.float32]
    """[M] weights of the identity modes, standard deviations."""
    error_px: tuple[float, float]
    """Median and 95th percentile of the landmarks' distance in the picture, before the thin-plate correction."""


def similarity(source: NDArray[np.floating], target: Doubles, weights: Doubles) -> tuple[float, Doubles, Doubles]:
    """Best scale, rotation and shift: target [N, 3] ~ scale * source [N, 3] @ rotation + shift, weighted by [N]."""
    w = (weights / weights.sum())[:, None]
    source_mean, target_mean = (w * source).sum(0), (w * target).sum(0)
    a, b = source - source_mean, target - target_mean
    u, values, vt = np.linalg.svd((a * w).T @ b)
    handed = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * handed) @ vt
    scale = float((values * handed).sum() / ((a**2) * w).sum())
    shift: Doubles = target_mean - scale * source_mean @ rotation
    return scale, rotation, shift


def fit_face(photo: NDArray[np.uint8], landmarks: NDArray[np.float32], model: FaceModel) -> FaceFit:
    """Fit the model to an aligned portrait [512, 512, 3] and its landmarks [478, 3] px (z towards the viewer).

    Raises:
        ValueError: landmarks of another shape, or not finite.
    """
    if landmarks.shape != (topology.ALL_POINTS, 3) or not np.isfinite(landmarks).all():
        raise ValueError(f"landmarks: expected finite float [478, 3], got {landmarks.dtype} {list(landmarks.shape)}")
    target = landmarks[: topology.MESH_POINTS].astype(np.float64) * TO_PICTURE
    weights = np.ones(topology.MESH_POINTS)
    weights[list(topology.FACE_OVAL)] = OVAL_WEIGHT
    weights[list(topology.LIP_OUTER + topology.LIP_INNER)] = LIP_WEIGHT
    weights[list(topology.RIGHT_EYE + topology.LEFT_EYE)] = EYE_WEIGHT

    rows = [i for i, name in enumerate(model.expression_names) if not name.startswith(UNUSED_SHAPES)]
    mouth = np.array([model.expression_names[i].startswith(("mouth", "jaw")) for i in rows])
    modes = len(model.identity)
    neutral = model.landmarks(model.neutral.astype(np.float64))  # [468, 3]
    shapes = np.concatenate([model.identity, model.expression[rows]]).astype(np.float64)
    basis = model.landmarks(shapes)  # [K, 468, 3]
    penalty = np.r_[np.full(modes, IDENTITY_PENALTY), np.where(mouth, MOUTH_PENALTY, EXPRESSION_PENALTY)]
    bounds = np.r_[np.full(modes, -3.0), np.zeros(len(rows))], np.r_[np.full(modes, 3.0), np.ones(len(rows))]
    importance = weights[:, None] * np.array([1.0, 1.0, DEPTH_WEIGHT])  # [468, 3]

    code = np.zeros(len(basis))
    for _ in range(ITERATIONS):
        scale, rotation, shift = similarity(neutral + np.tensordot(code, basis, 1), target, weights)
        # In centimetres, so that the penalties mean the same for every size of face.
        design = ((basis @ rotation) * importance).reshape(len(basis), -1).T  # [1404, K]
        wanted = (((target - shift) / scale - neutral @ rotation) * importance).ravel()
        # The normal equations' Cholesky factor is a square system with the same minimum: 14 times fewer rows.
        factor = np.linalg.cholesky(design.T @ design + np.diag(penalty**2))
        code = lsq_linear(factor.T, solve_triangular(factor, design.T @ wanted, lower=True), bounds, method="bvls").x
    scale, rotation, shift = similarity(neutral + np.tensordot(code, basis, 1), target, weights)

    expression = np.zeros(len(model.expression_names))
    expression[rows] = code[modes:]
    posed = scale * model.shape(code[:modes].astype(np.float32), expression.astype(np.float32)) @ rotation + shift
    reached = model.landmarks(posed)
    distance = np.linalg.norm((reached - target)[:, :2], axis=1)

    spline = RBFInterpolator(
        reached[:, :2], (target - reached)[:, :2], neighbors=40, kernel="thin_plate_spline", smoothing=SMOOTHING
    )
    far = cKDTree(reached).query(posed)[0] / scale
    fade = np.exp(-((np.maximum(far - FADE_BEGIN_CM, 0.0) / FADE_WIDTH_CM) ** 2))
    posed[:, :2] += spline(posed[:, :2]) * fade[:, None]

    return FaceFit(
        photo=photo,
        landmarks=landmarks.astype(np.float32),
        vertices=(posed * TO_PICTURE).astype(np.float32),
        scale=scale,
        rotation=rotation.astype(np.float32),
        pivot=((scale * NECK_PIVOT @ rotation + shift) * TO_PICTURE).astype(np.float32),
        expression=expression.astype(np.float32),
        identity=code[:modes].astype(np.float32),
        error_px=(float(np.median(distance)), float(np.percentile(distance, 95))),
    )
