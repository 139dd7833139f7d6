"""The Blender scene: what a person is made of in it, and moving that from frame to frame without building it again.

Needs bpy. ICT-FaceKit's centimetres (x left, y up, z to the viewer) become Blender's metres (z up, y away).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from export.face.people.person import Person
from export.face.people.strands import Strands

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def to_scene(points: Floats) -> NDArray[np.float32]:
    """Points [..., 3] of the head's axes in the scene's."""
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    return (np.stack([x, -z, y], axis=-1) * 0.01).astype(np.float32)


class Scene:
    """An empty scene that learns what moves: every `add_...` shows the person at rest, `show` another face."""

    def __init__(self) -> None:
        bpy.ops.wm.read_factory_settings(use_empty=True)
        self._corrections: list[Callable[[Floats, NDArray[np.floating]], Floats]] = []
        self._moving: list[Callable[[Person, NDArray[np.floating], Floats], None]] = []

    def add_mesh(
        self, name: str, points: Floats, polygons: Ints, material: Any, attributes: dict[str, Floats] | None = None
    ) -> Any:
        """A smooth-shaded mesh that stays where it is.

        Args:
            name: of the object.
            points: [V, 3] cm in the head's axes.
            polygons: [P, 3 or 4]; -1 in the last column marks a triangle.
            material: a Blender material.
            attributes: arrays [V] (number), [V, 3] (vector) or [V, 4] (colour) for the material, by name.

        Returns:
            The Blender object.
        """
        mesh = bpy.data.meshes.new(name)
        sides = (polygons >= 0).sum(1).astype(np.int32)
        loops = polygons[polygons >= 0].astype(np.int32)
        mesh.vertices.add(len(points))
        mesh.vertices.foreach_set("co", to_scene(points).ravel())
        mesh.loops.add(len(loops))
        mesh.loops.foreach_set("vertex_index", loops)
        mesh.polygons.add(len(polygons))
        starts = np.concatenate([[0], np.cumsum(sides)[:-1]]).astype(np.int32)
        mesh.polygons.foreach_set("loop_start", starts)
        mesh.polygons.foreach_set("use_smooth", np.ones(len(polygons), dtype=bool))
        mesh.update(calc_edges=True)
        mesh.materials.append(material)
        for key, values in (attributes or {}).items():
            kind, field = {1: ("FLOAT", "value"), 3: ("FLOAT_VECTOR", "vector"), 4: ("FLOAT_COLOR", "color")}[
                1 if values.ndim == 1 else values.shape[1]
            ]
            mesh.attributes.new(key, kind, "POINT").data.foreach_set(
                field, np.ascontiguousarray(values, dtype=np.float32).ravel()
            )
        thing = bpy.data.objects.new(name, mesh)
        bpy.context.scene.collection.objects.link(thing)
        return thing

    def add_moving_mesh(
        self,
        name: str,
        person: Person,
        place: Callable[[Floats, NDArray[np.floating]], Floats],
        polygons: Ints,
        material: Any,
        attributes: dict[str, Floats] | None = None,
    ) -> Any:
        """A mesh whose points [V, 3], cm, are `place(vertices of the face, PARAMETERS)`."""
        thing = self.add_mesh(name, place(person.rest, np.zeros(73, dtype=np.float32)), polygons, material, attributes)

        def move(person: Person, parameters: NDArray[np.floating], vertices: Floats) -> None:
            thing.data.vertices.foreach_set("co", to_scene(place(vertices, parameters)).ravel())
            thing.data.update()

        self._moving.append(move)
        return thing

    def add_curves(self, name: str, points: Floats, radius: Floats, material: Any) -> Any:
        """Hair [N, K, 3], cm, that stays where it is; radius [N] at the root, cm."""
        count, length, _ = points.shape
        curves = bpy.data.hair_curves.new(name)
        curves.add_curves([length] * count)
        curves.attributes["position"].data.foreach_set("vector", to_scene(points).ravel())
        taper = np.linspace(1.0, 0.4, length)[None] * np.asarray(radius)[:, None] * 0.01
        field = curves.attributes.get("radius") or curves.attributes.new("radius", "FLOAT", "POINT")
        field.data.foreach_set("value", taper.astype(np.float32).ravel())
        curves.materials.append(material)
        thing = bpy.data.objects.new(name, curves)
        bpy.context.scene.collection.objects.link(thing)
        return thing

    def add_strands(self, name: str, person: Person, strands: Strands, material: Any, moves: bool = True) -> Any:
        """Hair that grows from the skin; with `moves` it follows the face, else it stays as on the rest face."""
        return self.add_moving_curves(
            name,
            person,
            lambda vertices, _: strands.posed(vertices, person.rest),
            strands.radius,
            material,
            moves=moves,
        )

    def add_moving_curves(
        self,
        name: str,
        person: Person,
        place: Callable[[Floats, NDArray[np.floating]], Floats],
        radius: Floats,
        material: Any,
        moves: bool = True,
    ) -> Any:
        """Hair whose points [N, K, 3], cm, are `place(vertices of the face, PARAMETERS)`."""
        thing = self.add_curves(name, place(person.rest, np.zeros(73, dtype=np.float32)), radius, material)

        def move(person: Person, parameters: NDArray[np.floating], vertices: Floats) -> None:
            thing.data.attributes["position"].data.foreach_set("vector", to_scene(place(vertices, parameters)).ravel())
            thing.data.update_tag()

        if moves:
            self._moving.append(move)
        return thing

    def correct(self, correction: Callable[[Floats, NDArray[np.floating]], Floats]) -> None:
        """From now on, `show` passes the vertices [26719, 3] through `correction(vertices, PARAMETERS)`."""
        self._corrections.append(correction)

    def show(self, person: Person, parameters: NDArray[np.floating]) -> Floats:
        """Move all that moves to PARAMETERS [73]; returns the face's vertices [26719, 3], cm."""
        vertices = person.posed(parameters)
        for correction in self._corrections:
            vertices = correction(vertices, parameters)
        for move in self._moving:
            move(person, parameters, vertices)
        return vertices
