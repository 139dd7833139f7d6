"""The person cut out of the portrait: a wrong edge is dragged along, or left behind, when the head turns."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from facestream.avatar.bundle import read_portrait
from facestream.avatar.face_model import load_face_model
from facestream.avatar.hair import hair_mask
from facestream.avatar.landmark_topology import CHIN, FACE_OVAL, FOREHEAD
from facestream.avatar.matte import STRAY_PX, backdrop, denser, person_matte, segment_person
from facestream.avatar.photo import Portrait, prepare_portrait
from numpy.typing import NDArray

Image = NDArray[np.uint8]

PORTRAITS = Path(__file__).parents[2] / "model_repository" / "avatar_store" / "avatars"


def portrait(name: str) -> Portrait:
    return prepare_portrait(read_portrait(PORTRAITS / f"{name}.avatar")[0], load_face_model(), aligned=True)


@pytest.fixture(scope="module", name="ada")
def ada_fixture() -> Portrait:
    return portrait("ada")


@pytest.fixture(scope="module", name="matte")
def matte_fixture(ada: Portrait) -> Image:
    return person_matte(ada.image, ada.landmarks)


def on_wall(picture: Portrait, matte: Image, colour: tuple[int, int, int]) -> Image:
    """The person before a plain wall."""
    share = matte[..., None] / 255.0
    return np.round(picture.image * share + np.array(colour) * (1.0 - share)).astype(np.uint8)


def test_the_face_is_the_person_and_the_corners_are_not(ada: Portrait, matte: Image) -> None:
    face = cv2.fillPoly(np.zeros((512, 512), np.uint8), [ada.landmarks[list(FACE_OVAL), :2].astype(np.int32)], 1)
    assert (matte[face > 0] == 255).all()  # never see-through
    assert (matte[:60, :60] == 0).all()
    assert (matte[:60, -60:] == 0).all()
    assert 0.35 < (matte > 127).mean() < 0.7


def test_the_background_stays_the_photo_to_the_bit(ada: Portrait, matte: Image) -> None:
    """Where the matte is 0, backdrop and photo must be one, or a turning head would flicker over it."""
    behind = backdrop(ada.image, matte).transpose(1, 2, 0)
    for reach, share in ((STRAY_PX + 1, 1.0), (3, 0.97)):
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        away = cv2.dilate((matte > 0).astype(np.uint8), disc) == 0
        assert away.mean() > 0.2
        assert (behind[away] == ada.image[away]).all(1).mean() >= share


def test_loose_hairs_do_not_stay_behind_as_specks() -> None:
    """A strand that the matte missed would hang in the sky when the head has turned away from it."""
    sky = np.full((512, 512, 3), (150, 180, 220), np.uint8)
    sky += np.random.default_rng(0).integers(0, 5, sky.shape, np.uint8)
    matte = np.zeros((512, 512), np.uint8)
    cv2.circle(matte, (256, 256), 120, 255, -1)
    photo = np.where(matte[..., None] > 0, np.uint8(40), sky)
    for angle in np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False):
        ends = [np.round(256 + away * np.array([np.cos(angle), np.sin(angle)])).astype(int) for away in (118, 127)]
        cv2.line(photo, ends[0].tolist(), ends[1].tolist(), (40, 35, 30), 1)
    behind = backdrop(photo, matte).transpose(1, 2, 0)
    assert (photo[matte == 0].min(1) < 100).sum() > 100  # the strands are there
    assert behind[matte == 0].min() > 120


def test_the_backdrop_shows_nobody(ada: Portrait, matte: Image) -> None:
    behind = np.ascontiguousarray(backdrop(ada.image, matte).transpose(1, 2, 0))
    assert segment_person(behind)[matte > 127].mean() < 0.4
    assert segment_person(ada.image)[matte > 127].mean() > 0.95


def test_the_edge_is_found_again_before_another_wall(ada: Portrait, matte: Image) -> None:
    """The matte tells the person from what is behind, not one photo from another."""
    for colour in ((205, 210, 215), (60, 110, 70)):
        again = person_matte(on_wall(ada, matte, colour), ada.landmarks)
        assert np.abs(again.astype(int) - matte).mean() < 4.0


def test_no_background_at_all_is_no_error(ada: Portrait) -> None:
    behind = backdrop(ada.image, np.full((512, 512), 255, np.uint8))
    assert np.array_equal(behind, ada.image.transpose(2, 0, 1))


@pytest.mark.parametrize("name", ["ada", "ben"])
def test_hair_lies_above_and_beside_the_face(name: str) -> None:
    """Skin taken for hair would be stiff; hair taken for skin would bend with the jaw."""
    person = portrait(name)
    hair = hair_mask(person.image, person_matte(person.image, person.landmarks), person.landmarks) > 127
    crown = int(person.landmarks[FOREHEAD, 1]) - 30
    assert hair[crown - 10 : crown + 10, 206:306].mean() > 0.85
    assert not hair[240:360, 220:292].any()  # nose and mouth
    assert not hair[int(person.landmarks[CHIN, 1]) : 512, 246:266].any()  # neck and clothes


def test_a_bald_head_has_no_hair() -> None:
    """Its skin must not be held still as hair is."""
    ben = portrait("ben")
    matte = person_matte(ben.image, ben.landmarks)
    hair = hair_mask(ben.image, matte, ben.landmarks)
    cheek = np.median(ben.image[240:280, 190:210].reshape(-1, 3), axis=0)
    noise = np.random.default_rng(0).normal(0.0, 3.0, ben.image.shape)
    wide = cv2.GaussianBlur(cv2.dilate(hair, np.ones((9, 9), np.uint8)), (0, 0), 2.0)[..., None] / 255.0
    bald = np.clip(ben.image * (1.0 - wide) + (cheek + noise) * wide, 0, 255).astype(np.uint8)
    found = hair_mask(bald, matte, ben.landmarks)
    assert (found > 127).mean() < 0.2 * (hair > 127).mean()


def test_a_hat_goes_with_the_head() -> None:
    """It is worn where hair grows, and turns with it."""
    ben = portrait("ben")
    matte = person_matte(ben.image, ben.landmarks)
    hatted = ben.image.copy()
    hat = (np.arange(512)[:, None] < ben.landmarks[FOREHEAD, 1]) & (matte > 127)
    hatted[hat] = (30, 60, 140)
    found = hair_mask(hatted, matte, ben.landmarks)
    assert (found > 127)[hat].mean() > 0.9


def test_what_is_behind_goes_on_behind_the_person() -> None:
    """A shelf that ended in a smear at the outline would show where the head was."""
    rows = np.arange(512)
    shelves = np.where(rows // 12 % 2 == 0, 60, 200).astype(np.uint8)
    photo = np.broadcast_to(shelves[:, None, None], (512, 512, 3)).copy()
    matte = np.zeros((512, 512), np.uint8)
    cv2.rectangle(matte, (156, 100), (356, 511), 255, -1)
    photo[matte > 0] = 120
    behind = backdrop(photo, matte)[0].astype(float)
    seen = behind[200:400, 164:176].mean(1)
    assert np.corrcoef(seen, shelves[200:400])[0, 1] > 0.95
    assert seen.std() > 0.6 * shelves.std()
    assert behind[200:400, 240:270].std() < 0.2 * shelves.std()  # where no head turns to


def test_a_thin_matte_leaves_no_black_behind() -> None:
    """Before a bright sky the matte of fuzzy hair is too thin: taking the sky out of it left black blots."""
    behind = np.full((3, 64, 64), 220, np.uint8)
    photo = np.full((64, 64, 3), 220, np.uint8)
    photo[:, 20:24], photo[:, 30:34], photo[:, 40:44] = 30, 120, 217
    matte = np.zeros((64, 64), np.uint8)
    matte[:, 20:24], matte[:, 30:34], matte[:, 50:] = 80, 200, 255
    covered = denser(photo, behind, matte)
    assert (covered >= matte).all()
    assert covered[0, 21] > 210  # nearly all of it is hair: 30 is a seventh of 220
    assert covered[0, 31] == 200  # 120 can be a fifth of 220 and something lighter than black
    assert covered[:, 40:44].max() < 5  # noise
    assert not covered[:, :20].any()  # the background itself
    left = photo - (1.0 - covered[..., None] / 255.0) * behind.transpose(1, 2, 0)
    assert left.min() > -8.0


def test_the_sky_goes_on_behind_the_head() -> None:
    """A smooth guess from all around made it the grey of sky and floor together, and seen above a head that nods."""
    photo = np.zeros((512, 512, 3), np.uint8)
    photo[:300], photo[300:] = (180, 210, 240), (60, 50, 40)
    matte = np.zeros((512, 512), np.uint8)
    matte[:, 100:412] = 255
    behind = backdrop(photo, matte).transpose(1, 2, 0).astype(float)
    assert np.abs(behind[:200, 200:312] - photo[0, 0]).max() < 25.0
