"""The quality report: what will look weak is said before anybody sees it; what cannot work is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from facestream.avatar.bundle import read_portrait
from facestream.avatar.face_model import load_face_model
from facestream.avatar.hair import hair_mask
from facestream.avatar.matte import person_matte
from facestream.avatar.photo import PhotoError, Portrait, prepare_portrait
from facestream.avatar.quality import Quality, assess
from numpy.typing import NDArray

Image = NDArray[np.uint8]

PORTRAITS = Path(__file__).parents[2] / "model_repository" / "avatar_store" / "avatars"
NAMES = sorted(path.stem for path in PORTRAITS.glob("*.avatar"))
Y, X = np.mgrid[0:512, 0:512]


def portrait(name: str) -> Portrait:
    return prepare_portrait(read_portrait(PORTRAITS / f"{name}.avatar")[0], load_face_model(), aligned=True)


@pytest.fixture(scope="module", name="ada")
def ada_fixture() -> tuple[Portrait, Image, Image]:
    person = portrait("ada")
    matte = person_matte(person.image, person.landmarks)
    return person, matte, hair_mask(person.image, matte, person.landmarks)


@pytest.mark.parametrize("name", NAMES)
def test_ready_avatars_have_nothing_to_complain_of(name: str) -> None:
    """A warning for a good portrait would teach its readers to ignore warnings."""
    person = portrait(name)
    matte = person_matte(person.image, person.landmarks)
    found = assess(person.image, person.landmarks, matte, hair_mask(person.image, matte, person.landmarks))
    assert found.warnings == ()


def busy(picture: Image, matte: Image) -> Image:
    stripes = np.where((X // 6 + Y // 6) % 2 > 0, 235, 20)[..., None].astype(np.uint8)
    return np.where(matte[..., None] > 0, picture, stripes).astype(np.uint8)


def half_lit(picture: Image, matte: Image) -> Image:
    return (picture * np.where(X < 256, 1.0, 0.4)[..., None]).astype(np.uint8)


def grey(picture: Image, matte: Image) -> Image:
    return np.repeat(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2).astype(np.uint8)


def noisy(picture: Image, matte: Image) -> Image:
    noise = np.random.default_rng(0).normal(0.0, 14.0, (512, 512, 1))
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def blown_out(picture: Image, matte: Image) -> Image:
    return np.clip(picture.astype(float) * 1.75, 0, 255).astype(np.uint8)


def strand(picture: Image, matte: Image) -> Image:
    """Hair across one eye and cheek."""
    over = (np.abs(X - 195 - 0.1 * (Y - 150)) < 28) & (Y < 330) & (Y > 60)
    hair = picture[60:80, 210:240].reshape(-1, 3)
    return np.where(over[..., None], hair[(X * 7 + Y * 13) % len(hair)], picture).astype(np.uint8)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (busy, "background is busy"),
        (half_lit, "light is uneven"),
        (grey, "hardly any colour"),
        (noisy, "noisy"),
        (blown_out, "blown out"),
        (strand, "hair lies over"),
    ],
)
def test_what_is_doubtful_is_said_with_its_number(
    change: Callable[[Image, Image], Image], words: str, ada: tuple[Portrait, Image, Image]
) -> None:
    person, matte, hair = ada
    found: Quality = assess(change(person.image, matte), person.landmarks, matte, hair)
    told = [text for text in found.warnings if words in text]
    assert told, (found.measures, found.warnings)
    assert any(character.isdigit() for character in told[0])


@pytest.mark.parametrize("colour", [(225, 228, 232), (120, 160, 200), (25, 25, 28)], ids=["white", "blue", "black"])
@pytest.mark.parametrize("name", ["ada", "ben"])
def test_masks_are_refused(name: str, colour: tuple[int, int, int]) -> None:
    """The landmark network draws lips on a mask, and is certain of them."""
    person = portrait(name)
    outline = person.landmarks[
        [234, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377, 400, 378, 379, 365, 397, 288, 361, 454, 346, 197, 117],
        :2,
    ]
    picture = cv2.fillPoly(person.image.copy(), [np.round(outline).astype(np.int32)], colour)
    nothing = np.zeros((512, 512), np.uint8)
    with pytest.raises(PhotoError, match="something covers the mouth"):
        assess(picture.astype(np.uint8), person.landmarks, nothing + 255, nothing)
