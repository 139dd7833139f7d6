"""Clothes on shoulders: a body of smoothly joined solids below the bust, and cloth laid over both.

ICT-FaceKit's bust ends at the collar bones. What the camera sees below is cloth, whose surface is found by walking
rays from the chest outwards onto the body. All but `add_clothes` is plain arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from export.face.people.hair_growth import Obstacles
from export.face.people.person import Person
from export.face.people.strands import unit
from export.face.people.surface_field import plane_wave_noise, smoothstep

if TYPE_CHECKING:
    from export.face.people.scene import Scene

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Garment = Literal["jumper", "tshirt", "vneck", "scoop", "shirt"]
Colour = tuple[float, float, float]

HEART: Final = np.array([0.0, -27.0, -2.0])
"""cm; every point of neck, shoulders and chest that the camera sees is in sight from here."""

AROUND, DOWN = 256, 110
"""Points of the cloth's grid around the body and from the neckline down."""

COLOURS: Final[tuple[Colour, ...]] = (
    (0.035, 0.060, 0.110),
    (0.200, 0.210, 0.220),
    (0.150, 0.035, 0.040),
    (0.045, 0.085, 0.070),
    (0.360, 0.290, 0.210),
    (0.430, 0.450, 0.480),
    (0.060, 0.055, 0.055),
    (0.330, 0.150, 0.060),
    (0.120, 0.180, 0.300),
)


@dataclass(frozen=True)
class Outfit:
    """What a person wears."""

    garment: Garment
    colour: Colour
    """Linear RGB."""


@dataclass(frozen=True)
class Piece:
    """One piece of cloth as a mesh."""

    points: Floats
    """[V, 3] cm."""
    polygons: Ints
    """[P, 4], counter-clockwise seen from outside."""
    weave: Floats
    """[V, 3] place on the cloth, cm: across, along, 0."""
    part: Literal["cloth", "rib", "collar", "button"]


def default_outfit(person: Person) -> Outfit:
    """An outfit drawn from the seed."""
    g = person.generator("outfit")
    garments: tuple[Garment, ...]
    garments = ("jumper", "scoop", "vneck", "shirt") if person.traits.sex == "female" else ("jumper", "tshirt", "shirt")
    return Outfit(garments[g.integers(len(garments))], COLOURS[g.integers(len(COLOURS))])


def _capsule(points: Floats, a: Floats, b: Floats, begin: float, end: float) -> Floats:
    along = np.clip(((points - a) @ (b - a)) / ((b - a) @ (b - a)), 0.0, 1.0)
    away: Floats = np.linalg.norm(points - a - along[..., None] * (b - a), axis=-1) - (begin + (end - begin) * along)
    return away


def _join(distances: list[Floats], blend: float) -> Floats:
    """Smooth union."""
    stacked = np.stack(distances)
    least = stacked.min(0)
    joined: Floats = least - blend * np.log(np.exp(-(stacked - least) / blend).sum(0))
    return joined


def body_distance(points: Floats, width: float) -> Floats:
    """About the distance [N] cm of points [N, 3] from the body, negative inside; `width` 1 is a man's shoulders."""
    mirrored = points * np.array([1.0, 1.0, 1.0])
    mirrored[..., 0] = np.abs(mirrored[..., 0])
    shoulder = np.array([17.3 * width, -19.6, -3.2])
    neck = _capsule(mirrored, np.array([0.0, -4.0, -1.5]), np.array([0.0, -16.0, -3.2]), 5.2, 5.6)
    trapezius = _capsule(mirrored, np.array([2.5, -11.0, -4.3]), shoulder + np.array([-1.0, 0.3, 0.0]), 2.6, 3.4)
    deltoid = np.linalg.norm(mirrored - shoulder, axis=-1) - 4.7 * (0.5 + 0.5 * width)
    arm = _capsule(mirrored, shoulder, np.array([20.5 * width, -46.0, -2.0]), 4.5, 4.0)
    chest_radii = np.array([16.0 * width, 16.5, 9.6])
    scaled = (mirrored - np.array([0.0, -31.0, -1.2])) / chest_radii
    chest = (np.linalg.norm(scaled, axis=-1) - 1.0) * chest_radii.min()
    pectoral = np.linalg.norm((mirrored - np.array([7.0, -29.0, 4.0])) / np.array([1.2, 1.0, 0.9]), axis=-1) - 6.0
    return _join([neck, trapezius, deltoid, arm, chest, pectoral], 1.0)


