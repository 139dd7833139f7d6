"""Find the hair of a portrait, or what is worn over it: all that is fixed to the head above and beside the face.

No network: the colours decide, from what lies where hair can only be and where it cannot. A shaved head is skin above
the forehead, and has no hair to be found; a hat is found as hair, and moves as it should, with the head.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from facestream.avatar import landmark_topology as topology
from facestream.contract import FRAME_SIZE

Floats = NDArray[np.floating[Any]]
Image = NDArray[np.uint8]

WORK_SIZE = 256
"""The colours are modelled at this size: strands average out, and it takes a quarter of the time."""
ROUNDS = 2

SKIN = (50, 280, 205, 425, 4, 5, 195, 101, 330, 117, 346)
"""Landmarks on cheeks and nose: skin on every face, beards and fringes included."""
SKIN_DISTANCE = 3.2
"""Mahalanobis distance up to which a colour may be this person's skin."""

HANGING = 0.12
"""On its way down, hair may spread to each side by this share of the face's width."""
LONGEST = 1.6
"""Hair is looked for down to so many distances from eyes to chin below the eyes."""


def hair_mask(photo: Image, matte: Image, landmarks: Floats) -> Image:
    """Where hair, or a hat, is.

    Args:
        photo: aligned portrait, RGB [512, 512, 3].
        matte: the person's matte [512, 512].
        landmarks: [478, 3] px.

    Returns:
        [512, 512]: 255 hair, 0 other, smooth between them; all 0 on a bald head.
    """
    size = (WORK_SIZE, WORK_SIZE)
    scale = WORK_SIZE / FRAME_SIZE
    small = cv2.resize(photo, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    person = cv2.resize(matte, size, interpolation=cv2.INTER_AREA) > 127
    points = landmarks[:, :2].astype(np.float64) * scale
    face = _filled(points[list(topology.FACE_OVAL)])
    eyes = float(points[[33, 133, 362, 263], 1].mean())
    chin, top = float(points[topology.CHIN, 1]), float(points[topology.FOREHEAD, 1])
    tall = chin - eyes
    y, x = np.mgrid[0:WORK_SIZE, 0:WORK_SIZE]

    skin = _skin_distance(small, points)
    # Lips, brows and eyes included: nothing below the brows and well within the outline is hair, or is it a fringe.
    inner = cv2.erode(face, _disc(int(0.10 * tall))) > 0
    brows = float(points[list(topology.RIGHT_BROW_UPPER + topology.LEFT_BROW_UPPER), 1].min())
    never = inner & (y > brows - 0.05 * tall)
    middle = float(points[[234, 454], 0].mean())
    width = float(points[454, 0] - points[234, 0])
    below_chin = (y > chin + 0.10 * tall) & (np.abs(x - middle) < 0.28 * width)
    too_low = y > eyes + LONGEST * tall
    head = (y < chin) & (np.abs(x - middle) < 1.1 * width) & (face == 0)

    above = (y < top - 0.08 * tall) & head
    certain = above & person & (skin > SKIN_DISTANCE)
    if certain.sum() < 0.15 * max(int((above & person).sum()), 1) or certain.sum() < 60:
        # Nothing but skin above the forehead: bald, or the hair lies only beside the face.
        beside = (y < eyes) & head & person & (skin > SKIN_DISTANCE)
        if beside.sum() < 0.02 * width * width:
            return np.zeros((FRAME_SIZE, FRAME_SIZE), np.uint8)
        certain = beside

    label = np.full(person.shape, cv2.GC_PR_BGD, np.uint8)
    label[head & person & (skin > SKIN_DISTANCE)] = cv2.GC_PR_FGD
    label[certain] = cv2.GC_FGD
    colours = cv2.cvtColor(small, cv2.COLOR_RGB2LAB).astype(np.float64)
    hair = colours[certain]
    spread = np.cov(hair.T) + 30.0 * np.eye(3)
    gap = colours - hair.mean(0)
    from_hair = np.einsum("yxc,cd,yxd->yx", gap, np.linalg.inv(spread), gap)
    alike = from_hair < 9.0
    # Beside the face there is nothing but hair, ears, and what is worn as hair is.
    beside = head & person & (y < eyes + 0.6 * tall) & ((skin > SKIN_DISTANCE) | (from_hair < skin**2))
    label[cv2.erode(beside.astype(np.uint8), _disc(1)) > 0] = cv2.GC_FGD
    label[(label == cv2.GC_PR_BGD) & person & alike & (y < eyes + LONGEST * tall)] = cv2.GC_PR_FGD
    label[~person | never | below_chin | too_low] = cv2.GC_BGD
    # What is known must not count where it has the hair's colour: backgrounds, and hair below where it is looked for.
    counts = person & ~(too_low & alike)
    picture = np.where(counts[..., None], small, np.median(small[never], axis=0).astype(np.uint8))
    cv2.setRNGSeed(0)  # the mixtures' first guess is drawn: one photo, one mask
    cv2.grabCut(
        np.ascontiguousarray(picture[..., ::-1]),
        label,
        (0, 0, WORK_SIZE, WORK_SIZE),  # unused in this mode
        np.zeros((1, 65)),
        np.zeros((1, 65)),
        ROUNDS,
        cv2.GC_INIT_WITH_MASK,
    )
    mask = ((label == cv2.GC_FGD) | (label == cv2.GC_PR_FGD)).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, _disc(1))
    mask = _with_seed(mask, certain | beside)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, _disc(2))
    # Hair on the shoulders hangs down from beside the jaw; clothes of its colour do not.
    jaw = mask[max(int(chin - 0.3 * tall), 0) : int(chin) + 1].mean(0) > 0.6
    hangs = cv2.dilate(jaw.astype(np.uint8)[None], np.ones((1, 2 * int(HANGING * width) + 1), np.uint8))
    mask = mask * np.where(y > chin, hangs, 1).astype(np.uint8)
    large = cv2.resize(mask.astype(np.float32), (FRAME_SIZE, FRAME_SIZE), interpolation=cv2.INTER_LINEAR)
    soft = cv2.GaussianBlur(large, (0, 0), 1.5) * (matte.astype(np.float32) / 255.0)
    return np.round(255.0 * np.clip(soft, 0.0, 1.0)).astype(np.uint8)


def _skin_distance(picture: Image, points: Floats) -> Floats:
    """How far each pixel's colour is from the skin of cheeks and nose, in standard deviations [H, W]."""
    colours = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).astype(np.float64)
    samples = []
    for x, y in np.round(points[list(SKIN)]).astype(int):
        samples.append(colours[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3))
    skin = np.concatenate(samples)
    middle = np.median(skin, axis=0)
    # Light falls off across a head, which changes the brightness alone.
    spread = np.cov(skin.T) + np.diag([220.0, 12.0, 12.0])
    away = colours - middle
    distance: Floats = np.sqrt(np.einsum("yxc,cd,yxd->yx", away, np.linalg.inv(spread), away))
    return distance


def _filled(points: Floats) -> Image:
    mask = np.zeros((WORK_SIZE, WORK_SIZE), np.uint8)
    cv2.fillPoly(mask, [np.round(points).astype(np.int32)], 1)
    return mask


def _disc(radius: int) -> Image:
    side = 2 * max(radius, 1) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)).astype(np.uint8)


def _with_seed(mask: NDArray[Any], seed: NDArray[np.bool_]) -> Image:
    """The pieces of a mask that the seed touches."""
    _, labels = cv2.connectedComponents(mask, connectivity=8)
    kept = np.setdiff1d(np.unique(labels[seed & (mask > 0)]), [0])
    return np.isin(labels, kept).astype(np.uint8)
