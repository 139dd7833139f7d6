"""One synthetic person: a seed and what it decides — shape of the head, age, sex, colours of skin, hair, eyes, teeth.

Everything is drawn from the seed, stream by stream (`Person.generator("teeth")`), so that a change to one part leaves
the others as they were.
"""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

import numpy as np
from facestream.avatar import landmark_topology as topology
from facestream.parameters import INDEX
from numpy.typing import NDArray

from export.face.people.head import Head
from export.face.people.surface_field import smoothstep

Floats = NDArray[np.float64]
Sex = Literal["female", "male"]
Colour = tuple[float, float, float]

MODES: Final = 100
LIMIT: Final = 1.8
"""No identity mode goes beyond this many standard deviations: further out faces turn into caricatures."""

LEFT_RIGHT: Final = 0.22
"""Standard deviations by which each mode of the left half of a face differs from the right half's."""

AGES: Final = (18.0, 78.0)

# A direction in identity space is the gradient of a sum of landmark distances: (weight, landmark, axis, sign) terms.
_X, _Y, _Z = 0, 1, 2
_JAW_WIDTH = ((397, _X, 1.0), (172, _X, -1.0))
_NOSE_WIDTH = ((358, _X, 1.0), (129, _X, -1.0))
_CHIN_HEIGHT = ((2, _Y, 1.0), (152, _Y, -1.0))
_BROW_RIDGE = ((105, _Z, 0.5), (334, _Z, 0.5), (10, _Z, -1.0))
_EYE_OPENING = ((159, _Y, 1.0), (145, _Y, -1.0), (386, _Y, 1.0), (374, _Y, -1.0))
_LIPS = ((0, _Y, 1.0), (13, _Y, -1.0), (14, _Y, 1.0), (17, _Y, -1.0))
_BROW_HEIGHT = ((52, _Y, 0.5), (159, _Y, -0.5), (282, _Y, 0.5), (386, _Y, -0.5))
_NOSE_LENGTH = ((6, _Y, 1.0), (1, _Y, -1.0))
_MALE = (
    (1.2, _JAW_WIDTH),
    (0.9, _NOSE_WIDTH),
    (0.8, _CHIN_HEIGHT),
    (1.2, _BROW_RIDGE),
    (-1.1, _EYE_OPENING),
    (-0.9, _LIPS),
    (-0.9, _BROW_HEIGHT),
)
_OLD = ((0.8, _NOSE_LENGTH), (0.6, _NOSE_WIDTH), (-1.0, _LIPS), (-1.0, _EYE_OPENING), (0.4, _JAW_WIDTH))


@dataclass(frozen=True)
class Traits:
    """What is said of a person in numbers; goes into person.json."""

    seed: int
    sex: Sex
    age: float
    """Years."""
    skin: float
    """0 very light ... 1 very dark."""
    hair_melanin: float
    """0 white ... 1 black."""
    hair_redness: float
    grey: float
    """Share of grey hair, 0..1."""
    iris: Colour
    """Linear RGB."""
    teeth_shade: float
    """0 bright ... 1 stained."""
    lip_redness: float
    """0 bare skin ... 1 rouge."""
    freckles: float
    warmth: float
    """Weight of the slight smile in the rest face, 0..0.2."""
    lids: float
    """Height over width of the eyes' opening at rest, at most: ICT-FaceKit's neutral stares."""


@dataclass(frozen=True)
class Person:
    """A person at rest."""

    head: Head
    traits: Traits
    identity: Floats
    """[2, 100] standard deviations of the modes, left and right half of the face."""
    rest: Floats = field(repr=False)
    """[26719, 3] cm, the face at PARAMETERS = 0."""
    blink: tuple[float, float]
    """Weights of ICT-FaceKit's eyeBlink_L and _R that just close these lids from the rest: wide eyes need more."""

    def generator(self, stream: str) -> np.random.Generator:
        """The source of chance for one part of this person ("hair", "room", ...), always the same."""
        return np.random.default_rng([self.traits.seed, zlib.crc32(stream.encode())])

    def posed(self, parameters: NDArray[np.floating]) -> Floats:
        """[26719, 3] cm of the face under PARAMETERS [73]: the ARKit shapes added to the rest; the head stays.

        eyeBlink counts the lids' own way: 1 closes them, whatever their height at rest.
        """
        arkit = np.asarray(parameters[:52], dtype=np.float64).copy()
        for name, way in zip(("eyeBlinkLeft", "eyeBlinkRight"), self.blink, strict=True):
            arkit[INDEX[name]] *= way
        return self.rest + self.head.displacement(arkit)

    def description(self) -> dict[str, Any]:
        """What person.json says of this person."""
        return {**asdict(self.traits), "identity": self.identity.round(4).tolist()}


def landmark_direction(head: Head, terms: tuple[tuple[float, tuple[tuple[int, int, float], ...]], ...]) -> Floats:
    """Unit direction [100] of identity space along which a weighted sum of landmark distances grows fastest."""
    corners, weights = head.source.landmark_vertices, head.source.landmark_weights
    gradient = np.zeros(MODES)
    for weight, distance in terms:
        for landmark, axis, sign in distance:
            modes = (head.source.identity[:, corners[landmark], axis] * weights[landmark]).sum(1)
            gradient += weight * sign * modes
    return gradient / np.linalg.norm(gradient)


def draw_identity(
    head: Head, generator: np.random.Generator, sex: Sex, age: float, amount: float = 0.75
) -> NDArray[np.float64]:
    """Mode weights [2, 100] for the left and the right half of a face, within +-LIMIT."""
    weights = generator.normal(size=MODES) * amount * np.exp(-np.arange(MODES) / 70.0)
    male = landmark_direction(head, _MALE)
    weights += male * ((1.1 if sex == "male" else -1.3) + generator.normal() * 0.35 - weights @ male)
    weights += landmark_direction(head, _OLD) * (age - 40.0) / 30.0
    apart = generator.normal(size=MODES) * LEFT_RIGHT * np.exp(-np.arange(MODES) / 70.0)
    both = np.stack([weights + 0.5 * apart, weights - 0.5 * apart])
    return np.clip(both, -LIMIT, LIMIT)