def _onto_body(directions: Floats, width: float, ease: float) -> Floats:
    """Points [N, 3] where rays from HEART meet the cloth, `ease` cm off the body, coming from outside."""
    far = np.full(len(directions), 46.0)
    for _ in range(60):
        far -= 0.7 * (body_distance(HEART + far[:, None] * directions, width) - ease)
    placed: Floats = HEART + far[:, None] * directions
    return placed


def neckline(garment: Garment, angles: Floats) -> Floats:
    """[N, 3] cm: the cloth's upper edge at angles (rad from the person's left, a quarter turn is the front)."""
    front = np.clip(np.sin(angles), 0.0, 1.0)
    back = np.clip(-np.sin(angles), 0.0, 1.0)
    wide = {"jumper": 6.9, "tshirt": 7.4, "vneck": 7.9, "scoop": 9.2, "shirt": 6.9}[garment]
    x = wide * np.cos(angles)
    z = -2.2 + 6.2 * front - 6.3 * back
    y = np.full_like(angles, -10.9) + 1.2 * back**1.5
    y -= {"jumper": 2.3, "tshirt": 2.9, "vneck": 2.0, "scoop": 4.4, "shirt": 1.8}[garment] * front**1.6
    if garment == "scoop":
        y -= 0.8
    if garment in ("vneck", "shirt"):
        y -= {"vneck": 5.2, "shirt": 4.2}[garment] * np.clip(1.0 - np.abs(x) / 6.0, 0.0, 1.0) * (front > 0)
    return np.stack([x, y, z], axis=-1)


def lay_cloth(person: Person, garment: Garment) -> list[Piece]:
    """The pieces of a garment on a person's shoulders; they lie outside of the skin."""
    g = person.generator("clothes")
    width = 0.97 if person.traits.sex == "male" else 0.82
    ease = {"jumper": 0.45, "tshirt": 0.25, "vneck": 0.3, "scoop": 0.25, "shirt": 0.35}[garment]
    skin = Obstacles(person.head, person.rest)
    angles = np.linspace(0.0, 2.0 * np.pi, AROUND, endpoint=False)
    edge = neckline(garment, angles)

    # Directions from the heart: from the neckline's own down to well below the picture.
    begin = unit(edge - HEART)
    polar = np.arccos(begin[:, 1])
    azimuth = np.arctan2(begin[:, 2], begin[:, 0])
    lowest = np.radians(112.0)
    share = np.linspace(0.0, 1.0, DOWN) ** 1.15
    fall = polar + share[:, None] * (lowest - polar)
    spread = azimuth + smoothstep(0.0, 0.6, share)[:, None] * _turn_between(azimuth, angles)
    directions = np.stack([np.sin(fall) * np.cos(spread), np.cos(fall), np.sin(fall) * np.sin(spread)], axis=-1)
    grid = _onto_body(directions.reshape(-1, 3), width, ease)

    rows = np.repeat(np.arange(DOWN), AROUND)
    heading = np.zeros_like(grid)
    for _ in range(5):  # the bust is cut off sharply at its lower edge: one step does not bring cloth over that
        grid, _ = skin.push_out(grid, heading, np.full(len(grid), ease + 0.1))
    # The edge hugs the skin.
    nearest, normals = skin.nearest(grid)
    hug = smoothstep(14.0, 0.0, rows.astype(np.float64)) * smoothstep(5.0, 2.5, np.linalg.norm(grid - nearest, axis=-1))
    grid += hug[:, None] * (nearest + 0.8 * ease * normals - grid)
    # Skin is known at scattered points only: without this the edge would be frayed.
    near = grid.reshape(DOWN, AROUND, 3)
    soft = smoothstep(18.0, 8.0, np.arange(DOWN, dtype=np.float64))[:, None, None]
    for _ in range(6):
        near = near + soft * (0.25 * (np.roll(near, 1, axis=1) + np.roll(near, -1, axis=1)) - 0.5 * near)
        near[1:-1] += soft[1:-1] * (0.25 * (near[2:] + near[:-2]) - 0.5 * near[1:-1])
    grid = near.reshape(-1, 3)
    folds = smoothstep(4.0, 40.0, rows.astype(np.float64)) * {"jumper": 0.30, "tshirt": 0.28}.get(garment, 0.36)
    slanted = grid * np.array([1.0, 0.30, 1.0]) + np.abs(grid[:, :1]) * np.array([0.0, 0.25, 0.0])
    crease = 0.6 * plane_wave_noise(slanted, g, 2.6) + 0.35 * np.abs(plane_wave_noise(slanted, g, 1.6))
    outward = unit(grid - HEART)
    grid = grid + (folds * crease)[:, None] * outward
    smooth = grid.reshape(DOWN, AROUND, 3)
    smooth[1:-1] = 0.5 * smooth[1:-1] + 0.25 * (smooth[:-2] + smooth[2:])
    smooth = 0.5 * smooth + 0.25 * (np.roll(smooth, 1, axis=1) + np.roll(smooth, -1, axis=1))
    lengths = np.cumsum(np.linalg.norm(np.diff(smooth, axis=0, prepend=smooth[:1]), axis=-1), axis=0)
    weave = np.stack([np.broadcast_to(angles * 11.0, lengths.shape), lengths, np.zeros_like(lengths)], axis=-1)
    pieces = [Piece(smooth.reshape(-1, 3), _grid_polygons(DOWN, AROUND, True), weave.reshape(-1, 3), "cloth")]

    ring = smooth[0]
    if garment in ("jumper", "tshirt"):
        pieces.append(_band(ring, *((0.34, 1.05) if garment == "jumper" else (0.20, 0.75))))
    elif garment in ("vneck", "scoop"):
        pieces.append(_band(ring, 0.16, 0.42))
    else:
        pieces += _shirt_collar(ring, angles, skin)
        pieces += _placket(smooth)
    return pieces


