"""Skin, lips and the lining of the mouth: one surface from the scalp to the throat, coloured point by point.

Colours are worked out in numpy at the subdivided vertices (0.6 mm apart on the face, a pixel of the 512 x 512 picture
shows 0.65 mm), so that the renderer's shader stays cheap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from facestream.avatar.landmark_topology import LEFT_EYE_UPPER, LIP_LOWER_INNER, LIP_UPPER_INNER, RIGHT_EYE_UPPER
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree

from export.face.people.head import PARTS, Head
from export.face.people.person import Person
from export.face.people.subdivision import FinerMesh, subdivide
from export.face.people.surface_field import bump, bumps, plane_wave_noise, smoothstep
from export.face.people.wrinkles import wrinkle_depth

Floats = NDArray[np.float64]

SURFACE: Final = (PARTS["face"][0], PARTS["eye_socket"][1])
"""Polygons of face, neck, mouth socket and eye sockets: they hang together."""

TONES: Final = np.array(
    [[0.74, 0.50, 0.41], [0.62, 0.37, 0.27], [0.45, 0.23, 0.14], [0.24, 0.115, 0.068], [0.085, 0.040, 0.026]]
)
"""Linear albedo of skin from very light to very dark, evenly spaced in `Traits.skin`."""

MUCOSA: Final = np.array([0.36, 0.10, 0.09])
"""Linear albedo of the lining of the mouth and the wet side of the lips."""


@dataclass(frozen=True)
class SkinPaint:
    """What the shader reads at each of the W subdivided vertices."""

    albedo: Floats
    """[W, 3] linear RGB."""
    roughness: Floats
    """[W]."""
    wet: Floats
    """[W] weight of the film of saliva or tears."""
    relief: Floats
    """[W] strength of the pores."""
    wrinkles: Floats
    """[W] depth of the wrinkles, 0..1."""
    rest: Floats
    """[W, 3] cm on the mean face: where noise is looked up."""


def skin_mesh(head: Head, levels: int = 2) -> FinerMesh:
    """The skin's surface, subdivided."""
    return subdivide(head.source.polygons[slice(*SURFACE)], len(head.mean), levels)


def skin_tone(skin: float) -> Floats:
    """[3] linear albedo for 0 (very light) ... 1 (very dark)."""
    at = np.linspace(0.0, 1.0, len(TONES))
    return np.exp([np.interp(skin, at, np.log(TONES[:, channel])) for channel in range(3)])


