"""Find faces and their 478 landmarks with MediaPipe's networks, run by OpenVINO.

The three .tflite files beside this module (mediapipe/, Apache-2.0) are those of the wheel mediapipe 0.10.21, unchanged:
the short-range face detector (BlazeFace, arXiv:1907.05047), Face Mesh (arXiv:1907.06724) and Iris (arXiv:2006.11341).
The pre- and postprocessing follows that wheel's graphs.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import openvino
from numpy.typing import NDArray

from facestream.avatar import landmark_topology as topology

Floats = NDArray[np.float32]
Image = NDArray[np.uint8]

MODELS = Path(__file__).with_name("mediapipe")

DETECTOR_SIZE = 128
MESH_SIZE = 192
IRIS_SIZE = 64

MIN_SCORE = 0.5
MAX_OVERLAP = 0.3

LOOKS = tuple(itertools.product((1.3, 1.5, 1.7), (-0.03, 0.03), (-0.03, 0.03), (-0.06, 0.06)))
"""Crops that the mesh is averaged over: size and shifts in sides of the landmarks' box, turn in radians."""

# The iris network's first 16 points, as mesh points of the eye at the left of the picture (the person's right eye).
_EYE_CONTOUR = topology.RIGHT_EYE_LOWER + topology.RIGHT_EYE_UPPER[1:-1]
_EYE_CONTOUR_MIRRORED = topology.LEFT_EYE_LOWER[::-1] + topology.LEFT_EYE_UPPER[-2:0:-1]


@dataclass(frozen=True)
class Detection:
    """One face: its box and six key points, in pixels of the picture."""

    score: float
    box: tuple[float, float, float, float]
    """left, top, width, height."""
    keypoints: Floats
    """[6, 2]: right eye, left eye, nose tip, mouth, right ear, left ear (the person's sides)."""


@dataclass(frozen=True)
class Face:
    """The landmarks of one face."""

    landmarks: Floats
    """[478, 3] px of the picture: x right, y down, z towards the viewer, about 0 at the middle of the head's depth."""
    presence: float
    """The landmark network's own certainty, 0..1, that its crop shows a face."""


@cache
def _network(name: str) -> openvino.CompiledModel:
    path = MODELS / f"{name}.tflite"
    if not path.is_file():
        raise FileNotFoundError(f"landmark network {path} is missing: the package is incomplete, install it again")
    core = openvino.Core()
    options = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    return core.compile_model(core.read_model(path), "CPU", options)


@cache
def _anchors() -> Floats:
    """[896, 2] centres of the detector's anchors, 0..1: 2 for each cell of 16 x 16, then 6 for each cell of 8 x 8."""
    centres = []
    for cells, count in ((16, 2), (8, 6)):
        y, x = np.mgrid[0:cells, 0:cells]
        centre = (np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5) / cells
        centres.append(np.repeat(centre, count, axis=0))
    return np.concatenate(centres).astype(np.float32)


def detect_faces(image: Image) -> list[Detection]:
    """All faces of an RGB picture [H, W, 3], best first.

    The detector sees the picture at 128 x 128: a face under about a tenth of the longer side is not found.
    """
    height, width = image.shape[:2]
    side = max(height, width)
    scale = DETECTOR_SIZE / side
    shift = (side - width) / 2 * scale, (side - height) / 2 * scale
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], dtype=np.float64)
    # INTER_AREA does not exist for warps: blur first where the picture shrinks a lot.
    source = cv2.GaussianBlur(image, (0, 0), 0.4 / scale) if scale < 0.7 else image
    small = cv2.warpAffine(source, matrix, (DETECTOR_SIZE, DETECTOR_SIZE), flags=cv2.INTER_LINEAR)
    outputs = _network("face_detection_short_range")(small[None].astype(np.float32) / 127.5 - 1.0)
    regressors, logits = (outputs[name][0] for name in ("regressors", "classificators"))
    scores = 1.0 / (1.0 + np.exp(-np.clip(logits[:, 0], -80.0, 80.0)))
    chosen = scores >= MIN_SCORE
    raw, anchor, scores = regressors[chosen], _anchors()[chosen], scores[chosen]
    points = raw.reshape(-1, 8, 2) / DETECTOR_SIZE  # centre, size, 6 key points
    points[:, [0, 2, 3, 4, 5, 6, 7]] += anchor[:, None]
    points = points * side - np.array([(side - width) / 2, (side - height) / 2]) * (np.arange(8) != 1)[:, None]

    found: list[Detection] = []
    left = list(np.argsort(-scores))
    while left:  # weighted non-maximum suppression: overlapping boxes are averaged
        best = left[0]
        overlap = np.array([_overlap(points[best], points[other]) for other in left])
        same = [other for other, value in zip(left, overlap, strict=True) if value > MAX_OVERLAP]
        weight = scores[same] / scores[same].sum()
        mean = (points[same] * weight[:, None, None]).sum(0)
        (x, y), (w, h) = mean[0], mean[1]
        box = (float(x - w / 2), float(y - h / 2), float(w), float(h))
        found.append(Detection(float(scores[best]), box, mean[2:].astype(np.float32)))
        left = [other for other, value in zip(left, overlap, strict=True) if value <= MAX_OVERLAP]
    return found


