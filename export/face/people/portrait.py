"""A person's portrait in Blender: everything that is built once, then frame after frame of the face or its window.

Needs bpy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import bpy
import cv2
import mathutils
import numpy as np
from facestream.contract import FRAME_SIZE
from numpy.typing import NDArray

from export.face.people import eyes, lashes, skin, teeth
from export.face.people.camera import SENSOR_MM, Camera
from export.face.people.clothes import Outfit, add_clothes
from export.face.people.eyes import Eyeball, EyeMesh, eye_attributes, eye_points, eyeballs
from export.face.people.hair import HairStyle, add_hair, default_style, hair_material
from export.face.people.light import Light, add_light
from export.face.people.person import Person
from export.face.people.scene import Scene
from export.face.people.subdivision import FinerMesh, subdivide

Floats = NDArray[np.float64]
Image = NDArray[np.uint8]

WINDOW: Final = (148, 160, 364, 440)
"""px of the 512 x 512 picture that expression frames show: left, top, right, bottom (the canvas and 12 px about it)."""

FACE: Final = (186, 150, 326, 350)
"""px whose mean brightness the exposure is set by."""


WHITE_BALANCE: Final = 0.7
"""How much of the light's colour a camera takes away: not all, evenings stay warm."""


@dataclass(frozen=True)
class Quality:
    """What a picture may cost."""

    photo_samples: int = 24
    frame_samples: int = 7
    threads: int = 2
    hair_density: float = 0.5
    """Factor on the number of scalp strands."""


