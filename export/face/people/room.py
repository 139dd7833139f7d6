"""What is behind a person: out of focus, so that nothing in it can be read.

The rooms are crops of the panoramas that come with Blender (Greg Zaal, Poly Haven, CC0), thrown out of focus in linear
light, so that lamps and gaps in leaves become discs as they do behind a portrait lens. They hang behind the person
where only the camera sees them: the light on the face is light.py's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.signal import fftconvolve

from export.face.people.person import Person

Floats = NDArray[np.float32]

SIZE: Final = 640
"""px of the backdrop; it is as blurred as the picture allows."""

DISTANCE_CM: Final = 300.0
"""How far behind the face it hangs."""


@dataclass(frozen=True)
class Room:
    """A part of a panorama."""

    panorama: str
    """Stem of a file in Blender's studiolights/world."""
    azimuth: float
    """Degrees of the panorama that the picture's middle shows, 0..360 from its left border."""
    elevation: float
    """Degrees above the horizon."""
    width: float
    """Degrees that the picture spans."""
    blur: float
    """Radius of a light point's disc, as a share of the picture's width."""
    brightness: float
    """Median of the backdrop's linear luminance."""


ROOMS: Final[dict[str, Room]] = {
    "desk": Room("interior", 190.0, 2.0, 56.0, 0.030, 0.17),
    "curtains": Room("interior", 252.0, 5.0, 60.0, 0.030, 0.20),
    "bedroom": Room("interior", 276.0, 5.0, 56.0, 0.030, 0.16),
    "hall": Room("interior", 20.0, 3.0, 58.0, 0.030, 0.20),
    "garden": Room("forest", 46.0, 9.0, 62.0, 0.034, 0.14),
    "trees": Room("forest", 110.0, 5.0, 58.0, 0.034, 0.13),
    "yard": Room("courtyard", 256.0, 3.0, 60.0, 0.032, 0.17),
    "street": Room("city", 330.0, 4.0, 60.0, 0.032, 0.20),
    "quay": Room("sunset", 24.0, 3.0, 62.0, 0.032, 0.19),
    "studio": Room("studio", 205.0, 2.0, 60.0, 0.060, 0.09),
}


def default_room(person: Person) -> str:
    """A room's name drawn from the seed."""
    names = sorted(ROOMS)
    return names[person.generator("room").integers(len(names))]


