"""Glasses are found and their rims held still; bare faces must not be: their brows and lids would go stiff."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
from facestream.avatar.bundle import read_portrait
from facestream.avatar.face_model import load_face_model
from facestream.avatar.glasses import dark_lenses, find_glasses, glasses_mask
from facestream.avatar.photo import PhotoError, Portrait, prepare_portrait
from facestream.avatar.quality import assess
from numpy.typing import NDArray

Image = NDArray[np.uint8]

PORTRAITS = Path(__file__).parents[2] / "model_repository" / "avatar_store" / "avatars"
NAMES = sorted(path.stem for path in PORTRAITS.glob("*.avatar"))


class Frame(NamedTuple):
    colour: tuple[int, int, int]
    thickness: int
    """Pixels at four times the size; -1: filled lenses."""
    half: tuple[float, float]
    """Half width and height, in distances of the eyes."""
    square: bool


FRAMES = {
    "black": Frame((20, 18, 18), 14, (0.36, 0.34), False),
    "gold wire": Frame((150, 120, 60), 6, (0.38, 0.33), False),
    "grey wire": Frame((120, 120, 125), 6, (0.36, 0.30), True),
    "brown": Frame((70, 40, 25), 16, (0.38, 0.27), True),
    "white": Frame((225, 220, 215), 14, (0.38, 0.33), False),
}
SUNGLASSES = Frame((15, 15, 18), -1, (0.40, 0.36), False)


def portrait(name: str) -> Portrait:
    return prepare_portrait(read_portrait(PORTRAITS / f"{name}.avatar")[0], load_face_model(), aligned=True)


def wearing(person: Portrait, frame: Frame) -> tuple[Image, Image]:
    """The portrait with glasses drawn on, and where their lower rims are."""
    large = cv2.resize(person.image, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    rims = np.zeros(large.shape[:2], np.uint8)
    eyes = [person.landmarks[list(ids), :2].mean(0).astype(float) for ids in ((33, 133), (362, 263))]
    apart = float(np.linalg.norm(eyes[1] - eyes[0]))
    half = np.array(frame.half) * apart * 4.0
    middles = [(eye + np.array([0.0, 0.05 * apart])) * 4.0 + 1.5 for eye in eyes]
    for middle in middles:
        low, high = (tuple(int(v) for v in middle + sign * half) for sign in (-1.0, 1.0))
        for picture, colour in ((large, frame.colour), (rims, 255)):
            if frame.square:
                cv2.rectangle(picture, low, high, colour, frame.thickness, cv2.LINE_AA)
            else:
                middle_px = (int(middle[0]), int(middle[1]))
                cv2.ellipse(picture, middle_px, (int(half[0]), int(half[1])), 0, 0, 360, colour, frame.thickness)
    ends = [tuple(int(v) for v in middles[k] + (sign * half[0], -0.2 * apart)) for k, sign in ((0, 1.0), (1, -1.0))]
    cv2.line(large, ends[0], ends[1], frame.colour, max(frame.thickness, 8), cv2.LINE_AA)
    rims[: int(middles[0][1] + 0.5 * half[1])] = 0
    small = cv2.resize(large, (512, 512), interpolation=cv2.INTER_AREA).astype(np.uint8)
    return small, cv2.resize(rims, (512, 512), interpolation=cv2.INTER_AREA).astype(np.uint8)


@pytest.mark.parametrize("name", NAMES)
def test_bare_faces_have_none(name: str) -> None:
    person = portrait(name)
    assert glasses_mask(person.image, person.landmarks) is None
    assert not dark_lenses(person.image, person.landmarks)


@pytest.mark.parametrize("frame", list(FRAMES))
@pytest.mark.parametrize("name", ["ada", "ben"])
def test_rims_of_many_kinds_are_found(name: str, frame: str) -> None:
    person = portrait(name)
    picture, lower = wearing(person, FRAMES[frame])
    found = find_glasses(picture, person.landmarks)
    assert found is not None
    assert not found.dark
    assert (found.rims[lower > 200] > 0).mean() > 0.75  # the rims are where they were drawn
    assert (found.rims > 0).mean() < 0.06  # and little else


def test_dim_light_hides_no_glasses_and_makes_none() -> None:
    person = portrait("ada")
    picture, _ = wearing(person, FRAMES["black"])
    assert find_glasses((picture * 0.4).astype(np.uint8), person.landmarks) is not None
    assert find_glasses((person.image * 0.4).astype(np.uint8), person.landmarks) is None


def test_sunglasses_are_refused() -> None:
    """Lids would be drawn over dark lenses."""
    person = portrait("ada")
    picture, _ = wearing(person, SUNGLASSES)
    assert dark_lenses(picture, person.landmarks)
    nothing = np.zeros((512, 512), np.uint8)
    with pytest.raises(PhotoError, match="behind dark lenses"):
        assess(picture, person.landmarks, nothing + 255, nothing)
