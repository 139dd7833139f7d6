"""Bend one surface onto another: non-rigid registration with a stiffness that gives way step by step.

Amberg, Romdhani and Vetter, "Optimal Step Nonrigid ICP Algorithms for Surface Registration", CVPR 2007: each vertex has
an affine map of its own, neighbours' maps are held alike, landmarks pull first and the closest points later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STIFFNESS = (60.0, 25.0, 10.0, 4.0, 2.0, 1.0, 0.6)
"""Weight of keeping neighbours' maps alike, step by step; vertices are in centimetres."""
LANDMARK_WEIGHT = (6.0, 5.0, 4.0, 2.0, 1.0, 0.6, 0.4)
SOLVES_PER_STEP = 2
MIN_NORMAL_COSINE = 0.6
REACH_CM = (3.0, 2.0, 1.5, 1.0, 0.8, 0.6, 0.6)
"""Closest points farther than this are no counterparts."""
CANDIDATES = 10
"""Triangles about a point that the closest one is sought among, by their centres."""


@dataclass(frozen=True)
class Sheet:
    """A surface to search closest points on."""

    points: Floats
    """[V, 3]."""
    triangles: Ints
    """[T, 3]."""

    def closest(self, queries: Floats) -> tuple[Ints, Floats, Floats]:
        """For points [N, 3]: vertices [N, 3] and weights [N, 3] of the closest point, and its distance [N]."""
        corners = self.points[self.triangles]
        near = cKDTree(corners.mean(1)).query(queries, k=min(CANDIDATES, len(corners)))[1].reshape(len(queries), -1)
        weights = closest_in_triangles(queries[:, None], corners[near])  # [N, K, 3]
        reached = (corners[near] * weights[..., None]).sum(2)
        distance = np.linalg.norm(reached - queries[:, None], axis=2)
        best = distance.argmin(1)
        row = np.arange(len(queries))
        return self.triangles[near[row, best]], weights[row, best], distance[row, best]

    def normals(self) -> Floats:
        """[V, 3] unit normals."""
        a, b, c = (self.points[self.triangles[:, k]] for k in range(3))
        facets = np.cross(b - a, c - a)
        normals = np.zeros_like(self.points)
        for k in range(3):
            np.add.at(normals, self.triangles[:, k], facets)
        unit: Floats = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        return unit

    def border(self) -> NDArray[np.bool_]:
        """[V] vertices on an edge of one triangle alone."""
        edges = np.sort(self.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
        unique, count = np.unique(edges, axis=0, return_counts=True)
        on_border = np.zeros(len(self.points), dtype=bool)
        on_border[unique[count == 1]] = True
        return on_border


def closest_in_triangles(points: Floats, corners: Floats) -> Floats:
    """Barycentric weights [..., 3] of the closest point to points [..., 3] in triangles [..., 3, 3].

    The projection on the plane if it falls inside, else the best of the three edges' closest points.
    """
    a, b, c = corners[..., 0, :], corners[..., 1, :], corners[..., 2, :]
    points = np.broadcast_to(points, a.shape)
    u, v, w = b - a, c - a, points - a
    uu, uv, vv = (u * u).sum(-1), (u * v).sum(-1), (v * v).sum(-1)
    wu, wv = (w * u).sum(-1), (w * v).sum(-1)
    det = np.maximum(uu * vv - uv * uv, 1e-15)
    s, t = (vv * wu - uv * wv) / det, (uu * wv - uv * wu) / det
    inside = (s >= 0) & (t >= 0) & (s + t <= 1)
    options = []
    for first, second in ((0, 1), (1, 2), (2, 0)):
        p, q = corners[..., first, :], corners[..., second, :]
        edge = q - p
        along = np.clip(((points - p) * edge).sum(-1) / np.maximum((edge * edge).sum(-1), 1e-15), 0.0, 1.0)
        weights = np.zeros((*along.shape, 3))
        weights[..., first], weights[..., second] = 1.0 - along, along
        options.append((np.linalg.norm(p + along[..., None] * edge - points, axis=-1), weights))
    distances = np.stack([distance for distance, _ in options])
    edges = np.stack([weights for _, weights in options])
    best = np.take_along_axis(edges, distances.argmin(0)[None, ..., None], axis=0)[0]
    plane = np.stack([1.0 - s - t, s, t], axis=-1)
    chosen: Floats = np.where(inside[..., None], plane, best)
    return chosen


def register(
    sheet: Sheet,
    target: Sheet,
    marks: tuple[Ints, Floats],
    mark_targets: Floats,
    mark_trust: Floats,
    fixed_form: NDArray[np.bool_],
    progress: Callable[[str], None] | None = None,
) -> tuple[Floats, Floats]:
    """Bend `sheet` onto `target`; both already lie over each other roughly, in centimetres.

    Args:
        sheet: what is bent; V vertices.
        target: what it is to lie on.
        marks: vertices [L, 3] and weights [L, 3] of landmarks on the sheet.
        mark_targets: [L, 3] where they are to come.
        mark_trust: [L] weight of each.
        fixed_form: [V] vertices that have no counterpart (the inside of the mouth): they follow their neighbours.
        progress: told of each step.

    Returns:
        New positions [V, 3], and the linear part [V, 3, 3] of each vertex's map: a displacement d becomes map @ d.
    """
    count = len(sheet.points)
    edges = np.unique(np.sort(sheet.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)
    row = np.repeat(np.arange(len(edges)), 2)
    incidence = sparse.csr_array((np.tile([1.0, -1.0], len(edges)), (row, edges.ravel())), shape=(len(edges), count))
    alike = sparse.kron(incidence.T @ incidence, sparse.eye_array(4), format="csr")

    # Centred, so that the shift and the linear part of the maps weigh about alike.
    centre = sheet.points.mean(0)
    homogeneous = np.c_[(sheet.points - centre) / 3.0, np.ones(count)]  # [V, 4]
    place = sparse.csr_array(
        (homogeneous.ravel(), (np.repeat(np.arange(count), 4), np.arange(4 * count))), shape=(count, 4 * count)
    )
    corner, weight = marks
    pick = sparse.csr_array(
        (weight.ravel(), (np.repeat(np.arange(len(corner)), 3), corner.ravel())), shape=(len(corner), count)
    )
    at_marks = pick @ place

    moved = sheet.points.copy()
    normal_of = target.normals()
    outside = target.border()
    maps = np.zeros((4 * count, 3))
    for stiffness, pull, reach in zip(STIFFNESS, LANDMARK_WEIGHT, REACH_CM, strict=True):
        for _ in range(SOLVES_PER_STEP):
            found, share, distance = target.closest(moved)
            goal = (target.points[found] * share[..., None]).sum(1)
            facing = (normal_of[found] * share[..., None]).sum(1)
            own = Sheet(moved, sheet.triangles).normals()
            trust = ((facing * own).sum(1) > MIN_NORMAL_COSINE) & (distance < reach) & ~fixed_form
            # What lies beyond the target's rim has its closest point on the rim: no counterpart.
            trust &= ~((outside[found] & (share > 1e-6)).any(1))
            data = sparse.dia_array((trust.astype(float)[None], [0]), shape=(count, count))
            strength = sparse.dia_array(((pull * mark_trust)[None], [0]), shape=(len(corner), len(corner)))
            normal_matrix = (
                stiffness * alike
                + place.T @ data @ place
                + at_marks.T @ strength @ at_marks
                + 1e-8 * sparse.eye_array(4 * count)
            )
            right = place.T @ (data @ goal) + at_marks.T @ (strength @ mark_targets)
            maps = splu(sparse.csc_matrix(normal_matrix)).solve(right)
            moved = place @ maps
        if progress is not None:
            progress(
                f"stiffness {stiffness:5.1f}: {int(trust.sum())} of {count} vertices have counterparts,"
                f" {10 * np.median(distance[trust]):.2f} mm away (median)"
            )
    linear = maps.reshape(count, 4, 3)[:, :3].transpose(0, 2, 1) / 3.0
    return moved, linear
