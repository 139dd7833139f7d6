"""Scalp hair and beards: hairlines, styles, grey, and their place in the scene.

A style is a hairline on the mean head and a rule by which strands grow; both are the project's own. Growing needs no
Blender; only `add_hair` does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from export.face.people.hair_growth import Obstacles, Roots, cut, cut_below, gather, grow, stray
from export.face.people.head import Head
from export.face.people.person import Person
from export.face.people.strands import Strands, unit
from export.face.people.surface_field import bump, bumps, plane_wave_noise, smoothstep

if TYPE_CHECKING:
    from export.face.people.scene import Scene

Floats = NDArray[np.float64]
Style = Literal["short", "crop", "lob", "waves", "bob", "coils", "curls", "receding"]
Beard = Literal["none", "stubble", "short"]

RADIUS: Final = 0.0105
"""cm; thinner strands turn to fog under the denoiser at 512 px."""

# Height of the hairline (cm, mean head) over the azimuth (degrees from straight ahead, about (0, -1)). The rise at 90
# to 112 degrees goes around the ear.
_AZIMUTHS = (0, 12, 25, 36, 46, 54, 62, 70, 78, 84, 90, 112, 120, 135, 155, 180)
_HAIRLINES: Final = {
    "female": (9.7, 9.65, 9.35, 8.6, 7.3, 6.0, 5.2, 4.3, 3.0, 2.6, 5.0, 5.0, 1.0, -3.0, -5.0, -5.5),
    "male": (9.6, 9.65, 9.6, 8.8, 7.3, 5.6, 4.2, 2.6, 1.4, 1.2, 5.0, 5.0, 1.0, -2.5, -4.5, -5.0),
    "receding": (11.2, 11.5, 12.1, 11.2, 9.4, 6.8, 4.6, 2.9, 1.6, 1.4, 5.0, 5.0, 1.0, -2.5, -4.5, -5.0),
}


@dataclass(frozen=True)
class HairStyle:
    """What of a person's hair is not in the person's traits."""

    style: Style
    beard: Beard = "none"
    parting: float = 2.4
    """x of the parting, cm; its sign is the side."""
    length: float = 1.0
    """Factor on the style's own length."""
    density: float = 1.0
    """Factor on the number of strands."""


def default_style(person: Person) -> HairStyle:
    """A style that suits the person's sex, age and skin, drawn from the seed."""
    g = person.generator("hair style")
    traits = person.traits
    styles: tuple[Style, ...]
    if traits.sex == "female":
        styles = ("coils", "curls", "bob") if traits.skin > 0.65 else ("lob", "waves", "bob")
    elif traits.age > 52.0:
        styles = ("receding", "crop")
    else:
        styles = ("coils", "crop") if traits.skin > 0.65 else ("short", "crop", "curls")
    beards: tuple[Beard, ...] = ("none", "stubble", "short") if traits.sex == "male" else ("none",)
    return HairStyle(
        styles[g.integers(len(styles))],
        beards[g.integers(len(beards))],
        parting=float(g.choice([-1.0, 1.0]) * g.uniform(1.6, 3.0)),
        length=float(g.uniform(0.85, 1.15)),
    )


def height_above_hairline(points: Floats, hairline: str, generator: np.random.Generator) -> Floats:
    """[N] cm above (positive) the uneven hairline, of points [N, 3] on the mean head; negative at the ears."""
    azimuth = np.degrees(np.abs(np.arctan2(points[:, 0], points[:, 2] + 1.0)))
    line = np.interp(azimuth, _AZIMUTHS, _HAIRLINES[hairline])
    line = line + 0.16 * plane_wave_noise(points, generator, 0.7) + 0.10 * plane_wave_noise(points, generator, 0.25)
    ear = (np.abs(points[:, 0]) > 8.05) & (points[:, 1] < 5.6)
    return np.where(ear, -5.0, points[:, 1] - line)


def scalp_density(head: Head, hairline: str, generator: np.random.Generator, soft: float = 0.45) -> Floats:
    """[26719] 0..1, thinning out over `soft` cm to each side of the hairline."""
    return smoothstep(-soft, soft, height_above_hairline(head.mean, hairline, generator))


