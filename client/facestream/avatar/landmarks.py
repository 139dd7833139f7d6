"""Find faces and their 478 landmarks with MediaPipe's networks, run by OpenVINO.

The two .tflite files beside this module (mediapipe/, Apache-2.0) are those of the wheel mediapipe 0.10.21, unchanged:
the short-range face detector (BlazeFace, arXiv:1907.05047) and Attention Mesh (arXiv:2006.10962). The mesh network
looks closer at lips and eyes by cropping its own features, with operators that OpenVINO lacks: so it is run as four
networks, and the crops are made here. The pre- and postprocessing follows that wheel's graphs and operators; one look
agrees with the wheel's FaceMesh within 0.2 to 0.6 px at the lips of six portraits of 60 to 180 px between the eyes.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import openvino
from numpy.typing import NDArray

from facestream.avatar import landmark_topology as topology
from facestream.avatar.tflite_subgraph import cut_subgraph

Floats = NDArray[np.float32]
Image = NDArray[np.uint8]

MODELS = Path(__file__).with_name("mediapipe")

DETECTOR_SIZE = 128
MESH_SIZE = 192
FEATURE_SIZE = 48
"""Width and height of the feature map that lips and eyes are cropped from."""
PART_SIZE = 16
"""Width and height of such a crop."""
PART_SCALE = 1.5
"""The crop is so much larger than the box of the part's points."""

MIN_SCORE = 0.5
MAX_OVERLAP = 0.3

ABOUT = 1.8
"""A face is looked at again in a square of so many sides of its box ..."""
SURER = 0.1
"""... and stands on its head if the detector is surer by this of the square upside down. In 97 portraits, some of them
tilted by 30 degrees, it was surer of the right way by 0.19 at least."""

LOOKS = tuple(itertools.product((1.3, 1.4, 1.5), (-0.02, 0.02), (-0.02, 0.02), (-0.05, 0.05)))
"""Crops that the mesh is averaged over: size and shifts in sides of the landmarks' box, turn in radians."""

_MESH_MODEL = "face_landmark_with_attention"
_TRUNK = (("input_1",), ("output_mesh", "conv_faceflag", "p_re_lu_3"))
_PARTS: Final = (
    # input and outputs of the part's head, its points, those that its crop is set upright by, points of the iris
    ("transform_tensor_bilinear_v2", ("reshape_1",), topology.LIPS_REFINED, (61, 291), ()),
    (
        "transform_tensor_bilinear_v2_1",
        ("reshape_3", "reshape_4"),
        topology.RIGHT_EYE_REFINED,
        (33, 133),
        topology.RIGHT_IRIS,
    ),
    (
        "transform_tensor_bilinear_v2_2",
        ("reshape_6", "reshape_7"),
        topology.LEFT_EYE_REFINED,
        (362, 263),
        topology.LEFT_IRIS,
    ),
)


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


def network_file(name: str) -> Path:
    """The file of one of MediaPipe's networks; FileNotFoundError if the package lacks it."""
    path = MODELS / f"{name}.tflite"
    if not path.is_file():
        raise FileNotFoundError(f"network {path} is missing: the package is incomplete, install it again")
    return path