def _turn_between(begin: Floats, end: Floats) -> Floats:
    """[N] rad in -pi..pi."""
    turned: Floats = (end - begin + np.pi) % (2.0 * np.pi) - np.pi
    return turned


def _grid_polygons(rows: int, columns: int, closed: bool) -> Ints:
    row = np.arange(rows - 1)[:, None]
    column = np.arange(columns if closed else columns - 1)[None]
    after = (column + 1) % columns
    corners = (row * columns + column, row * columns + after, (row + 1) * columns + after, (row + 1) * columns + column)
    return np.stack(np.broadcast_arrays(*corners), axis=-1).reshape(-1, 4)


def _band(ring: Floats, thick: float, high: float) -> Piece:
    """A rolled band, `high` cm wide and `thick` cm to each side, along the neckline [N, 3]."""
    for _ in range(3):
        ring = (np.roll(ring, 2, axis=0) + ring + np.roll(ring, -2, axis=0)) / 3.0
    tangent = unit(np.roll(ring, -1, axis=0) - np.roll(ring, 1, axis=0))
    out = unit(np.c_[ring[:, 0], np.zeros(len(ring)), ring[:, 2] + 2.2])
    up = unit(np.cross(tangent, out))
    up *= np.sign(up[:, 1:2])
    turn = np.linspace(0.0, 2.0 * np.pi, 20, endpoint=False)
    rim = np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** 0.8
    tube = (
        ring[:, None]
        + thick * rim[None, :, None] * out[:, None]
        + (0.5 * high * np.sin(turn)[None, :, None] + 0.25 * high) * unit(up - 0.25 * out)[:, None]
    )
    row = np.arange(len(ring))[:, None]
    column = np.arange(20)[None]
    corners = (
        row * 20 + column,
        row * 20 + (column + 1) % 20,
        (row + 1) % len(ring) * 20 + (column + 1) % 20,
        (row + 1) % len(ring) * 20 + column,
    )
    polygons = np.stack(np.broadcast_arrays(*corners), axis=-1).reshape(-1, 4)
    around = np.cumsum(np.linalg.norm(np.diff(ring, axis=0, prepend=ring[:1]), axis=-1))
    weave = np.stack(np.broadcast_arrays(around[:, None], turn[None] * 0.4, 0.0), axis=-1).reshape(-1, 3)
    return Piece(tube.reshape(-1, 3), polygons, weave, "rib")