def beard_density(head: Head) -> Floats:
    """[26719] 0..1: where beards grow."""
    p = head.mean
    cover = (
        bumps(p, (4.5, -5.6, 8.0), (3.2, 3.0, 6.0))
        + 1.2 * bump(p, (0.0, -6.9, 10.5), (3.2, 2.2, 4.0))
        + 1.1 * bump(p, (0.0, -2.15, 11.8), (2.7, 0.6, 2.0))
        + bumps(p, (6.6, -2.5, 4.5), (1.6, 3.4, 3.0))
    )
    under_lip = 1.0 - 0.5 * bumps(p, (1.5, -4.9, 11.0), (0.7, 0.5, 2.0))
    off_lips = smoothstep(-0.10, -0.32, np.where(p[:, 2] > 8.0, head.lip_distance, -1.0))
    inside_mouth = (p[:, 2] > 1.5) & (p[:, 1] < -1.3)
    density: Floats = (
        smoothstep(0.22, 0.75, np.clip(cover, 0.0, 1.0))
        * under_lip
        * off_lips
        * inside_mouth
        * smoothstep(-9.6, -7.6, p[:, 1])
    )
    return density


@dataclass(frozen=True)
class _Ground:
    """What every style grows from."""

    person: Person
    look: HairStyle
    generator: np.random.Generator
    roots: Roots
    above: Floats
    """[N] cm above the hairline."""
    obstacles: Obstacles


def grow_hair(
    person: Person, look: HairStyle | None = None, clothes: tuple[tuple[Floats, Floats], ...] = ()
) -> Strands:
    """The scalp hair of a person.

    Args:
        person: whose head and traits.
        look: the style; the person's own if None.
        clothes: points [M, 3] and outward normals [M, 3] that long hair lies upon.
    """
    look = look or default_style(person)
    generator = person.generator("hair")
    rule, hairline, count = _STYLES[look.style]
    line = hairline or person.traits.sex
    seed = person.generator("hairline")
    density = scalp_density(person.head, line, seed)
    if line == "receding":
        bald = bump(person.head.mean, (0.0, 13.5, -2.0), (4.5, 2.5, 5.5))
        density = density * (1.0 - 0.6 * bald)
    roots = Roots.scatter(person.head, person.rest, generator, density, int(count * look.density))
    above = height_above_hairline(roots.mean, line, person.generator("hairline"))
    ground = _Ground(person, look, generator, roots, above, Obstacles(person.head, person.rest, clothes))
    strands, radius = rule(ground)
    return Strands(roots.corners, roots.weights, strands - roots.points[:, None], radius, turns=False)


def _radius(ground: _Ground, thin: NDArray[np.bool_] | None = None) -> Floats:
    """[N] cm; finer at the hairline, and half as thick where hair went astray."""
    # Fewer strands are thicker, so that the scalp shows no more than it should.
    radius = RADIUS * ground.look.density**-0.5 * ground.generator.uniform(0.85, 1.25, len(ground.roots))
    radius *= 0.6 + 0.4 * smoothstep(-0.3, 0.9, ground.above)
    thinned: Floats = radius if thin is None else np.where(thin, 0.55 * radius, radius)
    return thinned


def _tangent(vectors: Floats, normals: Floats) -> Floats:
    return unit(vectors - normals * (vectors * normals).sum(1, keepdims=True))


def _short(ground: _Ground) -> tuple[Floats, Floats]:
    """Short back and sides, the top longer and swept to one side and up."""
    return _cropped(ground, top_length=4.6, side_length=1.1, sweep=0.70, lift=0.80)


def _crop(ground: _Ground) -> tuple[Floats, Floats]:
    """Cut short all over, brushed forward."""
    return _cropped(ground, top_length=2.1, side_length=0.75, sweep=0.30, lift=0.62)


def _receding(ground: _Ground) -> tuple[Floats, Floats]:
    """A high forehead, thin hair on the top combed back."""
    return _cropped(ground, top_length=3.2, side_length=1.5, sweep=0.45, lift=0.25, forward=-0.6)


