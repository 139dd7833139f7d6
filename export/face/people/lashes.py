"""Lashes along the lids' edges and brows, as curves that follow the face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from facestream.avatar import landmark_topology as topology
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree

from export.face.people.eyes import LIDS, eyeballs
from export.face.people.person import Person
from export.face.people.strands import Strands, unit
from export.face.people.surface_field import smoothstep

Floats = NDArray[np.float64]

BROWS: Final = {
    "left": (topology.LEFT_BROW_UPPER, topology.LEFT_BROW_LOWER),
    "right": (topology.RIGHT_BROW_UPPER[::-1], topology.RIGHT_BROW_LOWER[::-1]),
}
"""Upper and lower brow line from the nose outwards."""

POINTS: Final = 6


@dataclass(frozen=True)
class _Row:
    side: str
    upper: bool
    line: tuple[int, ...]
    """Landmarks from the nose outwards."""
    place: Floats
    """[N] 0 at the nose ... 1 outside."""
    length: Floats
    jitter: Floats
    """[N, 3]."""


class Lashes:
    """The lashes of both eyes, drawn along the landmarks of the lids' edges."""

    def __init__(self, person: Person) -> None:
        self._head = person.head
        self._eyes = {eye.side: eye for eye in eyeballs(person)}
        g = person.generator("lashes")
        female = person.traits.sex == "female"
        grown = g.uniform(0.9, 1.2) if female else g.uniform(0.65, 0.95)
        self._rows: list[_Row] = []
        radius = []
        for side, lines in LIDS.items():
            for upper, line in zip((True, False), lines, strict=True):
                outwards = line if side == "left" else line[::-1]
                count = 150 if upper else 60
                place = np.sort(g.uniform(0.10, 0.99, count))
                shape = (0.34, 0.58, 0.70, 0.55) if upper else (0.15, 0.22, 0.28, 0.22)
                length = np.interp(place, (0.0, 0.5, 0.85, 1.0), shape) * g.uniform(0.7, 1.1, count) * grown
                self._rows.append(_Row(side, upper, outwards, place, length, g.normal(size=(count, 3)) * 0.10))
                radius.append(g.uniform(0.75, 1.1, count) * ((0.0085 if female else 0.0068) if upper else 0.0050))
        self.radius: Floats = np.concatenate(radius)
        """[N] cm."""

    def __call__(self, vertices: Floats, parameters: NDArray[np.floating]) -> Floats:
        """[N, POINTS, 3] cm on the face's vertices [26719, 3]."""
        landmarks = self._head.landmarks(vertices)
        along = np.linspace(0.0, 1.0, POINTS)[None, :, None]
        curves = []
        for row in self._rows:
            line = landmarks[list(row.line)]
            steps = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
            spline = CubicSpline(steps / steps[-1], line)
            root, tangent = spline(row.place), unit(spline(row.place, 1))
            out = unit(root - self._eyes[row.side].centre)
            up = np.cross(out, tangent)
            up = unit(up * np.sign(up[:, 1:2] + 1e-9))
            fan = 1.1 * (row.place - 0.38)[:, None] * tangent
            direction = unit(out * (1.0 if row.upper else 0.8) + fan + (-0.12 if row.upper else -0.5) * up + row.jitter)
            curl = (0.75 if row.upper else -0.15) * up
            begin = root + 0.01 * out
            curve = direction[:, None] * along * (1.0 - 0.25 * along) + curl[:, None] * along**2
            curves.append(begin[:, None] + row.length[:, None, None] * curve)
        return np.concatenate(curves)


def grow_brows(person: Person) -> Strands:
    """Brows of several hundred hairs between the landmark lines of the brows."""
    head, traits = person.head, person.traits
    g = person.generator("brows")
    male = traits.sex == "male"
    thickness = (g.uniform(1.35, 1.95) if male else g.uniform(0.8, 1.5)) * (1.0 - 0.15 * (traits.age > 60))
    count = int((460 if male else 360) * g.uniform(0.75, 1.2))
    front = (head.mean[:, 2] > 5.0) & (head.mean[:, 1] > 3.0) & (head.mean[:, 1] < 8.0)
    corners, weights = head.sample_skin(np.random.default_rng(2), front.astype(float), 40000)
    tree = cKDTree((head.mean[corners] * weights[..., None]).sum(1)[:, :2])
    normals = head.normals(person.rest)
    parts = []
    at = np.linspace(0.0, 1.0, 5)
    for side, (upper, lower) in BROWS.items():
        sign = 1.0 if side == "left" else -1.0
        above, below = (CubicSpline(at, head.mean_landmarks[list(line), :2]) for line in (upper, lower))
        t = 0.97 * g.random(count)
        v = np.clip(g.normal(0.5, 0.26, count), 0.0, 1.0)
        middle = 0.5 * (above(t) + below(t))
        middle[:, 1] += g.normal(0.0, 0.03) + (0.08 if not male else -0.02)
        taper = 1.05 - 0.62 * smoothstep(0.45, 1.0, t) - 0.25 * (1.0 - smoothstep(0.0, 0.12, t))
        half = 0.5 * (above(t) - below(t)) * thickness * taper[:, None]
        _, near = tree.query(middle + half * (2.0 * v - 1.0)[:, None])
        root_corners, root_weights = corners[near], weights[near]
        normal = unit((normals[root_corners] * root_weights[..., None]).sum(1))
        angle = np.interp(t, (0.0, 0.12, 0.35, 0.7, 1.0), (82, 62, 32, 8, -22))
        angle = np.radians(angle + (0.5 - v) * np.interp(t, (0.0, 0.3, 1.0), (10, 50, 30)) + g.normal(size=count) * 9)
        direction = np.stack([sign * np.cos(angle), np.sin(angle), np.zeros(count)], axis=1)
        direction = unit(direction - normal * (direction * normal).sum(1, keepdims=True))
        length = np.interp(t, (0.0, 0.15, 0.6, 1.0), (0.5, 0.8, 0.72, 0.36)) * g.uniform(0.65, 1.1, count)
        length *= 1.0 if male else 0.88
        q = np.linspace(0.0, 1.0, POINTS)[None, :, None]
        trail = np.array([sign, -0.25, 0.0])
        curve = q * direction[:, None] + 0.12 * np.sin(3.0 * q) * normal[:, None] + 0.22 * q**2 * trail
        offsets = length[:, None, None] * curve - 0.01 * normal[:, None]
        sunk = np.minimum((offsets * normal[:, None]).sum(-1, keepdims=True) - 0.012 * (q > 0.0), 0.0)
        offsets = offsets - normal[:, None] * sunk
        radius = 0.0064 * g.uniform(0.7, 1.1, count) * (1.0 if male else 0.88)
        parts.append((root_corners, root_weights, offsets, radius))
    joined = [np.concatenate(values) for values in zip(*parts, strict=True)]
    return Strands(joined[0], joined[1], joined[2], joined[3])
