"""Tell the person of a portrait from what is behind, and paint what is behind where the person stands.

The network is MediaPipe's selfie segmentation (mediapipe/selfie_segmentation.tflite, Apache-2.0, of the wheel mediapipe
0.10.21, unchanged): MobileNetV3 with a small decoder, 256 x 256. Its last layer is an operator that OpenVINO lacks, a
2 x 2 transposed convolution, which is one matrix product here. Its answer is right within a few pixels; at the edge,
the picture decides: a closed-form matte (Levin et al., doi:10.1109/TPAMI.2007.1177) on the narrow band that is open.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import openvino
import scipy.sparse
import scipy.sparse.linalg
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from facestream.avatar import landmark_topology as topology
from facestream.avatar.landmarks import network_file
from facestream.avatar.tflite_subgraph import cut_subgraph
from facestream.contract import FRAME_SIZE

Floats = NDArray[np.float32]
Image = NDArray[np.uint8]

NETWORK_SIZE = 256

SURE = 0.92
"""A pixel is the person's, or the background's, where the network gives it at least this much."""
INNER_PX = 5
OUTER_PX = 7
"""So far inside of the sure person and of the sure background the matte is still open: what the network may miss by."""
REACH_PX = 14
"""Nor does it miss by more: what is farther than this from where it changes its mind (0.5) is as sure as it can be."""
MIN_HOLE = 600
"""Holes of the person with fewer pixels are filled: gaps between strands, not between arm and body."""

PRIOR = 0.03
"""Weight of the network's answer against the picture's, within the band."""
SMOOTH = 3e-6
"""Regulariser of the closed-form matte: colour variance (of 0..1) below which a window counts as flat."""
ROUNDS = 120
"""At most so many steps of conjugate gradients: the band's solution changes by less than 1/255 after."""

STRAY_PX = 10
"""Loose hairs are looked for so far beyond the matte: left in the background they would stand still as specks."""
STRAY_LEVELS, STRAY_TIMES = 6.0, 3.0
"""They differ from the background by more than this, and so many times more than it differs from itself."""
MIRROR_PX = 48.0
"""So far inside of the person's outline the background is its own mirror image, ever less."""
MIRROR_MARGIN_PX = 4.0
"""The mirror stands half of this beyond the outline: nothing of the person is to be seen in it."""
WIDE = 4
"""Deep behind the person the background is guessed from what lies beside rather than above: it is so many times nearer
there, for skies and floors go on to the sides ..."""
WIDE_PX = (8.0, 40.0)
"""... from the second of these distances from the outline on; up to the first, all directions count alike."""
NOISE_LEVELS = 4.0
"""Added to photo and guessed background where these are compared as a ratio: noise in the dark is no person."""
OUTLINE_SOFT_PX = 5.0
"""Smoothing (Gaussian) of the outline that the mirror follows."""


class _Segmentation(NamedTuple):
    body: openvino.CompiledModel
    kernel: Floats
    """[2, 2, 16]"""
    bias: float


@cache
def _network() -> _Segmentation:
    path = network_file("selfie_segmentation")
    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    parts = []
    with tempfile.TemporaryDirectory() as folder:  # OpenVINO reads this format from files only
        for number, output in enumerate(
            ("add_13__xeno_compat__1", "segment/Kernel_dequantize", "segment/Bias_dequantize")
        ):
            part = Path(folder) / f"{number}.tflite"
            part.write_bytes(cut_subgraph(path.read_bytes(), ("input_1",), (output,)))
            parts.append(core.compile_model(core.read_model(part), "CPU", settings))
    nothing = np.zeros((1, NETWORK_SIZE, NETWORK_SIZE, 3), np.float32)
    kernel, bias = (part(nothing)[0] for part in parts[1:])
    return _Segmentation(parts[0], np.array(kernel[0], np.float32), float(bias[0]))


