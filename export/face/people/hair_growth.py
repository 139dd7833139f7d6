"""How strands root on the skin, grow around the head and gather in locks.

Axes and centimetres as in export/face/people/head.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from export.face.people.head import Head
from export.face.people.strands import unit
from export.face.people.surface_field import smoothstep

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SKIN_SAMPLES = 60_000
"""Points that stand for the skin when strands are kept out of it: about 2 mm apart."""


@dataclass(frozen=True)
class Roots:
    """Where strands begin, on one person's head and on the mean head, which styles are drawn on."""

    corners: Ints
    weights: Floats
    points: Floats
    """[N, 3] on the person."""
    normals: Floats
    """[N, 3]."""
    mean: Floats
    """[N, 3] the same places on the mean head."""

    @classmethod
    def scatter(cls, head: Head, rest: Floats, generator: np.random.Generator, density: Floats, count: int) -> Roots:
        """`count` roots on a head with vertices `rest` [26719, 3], by density [26719] at the mean head's vertices."""
        corners, weights = head.sample_skin(generator, density, count)
        mix = weights[..., None]
        normals = head.normals(rest)
        return cls(
            corners,
            weights,
            (rest[corners] * mix).sum(1),
            unit((normals[corners] * mix).sum(1)),
            (head.mean[corners] * mix).sum(1),
        )

    def __len__(self) -> int:
        return len(self.points)


class Obstacles:
    """The skin, and whatever else hair lies upon, as points with normals."""

    def __init__(self, head: Head, rest: Floats, more: tuple[tuple[Floats, Floats], ...] = ()) -> None:
        """`more`: pairs of points [M, 3] and outward unit normals [M, 3], of clothes say."""
        skin = Roots.scatter(head, rest, np.random.default_rng(1), np.ones(len(rest)), SKIN_SAMPLES)
        self.points = np.concatenate([skin.points, *(points for points, _ in more)])
        self.normals = np.concatenate([skin.normals, *(normals for _, normals in more)])
        self._tree = cKDTree(self.points)

    def nearest(self, points: Floats) -> tuple[Floats, Floats]:
        """The surface's points and normals [N, 3] nearest to points [N, 3]."""
        index = self._tree.query(points, workers=2)[1]
        return self.points[index], self.normals[index]

    def push_out(self, points: Floats, headings: Floats, margin: Floats) -> tuple[Floats, Floats]:
        """Points [N, 3] moved towards `margin` [N] cm outside of the surface; headings [N, 3] no longer lead inwards.

        What is several centimetres away from the surface stays where it is: the nearest point then says little.
        """
        far, nearest = self._tree.query(points, workers=2, distance_upper_bound=5.0)
        nearest = np.minimum(nearest, len(self.points) - 1)  # nothing near: `far` is infinite
        normal = self.normals[nearest]
        height = ((points - self.points[nearest]) * normal).sum(-1)
        near = (height < margin) & (far < 5.0)
        lift = np.where(near, margin - height, 0.0) * smoothstep(5.0, 2.0, np.minimum(far, 9.0)) * 0.7
        inwards = np.minimum((headings * normal).sum(-1), 0.0) * near
        return points + normal * lift[:, None], unit(headings - normal * inwards[:, None])


def grow(
    roots: Roots,
    heading: Floats,
    step: Floats,
    count: int,
    bend: Callable[[Floats, Floats, Floats], Floats],
    margin: Callable[[Floats], Floats],
    obstacles: Obstacles,
) -> Floats:
    """Let strands grow step by step.

    Args:
        roots: where they begin.
        heading: [N, 3] unit vectors they leave the skin with.
        step: [N] cm from point to point.
        count: points per strand.
        bend: (points, headings, grown length [N]) -> change of the heading per cm [N, 3].
        margin: grown length [N] -> distance from the skin [N] that is kept, cm.
        obstacles: what strands do not enter.

    Returns:
        Points [N, count, 3].
    """
    strands = np.empty((len(roots), count, 3))
    strands[:, 0] = roots.points - 0.05 * roots.normals  # rooted under the skin: no gap shows
    points = roots.points + 0.01 * roots.normals
    for index in range(1, count):
        length = index * step
        heading = unit(heading + step[:, None] * bend(points, heading, length))
        points = points + heading * step[:, None]
        points, heading = obstacles.push_out(points, heading, margin(length))
        strands[:, index] = points
    return strands


