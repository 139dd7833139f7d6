"""Which surface point a landmark shows: wrong ones put every avatar's lips and lids beside the photo's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from facestream.avatar import landmark_topology as topology
from facestream.avatar.face_model import load_face_model

from export.face.calibrate_landmarks import (
    Views,
    calibrate,
    landmark_error,
    mirror_pairs,
    mirrored,
    picture_scale,
    read_views,
)

MODEL = load_face_model()
SHAPES = MODEL.landmarks(MODEL.neutral.astype(np.float64))


def pairs() -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return mirror_pairs(np.stack([SHAPES * [1.0, -1.0, 1.0]] * 2))


def views(count: int, noise: float = 0.0) -> Views:
    """Faces of the model itself with random poses and expressions; the landmarks are its own table's, with noise."""
    chance = np.random.default_rng(0)
    vertices, landmarks = [], []
    for _ in range(count):
        expression = (chance.random(len(MODEL.expression)) < 0.2) * chance.random(len(MODEL.expression))
        shape = MODEL.shape(chance.normal(size=20).astype(np.float32), expression.astype(np.float32)).astype(np.float64)
        yaw, pitch = chance.uniform(-0.25, 0.25, 2)
        x = np.cos(yaw) * shape[:, 0] + np.sin(yaw) * shape[:, 2]
        z = np.cos(yaw) * shape[:, 2] - np.sin(yaw) * shape[:, 0]
        seen = np.stack([x, -(np.cos(pitch) * shape[:, 1] - np.sin(pitch) * z)], axis=1)
        vertices.append(seen)
        landmarks.append(MODEL.landmarks(seen) + noise * chance.normal(size=(topology.MESH_POINTS, 2)))
    return Views(("someone",) * count, np.array(vertices), np.array(landmarks), np.ones(count), pairs())


def test_landmarks_are_paired_with_the_other_side() -> None:
    """A pair wrongly made would mix cheek and ear in both."""
    partner = pairs()
    assert partner[topology.RIGHT_EYE[0]] == 263
    assert [partner[p] for p in topology.RIGHT_EYE_REFINED] == list(topology.LEFT_EYE_REFINED)
    assert (partner[partner] == np.arange(topology.MESH_POINTS)).all()


def test_known_points_are_found_again() -> None:
    """Lips touch at rest: only motion tells an upper from a lower landmark."""
    found, weights = calibrate(views(16, noise=0.05), MODEL)
    assert found.shape == weights.shape == (topology.MESH_POINTS, 3)
    assert np.allclose(weights.sum(1), 1.0)
    error = np.linalg.norm((MODEL.neutral[found] * weights[..., None]).sum(1) - SHAPES, axis=1)
    lips = list(topology.LIP_INNER + topology.LIP_OUTER)
    assert np.median(error[lips]) < 0.06  # cm
    jaw = MODEL.expression[MODEL.row("jawOpen")]
    opened = ((jaw[found] - 0.0) * weights[..., None]).sum(1)[:, 1]
    assert opened[13] > -0.6 > -2.5 > opened[14]
    assert landmark_error(views(4), MODEL.landmark_vertices, MODEL.landmark_weights).max() < 1e-6


def test_the_mirror_keeps_the_upper_lip_above() -> None:
    given = views(3)
    other = mirrored(given, MODEL)
    error = landmark_error(other, MODEL.landmark_vertices, MODEL.landmark_weights)
    lips = list(topology.LIP_INNER + topology.LIP_OUTER)
    assert np.nanmedian(error[:, lips]) < 0.06


def test_scale_is_that_of_a_mean_head() -> None:
    assert picture_scale(13.0 * MODEL.neutral[:, :2].astype(np.float64), MODEL) == pytest.approx(13.0, rel=1e-3)


def test_folders_without_faces_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no picture of a face"):
        read_views(tmp_path, MODEL)
    (tmp_path / "a_0.png").write_bytes(b"")
    np.save(tmp_path / "a_0.npy", np.zeros((7, 3)))
    with pytest.raises(ValueError, match=r"expected finite float \[3960, 3\]"):
        read_views(tmp_path, MODEL)