def _shirt_collar(ring: Floats, angles: Floats, skin: Obstacles) -> list[Piece]:
    """A stand around the neck and a leaf folded over it, open in front with two points."""
    count = 161
    gap = np.radians(24.0)
    path = np.linspace(0.5 * np.pi + gap, 2.5 * np.pi - gap, count)
    base = np.stack(
        [np.interp(path % (2.0 * np.pi), angles, ring[:, axis], period=2.0 * np.pi) for axis in range(3)], -1
    )
    # The ends of the collar sit where the shirt closes above its opening, not down in the V.
    front = np.abs(np.linspace(-1.0, 1.0, count))
    closing = np.clip(np.sin(path), 0.0, 1.0)
    base[:, 1] = np.maximum(base[:, 1], -10.9 - 3.2 * closing**1.4)
    base, _ = skin.push_out(base, np.zeros_like(base), np.full(count, 0.35))
    tangent = unit(np.gradient(base, axis=0))
    out = unit(np.c_[base[:, 0], np.zeros(count), base[:, 2] + 2.2])
    up = np.array([0.0, 1.0, 0.0]) - 0.18 * out
    stand = 2.9 - 0.8 * front**3 - 1.9 * smoothstep(0.80, 1.0, front)
    fold = base + stand[:, None] * up
    leaf = 3.9 + 3.0 * smoothstep(0.62, 1.0, front)
    side = np.sign(np.linspace(-1.0, 1.0, count))
    lean = (side * smoothstep(0.75, 1.0, front))[:, None] * -tangent
    edge = fold + leaf[:, None] * unit(np.array([0.0, -1.0, 0.0]) + 0.42 * out + 0.55 * lean)
    along = np.linspace(0.0, 1.0, 10)[:, None, None]
    standing = base + along * (fold - base)
    roll = fold + 0.32 * out + np.array([0.0, 0.18, 0.0])
    falling = (1.0 - along[1:]) ** 2 * fold + 2.0 * along[1:] * (1.0 - along[1:]) * roll * 1.0 + along[1:] ** 2 * edge
    sheet = np.concatenate([standing, falling])
    flat = sheet[11:].reshape(-1, 3)
    flat, _ = skin.push_out(flat, np.zeros_like(flat), np.full(len(flat), 0.75))
    sheet[11:] = flat.reshape(sheet[11:].shape)
    inner = sheet[:10].reshape(-1, 3)
    inner, _ = skin.push_out(inner, np.zeros_like(inner), np.full(len(inner), 0.22))
    sheet[:10] = inner.reshape(sheet[:10].shape)
    rows = len(sheet)
    across = np.cumsum(np.linalg.norm(np.diff(sheet, axis=0, prepend=sheet[:1]), axis=-1), axis=0)
    around = np.cumsum(np.linalg.norm(np.diff(sheet, axis=1, prepend=sheet[:, :1]), axis=-1), axis=1)
    weave = np.stack([around, across, np.zeros_like(across)], axis=-1).reshape(-1, 3)
    return [Piece(sheet.reshape(-1, 3), _grid_polygons(rows, count, False), weave, "collar")]


def _placket(cloth: Floats) -> list[Piece]:
    """The strip down the front that carries the buttons, and two buttons."""
    quarter = AROUND // 4
    middle = cloth[:, quarter]
    rows = len(middle)
    right = np.array([1.0, 0.0, 0.0])
    normal = unit(np.cross(right, np.gradient(middle, axis=0)))
    normal *= np.sign(normal[:, 2:])
    offsets = np.array([-1.45, -1.4, -0.7, 0.0, 0.7, 1.4, 1.45])
    lifts = np.array([0.02, 0.14, 0.17, 0.18, 0.17, 0.14, 0.02])
    sheet = middle[:, None] + offsets[None, :, None] * right + lifts[None, :, None] * normal[:, None]
    length = np.cumsum(np.linalg.norm(np.diff(middle, axis=0, prepend=middle[:1]), axis=-1))
    weave = np.stack(np.broadcast_arrays(offsets[None], length[:, None], 0.0), axis=-1).reshape(-1, 3)
    pieces = [Piece(sheet.reshape(-1, 3), _grid_polygons(rows, 7, False)[:, ::-1], weave, "collar")]
    turn = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)
    for place in (0.9, 9.0):
        row = int(np.searchsorted(length, place))
        centre = middle[row] + 0.20 * normal[row]
        upward = np.cross(normal[row], right)
        rings = [
            centre + radius * (np.cos(turn)[:, None] * right + np.sin(turn)[:, None] * upward) + high * normal[row]
            for radius, high in ((0.55, 0.0), (0.55, 0.10), (0.46, 0.16), (0.30, 0.10), (0.02, 0.10))
        ]
        button = np.concatenate(rings)
        pieces.append(Piece(button, _grid_polygons(5, 24, True), 0.0 * button, "button"))
    return pieces


