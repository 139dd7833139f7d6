"""Finding the point of the fitted mesh that a pixel shows, in plain NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

Floats = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Surface:
    """The visible skin of a fitted face, drawn once at one sample per pixel."""

    vertices: Floats
    """[V, 3] px; x right, y down, z towards the viewer."""
    triangles: Ints
    """[T, 3]."""
    front: Ints
    """[S, S] triangle seen at each pixel's centre, -1 where there is none."""
    depth: Floats
    """[S, S] z, px; -inf where there is no triangle."""

    def locate(self, points: Floats, allowed: NDArray[np.bool_] | None = None) -> tuple[Ints, Floats]:
        """The mesh points under (or nearest to) the given pixels.

        Args:
            points: [N, 2] px.
            allowed: [S, S] pixels whose triangles may be taken; all covered ones if not given.

        Returns:
            Vertices [N, 3] and barycentric weights [N, 3]. A point beside the mesh gets the nearest point of the
            triangle that is seen nearest to it.
        """
        usable = self.front >= 0 if allowed is None else (self.front >= 0) & allowed
        if not usable.any():
            raise ValueError("the fitted mesh covers no usable pixel: is the fit outside of the picture?")
        nearest = distance_transform_edt(~usable, return_distances=False, return_indices=True)
        size = self.front.shape[0]
        column, row = (np.clip(np.floor(points[:, k]).astype(int), 0, size - 1) for k in (0, 1))
        triangle = self.front[nearest[0, row, column], nearest[1, row, column]]
        corners = self.vertices[self.triangles[triangle], :2]  # [N, 3, 2]
        weights = barycentric(points, corners)
        weights = np.clip(weights, 0.0, None)
        return self.triangles[triangle], weights / weights.sum(1, keepdims=True)


def barycentric(points: Floats, corners: Floats) -> Floats:
    """Weights [N, 3] of points [N, 2] in triangles [N, 3, 2]; negative outside."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    area = cross(b - a, c - a)
    area = np.where(np.abs(area) < 1e-9, 1e-9, area)
    v = cross(points - a, c - a) / area
    w = cross(b - a, points - a) / area
    return np.stack([1.0 - v - w, v, w], 1)


def cross(u: Floats, v: Floats) -> Floats:
    """z of the cross product of [N, 2] vectors."""
    product: Floats = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    return product


def draw_surface(vertices: Floats, triangles: Ints, size: int) -> Surface:
    """Draw the triangles that face the viewer with a depth buffer; vertices [V, 3] px, picture size x size."""
    facing = cross(
        vertices[triangles[:, 1], :2] - vertices[triangles[:, 0], :2],
        vertices[triangles[:, 2], :2] - vertices[triangles[:, 0], :2],
    )
    triangles = triangles[facing < -1e-6]  # counter-clockwise seen from outside, and y points down
    front = np.full((size, size), -1, dtype=np.int64)
    depth = np.full((size, size), -np.inf)
    flat = vertices[triangles]  # [T, 3, 3]
    low = np.clip(np.ceil(flat[..., :2].min(1) - 0.5), 0, size).astype(int)
    high = np.clip(np.floor(flat[..., :2].max(1) - 0.5), -1, size - 1).astype(int)
    for number in np.flatnonzero((high >= low).all(1)):
        (x0, y0), (x1, y1) = low[number], high[number]
        gx, gy = np.meshgrid(np.arange(x0, x1 + 1), np.arange(y0, y1 + 1))
        points = np.stack([gx.ravel() + 0.5, gy.ravel() + 0.5], 1)
        weights = barycentric(points, flat[number : number + 1, :, :2])
        z = weights @ flat[number, :, 2]
        rows, columns = gy.ravel(), gx.ravel()
        seen = (weights >= -1e-6).all(1) & (z > depth[rows, columns])
        depth[rows[seen], columns[seen]] = z[seen]
        front[rows[seen], columns[seen]] = number
    return Surface(vertices, triangles, front, depth)
