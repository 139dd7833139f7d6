"""The mesh that all synthetic people share: its parts, masks on the mean face, surface samples and normals.

Axes as in ICT-FaceKit: x to the person's left, y up, z to the viewer; centimetres.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from facestream.avatar.landmark_topology import LIP_OUTER
from facestream.parameters import ARKIT, INDEX
from numpy.typing import NDArray

from export.face.face_model import fit_sphere, polygons_to_triangles
from export.face.face_model_source import FaceSource
from export.face.people.surface_field import inside_polygon

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PARTS: Final = {
    "face": (0, 9230),
    "neck": (9230, 11144),  # with the back of the head
    "mouth_socket": (11144, 13226),
    "eye_socket": (13226, 14034),
    "gums": (14034, 17006),  # with the tongue
    "teeth": (17006, 21496),
    "eye_left": (21496, 22296),
    "eye_right": (23094, 23894),
    "tear_line": (24692, 25018),
    "lid_margin": (25048, 25304),  # strips that follow the lids' edges
}
"""Ranges of polygons in ICT-FaceKit's own order."""

SKIN: Final = (0, 11144)
"""Face, neck and the back of the head: one connected surface."""

SIDES: Final = {"left": 1.0, "right": -1.0}
"""The person's own sides and the sign of their x."""


@dataclass(frozen=True)
class Head:
    """ICT-FaceKit's mean head with what can be said of every person at once, since the vertices correspond."""

    source: FaceSource

    @property
    def mean(self) -> Floats:
        """[26719, 3] cm."""
        return self.source.neutral

    def polygons(self, part: str) -> Ints:
        """[P, 4], -1 in the last column marks a triangle."""
        return self.source.polygons[slice(*PARTS[part])]

    @cached_property
    def skin_polygons(self) -> Ints:
        """[11144, 4]."""
        return self.source.polygons[slice(*SKIN)]

    @cached_property
    def skin_triangles(self) -> Ints:
        """[T, 3], counter-clockwise seen from outside."""
        return polygons_to_triangles(self.skin_polygons)

    @cached_property
    def skin_vertices(self) -> Ints:
        """Sorted indices of the vertices of the skin."""
        return np.unique(self.skin_triangles)

    @cached_property
    def mean_landmarks(self) -> Floats:
        """[468, 3] MediaPipe landmarks of the mean face, cm."""
        return self.landmarks(self.mean)

    def landmarks(self, vertices: Floats) -> Floats:
        """MediaPipe landmarks [468, 3] of vertices [26719, 3]."""
        points: Floats = (vertices[self.source.landmark_vertices] * self.source.landmark_weights[..., None]).sum(1)
        return points

    def normals(self, vertices: Floats) -> Floats:
        """Unit normals [26719, 3] of the skin (zero elsewhere)."""
        a, b, c = (vertices[self.skin_triangles[:, i]] for i in range(3))
        facets = np.cross(b - a, c - a)
        normals = np.zeros_like(vertices)
        for corner in range(3):
            np.add.at(normals, self.skin_triangles[:, corner], facets)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        return normals

    def sample_skin(self, generator: np.random.Generator, density: Floats, count: int) -> tuple[Ints, Floats]:
        """Points on the skin, scattered by the mean face's area times a density.

        Args:
            generator: source of chance.
            density: [26719] relative density at the vertices, at least 0.
            count: how many.

        Returns:
            Corners [count, 3] and barycentric weights [count, 3].

        Raises:
            ValueError: the density is zero everywhere on the skin.
        """
        triangles = self.skin_triangles
        a, b, c = (self.mean[triangles[:, i]] for i in range(3))
        weight = np.linalg.norm(np.cross(b - a, c - a), axis=1) * density[triangles].max(1)
        if not weight.sum() > 0:
            raise ValueError("density: zero on the whole skin, nothing can be sampled")
        weight /= weight.sum()
        corners, weights, have = [], [], 0
        while have < count:
            chosen = triangles[generator.choice(len(triangles), 2 * count, p=weight)]
            barycentric = generator.dirichlet((1.0, 1.0, 1.0), 2 * count)
            here, peak = (density[chosen] * barycentric).sum(1), density[chosen].max(1)
            kept = generator.random(2 * count) * peak < here
            corners.append(chosen[kept])
            weights.append(barycentric[kept])
            have += int(kept.sum())
        return np.concatenate(corners)[:count], np.concatenate(weights)[:count]

    @cached_property
    def lip_distance(self) -> Floats:
        """[26719] cm inside (positive) or outside of the mean face's lip line, seen from the front."""
        outline = self.mean_landmarks[list(LIP_OUTER), :2]
        return inside_polygon(self.mean[:, :2], outline)

    @cached_property
    def expression_rows(self) -> NDArray[np.float64]:
        """[52, 57] constant: weights of ICT-FaceKit's shapes = ARKit weights @ this. tongueOut has none."""
        rows = np.zeros((len(ARKIT), len(self.source.expression_names)))
        for index, parameter in enumerate(ARKIT):
            stem = parameter.name
            side = ""
            if stem.endswith(("Left", "Right")) and stem not in ("jawLeft", "jawRight", "mouthLeft", "mouthRight"):
                stem, side = (stem[:-4], "_L") if stem.endswith("Left") else (stem[:-5], "_R")
            names = (stem + side,) if side else (stem, stem + "_L", stem + "_R")
            for name in names:
                if name in self.source.expression_names:
                    rows[index, self.source.expression_names.index(name)] = 1.0
        return rows

    def displacement(self, arkit: Floats) -> Floats:
        """[26719, 3] cm that ARKit weights [52] move the vertices by."""
        moved: Floats = np.tensordot(arkit @ self.expression_rows, self.source.expression, 1)
        return moved

    def named_displacement(self, **weights: float) -> Floats:
        """The same for named ARKit weights; a name without Left or Right moves both sides.

        Raises:
            KeyError: ARKit has no such name.
        """
        arkit = np.zeros(len(ARKIT))
        for name, value in weights.items():
            sides = [full for full in (name, name + "Left", name + "Right") if full in INDEX]
            if not sides:
                raise KeyError(f"no ARKit shape {name!r}")
            arkit[[INDEX[full] for full in sides]] += value
        return self.displacement(arkit)

    def eyeball(self, vertices: Floats, side: str) -> tuple[Floats, float]:
        """Centre [3] and radius, cm, of the sphere through the back of an eyeball."""
        mesh = np.unique(self.polygons(f"eye_{side}"))
        points = vertices[mesh[self.mean[mesh, 0] * SIDES[side] > 0.0]]  # one vertex of the source lies in both eyes
        return fit_sphere(points[points[:, 2] < points[:, 2].mean() + 0.3])