def _overlap(a: Floats, b: Floats) -> float:
    """Intersection over union of two boxes, each given by centre and size in its first two rows."""
    low = np.maximum(a[0] - a[1] / 2, b[0] - b[1] / 2)
    high = np.minimum(a[0] + a[1] / 2, b[0] + b[1] / 2)
    common = float(np.prod(np.clip(high - low, 0.0, None)))
    return common / max(float(np.prod(a[1]) + np.prod(b[1])) - common, 1e-9)


def find_landmarks(image: Image, detection: Detection) -> Face:
    """The 478 landmarks of a detected face in an RGB picture [H, W, 3].

    The mesh network is a little sensitive to its crop, so the mean of several looks is taken: against the heavier
    network with attention that brought the lips of two test portraits from 3.0 and 0.7 px to 2.4 and 0.6 px.
    """
    right, left = detection.keypoints[0], detection.keypoints[1]
    x, y, w, h = detection.box
    centre = np.array([x + w / 2, y + h / 2], dtype=np.float32)
    points, _ = _mesh(image, centre, 1.5 * max(w, h), _angle(right, left))
    angle = _angle(points[33], points[263])
    turned = points[:, :2] @ _rotation(angle)
    low, high = turned.min(0), turned.max(0)
    side = float((high - low).max())
    centre = ((low + high) / 2) @ _rotation(angle).T
    looks = [_mesh(image, centre + np.array([dx, dy]) * side, k * side, angle + da) for k, dx, dy, da in LOOKS]
    points = np.mean([look for look, _ in looks], axis=0)
    presence = float(np.mean([certainty for _, certainty in looks]))

    landmarks = np.zeros((topology.ALL_POINTS, 3), dtype=np.float32)
    landmarks[: topology.MESH_POINTS] = points
    for corners, contour, iris, mirrored in (
        ((33, 133), _EYE_CONTOUR, topology.RIGHT_IRIS, False),
        ((362, 263), _EYE_CONTOUR_MIRRORED, topology.LEFT_IRIS, True),
    ):
        _refine_eye(image, landmarks, corners, contour, iris, mirrored)
    landmarks[:, 2] *= -1.0  # the networks' z grows away from the viewer
    return Face(landmarks, presence)


def _angle(right: NDArray[np.floating], left: NDArray[np.floating]) -> float:
    """Turn of the line through the eyes in the picture, radians, clockwise positive."""
    return float(np.arctan2(left[1] - right[1], left[0] - right[0]))


def _rotation(angle: float) -> Floats:
    """[2, 2]: row vectors times this go from the picture's axes to axes turned by `angle`."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]], dtype=np.float32)


def _crop(
    image: Image, centre: NDArray[np.floating], side: float, angle: float, size: int
) -> tuple[Floats, NDArray[np.float64]]:
    """A square of the picture, turned upright, as [size, size, 3] in 0..1, and the map [2, 3] from its pixels back."""
    k = side / size
    c, s = np.cos(angle) * k, np.sin(angle) * k
    half = size / 2
    back = np.array([[c, -s, centre[0] - half * (c - s)], [s, c, centre[1] - half * (s + c)]])
    source = cv2.GaussianBlur(image, (0, 0), 0.4 * k) if k > 1.5 else image
    pixels = cv2.warpAffine(
        source, back, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    return pixels.astype(np.float32) / 255.0, back


def _mesh(image: Image, centre: NDArray[np.floating], side: float, angle: float) -> tuple[Floats, float]:
    """Mesh points [468, 3] px (z away from the viewer), and the network's certainty."""
    crop, back = _crop(image, centre, side, angle, MESH_SIZE)
    outputs = _network("face_landmark")(crop[None])
    raw = outputs["conv2d_21"].reshape(topology.MESH_POINTS, 3)
    points = np.empty_like(raw)
    points[:, :2] = raw[:, :2] @ back[:, :2].T + back[:, 2]
    points[:, 2] = raw[:, 2] * side / MESH_SIZE
    return points, float(1.0 / (1.0 + np.exp(-outputs["conv2d_31"].item())))


def _refine_eye(
    image: Image,
    landmarks: Floats,
    corners: tuple[int, int],
    contour: tuple[int, ...],
    iris: tuple[int, ...],
    mirrored: bool,
) -> None:
    """Let the iris network place one eye's contour and iris in `landmarks` (z away from the viewer), in place."""
    right, left = landmarks[corners[0], :2], landmarks[corners[1], :2]
    side = 2.3 * float(np.linalg.norm(left - right))
    crop, back = _crop(image, (right + left) / 2, side, _angle(right, left), IRIS_SIZE)
    if mirrored:  # the network knows one side only
        crop = np.ascontiguousarray(crop[:, ::-1])
    outputs = _network("iris_landmark")(crop[None])
    eye = outputs["output_eyes_contours_and_brows"].reshape(-1, 3)[: len(contour), :2].copy()
    ring = outputs["output_iris"].reshape(-1, 3)[:, :2].copy()
    if mirrored:
        ring[[1, 3]] = ring[[3, 1]]  # the rim's right and left points change places
    for points in (eye, ring):
        if mirrored:
            points[:, 0] = IRIS_SIZE - points[:, 0]
        points[:] = points @ back[:, :2].T + back[:, 2]
    landmarks[list(contour), :2] = eye
    landmarks[list(iris), :2] = ring
    landmarks[list(iris), 2] = landmarks[list(contour), 2].mean()
