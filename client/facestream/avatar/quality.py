"""What will look weak in an avatar, measured in its portrait before anybody sees it speak.

Every measure goes into the manifest; those beyond their limit become warnings, in words for the photo's owner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from facestream.avatar import landmark_topology as topology
from facestream.avatar.glasses import dark_lenses, find_glasses
from facestream.avatar.photo import PhotoError
from facestream.contract import FRAME_SIZE

Floats = NDArray[np.floating[Any]]
Image = NDArray[np.uint8]

MAX_LIGHT_RATIO = 1.8
"""Brighter over darker half of the face."""
MAX_HAIR_OVER_FACE = 0.15
"""Share of the face from brows to chin that has the hair's colour."""
MAX_BUSY = 7.0
"""Mean brightness gradient (levels per px) of the background beside the person."""
RIM_PX = 45
"""So far beside the person a turning head lays the background bare."""
MAX_UNDECIDED = 0.10
"""Share of the picture where the matte is neither the person nor the background."""
MIN_COLOUR = 5.0
"""Mean chroma (CIE Lab) of a photo in colour."""
MAX_CLIPPED = 0.04
"""Share of the face that is white or black without detail."""
COVERED_SKIN = 5.0
"""Distance (standard deviations) of the lower face's colours from the forehead's when something lies over it ..."""
COVERED_LIPS = 6.0
"""... and contrast (CIE Lab) of the lips with what is about them, below which they are not to be seen."""
MAX_NOISE = 6.0
"""Noise (standard deviation, levels) of the cheeks."""


@dataclass(frozen=True)
class Quality:
    """What was measured, and what is doubtful about it."""

    measures: dict[str, float]
    warnings: tuple[str, ...]


def assess(photo: Image, landmarks: Floats, matte: Image, hair: Image) -> Quality:
    """Measure an aligned portrait.

    Args:
        photo: RGB [512, 512, 3].
        landmarks: [478, 3] px.
        matte: the person's matte [512, 512].
        hair: where hair is [512, 512].

    Raises:
        PhotoError: the eyes are behind dark lenses, or the mouth is covered: nothing could be animated.
    """
    points = landmarks[:, :2].astype(np.float64)
    if dark_lenses(photo, landmarks):
        raise PhotoError("the eyes are behind dark lenses; use a photo without sunglasses")
    lab = cv2.cvtColor(photo.astype(np.float32) / np.float32(255.0), cv2.COLOR_RGB2LAB).astype(np.float64)
    skin, lips = _lower_face(lab, points)
    if skin > COVERED_SKIN and lips < COVERED_LIPS:
        raise PhotoError(
            f"something covers the mouth (colours {skin:.1f} times the skin's spread away, at most {COVERED_SKIN:.0f};"
            f" lips stand out by {lips:.1f}, at least {COVERED_LIPS:.0f}); use a photo without a mask or a hand over it"
        )
    glasses = find_glasses(photo, landmarks)
    over = _hair_over_face(lab, points, hair)
    ratio = _light_ratio(photo, points)
    busy = _busy(photo, matte)
    undecided = float(((matte > 12) & (matte < 243)).mean())
    colour = float(np.hypot(lab[..., 1], lab[..., 2]).mean())
    clipped = _clipped(photo, points)
    noise = _noise(photo, points)
    measures = {
        "glasses": round(glasses.strength if glasses else 0.0, 2),
        "hair_over_face": round(over, 3),
        "light_ratio": round(ratio, 2),
        "background_gradient": round(busy, 1),
        "matte_undecided": round(undecided, 3),
        "chroma": round(colour, 1),
        "clipped": round(clipped, 3),
        "noise": round(noise, 1),
        "lip_contrast": round(lips, 1),
    }
    doubts = (
        (
            glasses is not None,
            "glasses were found: the rims stay still, but lids and gaze behind them may look cut off at the rims,"
            " and reflections do not move; without glasses it looks better",
        ),
        (
            over > MAX_HAIR_OVER_FACE,
            f"hair lies over {over:.1%} of the face (up to {MAX_HAIR_OVER_FACE:.0%} look well): it will stretch with"
            " the skin; comb it aside",
        ),
        (
            ratio > MAX_LIGHT_RATIO,
            f"the light is uneven (one half of the face {ratio:.2f} times as bright as the other, up to"
            f" {MAX_LIGHT_RATIO:.1f} look well): teeth and tongue are lit evenly and will stand out",
        ),
        (
            busy > MAX_BUSY,
            f"the background is busy (gradient {busy:.1f} levels per px beside the person, up to {MAX_BUSY:.0f} look"
            " well): a turning head will show it mirrored or smeared",
        ),
        (
            undecided > MAX_UNDECIDED,
            f"hair and background are hard to tell apart ({undecided:.1%} of the picture undecided, up to"
            f" {MAX_UNDECIDED:.0%} look well): some background will move with the head",
        ),
        (
            colour < MIN_COLOUR,
            f"the photo has hardly any colour (chroma {colour:.1f}, {MIN_COLOUR:.0f} or more is usual): mouth and"
            " tongue will look too red",
        ),
        (
            clipped > MAX_CLIPPED,
            f"{clipped:.1%} of the face is blown out or black (up to {MAX_CLIPPED:.0%} look well): there is no detail"
            " to move",
        ),
        (
            noise > MAX_NOISE,
            f"the photo is noisy (standard deviation {noise:.1f} levels on the cheeks, up to {MAX_NOISE:.0f} look"
            " well): the noise will move with the skin",
        ),
    )
    return Quality(measures, tuple(words for doubtful, words in doubts if doubtful))


