"""Fit the face model to the landmarks of one portrait."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class FaceFit:
    """The face model, posed and shaped to a portrait. Pixel frame: x right, y down, z towards the viewer."""

    photo: NDArray[np.uint8]
    """[512, 512, 3] RGB, aligned (see facestream.avatar.photo)."""
    landmarks: NDArray[np.float32]
    """[478, 3] px."""
    vertices: NDArray[np.float32]
    """[V, 3] px: the model's vertices as the photo shows them."""
    scale: float
    """Pixels per centimetre."""
    rotation: NDArray[np.float32]
    """[3, 3]: a displacement d (cm, model axes) moves a vertex by `scale * d @ rotation * [1, -1, 1]` px."""
    pivot: NDArray[np.float32]
    """[3] px: the point in the neck about which the head turns."""
    expression: NDArray[np.float32]
    """[E] weights of the photo's own expression, in the rows of the face model."""
