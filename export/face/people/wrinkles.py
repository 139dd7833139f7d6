"""Wrinkles of age: lines of forehead, brows, eyes and mouth, laid out between landmarks of the mean face."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from export.face.people.person import Person
from export.face.people.surface_field import plane_wave_noise, smoothstep

Floats = NDArray[np.float64]

FIRST_LINES: Final = 30.0
"""Years at which the first of them shows; they are full at 75."""

# MediaPipe landmarks, the person's right and left side.
_BROWS = (105, 334)
_OUTER_CORNERS = (33, 263)
_LOWER_LIDS = (145, 374)
_WINGS = (129, 358)
_MOUTH_CORNERS = (61, 291)


def wrinkle_depth(person: Person, points: Floats) -> Floats:
    """Depth [W] of the grooves at points [W, 3] of the mean face: 0 smooth skin .. 1 the deepest."""
    age = float(np.clip((person.traits.age - FIRST_LINES) / (75.0 - FIRST_LINES), 0.0, 1.1))
    depth = np.zeros(len(points))
    if age == 0.0:
        return depth
    g = person.generator("wrinkles")
    marks = person.head.mean_landmarks
    wobble = plane_wave_noise(points, g, 1.6)
    fine = plane_wave_noise(points, g, 0.5)
    front = np.flatnonzero(points[:, 2] > 2.5)
    x, y = points[front, 0], points[front, 1]
    wobble, fine = wobble[front], fine[front]
    drawn = np.zeros(len(front))

    brow = marks[list(_BROWS), 1].mean()
    for line in range(4):
        level = brow + 1.25 + 0.72 * line + 0.10 * g.normal() - 0.02 * x**2 * g.uniform(0.0, 1.0)
        across = np.exp(-(((x - g.normal(0.0, 0.4)) / (3.6 - 0.3 * line)) ** 2)) * (0.75 + 0.25 * fine)
        drawn += g.uniform(0.35, 0.9) * across * _groove(y - level - 0.13 * wobble - 0.03 * fine, 0.085)
    for side in (-1.0, 1.0):
        frown = np.exp(-(((y - brow + 0.1) / 0.75) ** 2))
        drawn += g.uniform(0.2, 0.8) * frown * _groove(x - side * (0.52 + 0.06 * g.normal()) - 0.05 * wobble, 0.08)

    for index, side in enumerate((-1.0, 1.0)):
        corner = marks[_OUTER_CORNERS[index], :2]
        out, up = side * (x - corner[0]), y - corner[1]
        far = np.hypot(out, up)
        angle = np.degrees(np.arctan2(up, out))
        for ray in (-38.0, -18.0, 2.0, 22.0):
            away = (angle - ray - 6.0 * g.normal() - 14.0 * (far - 1.0) * np.sign(ray + 8.0)) / 57.3 * far
            along = smoothstep(0.35, 0.8, far) * smoothstep(g.uniform(1.7, 2.6), 1.2, far) * (np.abs(angle) < 75.0)
            drawn += g.uniform(0.35, 0.8) * along * _groove(away + 0.03 * fine, 0.075)

        lid = marks[_LOWER_LIDS[index], :2]
        for line, (below, amount) in enumerate(((0.42, 0.5), (0.85, 0.8))):
            arc = lid[1] - below + 0.10 * ((x - lid[0]) / 0.9) ** 2 + 0.05 * wobble
            along = np.exp(-(((x - lid[0] + 0.3 * side * line) / 1.1) ** 4))
            drawn += g.uniform(0.5, 1.0) * amount * along * _groove(y - arc, 0.09 + 0.04 * line)

        wing, mouth = marks[_WINGS[index], :2], marks[_MOUTH_CORNERS[index], :2]
        begin, end = wing + np.array([0.25 * side, 0.35]), mouth + np.array([0.85 * side, -0.55])
        share = (begin[1] - y) / (begin[1] - end[1])
        fold = begin[0] + (end[0] - begin[0]) * np.clip(share, -0.2, 1.2) + 0.35 * side * np.sin(np.pi * share)
        along = smoothstep(-0.12, 0.12, share) * smoothstep(1.15, 0.75, share)
        drawn += 0.75 * along * _groove(x - fold - 0.04 * wobble, 0.15)
        corner_line = mouth[0] + side * (0.18 + 0.20 * (mouth[1] - y))
        along = smoothstep(0.05, -0.20, y - mouth[1]) * smoothstep(-1.5, -0.7, y - mouth[1])
        drawn += g.uniform(0.1, 0.5) * along * _groove(x - corner_line, 0.11)

    depth[front] = np.clip(age**1.3 * drawn, 0.0, 1.0)
    return depth


def _groove(away: Floats, width: float) -> Floats:
    groove: Floats = np.exp(-((away / width) ** 2))
    return groove