def paint_skin(person: Person, mesh: FinerMesh) -> SkinPaint:
    """Colour a person's skin."""
    head, traits = person.head, person.traits
    g = person.generator("skin")
    points = mesh(head.mean)
    lining = _lining(head, mesh)
    tone = skin_tone(traits.skin)
    thin = 1.0 - 0.5 * traits.skin  # how much blood shows through

    red = (
        0.6 * bumps(points, (4.6, -0.4, 9.5), (2.2, 1.8, 3.0))
        + 0.6 * bump(points, (0.0, 0.1, 12.8), (1.3, 1.0, 1.6))
        + 0.3 * bump(points, (0.0, -6.6, 10.8), (1.4, 0.9, 2.0))
        + 0.8 * bumps(points, (8.6, 2.0, -1.5), (1.2, 3.0, 2.0))
        + 0.35 * bumps(points, (1.2, -0.9, 11.3), (0.8, 0.6, 1.0))
    ) * g.uniform(0.3, 0.9)
    tired = bumps(points, (2.9, 2.2, 9.5), (1.5, 0.55, 2.0)) * g.uniform(0.2, 1.3)
    lids = bumps(points, (3.2, 3.7, 9.3), (1.8, 0.8, 1.6)) * g.uniform(0.3, 1.0)
    pale = bump(points, (0.0, 8.0, 10.0), (5.0, 2.0, 4.0))
    blotches = 0.05 * plane_wave_noise(points, g, 2.2) + 0.02 * plane_wave_noise(points, g, 0.7)
    fine = 0.016 * plane_wave_noise(points, g, 0.22, 48) + 0.03 * plane_wave_noise(points, g, 0.09, 64)
    albedo = tone * np.ones_like(points)
    albedo *= 1.0 - (red * thin)[:, None] * np.array([0.02, 0.24, 0.22])
    albedo *= 1.0 - tired[:, None] * np.array([0.12, 0.15, 0.09])
    albedo *= 1.0 - lids[:, None] * np.array([0.06, 0.13, 0.11])
    albedo *= 1.0 + pale[:, None] * np.array([0.01, 0.03, 0.02])
    albedo *= np.exp(blotches[:, None] * np.array([0.5, 1.0, 1.0]) * thin + fine[:, None])
    albedo *= 1.0 - _spots(person, points)[:, None] * np.array([0.38, 0.52, 0.60])

    wrinkles = wrinkle_depth(person, points)
    albedo *= 1.0 - wrinkles[:, None] * np.array([0.14, 0.20, 0.22])

    lip = _lips(head, mesh, points, g)
    stripes = 0.10 * plane_wave_noise(points * np.array([1.0, 0.12, 0.3]), g, 0.07, 48)
    own = tone ** np.array([0.88, 1.05, 1.02]) * np.array([0.86, 0.66, 0.70])
    rouge = np.array([0.50, 0.085, 0.10]) if g.random() < 0.6 else np.array([0.42, 0.14, 0.13])
    mouth_colour = own + (rouge * (1.0 - 0.55 * traits.skin) - own) * 0.75 * traits.lip_redness
    mouth_colour = mouth_colour * np.exp(0.5 * stripes)[:, None]
    rim = np.exp(-((lip.edge / 0.10) ** 2)) * (1.0 - lip.mask) * 0.06  # the pale line about the lips
    albedo *= 1.0 + rim[:, None]
    albedo += (mouth_colour - albedo) * lip.mask[:, None]

    dark_line = _lid_line(head, points) * (g.uniform(0.45, 0.95) if traits.sex == "female" else g.uniform(0.2, 0.5))
    albedo *= 1.0 - dark_line[:, None] * np.array([0.80, 0.85, 0.87])

    mucosa = MUCOSA * g.uniform(0.75, 1.15) * (1.0 - 0.45 * traits.skin * np.array([0.8, 0.6, 0.5]))
    inner = np.maximum(lining, lip.inner)
    albedo += (mucosa - albedo) * inner[:, None]

    oil = np.clip(
        bump(points, (0.0, 0.4, 12.6), (1.2, 2.0, 2.0))
        + 0.6 * bump(points, (0.0, 7.2, 10.3), (3.4, 1.8, 2.0))
        + 0.4 * bumps(points, (4.4, 1.0, 9.5), (1.4, 1.0, 2.0))
        + 0.3 * bump(points, (0.0, -6.8, 11.0), (1.2, 0.8, 2.0)),
        0.0,
        1.0,
    ) * g.uniform(0.3, 1.5)
    roughness = 0.47 + 0.04 * traits.skin - 0.09 * oil + 0.05 * blotches - 0.10 * lip.mask
    roughness += (0.22 - roughness) * inner
    wet = np.clip(0.85 * inner + lip.mask * g.uniform(0.05, 0.35), 0.0, 1.0)
    relief = (1.0 - 0.6 * lip.mask) * (1.0 - inner)
    return SkinPaint(np.clip(albedo, 0.004, 0.9), np.clip(roughness, 0.15, 0.8), wet, relief, wrinkles * relief, points)