def surface_of(pieces: list[Piece]) -> tuple[Floats, Floats]:
    """Points and outward normals [M, 3] of the largest piece, for hair to lie upon."""
    points, polygons = pieces[0].points, pieces[0].polygons
    a, b, c = (points[polygons[:, i]] for i in range(3))
    centres = points[polygons].mean(1)
    normals = unit(np.cross(b - a, c - a))
    normals *= np.sign(((centres - HEART) * normals).sum(1, keepdims=True))
    seen = centres[:, 1] > -32.0
    return centres[seen], normals[seen]


def _knit(name: str, colour: Floats, ribbed: bool) -> Any:
    from export.face.people.shader import Shader

    shader = Shader(name)
    place = shader.attribute("weave", "Vector")
    ribs = shader.node(
        "TexWave",
        {"Vector": place, "Scale": 1.1 if ribbed else 1.9, "Distortion": 0.4, "Detail": 1.0},
        "Fac",
        {"wave_type": "BANDS", "bands_direction": "X"},
    )
    yarn = shader.noise(place, 7.0, 4.0, 0.7)
    tone = shader.mix(shader.ramp(shader.noise(place, 0.35, 3.0), (0.3, 0.0), (0.7, 1.0)), 0.92 * colour, 1.06 * colour)
    tone = shader.mix(0.35, tone, shader.ramp(yarn, (0.3, 0.6), (0.7, 1.25)), "MULTIPLY")
    height = shader.math("MULTIPLY_ADD", ribs, 1.0 if ribbed else 0.35, yarn)
    return shader.principled(
        Base_Color=tone,
        Roughness=0.9,
        Sheen_Weight=0.10,
        Sheen_Roughness=0.5,
        Normal=shader.relief(height, 0.6, 0.0014 if ribbed else 0.0011),
    )


def _cotton(name: str, colour: Floats, smooth: bool) -> Any:
    from export.face.people.shader import Shader

    shader = Shader(name)
    place = shader.attribute("weave", "Vector")
    thread = shader.noise(shader.scaled(place, (14.0, 14.0, 1.0)), 1.0, 3.0, 0.7)
    crumple = shader.noise(place, 0.55, 4.0, 0.55)
    tone = shader.mix(shader.ramp(crumple, (0.3, 0.0), (0.7, 1.0)), 0.95 * colour, 1.04 * colour)
    tone = shader.mix(0.25, tone, shader.ramp(thread, (0.3, 0.75), (0.7, 1.18)), "MULTIPLY")
    height = shader.math("MULTIPLY_ADD", crumple, 3.0, thread)
    return shader.principled(
        Base_Color=tone,
        Roughness=0.62 if smooth else 0.82,
        Sheen_Weight=0.15 if smooth else 0.05,
        Normal=shader.relief(height, 0.4, 0.0006),
    )


def add_clothes(scene: Scene, person: Person, outfit: Outfit | None = None) -> tuple[tuple[Floats, Floats], ...]:
    """Dress the person; what comes back is for `grow_hair` to lay hair upon."""
    from export.face.people.shader import plain

    outfit = outfit or default_outfit(person)
    pieces = lay_cloth(person, outfit.garment)
    colour = np.array(outfit.colour)
    knitted = outfit.garment == "jumper"
    cloth = _knit("cloth", colour, False) if knitted else _cotton("cloth", colour, outfit.garment in ("scoop", "shirt"))
    materials = {
        "cloth": cloth,
        "rib": _knit("rib", 0.92 * colour, True) if knitted else _cotton("rib", 0.95 * colour, False),
        "collar": cloth,
        "button": plain("button", 0.5 + 0.3 * colour, 0.3),
    }
    for piece in pieces:
        thing = scene.add_mesh(piece.part, piece.points, piece.polygons, materials[piece.part], {"weave": piece.weave})
        if piece.part == "collar":
            thick = thing.modifiers.new("thickness", "SOLIDIFY")
            thick.thickness, thick.offset = 0.0016, 0.0
    return (surface_of(pieces),)