def _cropped(
    ground: _Ground, top_length: float, side_length: float, sweep: float, lift: float, forward: float = 0.45
) -> tuple[Floats, Floats]:
    g, roots, above = ground.generator, ground.roots, ground.above
    m, side = roots.mean, np.sign(ground.look.parting)
    count = 16
    top = smoothstep(7.6, 12.0, m[:, 1] + 0.25 * np.clip(m[:, 2], 0.0, 9.0)) * smoothstep(-9.0, -3.0, m[:, 2])
    front = smoothstep(3.0, 9.0, m[:, 2])
    noise = [plane_wave_noise(m, g, 2.2) for _ in range(4)]
    length = (1.0 - top) * side_length * (0.7 + 0.5 * smoothstep(0.0, 6.0, above))
    length += top * top_length * (0.72 + 0.28 * front + 0.12 * noise[0])
    length *= 0.40 + 0.60 * smoothstep(-0.4, 1.4, above)
    length *= ground.look.length * g.uniform(0.72, 1.08, len(roots))
    # Away from the whorl at the crown, then swept to the side of the parting's other side.
    whorl = m - np.array([0.8 * side, 13.0, -6.0])
    away = unit(whorl * np.array([0.8, 0.0, 1.0]))
    combed = np.c_[-sweep * side * np.ones(len(m)), 0.10 + 0.35 * front, forward * np.ones(len(m))]
    combed = combed + 0.35 * away + 0.28 * np.stack(noise[1:4], 1)
    down = np.c_[np.zeros(len(m)), -0.9 * np.ones(len(m)), -0.30 + 0.25 * smoothstep(-3.0, 3.0, m[:, 2])]
    goal = unit(top[:, None] * combed + (1.0 - top)[:, None] * down)
    up = (0.30 + lift * top)[:, None] * roots.normals
    heading = unit(up + 0.75 * goal + 0.14 * g.normal(size=m.shape))
    spread = g.random(len(m))
    strands = grow(
        roots,
        heading,
        length / (count - 1),
        count,
        lambda points, directions, grown: 0.42 * goal + np.array([0.0, -0.12, 0.0]),
        lambda grown: np.minimum(0.06 + (0.10 + 0.55 * top * lift) * spread, 0.5 * grown),
        ground.obstacles,
    )
    strands = gather(strands, roots.points, g, 30, 0.50)
    strands = gather(strands, roots.points, g, 8, 0.30)
    strands, loose = stray(strands, g, 0.12, 0.30)
    return strands, _radius(ground, loose)


def _curtain(points: Floats, sides: Floats, spread: Floats, face: Floats) -> Floats:
    """[N] cm by which points hang into the face. `face` [2]: half its width at the cheeks and at the temples."""
    edge = np.interp(
        points[:, 1],
        (-11.0, -4.0, 1.0, 4.5, 7.0, 9.3, 11.0),
        (face[0] - 1.6, face[0] - 0.6, face[0] + 0.3, face[1] + 0.3, face[1] - 0.9, face[1] - 3.4, 0.0),
    )
    inside = np.clip(edge + 0.6 * (spread - 0.4) - points[:, 0] * sides, 0.0, None)
    into: Floats = inside * smoothstep(0.0, 3.0, points[:, 2]) * (points[:, 1] < 11.0)
    return into