def _polygon(points: NDArray[Any]) -> NDArray[np.bool_]:
    mask = np.zeros((FRAME_SIZE, FRAME_SIZE), np.uint8)
    cv2.fillPoly(mask, [np.round(points).astype(np.int32)], 1)
    return mask > 0


def _patches(picture: Floats, points: Floats, reach: int) -> Floats:
    """All pixels [N, C] of squares about points."""
    samples = []
    for x, y in np.clip(np.round(points).astype(int), reach, FRAME_SIZE - 1 - reach):
        samples.append(picture[y - reach : y + reach + 1, x - reach : x + reach + 1].reshape(-1, picture.shape[2]))
    return np.concatenate(samples)


def _skin_model(lab: Floats, points: Floats, where: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Median and inverse covariance of the colours about some landmarks."""
    samples = _patches(lab, points[list(where)], 4)
    away = np.linalg.norm(samples - np.median(samples, axis=0), axis=1)
    skin = samples[away <= np.percentile(away, 60)]  # without a strand of hair, a mole or a reflection
    spread = np.cov(skin.T) + np.diag([60.0, 6.0, 6.0])
    return np.median(skin, axis=0), np.linalg.inv(spread)


def _lower_face(lab: Floats, points: Floats) -> tuple[float, float]:
    """How far the colours about the mouth are from the forehead's (standard deviations), and how lips stand out."""
    middle, inverse = _skin_model(lab, points, (8, 9, 151, 107, 336, 108, 337))
    around = _patches(lab, points[[205, 425, 92, 322, 164, 18, 200, 202, 422]], 4)
    away = np.median(around, axis=0) - middle
    lips = np.median(_patches(lab, points[[85, 16, 315, 84, 314]], 2), axis=0)
    beside = np.median(_patches(lab, points[[202, 422, 200, 205, 425]], 4), axis=0)
    contrast = (lips - beside) * (0.5, 1.0, 1.0)
    return float(np.sqrt(away @ inverse @ away)), float(np.linalg.norm(contrast))


def _hair_over_face(lab: Floats, points: Floats, hair: Image) -> float:
    """Share of the face below the brows that looks like the hair and not like the skin."""
    known = hair > 200
    if known.sum() < 400:
        return 0.0
    colours = lab[known]
    spread = np.cov(colours.T) + 12.0 * np.eye(3)
    gap = lab - np.median(colours, axis=0)
    alike = np.einsum("yxc,cd,yxd->yx", gap, np.linalg.inv(spread), gap) < 6.0
    middle, inverse = _skin_model(lab, points, (117, 346, 118, 347, 6, 197, 195))
    gap = lab - middle
    foreign = np.einsum("yxc,cd,yxd->yx", gap, inverse, gap) > 16.0
    face = _polygon(points[list(topology.FACE_OVAL)])
    below = np.arange(FRAME_SIZE)[:, None] > points[[70, 300], 1].mean()
    above = np.arange(FRAME_SIZE)[:, None] < points[2, 1]  # beards and moustaches are not hair over the face
    inner = np.asarray(cv2.erode(face.astype(np.uint8), np.ones((21, 21), np.uint8))) > 0
    for own in (
        topology.RIGHT_EYE_REFINED,
        topology.LEFT_EYE_REFINED,
        (2, 98, 327, 94, 64, 294),  # nostrils
    ):
        hull = cv2.convexHull(points[list(own)].astype(np.float32)).reshape(-1, 2)
        inner &= ~_polygon(hull)
    region = inner & below & above
    return float((alike & foreign & region).sum() / max(int(region.sum()), 1))


def _light_ratio(photo: Image, points: Floats) -> float:
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY).astype(np.float64)[..., None]
    right, left = (
        float(np.median(_patches(grey, points[list(ids)], 5)))
        for ids in ((50, 101, 205, 117, 69), (280, 330, 425, 346, 299))
    )
    return max(right, left, 1.0) / max(min(right, left), 1.0)


def _busy(photo: Image, matte: Image) -> float:
    person = (matte > 127).astype(np.uint8)
    near = cv2.dilate(person, np.ones((2 * RIM_PX + 1,) * 2, np.uint8)) > 0
    rim = near & (cv2.dilate(person, np.ones((13, 13), np.uint8)) == 0)
    if not rim.any():
        return 0.0
    grey = cv2.GaussianBlur(cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1.0)
    across, down = (cv2.Sobel(grey, cv2.CV_32F, dx, 1 - dx, scale=0.25) for dx in (1, 0))
    return float(np.hypot(across, down)[rim].mean())


def _clipped(photo: Image, points: Floats) -> float:
    face = photo[_polygon(points[list(topology.FACE_OVAL)])]
    return float(((face.min(1) >= 253) | (face.max(1) <= 3)).mean())


def _noise(photo: Image, points: Floats) -> float:
    """Standard deviation of what a smooth surface does not explain, by its median size (Immerkaer's kernel)."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY).astype(np.float32)
    rough = np.abs(cv2.filter2D(grey, cv2.CV_32F, kernel)).astype(np.float64)[..., None]
    return float(np.median(_patches(rough, points[[50, 280, 101, 330]], 8)) / 0.6745 / 6.0)
