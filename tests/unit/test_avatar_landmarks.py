"""The landmark networks, cut out of a file that OpenVINO cannot read as a whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from facestream.avatar import landmark_topology as topology
from facestream.avatar.landmarks import MODELS, detect_faces, find_landmarks
from facestream.avatar.photo import read_photo
from facestream.avatar.tflite_subgraph import cut_subgraph

PORTRAITS = Path(__file__).parents[2] / "model_repository" / "avatar_store" / "avatars"

# x, y px of some landmarks of ben.jpg, as mediapipe 0.10.21 gives them:
# FaceMesh(static_image_mode=True, refine_landmarks=True).
MEDIAPIPE = {
    1: (255.8, 261.3),
    10: (258.3, 127.9),
    152: (253.6, 369.5),
    33: (191.6, 202.2),
    133: (230.4, 204.9),
    159: (207.1, 195.7),
    145: (209.2, 208.1),
    362: (282.9, 206.3),
    263: (323.5, 201.7),
    61: (216.2, 301.4),
    291: (293.4, 302.5),
    0: (255.2, 291.2),
    13: (254.9, 302.0),
    14: (254.8, 302.3),
    17: (254.4, 318.5),
    78: (219.8, 301.4),
    308: (289.7, 302.3),
    468: (209.2, 201.0),
    473: (302.8, 200.9),
}


def test_landmarks_are_those_of_mediapipe() -> None:
    """The face model's table of landmarks was calibrated with them: others would shift lips and lids."""
    photo = read_photo(PORTRAITS / "ben.jpg")
    found = find_landmarks(photo, detect_faces(photo)[0])
    assert found.presence > 0.99
    for point, expected in MEDIAPIPE.items():
        assert np.linalg.norm(found.landmarks[point, :2] - expected) < 3.0, point
    apart = [found.landmarks[point, :2] - expected for point, expected in MEDIAPIPE.items()]
    assert (
        np.linalg.norm(apart, axis=1).mean() < 1.0
    )  # of 132 px between the eyes; it takes one look, here is a mean of many


def test_contours_run_from_left_to_right_and_around() -> None:
    """Seams are drawn along them: a point out of order would fold the lips."""
    photo = read_photo(PORTRAITS / "ben.jpg")
    landmarks = find_landmarks(photo, detect_faces(photo)[0]).landmarks
    for line in (
        topology.LIP_UPPER_INNER, topology.LIP_LOWER_INNER, topology.LIP_UPPER_OUTER, topology.LIP_LOWER_OUTER,
        topology.RIGHT_EYE_UPPER, topology.RIGHT_EYE_LOWER, topology.LEFT_EYE_UPPER, topology.LEFT_EYE_LOWER,
        topology.RIGHT_BROW_UPPER, topology.LEFT_BROW_UPPER,
    ):  # fmt: skip
        assert (np.diff(landmarks[list(line), 0]) > 0).all()
    for upper, lower in (
        (topology.LIP_UPPER_OUTER, topology.LIP_LOWER_OUTER),
        (topology.RIGHT_EYE_UPPER, topology.RIGHT_EYE_LOWER),
        (topology.LEFT_EYE_UPPER, topology.LEFT_EYE_LOWER),
    ):
        middle = len(upper) // 2
        assert landmarks[upper[middle], 1] < landmarks[lower[middle], 1]
    for iris, eye in ((topology.RIGHT_IRIS, topology.RIGHT_EYE), (topology.LEFT_IRIS, topology.LEFT_EYE)):
        centre, right, top, left, bottom = landmarks[list(iris), :2]
        assert landmarks[list(eye), 0].min() < centre[0] < landmarks[list(eye), 0].max()
        assert left[0] < centre[0] < right[0] or right[0] < centre[0] < left[0]
        assert top[1] < centre[1] < bottom[1]


def test_unknown_tensors_cannot_be_cut() -> None:
    model = (MODELS / "face_landmark_with_attention.tflite").read_bytes()
    with pytest.raises(ValueError, match="'nothing' is not in the model"):
        cut_subgraph(model, ["input_1"], ["nothing"])
    with pytest.raises(ValueError, match="room for 1"):
        cut_subgraph(model, ["input_1", "p_re_lu_3"], ["output_mesh"])