def segment_person(photo: Image) -> Floats:
    """How likely each pixel of an RGB picture [512, 512, 3] shows a person: [512, 512], 0..1.

    The mean of the picture and its mirror image.
    """
    small = cv2.resize(photo, (NETWORK_SIZE, NETWORK_SIZE), interpolation=cv2.INTER_AREA).astype(np.float32) / 255.0
    network = _network()
    sides = []
    for mirrored in (False, True):
        picture = small[:, ::-1] if mirrored else small
        features = network.body(np.ascontiguousarray(picture[None]))[0][0]  # [128, 128, 16]
        cells = np.einsum("yxc,abc->yaxb", features, network.kernel) + network.bias
        answer = 1.0 / (1.0 + np.exp(-np.clip(cells.reshape(NETWORK_SIZE, NETWORK_SIZE), -60.0, 60.0)))
        sides.append(answer[:, ::-1] if mirrored else answer)
    mean = np.mean(sides, axis=0).astype(np.float32)
    large = cv2.resize(mean, (FRAME_SIZE, FRAME_SIZE), interpolation=cv2.INTER_CUBIC)
    likely: Floats = np.clip(large, 0.0, 1.0).astype(np.float32)
    return likely


def person_matte(photo: Image, landmarks: Floats) -> Image:
    """How much of each pixel is the person: hair, neck, shoulders and what is worn included.

    Args:
        photo: aligned portrait, RGB [512, 512, 3].
        landmarks: [478, 3] px, for what is the person in any case.

    Returns:
        [512, 512]: 255 the person, 0 the background, between them at the edge.
    """
    likely = segment_person(photo)
    face = cv2.fillConvexPoly(
        np.zeros((FRAME_SIZE, FRAME_SIZE), np.uint8),
        cv2.convexHull(np.round(landmarks[list(topology.FACE_OVAL), :2]).astype(np.int32)),
        1,
    )
    person, rather, maybe = (
        _one_piece(((likely >= level) | (face > 0)).astype(np.uint8), face) for level in (SURE, 0.5, 1.0 - SURE)
    )
    sure = (_shrunk(person, INNER_PX) + _shrunk(rather, REACH_PX) + face) > 0
    open_ = (_grown(maybe, OUTER_PX) * _grown(rather, REACH_PX) > 0) & ~sure
    start = np.where(sure, np.float32(1.0), likely * open_)
    alpha = _closed_form(photo, start.astype(np.float32), open_)
    # The last few levels are the solver's noise, and the background has to be the photo to the bit.
    alpha = np.clip((alpha - 0.03) / 0.94, 0.0, 1.0)
    matte: Image = np.round(np.where(open_, alpha, sure) * 255.0).astype(np.uint8)
    return matte


def _one_piece(mask: NDArray[Any], face: NDArray[Any]) -> Image:
    """The part of a mask that holds the face, without small holes."""
    _, labels = cv2.connectedComponents(mask, connectivity=4)
    kept = np.isin(labels, np.setdiff1d(np.unique(labels[face > 0]), [0])).astype(np.uint8)
    count, holes, stats, _ = cv2.connectedComponentsWithStats(1 - kept, connectivity=4)
    for number in range(1, count):
        left, top, width, height, area = stats[number]
        inside = left > 0 and top > 0 and left + width < mask.shape[1] and top + height < mask.shape[0]
        if area < MIN_HOLE and inside:
            kept[holes == number] = 1
    return kept


def _grown(mask: Image, radius: int) -> Image:
    return np.asarray(cv2.dilate(mask, _disc(radius), borderValue=0), np.uint8)


def _shrunk(mask: Image, radius: int) -> Image:
    """Smaller by `radius`, but not from the picture's border."""
    return np.asarray(cv2.erode(mask, _disc(radius), borderValue=1), np.uint8)


def _disc(radius: int) -> Image:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)).astype(np.uint8)


