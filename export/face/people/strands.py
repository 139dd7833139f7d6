"""Hair as curves that grow from points of the skin and follow it: scalp hair, beard, brows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Strands:
    """N curves of K points each; all have the same number of points."""

    corners: Ints
    """[N, 3] vertices of the triangle that carries each root."""
    weights: Floats
    """[N, 3] its barycentric weights."""
    offsets: Floats
    """[N, K, 3] points relative to the root, cm, as grown on the rest face."""
    radius: Floats
    """[N] at the root, cm; thins out to 40 % at the tip. Below 0.004 hair turns to fog under the denoiser."""
    turns: bool = True
    """Whether the curves turn with the skin under them; long hair that only hangs from it does not."""

    def posed(self, vertices: Floats, rest: Floats) -> Floats:
        """Points [N, K, 3], cm, on a face that moved from `rest` to `vertices` (both [V, 3])."""
        roots = (vertices[self.corners] * self.weights[..., None]).sum(1)
        offsets = self.offsets
        if self.turns and vertices is not rest:
            turn = triangle_frames(vertices, self.corners) @ triangle_frames(rest, self.corners).transpose(0, 2, 1)
            offsets = np.einsum("nij,nkj->nki", turn, offsets)
        points: Floats = roots[:, None] + offsets
        return points


def triangle_frames(vertices: Floats, corners: Ints) -> Floats:
    """Orthonormal frames [N, 3, 3] of triangles: columns edge, normal x edge, normal."""
    a, b, c = (vertices[corners[:, i]] for i in range(3))
    edge = unit(b - a)
    normal = unit(np.cross(b - a, c - a))
    return np.stack([edge, np.cross(normal, edge), normal], axis=-1)


def unit(vectors: Floats) -> Floats:
    """Vectors [..., 3] at length 1 (zero stays zero)."""
    scaled: Floats = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
    return scaled
