"""Eyeballs: cornea, iris, limbus, veins; the film of tears along the lids; and lids that slide over the cornea."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from facestream.avatar.landmark_topology import (
    LEFT_EYE,
    LEFT_EYE_LOWER,
    LEFT_EYE_UPPER,
    RIGHT_EYE,
    RIGHT_EYE_LOWER,
    RIGHT_EYE_UPPER,
)
from facestream.parameters import INDEX
from numpy.typing import NDArray

from export.face.people.head import SIDES
from export.face.people.person import Person

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

IRIS_CM: Final = 0.60
"""Radius of the iris; ICT-FaceKit's eyeballs are a fifth larger than real ones, their lids' opening is life size."""

RISE: Final = (0.030, 0.060)
"""What lid-wide swelling and cornea add to the sphere's radius, as shares of it."""

LIDS: Final = {"left": (LEFT_EYE_UPPER, LEFT_EYE_LOWER), "right": (RIGHT_EYE_UPPER, RIGHT_EYE_LOWER)}
CLEARANCE_CM: Final = 0.012


@dataclass(frozen=True)
class Eyeball:
    """One eye of a person: a fixed ball that gaze turns."""

    side: str
    centre: Floats
    """[3] cm."""
    radius: float
    """cm of the sphere."""

    def turn(self, parameters: NDArray[np.floating]) -> Floats:
        """[3, 3] rotation of gazeYaw* (towards the person's left) and gazePitch* (down)."""
        name = self.side.capitalize()
        yaw = float(parameters[INDEX[f"gazeYaw{name}"]])
        pitch = float(parameters[INDEX[f"gazePitch{name}"]])
        cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
        about_y = np.array([[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]])
        about_x = np.array([[1.0, 0.0, 0.0], [0.0, cp, -sp], [0.0, sp, cp]])
        turn: Floats = about_y @ about_x
        return turn

    def surface(self, cosine: Floats) -> Floats:
        """Distance from the centre, cm, at the cosine of the angle from the pupil."""
        angle = np.arccos(np.clip(cosine, -1.0, 1.0))
        swelling = RISE[0] * np.exp(-((angle / 0.75) ** 2))
        rim = np.sin(angle) * self.radius / (1.1 * IRIS_CM)
        cornea = RISE[1] * np.clip(1.0 - rim**2, 0.0, None) ** 1.2 * (angle < 1.5)
        distance: Floats = self.radius * (1.0 + swelling + cornea)
        return distance


def eyeballs(person: Person) -> tuple[Eyeball, Eyeball]:
    """Left and right eye of a person."""
    left, right = (Eyeball(side, *person.head.eyeball(person.rest, side)) for side in SIDES)
    return left, right


@dataclass(frozen=True)
class EyeMesh:
    """The ball of radius 1 cm looking along z that all eyes are scaled from."""

    directions: Floats
    """[V, 3]."""
    polygons: Ints
    """[P, 4]."""