def crop_panorama(panorama: Floats, room: Room, size: int = SIZE) -> Floats:
    """The room as a pinhole camera sees it, not blurred.

    Args:
        panorama: [H, 2H, 3] linear RGB, equirectangular, top row is the zenith.
        room: which part.
        size: px of the square picture.

    Returns:
        [size, size, 3].
    """
    half = np.tan(np.radians(room.width) / 2.0)
    across = np.linspace(-half, half, size)
    x, y = np.meshgrid(across, -across)
    tilt = np.radians(room.elevation)
    up = y * np.cos(tilt) + np.sin(tilt)
    ahead = np.cos(tilt) - y * np.sin(tilt)
    longitude = np.degrees(np.arctan2(x, ahead)) + room.azimuth
    latitude = np.degrees(np.arctan2(up, np.hypot(x, ahead)))
    height, width = panorama.shape[:2]
    row = (90.0 - latitude) / 180.0 * height - 0.5
    column = (longitude / 360.0 * width - 0.5) % width
    channels = [map_coordinates(panorama[..., c], [row, column], order=1, mode="grid-wrap") for c in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def defocus(picture: Floats, radius: float, limit: float = 24.0) -> Floats:
    """Blur with a soft-edged disc of `radius` px; lights brighter than `limit` medians are held there."""
    luminance = picture.mean(-1)
    picture = np.minimum(picture, limit * max(float(np.median(luminance)), 1e-4))
    reach = int(np.ceil(radius)) + 3
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.clip(radius + 0.5 - np.hypot(x, y), 0.0, 1.0)
    disc = gaussian_filter(disc, 1.2)
    disc /= disc.sum()
    padded = np.pad(picture, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    blurred = np.stack([fftconvolve(padded[..., c], disc, mode="valid") for c in range(3)], axis=-1)
    kept: Floats = np.maximum(blurred, 0.0).astype(np.float32)
    return kept


def paint_room(panorama: Floats, room: Room, size: int = SIZE) -> Floats:
    """The backdrop [size, size, 3] linear RGB, blurred, its median luminance as the room says."""
    picture = defocus(crop_panorama(panorama, room, size), room.blur * size)
    painted: Floats = picture * np.float32(room.brightness / max(float(np.median(picture.mean(-1))), 1e-4))
    return painted


def read_panorama(stem: str) -> Floats:
    """[H, 2H, 3] linear RGB of one of Blender's panoramas. Needs bpy.

    Raises:
        FileNotFoundError: this Blender has no such panorama.
    """
    from pathlib import Path

    import bpy

    path = Path(bpy.utils.system_resource("DATAFILES")) / "studiolights" / "world" / f"{stem}.exr"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: this Blender has no panorama {stem!r}")
    image = bpy.data.images.load(str(path), check_existing=True)
    width, height = image.size
    pixels = np.empty(width * height * 4, dtype=np.float32)
    image.pixels.foreach_get(pixels)
    return np.ascontiguousarray(pixels.reshape(height, width, 4)[::-1, :, :3])


def add_room(camera: Any, person: Person, name: str | None = None, exposure: float = 0.0) -> str:
    """Hang a room behind the person, filling the view of a Blender camera object.

    Args:
        camera: Blender camera object, placed; its lens may be shifted.
        person: whose seed chooses, and may mirror, the room.
        name: one of ROOMS; drawn from the seed if None.
        exposure: stops that the scene is developed with; the room's brightness holds for the developed picture.

    Returns:
        The room's name.

    Raises:
        ValueError: there is no room of that name.
    """
    import bpy

    from export.face.people.shader import Shader

    name = name or default_room(person)
    if name not in ROOMS:
        raise ValueError(f"room: expected one of {', '.join(sorted(ROOMS))}, got {name!r}")
    room = ROOMS[name]
    picture = paint_room(read_panorama(room.panorama), room)
    if person.generator("room mirrored").random() < 0.5:
        picture = picture[:, ::-1]
    image = bpy.data.images.new(f"room {name}", SIZE, SIZE, float_buffer=True)
    image.colorspace_settings.name = "Linear Rec.709"
    rgba = np.concatenate([picture[::-1], np.ones((SIZE, SIZE, 1), dtype=np.float32)], axis=-1)
    image.pixels.foreach_set(np.ascontiguousarray(rgba, dtype=np.float32).ravel())
    image.pack()

    shader = Shader(f"room {name}")
    place = shader.node("TexCoord", {}, "UV")
    colour = shader.node("TexImage", {"Vector": place}, "Color", {"image": image, "extension": "EXTEND"})
    material = shader.surface(shader.node("Emission", {"Color": colour, "Strength": 2.0**-exposure}))

    lens = camera.data
    away = float(np.linalg.norm(np.array(camera.matrix_world.translation))) + DISTANCE_CM / 100.0
    across = away * lens.sensor_width / lens.lens
    mesh = bpy.data.meshes.new("room")
    half = 0.5 * 1.04 * across
    shift = np.array([lens.shift_x, lens.shift_y]) * across
    corners = np.array([[-half, -half], [half, -half], [half, half], [-half, half]]) + shift
    mesh.from_pydata([(x, y, -away) for x, y in corners.tolist()], [], [(0, 1, 2, 3)])
    layer = mesh.uv_layers.new(name="UV")
    layer.data.foreach_set("uv", np.array([0, 0, 1, 0, 1, 1, 0, 1], dtype=np.float32))
    mesh.materials.append(material)
    thing = bpy.data.objects.new("room", mesh)
    bpy.context.scene.collection.objects.link(thing)
    thing.matrix_world = camera.matrix_world.copy()
    for ray in ("diffuse", "glossy", "transmission", "volume_scatter", "shadow"):
        setattr(thing, f"visible_{ray}", False)
    return name