def _hanging(
    ground: _Ground,
    reach: float,
    uneven: float,
    inwards: float,
    wave: tuple[float, float],
    fringe: bool = False,
    volume: float = 1.0,
) -> tuple[Floats, Floats]:
    """Loose parted hair that falls to y = `reach` cm; `inwards`: how far its ends turn to the neck; wave: cm, cm."""
    g, roots, above = ground.generator, ground.roots, ground.above
    m, count = roots.mean, len(roots)
    rest = ground.person.rest[ground.person.head.skin_vertices]
    cheek = np.abs(rest[(np.abs(rest[:, 1]) < 1.0) & (rest[:, 2] > 3.0), 0]).max()
    temple = np.abs(rest[(np.abs(rest[:, 1] - 5.0) < 1.0) & (rest[:, 2] > 3.0), 0]).max()
    face = np.array([cheek, temple])
    part = ground.look.parting * smoothstep(-8.0, 2.0, m[:, 2])
    beside = m[:, 0] - part
    side = np.where(beside > 0.16 * plane_wave_noise(m, g, 0.8) + 0.12 * g.normal(size=count), 1.0, -1.0)
    front = smoothstep(1.0, 9.0, m[:, 2])
    bangs = (
        (above < 4.2 + 0.5 * g.normal(size=count)) & (np.abs(m[:, 0]) < 5.0) & (m[:, 2] > 4.0)
        if fringe
        else np.zeros(count, dtype=bool)
    )
    depth = g.random(count) ** 1.3 * (0.30 + 0.70 * smoothstep(0.0, 4.0, above))
    lift = (0.10 + 0.95 * volume * depth) * np.where(bangs, 0.55, 1.0)
    # At the parting itself hair stands up before it falls to its side: the line of bare skin stays narrow.
    over = 0.30 + 0.70 * smoothstep(0.0, 1.6, np.abs(beside))
    heading = np.c_[0.62 * side * over, 0.14 * front, -0.45 * front] + 0.08 * g.normal(size=(count, 3))
    heading = np.where(
        bangs[:, None],
        np.c_[0.05 * m[:, 0] + 0.12 * g.normal(size=count), np.zeros(count), 0.9 * np.ones(count)],
        heading,
    )
    rise = (0.42 + 0.25 * volume * depth) * (0.40 + 0.60 * over)
    heading = unit(rise[:, None] * roots.normals + heading)
    step = np.full(count, 0.72)

    def bend(points: Floats, directions: Floats, grown: Floats) -> Floats:
        young = np.exp(-grown / 5.0)
        pull: Floats = np.c_[side * 0.08 * young, -0.85 * np.ones(count), -0.08 * front * young]
        into = _curtain(points, side, depth, face) * ~bangs
        pull += np.c_[side * np.minimum(0.40 * into, 0.45), np.zeros(count), -0.14 * np.minimum(into, 1.0)]
        turn = 0.10 * smoothstep(1.0, -4.0, points[:, 1]) + 0.22 * smoothstep(-5.0, -9.0, points[:, 1])
        turn = inwards * turn * smoothstep(5.0, 7.5, np.abs(points[:, 0]))
        pull -= np.c_[side * turn, np.zeros(count), np.zeros(count)]
        return pull

    points = int(np.ceil((16.0 - reach + 10.0) / 0.72))
    strands = grow(
        roots, heading, step, points, bend, lambda grown: np.minimum(lift, 0.15 + 0.5 * grown), ground.obstacles
    )
    low = reach + uneven * (2.4 * g.random(count) ** 3 + 0.3 * g.normal(size=count) + 0.6 * plane_wave_noise(m, g, 3.0))
    brow = ground.person.head.landmarks(ground.person.rest)[[105, 334], 1].mean()
    low = np.where(bangs, brow + 0.35 + 0.35 * g.random(count) + 0.15 * plane_wave_noise(m, g, 1.2), low)
    strands = cut(strands, cut_below(strands, low), 36)
    near = np.c_[roots.points, 6.0 * side, 20.0 * bangs]
    strands = gather(strands, near, g, 320, 0.35, wave[0], wave[1])
    strands = gather(strands, near, g, 60, 0.60, 0.25 * wave[0], 0.6 * wave[1])
    strands = gather(strands, near, g, 12, 0.45)
    strands, loose = stray(strands, g, 0.10, 0.8)
    # No hair across the eyes: what waves, locks and chance brought into the face goes back to its side.
    sides = np.broadcast_to(side[:, None], strands.shape[:2]).ravel()
    into = _curtain(strands.reshape(-1, 3), sides, np.full(sides.size, 0.4), face).reshape(strands.shape[:2])
    strands[..., 0] += side[:, None] * np.maximum(into - 0.35, 0.0) * ~bangs[:, None]
    flat = strands.reshape(-1, 3)
    kept, _ = ground.obstacles.push_out(flat, np.zeros_like(flat), np.full(len(flat), 0.08))
    strands[:, 1:] = kept.reshape(strands.shape)[:, 1:]
    return strands, _radius(ground, loose)


