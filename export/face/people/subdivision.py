"""Catmull-Clark subdivision as a matrix: finer vertices = matrix @ vertices, for every shape of the mesh alike.

Catmull and Clark, "Recursively generated B-spline surfaces on arbitrary topological meshes", Computer-Aided Design
1978.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class FinerMesh:
    """A part of a mesh, subdivided."""

    matrix: Any
    """Sparse [W, V]: the W finer vertices from all V vertices of the whole mesh."""
    polygons: Ints
    """[P, 4] of finer vertices."""

    def __call__(self, values: Floats) -> Floats:
        """Finer values [W, ...] of values [V, ...] at the vertices."""
        finer: Floats = self.matrix @ values
        return finer


def subdivide(polygons: Ints, vertices: int, levels: int) -> FinerMesh:
    """Subdivide some polygons [P, 4] (-1 in the last column marks a triangle) of a mesh of V vertices.

    Vertices that no polygon uses are dropped. With 0 levels the polygons stay as they are.
    """
    used, numbers = np.unique(polygons[polygons >= 0], return_inverse=True)
    local = np.full_like(polygons, -1)
    local[polygons >= 0] = numbers
    rows = np.arange(len(used))
    matrix: Any = sparse.csr_matrix((np.ones(len(used)), (rows, used)), shape=(len(used), vertices))
    for _ in range(levels):
        step, local = _once(local, matrix.shape[0])
        matrix = step @ matrix
    return FinerMesh(matrix.tocsr(), local)


def _once(polygons: Ints, count: int) -> tuple[Any, Ints]:
    """One level: matrix [count + edges + polygons, count] and the quads."""
    sides = (polygons >= 0).sum(1)
    face = np.repeat(np.arange(len(polygons)), sides)
    begin = polygons[polygons >= 0]
    place = np.concatenate([np.arange(n) for n in sides])
    start = np.concatenate([[0], np.cumsum(sides)[:-1]])
    after = start[face] + (place + 1) % sides[face]
    end = begin[after]
    pairs = np.sort(np.stack([begin, end], 1), axis=1)
    edges, edge = np.unique(pairs, axis=0, return_inverse=True)
    edge = edge.reshape(-1)
    faces, lines = len(polygons), len(edges)

    face_points = sparse.csr_matrix((1.0 / sides[face], (face, begin)), shape=(faces, count))
    touching = np.bincount(edge, minlength=lines)
    inner = touching == 2
    ends = sparse.csr_matrix(
        (np.full(2 * lines, 0.5), (np.repeat(np.arange(lines), 2), edges.ravel())), shape=(lines, count)
    )
    beside = sparse.csr_matrix((np.ones(len(edge)), (edge, face)), shape=(lines, faces))
    beside = sparse.diags(1.0 / np.maximum(touching, 1)) @ beside
    edge_points = sparse.diags(np.where(inner, 0.5, 1.0)) @ ends + sparse.diags(np.where(inner, 0.5, 0.0)) @ (
        beside @ face_points
    )

    valence = np.bincount(edges.ravel(), minlength=count).astype(float)
    around = sparse.csr_matrix((np.ones(len(begin)), (begin, face)), shape=(count, faces))
    around = sparse.diags(1.0 / np.maximum(np.bincount(begin, minlength=count), 1)) @ around @ face_points
    spokes = sparse.csr_matrix(
        (np.ones(2 * lines), (edges.ravel(), np.repeat(np.arange(lines), 2))), shape=(count, lines)
    )
    middles = sparse.diags(1.0 / np.maximum(valence, 1.0)) @ spokes @ ends
    rim_lines = edges[~inner]
    on_rim = np.zeros(count, dtype=bool)
    on_rim[rim_lines.ravel()] = True
    n = np.maximum(valence, 3.0)
    keep = np.where(on_rim, 0.75, (n - 3.0) / n)
    smooth = sparse.diags(np.where(on_rim, 0.0, 1.0 / n)) @ around
    smooth = smooth + sparse.diags(np.where(on_rim, 0.0, 2.0 / n)) @ middles
    along = sparse.csr_matrix(
        (np.full(2 * len(rim_lines), 0.125), (rim_lines.ravel(), rim_lines[:, ::-1].ravel())), shape=(count, count)
    )
    rim_sum = np.asarray(along.sum(1)).ravel()
    keep = np.where(on_rim, 1.0 - rim_sum, keep)
    vertex_points = sparse.diags(keep) + smooth + along

    before = start[face] + (place - 1) % sides[face]
    quads = np.stack([begin, count + edge, count + lines + face, count + edge[before]], axis=1)
    return sparse.vstack([vertex_points, edge_points, face_points]).tocsr(), quads.astype(np.int64)
