"""Light on a portrait: a key, a fill, a rim, a weak one by the camera, and a surrounding, drawn by chance.

Needs bpy (the surroundings are the studio pictures that come with it, CC0).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import bpy
import mathutils
import numpy as np
from numpy.typing import NDArray

from export.face.people.person import Person

Floats = NDArray[np.float64]
Backdrop = Literal["surrounding", "wall", "none"]

SURROUNDINGS: Final = ("city", "courtyard", "forest", "interior", "night", "studio", "sunrise", "sunset")


@dataclass(frozen=True)
class Lamp:
    """An area light that looks at the face."""

    azimuth: float
    """rad towards the person's left."""
    elevation: float
    """rad above the face."""
    distance_m: float
    size_m: float
    watt: float
    kelvin: float


@dataclass(frozen=True)
class Light:
    """All light of a portrait."""

    lamps: tuple[Lamp, ...]
    surrounding: str
    turn: float
    """rad of the surrounding about the vertical."""
    strength: float
    backdrop: Backdrop
    wall: tuple[float, float, float]
    """Linear RGB of the wall, where there is one."""
    stops: float
    """Exposure beside the usual one for this skin."""
    look: str
    """Blender's tone curve."""

    def description(self) -> dict[str, Any]:
        """What person.json says of it."""
        return asdict(self)


def blackbody(kelvin: float) -> Floats:
    """Linear RGB [3] of a lamp of that temperature beside daylight of 6500 K, green 1; a fit for 2500 to 10000 K."""
    mired = 1.0e6 / kelvin - 1.0e6 / 6500.0
    return np.array([np.exp(0.0032 * mired), 1.0, np.exp(-0.0052 * mired)])


def draw_light(person: Person, backdrop: Backdrop | None = None) -> Light:
    """The light of a person's portrait."""
    g = person.generator("light")
    side = 1.0 if g.random() < 0.5 else -1.0
    daylight = g.uniform(3200.0, 7500.0)
    key = Lamp(
        azimuth=side * g.uniform(0.1, 1.15),
        elevation=g.uniform(0.1, 0.95),
        distance_m=1.3,
        size_m=float(np.exp(g.uniform(np.log(0.2), np.log(1.3)))),
        watt=22.0,
        kelvin=daylight,
    )
    fill = Lamp(-side * g.uniform(0.3, 1.2), g.uniform(-0.4, 0.4), 1.4, 1.2, g.uniform(0.5, 9.0), g.uniform(3500, 8000))
    rim = Lamp(-side * g.uniform(2.2, 2.9), g.uniform(0.2, 0.8), 1.2, 0.6, g.uniform(0.0, 12.0), g.uniform(3000, 9000))
    # whoever photographs a face sees to it that the mouth and the eyes are not black
    front = Lamp(
        float(g.normal(0.0, 0.15)), float(g.uniform(-0.1, 0.25)), 1.5, 0.5, float(g.uniform(2.0, 6.0)), daylight
    )
    lamps = (key, fill, rim, front) if g.random() < 0.8 else (fill, front)
    chosen = backdrop or ("surrounding" if g.random() < 0.6 else "wall")
    grey = g.uniform(0.03, 0.6) * np.exp(g.normal(0.0, 0.15, 3))
    return Light(
        lamps=lamps,
        surrounding=str(g.choice(SURROUNDINGS)),
        turn=float(g.uniform(0.0, 2.0 * np.pi)),
        strength=float(g.uniform(0.15, 0.9) if len(lamps) > 2 else g.uniform(0.8, 1.4)),
        backdrop=chosen,
        wall=(float(grey[0]), float(grey[1]), float(grey[2])),
        stops=float(g.normal(0.0, 0.25)),
        look=str(g.choice(("AgX - Medium High Contrast", "AgX - Base Contrast", "AgX - High Contrast"))),
    )


def add_light(light: Light, target: tuple[float, float, float] = (0.0, -0.10, 0.01)) -> None:
    """Put lamps, surrounding and wall into the scene; `target` is where the face is, metres of the scene."""
    scene = bpy.context.scene
    for lamp in light.lamps:
        data = bpy.data.lights.new("lamp", "AREA")
        data.energy, data.size, data.color = lamp.watt, lamp.size_m, tuple(blackbody(lamp.kelvin))
        thing = bpy.data.objects.new("lamp", data)
        flat = lamp.distance_m * np.cos(lamp.elevation)
        thing.location = (
            target[0] + flat * np.sin(lamp.azimuth),
            target[1] - flat * np.cos(lamp.azimuth),
            target[2] + lamp.distance_m * np.sin(lamp.elevation),
        )
        thing.rotation_euler = (mathutils.Vector(target) - thing.location).to_track_quat("-Z", "Y").to_euler()
        thing.visible_camera = False
        scene.collection.objects.link(thing)

    world = bpy.data.worlds.new("surrounding")
    scene.world = world
    world.use_nodes = True
    tree = world.node_tree
    background = tree.nodes["Background"]
    background.inputs["Strength"].default_value = light.strength
    picture = tree.nodes.new("ShaderNodeTexEnvironment")
    picture.image = bpy.data.images.load(str(surroundings_folder() / f"{light.surrounding}.exr"), check_existing=True)
    turn = tree.nodes.new("ShaderNodeMapping")
    turn.inputs["Rotation"].default_value = (0.0, 0.0, light.turn)
    place = tree.nodes.new("ShaderNodeTexCoord")
    tree.links.new(place.outputs["Generated"], turn.inputs["Vector"])
    tree.links.new(turn.outputs["Vector"], picture.inputs["Vector"])
    tree.links.new(picture.outputs["Color"], background.inputs["Color"])

    if light.backdrop == "wall":
        material = bpy.data.materials.new("wall")
        material.use_nodes = True
        surface = material.node_tree.nodes["Principled BSDF"]
        surface.inputs["Base Color"].default_value = (*light.wall, 1.0)
        surface.inputs["Roughness"].default_value = 0.9
        bpy.ops.mesh.primitive_plane_add(size=8.0, location=(0.0, 1.6, 0.0), rotation=(np.pi / 2.0, 0.0, 0.0))
        bpy.context.object.data.materials.append(material)


def surroundings_folder() -> Path:
    """Where bpy keeps its studio pictures.

    Raises:
        FileNotFoundError: this bpy has none.
    """
    root = Path(bpy.utils.resource_path("LOCAL")).parent
    for folder in sorted(root.glob("*/datafiles/studiolights/world")):
        return folder
    raise FileNotFoundError(f"{root}: no datafiles/studiolights/world; expected the bpy wheel of Blender 4.5")