@cache
def _network(
    name: str, inputs: tuple[str, ...] = (), outputs: tuple[str, ...] = ()
) -> Callable[[Floats], list[Floats]]:
    """A network, or the part of it from `inputs` to `outputs`, as a function of one array; its outputs in order."""
    core = openvino.Core()
    if outputs:
        with tempfile.TemporaryDirectory() as folder:  # OpenVINO reads this format from files only
            part = Path(folder) / "part.tflite"
            part.write_bytes(cut_subgraph(network_file(name).read_bytes(), inputs, outputs))
            model = core.read_model(part)
    else:
        model = core.read_model(network_file(name))
    compiled = core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"})

    def run(array: Floats) -> list[Floats]:
        result = compiled(array)
        return [result[port] for port in (map(compiled.output, outputs) if outputs else compiled.outputs)]

    return run


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

    The network sees 128 x 128 pixels, and finds no face under about a tenth of the longer side in them. Where it finds
    none, it looks again at overlapping quarters: people in full length have small heads.
    """
    whole = _detect(image)
    if whole:
        return whole
    height, width = image.shape[:2]
    side = (max(height, width) + 1) // 2
    found: list[Detection] = []
    for top, left in itertools.product(_steps(height, side), _steps(width, side)):
        tile = np.ascontiguousarray(image[top : top + side, left : left + side])
        for face in _detect(tile):
            x, y, w, h = face.box
            shift = np.array([left, top], dtype=np.float32)
            found.append(Detection(face.score, (x + left, y + top, w, h), face.keypoints + shift))
    found.sort(key=lambda face: -face.score)
    distinct: list[Detection] = []
    for face in found:
        if all(_overlap(_corners(face), _corners(other)) <= MAX_OVERLAP for other in distinct):
            distinct.append(face)
    return distinct


def upside_down(image: Image, face: Detection) -> bool:
    """Whether a face found in an RGB picture [H, W, 3] stands on its head.

    Both networks find such faces, too, and make of the chin a brow.
    """
    left, top, width, height = face.box
    x, y, reach = left + width / 2, top + height / 2, ABOUT * max(width, height) / 2
    square = image[max(int(y - reach), 0) : int(y + reach), max(int(x - reach), 0) : int(x + reach)]
    upright, turned = (
        max((found.score for found in _detect(np.ascontiguousarray(way))), default=0.0)
        for way in (square, square[::-1, ::-1])
    )
    return turned > upright + SURER


def _steps(length: int, side: int) -> list[int]:
    """Where tiles of `side` pixels begin that overlap by half along `length` pixels."""
    return sorted({*range(0, max(length - side, 0), max(side // 2, 1)), max(length - side, 0)})


def _corners(face: Detection) -> Floats:
    x, y, w, h = face.box
    return np.array([[x + w / 2, y + h / 2], [w, h]], dtype=np.float32)


def _detect(image: Image) -> list[Detection]:
    """Faces that the network finds in the picture as a whole, best first."""
    height, width = image.shape[:2]
    side = max(height, width)
    scale = DETECTOR_SIZE / side
    shift = (side - width) / 2 * scale, (side - height) / 2 * scale
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], dtype=np.float64)
    # INTER_AREA does not exist for warps: blur first where the picture shrinks a lot.
    source = cv2.GaussianBlur(image, (0, 0), 0.4 / scale) if scale < 0.7 else image
    small = cv2.warpAffine(source, matrix, (DETECTOR_SIZE, DETECTOR_SIZE), flags=cv2.INTER_LINEAR)
    network = _network("face_detection_short_range")
    regressors, logits = (output[0] for output in network(small[None].astype(np.float32) / 127.5 - 1.0))
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


def find_landmarks(
    image: Image, detection: Detection, looks: Sequence[tuple[float, float, float, float]] = LOOKS
) -> Face:
    """The 478 landmarks of a detected face in an RGB picture [H, W, 3].

    The network is a little sensitive to its crop, so the mean of several looks is taken.
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
    seen = [_mesh(image, centre + np.array([dx, dy]) * side, k * side, angle + da) for k, dx, dy, da in looks]
    landmarks = np.mean([look for look, _ in seen], axis=0).astype(np.float32)
    landmarks[:, 2] *= -1.0  # the network's z grows away from the viewer
    return Face(landmarks, float(np.mean([certainty for _, certainty in seen])))


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
    """Points [478, 3] px (z away from the viewer) by one look at a square of the picture, and how certain it is."""
    crop, back = _crop(image, centre, side, angle, MESH_SIZE)
    mesh, flag, features = _network(_MESH_MODEL, *_TRUNK)(crop[None])
    points = np.zeros((topology.ALL_POINTS, 3), dtype=np.float32)
    points[: topology.MESH_POINTS] = mesh.reshape(-1, 3)
    for head, outputs, own, corners, iris in _PARTS:
        window = _part_window(points[list(own), :2], points[list(corners), :2])
        part = _crop_features(features[0], window)
        refined, *rim = (output[0] for output in _network(_MESH_MODEL, (head,), outputs)(part[None]))
        # The heads speak of a part of 64 px, in the pixels of the mesh's crop.
        matrix = window * np.array([1.0, 1.0, MESH_SIZE / FEATURE_SIZE])
        points[list(own), :2] = refined @ matrix[:, :2].T + matrix[:, 2]
        if rim:
            points[list(iris), :2] = rim[0] @ matrix[:, :2].T + matrix[:, 2]
            points[list(iris), 2] = points[list(own[:16]), 2].mean()
    points[:, :2] = points[:, :2] @ back[:, :2].T + back[:, 2]
    points[:, 2] *= side / MESH_SIZE
    return points, float(1.0 / (1.0 + np.exp(-flag.item())))


def _part_window(points: Floats, corners: Floats) -> NDArray[np.float64]:
    """The map [2, 3] from the pixels of a part's crop to the feature map's (MediaPipe's Landmarks2TransformMatrix).

    The crop is the box of the part's `points` [N, 2], turned so that its two `corners` [2, 2] lie level, and enlarged;
    both in pixels of the mesh's crop.
    """
    scale = FEATURE_SIZE / MESH_SIZE
    angle = np.arctan2(*(corners[1] - corners[0])[::-1])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = (points.min(0) + points.max(0)) / 2
    upright = (points - middle) @ turn
    low, high = upright.min(0), upright.max(0)
    centre = (middle + turn @ ((low + high) / 2)) * scale
    linear = turn * ((high - low) * PART_SCALE * scale / PART_SIZE)
    return np.hstack([linear, (centre - linear.sum(1) * PART_SIZE / 2)[:, None]])


def _crop_features(features: Floats, window: NDArray[np.float64]) -> Floats:
    """Crop [16, 16, C] from features [48, 48, C], bilinear, zeros outside (MediaPipe's TransformTensorBilinear).

    `window` maps positions where a pixel's centre is at + 0.5.
    """
    matrix = window.copy()
    matrix[:, 2] += window[:, :2].sum(1) * 0.5 - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = (PART_SIZE, PART_SIZE)
    channels = [cv2.warpAffine(channel, matrix, size, flags=flags) for channel in features.transpose(2, 0, 1)]
    return np.stack(channels, axis=-1).astype(np.float32)