def _closed_form(photo: Image, start: Floats, open_: NDArray[np.bool_]) -> Floats:
    """The matte [H, W] that is `start` outside of `open_`, and within it as linear in the colours as it can be.

    Minimises the matting Laplacian over all 3 x 3 windows that touch the band, plus PRIOR * (alpha - start)².
    """
    height, width = start.shape
    colours = photo.astype(np.float32) / 255.0
    near = cv2.dilate(open_.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    near[[0, -1]] = near[:, [0, -1]] = False
    rows, columns = np.nonzero(near)
    if not len(rows):
        return start
    offset = np.array([[dy, dx] for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
    members = (rows[:, None] + offset[:, 0]) * width + columns[:, None] + offset[:, 1]  # [W, 9]
    window = colours.reshape(-1, 3)[members]  # [W, 9, 3]
    centred = window - window.mean(1, keepdims=True)
    covariance = np.einsum("wic,wid->wcd", centred, centred) / 9.0 + np.eye(3, dtype=np.float32) * (SMOOTH / 9.0)
    affinity = (1.0 + np.einsum("wic,wcd,wjd->wij", centred, np.linalg.inv(covariance), centred)) / 9.0
    laplacian = np.eye(9, dtype=np.float32)[None] - affinity
    unknown = np.full(height * width, -1)
    places = np.flatnonzero(open_.ravel())
    unknown[places] = np.arange(len(places))
    row, column = unknown[members][:, :, None], unknown[members][:, None, :]
    row, column = np.broadcast_arrays(row, column)
    both = (row >= 0) & (column >= 0)
    matrix = scipy.sparse.coo_matrix(
        (laplacian[both], (row[both], column[both])), shape=(len(places), len(places))
    ).tocsr()
    # What is known moves to the right side.
    fixed = np.where(unknown[members] < 0, start.ravel()[members], 0.0)
    right = -np.einsum("wij,wj->wi", laplacian, fixed)
    known = np.zeros(len(places), np.float64)
    inside = unknown[members] >= 0
    np.add.at(known, unknown[members][inside], right[inside])
    matrix = (matrix + scipy.sparse.identity(len(places), format="csr") * PRIOR).astype(np.float64)
    first = start.ravel()[places].astype(np.float64)
    inverse = 1.0 / matrix.diagonal()
    solved, _ = scipy.sparse.linalg.cg(
        matrix,
        known + PRIOR * first,
        x0=first,
        rtol=1e-4,
        maxiter=ROUNDS,
        M=scipy.sparse.diags(inverse),
    )
    alpha = start.copy().ravel()
    alpha[places] = solved
    result: Floats = alpha.reshape(height, width)
    return result


def backdrop(photo: Image, matte: Image) -> Image:
    """What is behind the person.

    It is seen only in the rim that a turning head lays bare, some 45 px wide: there the background's mirror image goes
    on, further in it is smooth.

    Args:
        photo: aligned portrait, RGB [512, 512, 3].
        matte: person_matte of it.

    Returns:
        RGB [3, 512, 512]: the photo itself where the matte is 0, except just beside the person.
    """
    person = (matte > 0).astype(np.uint8)
    hidden = cv2.dilate(person, _disc(2)) > 0
    if hidden.all():
        return np.ascontiguousarray(photo.transpose(2, 0, 1))
    picture = photo.astype(np.float32)
    beside = (cv2.dilate(person, _disc(STRAY_PX)) > 0) & ~hidden
    clear = ~(hidden | beside)
    if clear.any():
        expected = _pull_push(picture, clear.astype(np.float32))
        picture = np.where(_strays(picture, expected, clear, beside)[..., None], expected, picture)
    filled = _filled(picture, hidden)
    picture = _mirrored(np.where(hidden[..., None], filled, picture), hidden, matte)
    return np.ascontiguousarray(np.clip(np.round(picture), 0, 255).astype(np.uint8).transpose(2, 0, 1))


def denser(photo: Image, behind: Image, matte: Image) -> Image:
    """A matte that covers what the background cannot be: where the photo is darker, or brighter, than a share of it.

    The compositor takes the share of the background that shines through strands out of the photo before it moves them.
    Where the matte is too thin before a bright background, that would leave less than nothing: black blots beside the
    hair of a head that moves.

    Args:
        photo: [512, 512, 3].
        behind: `backdrop` of it [3, 512, 512].
        matte: person_matte of it [512, 512].

    Returns:
        [512, 512]: nowhere less than `matte`.
    """
    seen, guess = photo.astype(np.float32), behind.transpose(1, 2, 0).astype(np.float32)
    darker = 1.0 - (seen + NOISE_LEVELS) / (guess + NOISE_LEVELS)
    brighter = 1.0 - (255.0 - seen + NOISE_LEVELS) / (255.0 - guess + NOISE_LEVELS)
    least = np.round(255.0 * np.maximum(darker, brighter).max(2).clip(0.0, 1.0))
    covered: Image = np.maximum(matte, least.astype(np.uint8))
    return covered


def _filled(picture: Floats, hidden: NDArray[np.bool_]) -> Floats:
    """The picture [H, W, 3] with a smooth guess where it is `hidden`."""
    weight = (~hidden).astype(np.float32)
    height, width = hidden.shape
    size = (width // WIDE, height)
    narrow = cv2.resize(weight, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    known = cv2.resize(picture * weight[..., None], size, interpolation=cv2.INTER_AREA).astype(np.float32)
    smooth = _pull_push((known / np.maximum(narrow, 1e-6)[..., None]).astype(np.float32), narrow)
    beside = cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR)
    first, last = WIDE_PX
    deep = ((distance_transform_edt(hidden) - first) / (last - first)).clip(0.0, 1.0)[..., None]
    around = _pull_push(picture, weight)
    filled: Floats = (around + deep * deep * (3.0 - 2.0 * deep) * (beside - around)).astype(np.float32)
    return filled


def _mirrored(picture: Floats, hidden: NDArray[np.bool_], matte: Image) -> Floats:
    """The picture [H, W, 3] whose `hidden` part shows, near its outline, what lies as far beyond: edges go on there.

    Farther in than MIRROR_PX it stays as it is; and where strands let the background through, which then has to be
    taken out of the picture as it is: there the smooth guess is the nearer one.
    """
    inside = cv2.GaussianBlur(hidden.astype(np.float32), (0, 0), OUTLINE_SOFT_PX) > 0.5  # hair has no smooth outline
    away, nearest = distance_transform_edt(inside, return_indices=True)
    rows, columns = np.mgrid[0 : hidden.shape[0], 0 : hidden.shape[1]].astype(np.float32)
    down, across = (
        cv2.GaussianBlur((to - at).astype(np.float32), (0, 0), OUTLINE_SOFT_PX)
        for to, at in zip(nearest, (rows, columns), strict=True)
    )
    step = (2.0 * away + MIRROR_MARGIN_PX) / (np.hypot(down, across) + 1e-6)
    x, y = (columns + across * step).astype(np.float32), (rows + down * step).astype(np.float32)
    there = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    seen = cv2.remap((~hidden).astype(np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    share = np.clip(1.0 - away / MIRROR_PX, 0.0, 1.0)
    share = cv2.GaussianBlur(
        (share * share * (3.0 - 2.0 * share) * (seen > 0.99) * inside).astype(np.float32), (0, 0), 2.0
    )
    solid = cv2.erode((matte > 250).astype(np.uint8), _disc(3), borderValue=1).astype(np.float32)
    share *= cv2.GaussianBlur(solid, (0, 0), 1.5)
    share = (share * inside * hidden * np.clip(away / MIRROR_MARGIN_PX, 0.0, 1.0))[..., None]
    mirrored: Floats = (picture + share * (there - picture)).astype(np.float32)
    return mirrored


def _strays(
    picture: Floats, expected: Floats, clear: NDArray[np.bool_], beside: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """[H, W] which of the pixels `beside` the person are loose hairs that the matte has missed.

    They differ from what the `clear` background farther away lets expect, by more than that differs from itself.
    """
    # What is lost when the background is made as smooth as `expected` is.
    rough = np.abs(picture - cv2.GaussianBlur(picture, (0, 0), STRAY_PX / 2.0)).max(2) * clear
    near = cv2.GaussianBlur(clear.astype(np.float32), (0, 0), STRAY_PX)
    usual = cv2.GaussianBlur(rough, (0, 0), STRAY_PX) / np.maximum(near, 1e-3)
    found = np.abs(picture - expected).max(2) > STRAY_LEVELS + STRAY_TIMES * usual
    strays: NDArray[np.bool_] = (cv2.dilate((found & beside).astype(np.uint8), _disc(2)) > 0) & beside
    return strays


def _pull_push(picture: Floats, weight: Floats) -> Floats:
    """Fill [H, W, 3] where `weight` [H, W] is 0 from its surroundings: finer near them, coarser away from them."""
    if min(weight.shape) <= 2:
        total = max(float(weight.sum()), 1e-6)
        mean = (picture * weight[..., None]).sum((0, 1)) / total
        return np.broadcast_to(mean, picture.shape).astype(np.float32)
    smooth = cv2.pyrDown(weight)
    coarse = np.asarray(cv2.pyrDown(picture * weight[..., None]) / np.maximum(smooth, 1e-6)[..., None], np.float32)
    below = _pull_push(coarse, np.asarray(np.clip(smooth * 4.0, 0.0, 1.0), np.float32))
    above = cv2.pyrUp(below, dstsize=(picture.shape[1], picture.shape[0]))
    share = weight[..., None]
    return (picture * share + above * (1.0 - share)).astype(np.float32)
