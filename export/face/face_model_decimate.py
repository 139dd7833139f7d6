"""Mesh decimation by half-edge collapse, driven by how much the *moving* surface suffers.

Garland and Heckbert's scheme (SIGGRAPH 1997) in its half-edge form: a vertex is merged into a neighbour, so every
vertex that is left is a vertex of the source and keeps its exact displacement in every shape. The cost of a merge is
measured instead of estimated by quadrics: the merged vertex is projected on the new triangles, and its distance there
is taken in a space of features (rest position beside displacements), so that a flat region that folds in a blink stays
dense.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FLIP = 0.2
"""Smallest cosine between a triangle's normals before and after a merge."""


def closest_on_triangles(point: Floats, corners: Floats) -> tuple[Floats, Floats]:
    """Project a point of feature space on triangles.

    Args:
        point: [D].
        corners: [T, 3, D].

    Returns:
        Distances [T] and barycentric weights [T, 3]; the weights are clipped to the triangle, then made to sum to 1.
    """
    origin = corners[:, 0]
    u, v = corners[:, 1] - origin, corners[:, 2] - origin
    w = point - origin
    uu, uv, vv = (u * u).sum(1), (u * v).sum(1), (v * v).sum(1)
    wu, wv = (w * u).sum(1), (w * v).sum(1)
    det = np.maximum(uu * vv - uv * uv, 1e-12)
    b, c = (vv * wu - uv * wv) / det, (uu * wv - uv * wu) / det
    weights = np.clip(np.stack([1.0 - b - c, b, c], axis=1), 0.0, None)
    weights /= weights.sum(1, keepdims=True)
    reached: Floats = (corners * weights[..., None]).sum(1)
    distance: Floats = np.linalg.norm(reached - point, axis=1)
    return distance, weights


def decimate(
    triangles: Ints,
    positions: Floats,
    features: Floats,
    region: Ints,
    budgets: Mapping[int, int],
    density: Floats,
    keep: NDArray[np.bool_],
    progress: Callable[[int], None] | None = None,
) -> Ints:
    """Merge vertices until each region has at most its budget of vertices.

    Args:
        triangles: [T, 3] vertex indices of a manifold surface, with or without borders.
        positions: [V, 3] rest positions, centimetres.
        features: [V, D] what the merge error is measured in, centimetres; begins with the rest position.
        region: [V] region of each vertex.
        budgets: region -> the number of its vertices to keep.
        density: [V] factor on the error of merging a vertex: larger keeps the surface finer there.
        keep: [V] vertices that must stay.
        progress: called with the number of vertices left, now and then.

    Returns:
        [T', 3] triangles over the indices of the source; a vertex that is in none of them is gone.
    """
    faces: dict[int, tuple[int, int, int]] = {i: (int(a), int(b), int(c)) for i, (a, b, c) in enumerate(triangles)}
    around: dict[int, set[int]] = {}
    for index, corners in faces.items():
        for vertex in corners:
            around.setdefault(vertex, set()).add(index)
    left = dict.fromkeys(budgets, 0)
    for vertex in around:
        left[int(region[vertex])] += 1

    def neighbours(vertex: int) -> dict[int, int]:
        count: dict[int, int] = {}
        for face in around[vertex]:
            for other in faces[face]:
                if other != vertex:
                    count[other] = count.get(other, 0) + 1
        return count  # 2 triangles on an inner edge, 1 on the border

    def merge_cost(source: int, target: int) -> float | None:
        """Cost of merging `source` into `target`, or None where that would tear or fold the surface."""
        ring, other_ring = neighbours(source), neighbours(target)
        on_border = 1 in ring.values()
        if on_border and ring[target] != 1:
            return None
        if region[source] != region[target] and not (1 in other_ring.values() or keep[target]):
            return None
        if len(set(ring) & set(other_ring)) != ring[target]:
            return None  # the link condition: no two sheets may be glued
        fan = [faces[face] for face in around[source] if target not in faces[face]]
        if not fan:
            return None
        before = np.array(fan)
        after = np.where(before == source, target, before)
        n0 = np.cross(
            positions[before[:, 1]] - positions[before[:, 0]], positions[before[:, 2]] - positions[before[:, 0]]
        )
        n1 = np.cross(positions[after[:, 1]] - positions[after[:, 0]], positions[after[:, 2]] - positions[after[:, 0]])
        length = np.linalg.norm(n0, axis=1) * np.linalg.norm(n1, axis=1)
        if ((n0 * n1).sum(1) <= _FLIP * length).any():
            return None
        error, _ = closest_on_triangles(features[source], features[after])
        edge = float(np.linalg.norm(positions[source] - positions[target]))
        # The term in the edge's length keeps flat, still regions evenly meshed.
        return float(density[source] * (error.min() + 0.01 * edge * edge + (0.05 * edge if on_border else 0.0)))

    best: dict[int, tuple[float, int]] = {}
    heap: list[tuple[float, int, int]] = []

    def push(vertex: int) -> None:
        best.pop(vertex, None)
        if keep[vertex]:
            return
        options = [(cost, other) for other in neighbours(vertex) if (cost := merge_cost(vertex, other)) is not None]
        if options:
            best[vertex] = min(options)
            heapq.heappush(heap, (*best[vertex], vertex))

    for vertex in list(around):
        push(vertex)
    merged = 0
    while heap:
        cost, target, source = heapq.heappop(heap)
        where = int(region[source])
        if best.get(source) != (cost, target) or left[where] <= budgets[where]:
            continue
        ring = set(neighbours(source))
        for face in list(around[source]):
            corners = faces[face]
            if target in corners:
                for vertex in corners:
                    around[vertex].discard(face)
                del faces[face]
            else:
                a, b, c = (target if vertex == source else vertex for vertex in corners)
                faces[face] = (a, b, c)
                around[source].discard(face)
                around[target].add(face)
        del around[source], best[source]
        left[where] -= 1
        merged += 1
        if progress is not None and merged % 2000 == 0:
            progress(sum(left.values()))
        for vertex in ring:
            push(vertex)
    return np.array(sorted(faces.values()), dtype=np.int64)
