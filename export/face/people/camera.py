"""Where the camera stands: the rest face comes to lie in the picture as in every avatar (EYES, MOUTH).

Picture coordinates are px of the 512 x 512 picture, x right, y down, a pixel's centre at +0.5.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from facestream.avatar.landmark_topology import LIP_OUTER
from facestream.contract import FRAME_SIZE
from numpy.typing import NDArray

from export.face.people.person import Person

Floats = NDArray[np.float64]

EYES: Final = (256.0, 205.0)
MOUTH: Final = (256.0, 305.0)
"""The same as in facestream.avatar.photo (a test holds them together), which loads OpenVINO: that one starts threads at
import, and Blender's modules then hang."""

SENSOR_MM: Final = 36.0
EYE_CORNERS: Final = (33, 133, 362, 263)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera in the head's axes (centimetres)."""

    focal_mm: float
    """Over a sensor 36 mm wide."""
    position: tuple[float, float, float]
    turn: tuple[tuple[float, float, float], ...]
    """[3][3] rows: the camera's right, up and backward axes."""
    centre: tuple[float, float]
    """px of the optical axis: away from the picture's middle where the lens is shifted."""
    plane_cm: float
    """Distance along the axis of the plane half-way between eyes and mouth."""

    @property
    def focal_px(self) -> float:
        """Focal length in px."""
        return self.focal_mm / SENSOR_MM * FRAME_SIZE

    def project(self, points: Floats) -> Floats:
        """px x, px y and depth [..., 3] of points [..., 3]; depth is px towards the viewer, 0 in the face's plane."""
        seen = (points - np.asarray(self.position)) @ np.asarray(self.turn).T
        away = -seen[..., 2]
        x = self.centre[0] + self.focal_px * seen[..., 0] / away
        y = self.centre[1] - self.focal_px * seen[..., 1] / away
        depth = (self.plane_cm - away) * self.focal_px / self.plane_cm
        return np.stack([x, y, depth], axis=-1)

    def description(self) -> dict[str, Any]:
        """What person.json says of it."""
        return asdict(self)


def draw_camera(person: Person) -> Camera:
    """The camera of a person: a portrait lens, nearly straight before the face."""
    g = person.generator("camera")
    focal = float(np.exp(g.uniform(np.log(50.0), np.log(120.0))))
    return place_camera(person, focal, yaw=float(g.normal(0.0, 0.03)), pitch=float(g.normal(0.0, 0.03)))


def place_camera(person: Person, focal_mm: float, yaw: float = 0.0, pitch: float = 0.0) -> Camera:
    """The camera of that focal length that sees the rest face's eyes at EYES and its mouth at MOUTH.

    Args:
        person: whose face.
        focal_mm: over a sensor 36 mm wide, 20 to 300.
        yaw: rad that the camera stands towards the person's left.
        pitch: rad that it stands above.

    Raises:
        ValueError: the focal length is out of range.
    """
    if not 20.0 <= focal_mm <= 300.0:
        raise ValueError(f"focal_mm is {focal_mm}, expected 20 to 300")
    landmarks = person.head.landmarks(person.rest)
    eyes, mouth = landmarks[list(EYE_CORNERS)], landmarks[list(LIP_OUTER)]
    target = 0.5 * (eyes.mean(0) + mouth.mean(0))
    backward = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    right = np.cross([0.0, 1.0, 0.0], backward)
    right /= np.linalg.norm(right)
    up = np.cross(backward, right)
    wanted = np.array(MOUTH) - np.array(EYES)
    distance, roll, middle = 60.0, 0.0, (FRAME_SIZE / 2.0, FRAME_SIZE / 2.0)
    for _ in range(30):
        turned = np.stack(
            [np.cos(roll) * right + np.sin(roll) * up, np.cos(roll) * up - np.sin(roll) * right, backward]
        )
        position = target + distance * backward
        camera = Camera(focal_mm, _triple(position), tuple(_triple(row) for row in turned), middle, distance)
        at_eyes, at_mouth = (camera.project(points)[:, :2].mean(0) for points in (eyes, mouth))
        seen = at_mouth - at_eyes
        distance *= float(np.linalg.norm(seen) / np.linalg.norm(wanted))
        roll += float(np.arctan2(seen[0], seen[1]) - np.arctan2(wanted[0], wanted[1]))
        middle = (middle[0] + EYES[0] - float(at_eyes[0]), middle[1] + EYES[1] - float(at_eyes[1]))
    return camera


def _triple(values: Floats) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