def skin_material(person: Person) -> Any:
    """Blender material that reads SkinPaint from the mesh's attributes."""
    from export.face.people.shader import Shader

    dark, aged = person.traits.skin, max(0.0, (person.traits.age - 30.0) / 45.0)
    shader = Shader("skin")
    rest = shader.attribute("rest", "Vector")
    pores = shader.noise(rest, 7.0, 2.0, 0.6)
    height = shader.math("MULTIPLY", pores, shader.attribute("relief"))
    normal = shader.relief(height, 0.35 + 0.35 * min(1.0, aged), 0.0009)
    grooves = shader.math("MULTIPLY", shader.attribute("wrinkles"), -1.0)
    normal = shader.relief(grooves, 1.0, 0.0024, normal)
    mottled = shader.ramp(pores, (0.3, 0.90), (0.7, 1.08))
    colour = shader.mix(0.5, shader.attribute("albedo", "Color"), mottled, "MULTIPLY")
    return shader.principled(
        Base_Color=colour,
        Roughness=shader.attribute("roughness"),
        Normal=normal,
        Specular_IOR_Level=0.42,
        Subsurface_Weight=0.9,
        Subsurface_Radius=(1.0, 0.36 - 0.08 * dark, 0.20 - 0.08 * dark),
        Subsurface_Scale=0.0045 - 0.0015 * dark,
        Coat_Weight=shader.attribute("wet"),
        Coat_Roughness=0.12,
        Coat_IOR=1.36,
    )


@dataclass(frozen=True)
class _Lips:
    mask: Floats
    edge: Floats
    inner: Floats


def _lips(head: Head, mesh: FinerMesh, points: Floats, g: np.random.Generator) -> _Lips:
    """The red of the lips: inside the outer lip line; its wet side begins behind the line where the lips touch."""
    edge = mesh(head.lip_distance)
    front = smoothstep(7.8, 8.6, points[:, 2])
    ragged = edge + 0.03 * plane_wave_noise(points, g, 0.3)
    mask = smoothstep(-0.09, 0.09, ragged) * front
    upper, lower = (head.mean_landmarks[list(line)] for line in (LIP_UPPER_INNER, LIP_LOWER_INNER))
    at = np.linspace(0, 10, 41)
    seam = np.concatenate([CubicSpline(np.arange(11), line)(at) for line in (upper, lower)])
    _, near = cKDTree(seam[:, :1]).query(points[:, :1])
    behind = seam[near, 2] - points[:, 2]
    inner = smoothstep(0.28, 0.60, behind) * smoothstep(0.0, 0.1, edge) * front
    return _Lips(mask, edge, inner)


def _lining(head: Head, mesh: FinerMesh) -> Floats:
    """1 on the mouth's and the eyes' sockets, fading within a polygon of the skin."""
    inside = np.zeros(len(head.mean))
    for part in ("mouth_socket", "eye_socket"):
        inside[np.unique(head.polygons(part)[head.polygons(part) >= 0])] = 1.0
    return np.clip(mesh(inside), 0.0, 1.0)


def _lid_line(head: Head, points: Floats) -> Floats:
    """The dark line at the roots of the upper lashes."""
    lines = [head.mean_landmarks[list(line)] for line in (LEFT_EYE_UPPER, RIGHT_EYE_UPPER)]
    margin = np.concatenate([CubicSpline(np.arange(9), line)(np.linspace(0.7, 7.6, 80)) for line in lines])
    return smoothstep(0.20, 0.04, cKDTree(margin).query(points)[0])


def _spots(person: Person, points: Floats) -> Floats:
    """Freckles, moles and spots of age, 0..1."""
    g = person.generator("spots")
    front = points[:, 2] > 4.0
    spots = np.zeros(len(points))
    tree = cKDTree(points)
    zone = np.flatnonzero(front & (points[:, 1] > -9.0) & (points[:, 1] < 9.5))
    cheeks = np.flatnonzero(front & (np.abs(points[:, 1] - 1.0) < 2.2) & (np.abs(points[:, 0]) < 6.0))
    old = max(0.0, (person.traits.age - 50.0) / 25.0)
    for count, where, low, high, depth in (
        (int(220 * person.traits.freckles), cheeks, 0.05, 0.11, 0.45),
        (int(g.poisson(5)), zone, 0.06, 0.14, 1.2),
        (int(25 * old), zone, 0.12, 0.35, 0.4),
    ):
        for centre in g.choice(where, count) if count else ():
            size = g.uniform(low, high)
            near = tree.query_ball_point(points[centre], 3.0 * size)
            gone = np.linalg.norm(points[near] - points[centre], axis=1)
            spots[near] += depth * g.uniform(0.4, 1.0) * np.exp(-((gone / size) ** 2))
    return np.clip(spots, 0.0, 1.0)