def _lob(ground: _Ground) -> tuple[Floats, Floats]:
    """Smooth hair with a side parting that ends above the shoulders."""
    return _hanging(ground, -10.0 * ground.look.length, 1.0, 0.8, (0.50, 9.0), volume=1.1)


def _waves(ground: _Ground) -> tuple[Floats, Floats]:
    """Long loose waves that fall over the shoulders."""
    return _hanging(ground, -17.0 * ground.look.length, 1.8, 0.0, (1.30, 7.0), volume=1.25)


def _bob(ground: _Ground) -> tuple[Floats, Floats]:
    """A bob with a fringe."""
    return _hanging(ground, -7.0 * ground.look.length, 0.8, 0.9, (0.25, 11.0), fringe=True)


def _coiled(ground: _Ground, reach: float, radius: tuple[float, float], pitch: float) -> tuple[Floats, Floats]:
    """Helices that stand off the head: `reach` cm far, of `radius` cm (from .. to), `pitch` cm a turn."""
    g, roots, above = ground.generator, ground.roots, ground.above
    count, points = len(roots), 44
    far = reach * ground.look.length * g.uniform(0.55, 1.08, count) * (0.30 + 0.70 * smoothstep(-0.2, 2.5, above))
    far *= 1.0 + 0.10 * plane_wave_noise(roots.mean, g, 3.0)
    upright = np.array([0.0, 0.30, 0.0]) * smoothstep(6.0, 12.0, roots.mean[:, 1])[:, None]
    out = unit(roots.normals + upright + 0.22 * g.normal(size=(count, 3)))
    sag = 0.35 * np.maximum(far - 2.5, 0.0) / 3.0
    side = _tangent(g.normal(size=(count, 3)), out)
    across = np.cross(out, side)
    along = np.linspace(0.0, 1.0, points)[None, :, None]
    wide = g.uniform(*radius, count)[:, None, None] * smoothstep(0.0, 0.25, along)
    turns = (far / pitch * g.uniform(0.8, 1.2, count))[:, None, None]
    angle = 2.0 * np.pi * turns * along + g.uniform(0.0, 6.28, count)[:, None, None]
    axis = roots.points[:, None] - 0.05 * out[:, None] + far[:, None, None] * along * out[:, None]
    axis[..., 1] -= (sag[:, None] * far[:, None]) * along[..., 0] ** 2
    strands = axis + wide * (np.cos(angle) * side[:, None] + np.sin(angle) * across[:, None])
    strands = gather(strands, roots.points, g, 18, 0.75)
    flat = strands.reshape(-1, 3)
    kept, _ = ground.obstacles.push_out(flat, np.zeros_like(flat), np.full(len(flat), 0.06))
    strands[:, 1:] = kept.reshape(strands.shape)[:, 1:]
    return strands, _radius(ground)


def _coils(ground: _Ground) -> tuple[Floats, Floats]:
    """Tight coils, cut short."""
    return _coiled(ground, 2.6, (0.10, 0.22), 0.55)


def _curls(ground: _Ground) -> tuple[Floats, Floats]:
    """Fuller curls that stand off the head."""
    return _coiled(ground, 5.5, (0.20, 0.42), 1.5)


_STYLES: Final[dict[str, tuple[Callable[[_Ground], tuple[Floats, Floats]], str, int]]] = {
    "short": (_short, "male", 30_000),
    "crop": (_crop, "male", 34_000),
    "receding": (_receding, "receding", 18_000),
    "lob": (_lob, "", 24_000),
    "waves": (_waves, "", 24_000),
    "bob": (_bob, "", 26_000),
    "coils": (_coils, "", 30_000),
    "curls": (_curls, "", 26_000),
}
"""Rule, hairline ("" = by sex) and number of strands of each style."""