def shape_of(head: Head, identity: Floats) -> Floats:
    """[26719, 3] cm of a neutral face whose halves have the given modes [2, 100], blended over 6 cm in the middle."""
    left = smoothstep(-3.0, 3.0, head.mean[:, 0])[:, None]
    halves = [np.tensordot(modes, head.source.identity, 1) for modes in identity]
    shape: Floats = head.mean + left * halves[0] + (1.0 - left) * halves[1]
    return shape


def draw_traits(seed: int) -> Traits:
    """Age, sex and colours of the person of that seed; skin, hair and eyes go together as they do in people."""
    g = np.random.default_rng([seed, zlib.crc32(b"traits")])
    sex: Sex = "female" if g.random() < 0.5 else "male"
    age = float(np.clip(g.gamma(6.0, 6.5), *AGES))
    skin = float(g.uniform(0.0, 1.0))
    dark = skin > 0.5
    melanin = g.uniform(0.90, 1.0) if dark or g.random() < 0.3 else g.uniform(0.45, 0.9)
    greying = np.clip((age - 38.0) / 35.0, 0.0, 1.0) * g.uniform(0.2, 1.0)
    irises: tuple[Colour, ...] = (
        (0.040, 0.020, 0.009),
        (0.075, 0.040, 0.016),
        (0.085, 0.090, 0.045),
        (0.085, 0.120, 0.150),
        (0.110, 0.125, 0.130),
    )
    chance = (0.75, 0.25, 0.0, 0.0, 0.0) if dark else (0.2, 0.25, 0.2, 0.25, 0.1)
    iris = np.array(irises[g.choice(len(irises), p=chance)]) * g.uniform(0.8, 1.25)
    return Traits(
        seed=seed,
        sex=sex,
        age=round(age, 1),
        skin=round(skin, 3),
        hair_melanin=round(float(melanin), 3),
        hair_redness=round(float(g.uniform(0.05, 0.2) if melanin > 0.85 else g.uniform(0.1, 0.7)), 3),
        grey=round(float(greying), 3),
        iris=(round(float(iris[0]), 4), round(float(iris[1]), 4), round(float(iris[2]), 4)),
        teeth_shade=round(float(np.clip(g.beta(2.0, 2.5) + (age - 40.0) / 150.0, 0.0, 1.0)), 3),
        lip_redness=round(float(g.beta(1.2, 2.0) if sex == "female" else g.beta(1.2, 6.0)), 3),
        freckles=round(float(max(0.0, g.normal(0.1, 0.4)) * (1.0 - skin)), 3),
        warmth=round(float(g.uniform(0.04, 0.18)), 3),
        lids=round(float(g.uniform(0.25, 0.33)), 3),
    )


def make_person(head: Head, seed: int, traits: Traits | None = None) -> Person:
    """The person of that seed; `traits` (of any seed) override what the seed would draw."""
    traits = traits or draw_traits(seed)
    g = np.random.default_rng([seed, zlib.crc32(b"identity")])
    identity = draw_identity(head, g, traits.sex, traits.age)
    aged = max(0.0, (traits.age - 45.0) / 30.0)
    uneven = g.normal(size=4) * 0.25
    w = traits.warmth
    relaxed = head.named_displacement(
        mouthSmileLeft=w * (1.0 + uneven[0]),
        mouthSmileRight=w * (1.0 - uneven[0]),
        mouthPress=0.06,
        cheekSquint=0.5 * w,
        eyeSquint=0.10 + 0.10 * aged,
        browDownLeft=max(0.0, 0.10 * uneven[1] + 0.08 * aged),
        browDownRight=max(0.0, -0.10 * uneven[1] + 0.08 * aged),
        mouthFrown=0.10 * aged,
    )
    rest = shape_of(head, identity) + relaxed
    for side in ("Left", "Right"):
        opening, way = _opening(head, rest, side), _closing(head, rest, side)
        lowered = max(0.0, 1.0 - traits.lids / opening) * way
        rest = rest + head.named_displacement(**{f"eyeBlink{side}": lowered})
    return Person(head, traits, identity, rest, (_closing(head, rest, "Left"), _closing(head, rest, "Right")))


def _lid_lines(side: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Landmarks of the upper and the lower lid of one side."""
    if side == "Left":
        return topology.LEFT_EYE_UPPER, topology.LEFT_EYE_LOWER
    return topology.RIGHT_EYE_UPPER, topology.RIGHT_EYE_LOWER


def _opening(head: Head, vertices: Floats, side: str) -> float:
    """Height over width of the opening between the lids of one side, seen from the front."""
    points = head.landmarks(vertices)
    upper, lower = (points[list(line)] for line in _lid_lines(side))
    return float((upper[3:6, 1] - lower[3:6, 1]).mean() / np.ptp(upper[:, 0]))


def _closing(head: Head, rest: Floats, side: str) -> float:
    """Weight of eyeBlink that brings the middle of one upper lid down to the lower one."""
    upper, lower = _lid_lines(side)
    open_, closed = (
        (points[list(upper[3:6]), 1] - points[list(lower[3:6]), 1]).mean()
        for points in (
            head.landmarks(rest),
            head.landmarks(rest + head.named_displacement(**{f"eyeBlink{side}": 1.0})),
        )
    )
    return float(np.clip(open_ / (open_ - closed), 0.5, 2.0))
