"""The ready avatars: who they are, and the command that renders their portraits.

    python -m export.face.people.ready --ict-facekit ict_facekit.npz leo nia     # into the avatar store, as JPEG

A portrait takes one to three minutes on two quiet cores. Needs the extra `people`, and Blender as its comment in
pyproject.toml says (Python 3.11).
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from export.face.face_model_source import add_source_argument, chosen_source
from export.face.people.clothes import Outfit
from export.face.people.hair import HairStyle
from export.face.people.head import Head
from export.face.people.person import Person, Sex, draw_traits, make_person
from export.face.people.room import ROOMS

AVATARS: Final = Path(__file__).resolve().parents[3] / "model_repository" / "avatar_store" / "avatars"

OVERSAMPLED: Final = 768
"""px that portraits are rendered at; the avatar builder takes them down to 512."""


@dataclass(frozen=True)
class Ready:
    """One ready avatar: a seed, and what was chosen by eye instead of by chance."""

    seed: int
    sex: Sex
    age: float
    skin: float
    hair: HairStyle
    outfit: Outfit
    room: str
    key_side: float
    """-1: the main light stands to the person's right, 1: to the left."""
    surrounding: str = "interior"
    """Panorama that lights the person where the lamps do not."""
    turn: float = 0.0
    """rad of that panorama about the vertical."""
    kelvin: float = 5200.0
    """Of the main light."""
    stops: float = 0.5
    focal_mm: float = 90.0
    traits: dict[str, Any] = field(default_factory=dict)
    """Fields of person.Traits that were chosen, too."""
    jaw: float = 0.0
    """Weight of jawOpen in the rest face: a little below 0 closes lips that this person's shape leaves apart."""


READY: Final[dict[str, Ready]] = {
    "leo": Ready(
        seed=22,
        sex="male",
        age=33.0,
        skin=0.42,
        hair=HairStyle("short", "stubble", parting=2.4),
        outfit=Outfit("shirt", (0.12, 0.18, 0.30)),
        room="curtains",
        key_side=1.0,
        traits={"hair_melanin": 0.94, "hair_redness": 0.20, "warmth": 0.34, "lids": 0.28},
    ),
    "nia": Ready(
        seed=23,
        sex="female",
        age=33.0,
        skin=0.80,
        hair=HairStyle("curls", length=0.62),
        outfit=Outfit("shirt", (0.43, 0.44, 0.46)),
        room="quay",
        key_side=-1.0,
        stops=0.5,
        jaw=-0.03,
        traits={"hair_melanin": 0.98, "hair_redness": 0.10, "warmth": 0.32, "lids": 0.29, "grey": 0.0},
    ),
    "otto": Ready(
        seed=24,
        sex="male",
        age=67.0,
        skin=0.15,
        hair=HairStyle("receding", parting=2.4),
        outfit=Outfit("shirt", (0.060, 0.055, 0.055)),
        room="trees",
        key_side=-1.0,
        stops=0.45,
        jaw=-0.012,
        traits={"hair_melanin": 0.92, "hair_redness": 0.05, "grey": 0.78, "warmth": 0.36, "lids": 0.26},
    ),
    "mei": Ready(
        seed=36,
        sex="female",
        age=46.0,
        skin=0.34,
        hair=HairStyle("bob", parting=-2.0, density=1.25),
        outfit=Outfit("jumper", (0.16, 0.045, 0.05)),
        room="hall",
        key_side=1.0,
        stops=0.5,
        jaw=-0.015,
        traits={"hair_melanin": 0.96, "hair_redness": 0.10, "grey": 0.0, "warmth": 0.34, "lids": 0.285},
    ),
    "tunde": Ready(
        seed=38,
        sex="male",
        age=40.0,
        skin=0.92,
        hair=HairStyle("coils", "short", length=0.5),
        outfit=Outfit("jumper", (0.045, 0.085, 0.070)),
        room="street",
        key_side=1.0,
        stops=0.1,
        jaw=-0.035,
        traits={
            "hair_melanin": 0.99,
            "hair_redness": 0.02,
            "lip_redness": 0.0,
            "grey": 0.0,
            "warmth": 0.42,
            "lids": 0.275,
        },
    ),
}


def ready_person(head: Head, ready: Ready) -> Person:
    """The person at rest, without Blender."""
    traits = dataclasses.replace(draw_traits(ready.seed), sex=ready.sex, age=ready.age, skin=ready.skin, **ready.traits)
    person = make_person(head, ready.seed, traits)
    return dataclasses.replace(person, rest=person.rest + head.named_displacement(jawOpen=ready.jaw))


def render_portrait(head: Head, ready: Ready, path: Path, size: int, samples: int, threads: int) -> None:
    """Render a ready person, size x size px, as JPEG (or PNG, by the path's suffix). Needs bpy."""
    import bpy
    import cv2

    from export.face.people.camera import place_camera
    from export.face.people.light import Lamp, Light
    from export.face.people.portrait import Portrait, Quality
    from export.face.people.room import add_room

    person = ready_person(head, ready)
    side = ready.key_side
    lamps = (
        Lamp(0.75 * side, 0.55, 1.3, 0.9, 22.0, ready.kelvin),
        Lamp(-0.90 * side, 0.05, 1.4, 1.2, 4.5, 6500.0),
        Lamp(-2.50 * side, 0.50, 1.2, 0.6, 3.5, 5000.0),
        Lamp(2.60 * side, 0.40, 1.2, 0.6, 2.0, 6500.0),
    )
    look = "AgX - Medium High Contrast"
    light = Light(lamps, ready.surrounding, ready.turn, 0.45, "none", (0.0, 0.0, 0.0), ready.stops, look)
    portrait = Portrait(
        person,
        place_camera(person, ready.focal_mm),
        light,
        Quality(photo_samples=samples, threads=threads),
        hair=ready.hair,
        outfit=ready.outfit,
    )
    scene = bpy.context.scene
    add_room(scene.camera, person, ready.room, scene.view_settings.exposure)
    scene.render.resolution_x = scene.render.resolution_y = size
    with tempfile.TemporaryDirectory() as folder:
        rendered = Path(folder) / "portrait.png"
        portrait.photo(rendered)
        picture = cv2.imread(str(rendered))
    if picture is None or not cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, 95]):
        raise OSError(f"{path}: the picture could not be written")


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m export.face.people.ready", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(READY)}; all if none is given")
    add_source_argument(parser)
    parser.add_argument("--out", type=Path, default=AVATARS, help="folder for NAME.jpg (default: the avatar store)")
    parser.add_argument("--size", type=int, default=OVERSAMPLED, help="px (default: %(default)s)")
    parser.add_argument("--samples", type=int, default=48, help="paths per px (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(READY))
    if unknown:
        parser.error(f"NAME: expected {', '.join(READY)}, got {', '.join(unknown)}")
    if not 64 <= options.size <= 2048:
        parser.error(f"--size is {options.size}, expected 64 to 2048")
    head = Head(chosen_source(parser, options))
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.names or READY:
        path = options.out / f"{name}.jpg"
        render_portrait(head, READY[name], path, options.size, options.samples, options.threads)
        print(f"{path}: rendered", flush=True)
    return 0


assert all(ready.room in ROOMS for ready in READY.values())

if __name__ == "__main__":
    sys.exit(main())