def grow_beard(person: Person, beard: Beard) -> Strands:
    """Stubble of a millimetre, or a short full beard of 6 to 9 mm; it follows the skin.

    Raises:
        ValueError: beard is "none" or unknown.
    """
    if beard not in ("stubble", "short"):
        raise ValueError(f"beard: expected 'stubble' or 'short', got {beard!r}")
    g = person.generator("beard")
    full = beard == "short"
    density = beard_density(person.head)
    roots = Roots.scatter(person.head, person.rest, g, density, 17_000 if full else 9_000)
    count, points = len(roots), 8 if full else 3
    m = roots.mean
    lip = smoothstep(-3.2, -2.4, m[:, 1]) * smoothstep(9.5, 11.0, m[:, 2])
    if full:
        length = g.uniform(0.45, 0.95, count) * (1.0 - 0.45 * lip)
        length *= 0.45 + 0.55 * smoothstep(0.0, 0.8, density[roots.corners].mean(1))
        lie = 0.45
    else:
        length = g.uniform(0.05, 0.13, count)
        lie = 0.8
    down = np.c_[0.35 * np.tanh(m[:, 0]) * lip + 0.10 * np.tanh(m[:, 0] / 3.0), -np.ones(count), np.zeros(count)]
    heading = unit(lie * roots.normals + down + 0.22 * g.normal(size=(count, 3)))
    along = np.linspace(0.0, 1.0, points)[None, :, None]
    curl = 0.30 * _tangent(g.normal(size=(count, 3)), heading) * full
    offsets = length[:, None, None] * (along * heading[:, None] + along**2 * (curl + 0.25 * full * down)[:, None])
    sunk = np.minimum((offsets * roots.normals[:, None]).sum(-1, keepdims=True) - 0.02 * (along > 0), 0.0)
    offsets = offsets - sunk * roots.normals[:, None] - 0.01 * roots.normals[:, None]
    radius = (0.0085 if full else 0.0048) * g.uniform(0.8, 1.15, count)
    return Strands(roots.corners, roots.weights, offsets, radius, turns=True)


def hair_material(person: Person, name: str = "scalp hair", grey: float | None = None) -> Any:
    """Blender material: the person's own melanin, and that share of strands white."""
    from export.face.people.shader import Shader

    traits = person.traits
    shader = Shader(name)
    share = traits.grey if grey is None else grey
    random = shader.node("HairInfo", {}, "Random")
    # Greying strands, from white through grey: two in three of the greyed ones are white.
    soft = min(0.12, share, 1.0 - share)
    fall = shader.ramp(random, (share - soft, 0.0), (share + soft + 1e-3, 1.0)) if share > 0.01 else 1.0
    white = 0.02  # a trace of melanin: none at all glows
    melanin = shader.math("MULTIPLY_ADD", fall, traits.hair_melanin - white, white)
    redness = shader.math("MULTIPLY", fall, traits.hair_redness * (1.0 - share))
    return shader.surface(
        shader.node(
            "BsdfHairPrincipled",
            {
                "Melanin": melanin,
                "Melanin Redness": redness,
                "Tint": shader.mix(fall, (0.28, 0.46, 0.97), (1.0, 1.0, 1.0)),  # white hair beside skin looks yellow
                "Roughness": 0.36,
                "Radial Roughness": 0.55,
                "Random Color": 0.12,
                "Random Roughness": 0.2,
            },
            0,
            {"parametrization": "MELANIN"},
        )
    )


def add_hair(
    scene: Scene,
    person: Person,
    look: HairStyle | None = None,
    clothes: tuple[tuple[Floats, Floats], ...] = (),
) -> HairStyle:
    """Put scalp hair, which stays with the head, and a beard, which follows the face, into the scene."""
    look = look or default_style(person)
    material = hair_material(person)
    scene.add_strands("scalp hair", person, grow_hair(person, look, clothes), material, moves=False)
    if look.beard != "none":
        beard = hair_material(person, "beard", grey=min(1.0, 1.3 * person.traits.grey))
        scene.add_strands("beard", person, grow_beard(person, look.beard), beard)
    return look