def cut(strands: Floats, last: Floats, count: int) -> Floats:
    """Strands [N, K, 3] shortened to the (fractional) point `last` [N], with `count` points again."""
    at = np.linspace(0.0, 1.0, count)[None] * np.minimum(last, strands.shape[1] - 1)[:, None]
    index = np.clip(at.astype(np.int64), 0, strands.shape[1] - 2)
    fraction = (at - index)[..., None]
    row = np.arange(len(strands))[:, None]
    shortened: Floats = strands[row, index] * (1.0 - fraction) + strands[row, index + 1] * fraction
    return shortened


def cut_below(strands: Floats, height: Floats) -> Floats:
    """[N] the (fractional) point at which each strand first falls below y = `height` [N]; its last if never."""
    y = strands[..., 1]
    below = y < height[:, None]
    below[:, 0] = False
    first = np.where(below.any(1), below.argmax(1), strands.shape[1] - 1)
    row = np.arange(len(strands))
    above, under = y[row, first - 1], y[row, first]
    part = np.clip((above - height) / np.maximum(above - under, 1e-6), 0.0, 1.0)
    last: Floats = np.where(below.any(1), first - 1 + part, first).astype(np.float64)
    return last


def gather(
    strands: Floats,
    roots: Floats,
    generator: np.random.Generator,
    every: int,
    amount: float,
    wave: float = 0.0,
    wave_length: float = 6.0,
) -> Floats:
    """Pull strands towards a leader nearby, more towards the tips; the leaders carry waves.

    Args:
        strands: [N, K, 3].
        roots: [N, D] places in which near means similar (root, and the side of the parting).
        generator: source of chance.
        every: strands per leader.
        amount: 0 not at all .. 1 tips meet.
        wave: cm by which leaders swing to each side.
        wave_length: cm along the strand from crest to crest.
    """
    count, points, _ = strands.shape
    leaders = generator.choice(count, max(8, count // every), replace=False)
    leader = leaders[cKDTree(roots[leaders]).query(roots, workers=2)[1]]
    along = np.linspace(0.0, 1.0, points)[None, :, None]
    pull = amount * along**1.3 * generator.uniform(0.5, 1.0, (count, 1, 1))
    strands = strands + pull * (strands[leader] - strands)
    if wave:
        forward = np.gradient(strands, axis=1)
        grown = np.cumsum(np.linalg.norm(forward, axis=-1, keepdims=True), axis=1)
        out = unit(strands - np.array([0.0, 2.0, 0.0]))
        across = unit(np.cross(forward, out))
        phases: Floats = generator.uniform(0.0, 6.28, (count,))
        paces: Floats = generator.normal(1.0, 0.12, (count,)) * 2.0 * np.pi / wave_length
        phase, pace = phases[leader][:, None, None], paces[leader][:, None, None]
        angle = 0.35 * phase + grown * pace
        swing = wave * smoothstep(0.10, 0.6, along)
        strands = strands + swing * (np.sin(angle) * across + 0.5 * np.cos(0.9 * angle) * out)
    return strands


def stray(
    strands: Floats, generator: np.random.Generator, share: float, amount: float
) -> tuple[Floats, NDArray[np.bool_]]:
    """Lead a share of the strands astray by about `amount` cm at the tips. Returns strands, and which ones [N] bool."""
    chosen = generator.random(len(strands)) < share
    along = np.linspace(0.0, 1.0, strands.shape[1])[None, :, None] ** 1.5
    astray = strands.copy()
    astray[chosen] += generator.normal(size=(int(chosen.sum()), 1, 3)) * along * amount
    return astray, chosen
