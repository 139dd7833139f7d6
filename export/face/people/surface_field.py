"""Smooth functions on the mean face from which albedo, hair density and relief are mixed."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def smoothstep(low: float, high: float, x: Floats) -> Floats:
    """0 below `low`, 1 above `high`, a cubic between; falls where low > high."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    curve: Floats = t * t * (3.0 - 2.0 * t)
    return curve


def bump(points: Floats, centre: ArrayLike, width: ArrayLike) -> Floats:
    """Gaussian [N] of points [N, 3] about a centre, with a width for each axis."""
    height: Floats = np.exp(-(((points - np.asarray(centre)) / np.asarray(width)) ** 2).sum(-1))
    return height


def bumps(points: Floats, centre: ArrayLike, width: ArrayLike) -> Floats:
    """The same at the centre and at its mirror image in x = 0."""
    mirrored = np.asarray(centre, dtype=np.float64) * np.array([-1.0, 1.0, 1.0])
    return bump(points, centre, width) + bump(points, mirrored, width)


def plane_wave_noise(points: Floats, generator: np.random.Generator, length: float, waves: int = 32) -> Floats:
    """Smooth random field [N] of about unit variance, features about `length` apart (unit of the points)."""
    directions = generator.normal(size=(waves, 3)) / length
    phases = generator.uniform(0.0, 2.0 * np.pi, waves)
    noise: Floats = np.sin(points @ directions.T + phases).sum(1) * np.sqrt(2.0 / waves)
    return noise


def inside_polygon(points: Floats, outline: Floats) -> Floats:
    """Distance [N] of points [N, 2] from a closed outline [M, 2]: positive inside, negative outside."""
    begin, end = outline, np.roll(outline, -1, axis=0)
    edge = end - begin
    away = points[:, None] - begin
    along = np.clip((away * edge).sum(-1) / np.maximum((edge**2).sum(-1), 1e-12), 0.0, 1.0)
    distance = np.linalg.norm(away - along[..., None] * edge, axis=-1).min(1)
    spans = (begin[:, 1] > points[:, 1:]) != (end[:, 1] > points[:, 1:])
    rise = np.where(edge[:, 1] == 0.0, 1e-12, edge[:, 1])
    crossing = begin[:, 0] + edge[:, 0] * (points[:, 1:] - begin[:, 1]) / rise
    odd = (spans & (points[:, :1] < crossing)).sum(1) % 2 == 1
    signed: Floats = np.where(odd, distance, -distance)
    return signed
