"""Smiling portraits: the lips are closed in the picture, or the photo is refused; teeth at rest would stay for ever."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from facestream.avatar import lip_closing
from facestream.avatar.bundle import load_bundle, read_portrait
from facestream.avatar.enamel import real_enamel, teeth_colour
from facestream.avatar.face_model import load_face_model
from facestream.avatar.landmarks import detect_faces, find_landmarks
from facestream.avatar.lip_closing import with_closed_lips
from facestream.avatar.photo import MAX_MOUTH_GAP, PhotoError, Portrait, align, mouth_gap, prepare_portrait, read_photo
from facestream.avatar.preview import FacePreview, both, parameter_vector

REPOSITORY = Path(__file__).parents[2] / "model_repository"
PORTRAITS = REPOSITORY / "avatar_store" / "avatars"
DATA = Path(__file__).parents[1] / "data"
MODEL = load_face_model()


@pytest.fixture(scope="module", name="rest")
def rest_fixture() -> Portrait:
    return prepare_portrait(read_portrait(PORTRAITS / "ada.avatar")[0], MODEL, aligned=True)


@pytest.fixture(scope="module", name="smile")
def smile_fixture(rest: Portrait) -> Portrait:
    """Ada with parted lips and teeth, drawn by the avatar itself."""
    preview = FacePreview(REPOSITORY, load_bundle(PORTRAITS / "ada.avatar"))
    pose = {**both("mouthSmile", 0.4), **both("mouthUpperUp", 0.2), "jawOpen": 0.25}
    image = preview.draw(parameter_vector(pose)).copy()
    return replace(rest, image=image, landmarks=find_landmarks(image, detect_faces(image)[0]).landmarks)


def test_closed_lips_are_left_alone(rest: Portrait) -> None:
    """Most photos: not a bit of them may change."""
    assert with_closed_lips(rest, MODEL) is rest


def test_a_smile_is_closed(smile: Portrait, rest: Portrait) -> None:
    assert mouth_gap(smile.landmarks) > 3.0 * MAX_MOUTH_GAP[0]
    closed = with_closed_lips(smile, MODEL)
    assert mouth_gap(closed.landmarks) <= MAX_MOUTH_GAP[0]
    assert teeth_colour(closed.image, closed.landmarks) is None
    # The mouth comes back to where the person's own rest has it, and nothing else was touched.
    apart = np.linalg.norm(closed.landmarks[[61, 291, 0, 17], :2] - rest.landmarks[[61, 291, 0, 17], :2], axis=1)
    assert apart.max() < 8.0
    assert np.array_equal(closed.image[:200], smile.image[:200])
    assert np.array_equal(closed.image[470:], smile.image[470:])


def test_the_seam_shows_no_edges_beyond_the_lips(smile: Portrait) -> None:
    """Two layers meet at the lip line; beside the mouth they must be one skin."""
    closed = with_closed_lips(smile, MODEL)
    line = int(closed.landmarks[[61, 291], 1].mean())
    for x in (int(closed.landmarks[61, 0]) - 12, int(closed.landmarks[291, 0]) + 12):
        column = closed.image[line - 25 : line + 25, x - 2 : x + 3].astype(float).mean((1, 2))
        assert np.abs(np.diff(column, n=2)).max() < 6.0


def test_a_wide_open_mouth_is_refused_with_its_limit() -> None:
    with pytest.raises(PhotoError, match=r"at most 0\.18 can be closed"):
        prepare_portrait(read_photo(DATA / "mouth_open.jpg"), MODEL)


def test_lips_that_do_not_meet_are_refused(smile: Portrait, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not closed must not pass as closed."""
    monkeypatch.setattr(lip_closing, "close_lips", lambda fit, model: fit.photo)
    with pytest.raises(PhotoError, match="could not be closed"):
        with_closed_lips(smile, MODEL)


def test_teeth_are_measured_where_they_show() -> None:
    photo = read_photo(DATA / "mouth_open.jpg")
    image, landmarks, _ = align(photo, find_landmarks(photo, detect_faces(photo)[0]).landmarks)
    teeth = teeth_colour(image, landmarks)
    assert teeth is not None
    assert teeth.min() > 90.0
    assert teeth[0] < 1.35 * teeth[2]  # enamel, not gum or tongue


def test_the_portraits_light_falls_on_teeth_from_another_picture() -> None:
    """A smile photographed in the sun must not glow in a portrait made at dusk."""
    photo = read_photo(DATA / "mouth_open.jpg")
    image, landmarks, _ = align(photo, find_landmarks(photo, detect_faces(photo)[0]).landmarks)
    same = real_enamel(image, landmarks, image, landmarks)
    dusk = real_enamel(image, landmarks, (image * 0.6).astype(np.uint8), landmarks)
    assert same is not None
    assert dusk is not None
    assert np.allclose(dusk, 0.6 * same, rtol=0.05)


def test_without_teeth_there_is_no_colour(rest: Portrait) -> None:
    assert real_enamel(rest.image, rest.landmarks, rest.image, rest.landmarks) is None
