"""The compact parametric face: rest shape, identity modes and ARKit's shapes on fewer than 4,000 vertices.

`face_model.npz` is made by `python -m export.face.face_model` from ICT-FaceKit (MIT, see face_model.LICENSE.txt).
Axes of the model: x to the person's left (to the right of the picture), y up, z to the viewer; centimetres.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facestream.parameters import ARKIT

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

PATH = Path(__file__).with_name("face_model.npz")


@dataclass(frozen=True)
class FaceModel:
    """The model's arrays; V vertices, T triangles, E expression rows, M identity modes."""

    neutral: Floats
    """[V, 3] rest position, cm."""
    identity: Floats
    """[M, V, 3] displacement per standard deviation, cm; M = 60."""
    expression: Floats
    """[E, V, 3] displacement at full strength, cm; E = 54."""
    expression_names: tuple[str, ...]
    """Name of each expression row: ARKit's, but browInnerUp and cheekPuff are split into ...Left and ...Right."""
    triangles: Ints
    """[T, 3] counter-clockwise seen from outside."""
    part: NDArray[np.uint8]
    """[T] index into `part_names`."""
    part_names: tuple[str, ...]
    """face, head, mouth_socket, gums_upper, gums_lower, tongue, teeth_upper, teeth_lower, eye_left, eye_right."""
    landmark_vertices: Ints
    """[468, 3] the triangle (three vertices) that carries each MediaPipe landmark."""
    landmark_weights: Floats
    """[468, 3] its barycentric weights."""
    jaw_weight: Floats
    """[V] how far each vertex follows jawOpen, 0..1; teeth and gums of the lower jaw are above 0.1."""
    eye_centre: Floats
    """[2, 3] centre of the left and of the right eyeball at rest, cm."""
    eye_radius: Floats
    """[2] cm."""

    def row(self, name: str) -> int:
        """Expression row of that name; KeyError names what exists."""
        try:
            return self.expression_names.index(name)
        except ValueError:
            raise KeyError(f"no expression row {name!r}; rows: {', '.join(self.expression_names)}") from None

    def part_triangles(self, *names: str) -> Ints:
        """Triangles [t, 3] of the named parts."""
        unknown = set(names) - set(self.part_names)
        if unknown:
            raise KeyError(f"no part {sorted(unknown)}; parts: {', '.join(self.part_names)}")
        return self.triangles[np.isin(self.part, [self.part_names.index(name) for name in names])]

    def part_vertices(self, *names: str) -> Ints:
        """Sorted indices of the vertices that the named parts use."""
        return np.unique(self.part_triangles(*names))

    def shape(self, identity: Floats, expression: Floats) -> Floats:
        """Positions [V, 3], cm, for identity weights [M' <= M] and expression weights [E]."""
        moved: Floats = self.neutral + np.tensordot(identity, self.identity[: len(identity)], 1)
        moved = moved + np.tensordot(expression, self.expression, 1)
        return moved.astype(np.float32)

    def landmarks(self, vertices: NDArray[np.floating]) -> NDArray[np.floating]:
        """The 468 landmark points [..., 468, 3] of vertex positions [..., V, 3], in the same unit."""
        corners = vertices[..., self.landmark_vertices, :]
        points: NDArray[np.floating] = (corners * self.landmark_weights[..., None].astype(vertices.dtype)).sum(-2)
        return points

    def arkit_matrix(self) -> Floats:
        """[52, E] constant map: expression weights = ARKit weights @ arkit_matrix()."""
        matrix = np.zeros((len(ARKIT), len(self.expression_names)), dtype=np.float32)
        for index, parameter in enumerate(ARKIT):
            for name in (parameter.name, parameter.name + "Left", parameter.name + "Right"):
                if name in self.expression_names:
                    matrix[index, self.row(name)] = 1.0
        return matrix


@cache
def load_face_model(path: Path = PATH) -> FaceModel:
    """Read and dequantise the model (once for each path).

    Raises:
        FileNotFoundError: the file is missing: it is part of the package, or comes from export.face.face_model.
    """
    if not path.is_file():
        raise FileNotFoundError(f"face model {path} is missing; make it with: python -m export.face.face_model")
    with np.load(path, allow_pickle=False) as data:
        return FaceModel(
            neutral=data["neutral"],
            identity=data["identity"] * data["identity_scale"][:, None, None],
            expression=data["expression"] * data["expression_scale"][:, None, None],
            expression_names=tuple(str(name) for name in data["expression_names"]),
            triangles=data["triangles"].astype(np.int64),
            part=data["part"],
            part_names=tuple(str(name) for name in data["part_names"]),
            landmark_vertices=data["landmark_vertices"].astype(np.int64),
            landmark_weights=data["landmark_weights"],
            jaw_weight=data["jaw_weight"],
            eye_centre=data["eye_centre"],
            eye_radius=data["eye_radius"],
        )