class Portrait:
    """The scene of one person. Only one can exist at a time: Blender has one scene in a process."""

    def __init__(
        self,
        person: Person,
        camera: Camera,
        light: Light,
        quality: Quality,
        hair: HairStyle | None = None,
        outfit: Outfit | None = None,
    ) -> None:
        self.person, self.camera, self.light, self.quality = person, camera, light, quality
        self.scene = Scene()
        self._add_body()
        cover = add_clothes(self.scene, person, outfit)
        look = hair or default_style(person)
        add_hair(self.scene, person, replace(look, density=look.density * quality.hair_density), cover)
        add_light(light)
        add_camera(camera)
        self._settings()
        self.show(np.zeros(73, dtype=np.float32))
        self._expose()

    def show(self, parameters: NDArray[np.floating]) -> Floats:
        """Pose the face; returns its vertices [26719, 3], cm."""
        return self.scene.show(self.person, parameters)

    def photo(self, path: Path) -> None:
        """Render the whole picture, 512 x 512, into a PNG."""
        bpy.context.scene.render.use_border = False
        self._render(path, self.quality.photo_samples)

    def window(self, path: Path) -> None:
        """Render WINDOW alone, 216 x 280, into a PNG."""
        render = bpy.context.scene.render
        left, top, right, bottom = (edge / FRAME_SIZE for edge in WINDOW)
        render.use_border = render.use_crop_to_border = True
        render.border_min_x, render.border_max_x = left, right
        render.border_min_y, render.border_max_y = 1.0 - bottom, 1.0 - top
        self._render(path, self.quality.frame_samples)

    def _render(self, path: Path, samples: int) -> None:
        scene = bpy.context.scene
        scene.cycles.samples = samples
        part = path.with_name(f".{path.name}")
        scene.render.filepath = str(part)
        bpy.ops.render.render(write_still=True)
        part.replace(path)

    def _add_body(self) -> None:
        person, scene, head = self.person, self.scene, self.person.head
        scene.correct(eyes.lids_over_eyes(person))
        scene.correct(teeth.tongue_motion(person))

        mesh = skin.skin_mesh(head)
        paint = skin.paint_skin(person, mesh)
        attributes = {
            "albedo": np.c_[paint.albedo, np.ones(len(paint.albedo))],
            "roughness": paint.roughness,
            "wet": paint.wet,
            "relief": paint.relief,
            "wrinkles": paint.wrinkles,
            "rest": paint.rest,
        }
        self._add_part("skin", mesh, skin.skin_material(person), attributes)
        gums = teeth.gum_mesh(head)
        self._add_part("gums", gums, teeth.gum_material(), teeth.paint_gums(person, gums))
        enamel = teeth.tooth_mesh(head)
        self._add_part("teeth", enamel, teeth.tooth_material(), teeth.paint_teeth(person, enamel))
        tears = subdivide(head.polygons("tear_line"), len(head.mean), 1)
        self._add_part("tears", tears, eyes.tear_material(), {})

        pupil = float(person.generator("pupil").uniform(0.30, 0.52))
        material = eyes.eye_material(person, pupil)
        ball = eyes.eye_mesh()
        for eye in eyeballs(person):
            scene.add_moving_mesh(
                f"eye {eye.side}",
                person,
                partial(_eye_place, eye, ball),
                ball.polygons,
                material,
                eye_attributes(eye, ball),
            )
        lash = lashes.Lashes(person)
        scene.add_moving_curves("lashes", person, lash, lash.radius, hair_material(person, "lashes", grey=0.0))
        brows = hair_material(person, "brows", grey=0.5 * person.traits.grey)
        scene.add_strands("brows", person, lashes.grow_brows(person), brows)

    def _add_part(self, name: str, mesh: FinerMesh, material: Any, attributes: dict[str, Floats]) -> None:
        self.scene.add_moving_mesh(
            name, self.person, lambda vertices, _: mesh(vertices), mesh.polygons, material, attributes
        )

    def _settings(self) -> None:
        scene = bpy.context.scene
        render, cycles, view = scene.render, scene.cycles, scene.view_settings
        render.engine = "CYCLES"
        render.resolution_x = render.resolution_y = FRAME_SIZE
        render.resolution_percentage = 100
        render.image_settings.file_format = "PNG"
        render.image_settings.color_mode = "RGB"
        render.image_settings.compression = 50
        render.use_persistent_data = True
        render.threads_mode, render.threads = "FIXED", self.quality.threads
        cycles.device = "CPU"
        cycles.use_adaptive_sampling = False
        cycles.use_denoising = True
        cycles.denoiser = "OPENIMAGEDENOISE"
        cycles.denoising_input_passes = "RGB_ALBEDO_NORMAL"
        cycles.denoising_prefilter = "FAST"
        cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 5, 3, 2  # the mouth is lit by itself
        cycles.transmission_bounces, cycles.transparent_max_bounces = 4, 6
        cycles.caustics_reflective = cycles.caustics_refractive = False
        cycles.sample_clamp_indirect, cycles.sample_clamp_direct = 3.0, 12.0
        cycles.seed = 0
        view.view_transform, view.look = "AgX", self.light.look

    def _expose(self) -> None:
        """Make the face as bright as its skin should be in a portrait, and most of the light's colour white."""
        scene = bpy.context.scene
        view = scene.view_settings
        scene.render.resolution_percentage = 12
        view.view_transform, view.look = "Standard", "None"
        tone = skin.skin_tone(self.person.traits.skin)
        target = 0.21 * (float(tone.mean()) / 0.35) ** 0.45
        exposure, colour = 0.0, tone
        path = Path(bpy.app.tempdir) / "exposure.png"
        for _ in range(2):  # the second look is right where the first was clipped
            view.exposure = exposure
            scene.render.use_border = False
            self._render(path, 4)
            picture = cv2.imread(str(path))
            if picture is None:
                raise OSError(f"{path}: Blender wrote no picture")
            seen = picture[..., ::-1].astype(np.float64) / 255.0
            left, top, right, bottom = (round(edge * seen.shape[0] / FRAME_SIZE) for edge in FACE)
            linear = np.where(seen <= 0.04045, seen / 12.92, ((seen + 0.055) / 1.055) ** 2.4)
            colour = np.maximum(linear[top:bottom, left:right].mean((0, 1)), 1e-4)
            exposure += float(np.log2(target / colour.mean()))
        cast = (colour / tone) ** WHITE_BALANCE
        view.use_curve_mapping = True
        view.curve_mapping.white_level = tuple(float(c) for c in cast / cast.mean())
        view.exposure = exposure + self.light.stops
        scene.render.resolution_percentage = 100
        view.view_transform, view.look = "AgX", self.light.look


def _eye_place(eye: Eyeball, ball: EyeMesh, _: Floats, parameters: NDArray[np.floating]) -> Floats:
    return eye_points(eye, ball, parameters)


def add_camera(camera: Camera) -> Any:
    """Put the camera into the scene."""
    data = bpy.data.cameras.new("camera")
    data.sensor_fit, data.sensor_width, data.lens = "HORIZONTAL", SENSOR_MM, camera.focal_mm
    data.shift_x = (FRAME_SIZE / 2.0 - camera.centre[0]) / FRAME_SIZE
    data.shift_y = (camera.centre[1] - FRAME_SIZE / 2.0) / FRAME_SIZE
    data.clip_start = 0.02
    thing = bpy.data.objects.new("camera", data)
    to_scene = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    matrix = np.eye(4)
    matrix[:3, :3] = to_scene @ np.asarray(camera.turn).T
    matrix[:3, 3] = to_scene @ np.asarray(camera.position) * 0.01
    thing.matrix_world = mathutils.Matrix(matrix.tolist())
    bpy.context.scene.collection.objects.link(thing)
    bpy.context.scene.camera = thing
    return thing