def eye_mesh(rings: int = 72, spokes: int = 72) -> EyeMesh:
    """Rings about the pupil, finest there."""
    angle = np.concatenate([np.linspace(0.0, 0.62, rings // 2), np.linspace(0.66, np.pi, rings - rings // 2)])
    around = np.linspace(0.0, 2.0 * np.pi, spokes, endpoint=False)
    a, t = np.meshgrid(angle, around, indexing="ij")
    directions = np.stack([np.sin(a) * np.cos(t), np.sin(a) * np.sin(t), np.cos(a)], axis=-1)
    row = np.arange(rings - 1)[:, None] * spokes
    here, after = np.arange(spokes)[None], (np.arange(spokes)[None] + 1) % spokes
    quads = np.stack([row + here, row + spokes + here, row + spokes + after, row + after], axis=-1)
    return EyeMesh(directions.reshape(-1, 3), quads.reshape(-1, 4))


def eye_points(eye: Eyeball, mesh: EyeMesh, parameters: NDArray[np.floating]) -> Floats:
    """[V, 3] cm of an eyeball under PARAMETERS [73]."""
    local = mesh.directions * eye.surface(mesh.directions[:, 2])[:, None]
    turned: Floats = local @ eye.turn(parameters).T + eye.centre
    return turned


def lids_over_eyes(person: Person) -> Any:
    """Function (vertices [26719, 3], PARAMETERS) -> vertices whose lids lie outside of the eyeballs."""
    head = person.head
    eyes = eyeballs(person)
    zones = []
    for eye, outline in zip(eyes, (LEFT_EYE, RIGHT_EYE), strict=True):
        middle = head.mean_landmarks[list(outline)].mean(0)
        near = np.linalg.norm((head.mean - middle) / np.array([2.3, 1.5, 1.6]), axis=1) < 1.0
        skin = np.zeros(len(head.mean), dtype=bool)
        skin[np.unique(head.polygons("face"))] = True
        for part in ("tear_line", "lid_margin"):
            skin[np.unique(head.polygons(part)[head.polygons(part) >= 0])] = True
        zones.append((eye, np.flatnonzero(near & skin & (head.mean[:, 2] > eye.centre[2]))))

    def push(vertices: Floats, parameters: NDArray[np.floating]) -> Floats:
        moved = vertices.copy()
        for eye, zone in zones:
            away = vertices[zone] - eye.centre
            distance = np.linalg.norm(away, axis=1)
            pupil = eye.turn(parameters)[:, 2]
            surface = eye.surface(away @ pupil / distance) + CLEARANCE_CM
            # only what lies just under the surface: the socket behind the ball stays there
            under = (distance < surface) & (distance > surface - 0.22)
            moved[zone[under]] += away[under] * (surface[under] / distance[under] - 1.0)[:, None]
        return moved

    return push


def eye_attributes(eye: Eyeball, mesh: EyeMesh) -> dict[str, Floats]:
    """What the eye's shader reads: "eye" [V, 3], x, y and distance from the axis in radii of the iris."""
    local = mesh.directions * eye.surface(mesh.directions[:, 2])[:, None]
    rho = np.linalg.norm(local[:, :2], axis=1) / IRIS_CM
    rho = np.where(local[:, 2] < 0.0, 9.0, rho)
    place = np.stack([local[:, 0] / IRIS_CM, local[:, 1] / IRIS_CM, np.maximum(rho, 1e-3)], axis=1)
    return {"eye": place}


def eye_material(person: Person, pupil: float) -> Any:
    """Blender material of the eyeball; `pupil` is its radius as a share of the iris."""
    from export.face.people.shader import Shader

    g = person.generator("eyes")
    shader = Shader("eye")
    place = shader.attribute("eye", "Vector")
    x, y, rho = (shader.node("SeparateXYZ", {"Vector": place}, axis) for axis in range(3))
    iris = np.array(person.traits.iris)
    spoke_x = shader.math("MULTIPLY", shader.math("DIVIDE", x, rho), 5.0)
    spoke_y = shader.math("MULTIPLY", shader.math("DIVIDE", y, rho), 5.0)
    spokes = shader.node("CombineXYZ", {"X": spoke_x, "Y": spoke_y, "Z": shader.math("MULTIPLY", rho, 1.3)})
    fibres = shader.noise(spokes, 2.2, 4.0, 0.65)
    wobble = shader.math("MULTIPLY_ADD", shader.math("SUBTRACT", fibres, 0.5), 0.12, rho)
    warm = np.array([1.7, 1.1, 0.7]) if g.random() < 0.5 else np.array([1.3, 1.1, 1.0])
    colour = shader.ramp(
        wobble, (0.0, iris), (0.42, iris * warm), (0.58, iris * 1.15), (0.80, iris * 0.85), (0.97, iris * 0.25)
    )
    colour = shader.mix(1.0, colour, shader.ramp(fibres, (0.32, 0.5), (0.68, 1.7)), "MULTIPLY")
    colour = shader.mix(shader.ramp(rho, (pupil - 0.03, 1.0), (pupil + 0.03, 0.0)), colour, 0.002)

    sideways = shader.math("DIVIDE", shader.math("ABSOLUTE", x), 2.6)
    corner = shader.ramp(sideways, (0.42, 0.0), (0.95, 1.0))
    veins = shader.noise(shader.scaled(place, (0.6, 2.4, 1.0)), 3.2, 3.0, 0.7)
    veins = shader.ramp(veins, (0.54, 0.0), (0.66, 1.0))
    age = np.clip((person.traits.age - 30.0) / 50.0, 0.0, 1.0)
    white = (
        np.array([0.50, 0.465, 0.44]) * (1.0 - 0.15 * person.traits.skin) * (1.0 - age * np.array([0.08, 0.12, 0.2]))
    )
    white = white * g.uniform(0.85, 1.08)
    pink = white * np.array([0.92, 0.56, 0.50])
    sclera = shader.mix(shader.math("MULTIPLY", corner, 0.6), white, pink)
    blood = shader.math("MULTIPLY", veins, shader.math("MULTIPLY_ADD", corner, 0.35, float(g.uniform(0.05, 0.2))))
    sclera = shader.mix(blood, sclera, (0.42, 0.10, 0.08))
    colour = shader.mix(shader.ramp(rho, (0.90, 0.0), (1.08, 1.0)), colour, sclera)
    outside = shader.ramp(rho, (0.95, 0.0), (1.1, 1.0))
    return shader.principled(
        Base_Color=colour,
        Roughness=0.35,
        Specular_IOR_Level=0.15,
        Subsurface_Weight=shader.math("MULTIPLY", outside, 0.3),
        Subsurface_Radius=(1.0, 0.5, 0.35),
        Subsurface_Scale=0.002,
        Coat_Weight=1.0,
        Coat_Roughness=0.02,
        Coat_IOR=1.38,
    )


def tear_material() -> Any:
    """Blender material of the tear film: clear, with a highlight."""
    from export.face.people.shader import Shader

    shader = Shader("tears")
    fresnel = shader.math("MULTIPLY", shader.node("Fresnel", {"IOR": 1.33}), 0.9)
    clear, gloss = shader.node("BsdfTransparent", {}), shader.node("BsdfGlossy", {"Roughness": 0.05})
    return shader.surface(shader.node("MixShader", {0: fresnel, 1: clear, 2: gloss}))
