"""Synthetic people without Blender: what the training and the judging of the renderer rely on in its data set."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("scipy", reason="synthetic people are made with the extra 'people'")

from facestream.parameters import HEAD, INDEX, PARAMETERS

from export.face.people import dataset, expressions
from export.face.people.subdivision import subdivide
from export.face.people.surface_field import inside_polygon

if TYPE_CHECKING:
    from export.face.people.head import Head

SOURCE = os.environ.get("ICT_FACEKIT", "")
needs_source = pytest.mark.skipif(not Path(SOURCE).exists() or not SOURCE, reason="ICT_FACEKIT names no ICT-FaceKit")


@pytest.fixture(scope="module")
def head() -> Head:
    from export.face.face_model_source import read_source
    from export.face.people.head import Head

    return Head(read_source(Path(SOURCE)))


def test_expressions_keep_head_and_tongue_at_rest_and_every_weight_in_range() -> None:
    """A moved head in the training frames would teach the network a shift that the geometry already makes."""
    speech = np.random.default_rng(0).normal(0.2, 0.6, (500, len(PARAMETERS))).astype(np.float32)
    drawn = expressions.draw_expressions(np.random.default_rng(1), speech, 16)
    assert drawn.shape == (16, len(PARAMETERS))
    assert drawn.dtype == np.float32
    assert not drawn[:, [INDEX[p.name] for p in HEAD]].any()
    assert not drawn[:, INDEX["tongueOut"]].any()
    assert (drawn >= np.array([p.low for p in PARAMETERS], np.float32)).all()
    assert (drawn <= np.array([p.high for p in PARAMETERS], np.float32)).all()
    assert (drawn[:, INDEX["eyeBlinkLeft"]] >= 1.0).any(), "no closed lids: the network would never see lid skin"
    assert (drawn[:, INDEX["jawOpen"]] > 0.45).any(), "no open mouth"


def test_same_seed_draws_same_expressions() -> None:
    """A run that is resumed must go on with the parameters whose first frames are rendered already."""
    a, b = (expressions.draw_expressions(np.random.default_rng(7), None, 9) for _ in range(2))
    np.testing.assert_array_equal(a, b)


def test_unknown_parameter_is_named() -> None:
    with pytest.raises(KeyError, match="mouthGrin"):
        expressions.named(mouthGrin=1.0)


def test_most_different_takes_the_extremes_and_refuses_too_few() -> None:
    rows = np.array([[0.0], [0.1], [0.2], [5.0], [-4.0]], np.float32)
    assert {3, 4} <= set(expressions.most_different(rows, 3, np.random.default_rng(0)).tolist())
    with pytest.raises(ValueError, match="at least 6"):
        expressions.most_different(rows, 6, np.random.default_rng(0))


def test_glance_turns_both_eyes_alike() -> None:
    look = expressions.glance(np.random.default_rng(3), 2.0)
    assert look[INDEX["gazeYawLeft"]] == look[INDEX["gazeYawRight"]]


def test_finished_people_are_not_rendered_again(tmp_path: Path) -> None:
    """Rendering takes hours: a stopped run must lose one frame at most."""
    for number in range(3):
        folder = dataset.Folder(dataset.person_folder(tmp_path, "train", number), 2)
        folder.path.mkdir(parents=True)
        (folder.path / dataset.PHOTO).touch()
        for frame in range(2):
            folder.frame(frame).touch()
    dataset.Folder(dataset.person_folder(tmp_path, "train", 1), 2).frame(1).unlink()
    assert list(dataset.unfinished(tmp_path, "train", 4, 2)) == [1, 3]
    assert dataset.Folder(dataset.person_folder(tmp_path, "train", 1), 2).missing() == [1]


def test_pictures_of_a_later_run_show_the_parameters_of_the_first(tmp_path: Path) -> None:
    """Asked for more speech, or given other speech, it named the pictures that were there by another list."""

    def drawn(value: float, frames: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        return np.full((frames, len(PARAMETERS)), value, np.float32)

    assert len(dataset.kept_parameters(tmp_path, 6, lambda: drawn(0.1, 6))) == 6
    again = dataset.kept_parameters(tmp_path, 4, lambda: drawn(0.2, 4))
    assert np.array_equal(again, drawn(0.1, 4))
    with pytest.raises(ValueError, match=r"parameters\.npy: begun with 6 frames, 9 are asked for"):
        dataset.kept_parameters(tmp_path, 9, lambda: drawn(0.2, 9))
    assert np.array_equal(np.load(tmp_path / dataset.PARAMETERS), drawn(0.1, 6))


def test_train_and_heldout_share_nobody() -> None:
    assert dataset.SEEDS["heldout"] - dataset.SEEDS["train"] > 5000


def test_speech_of_heldout_people_is_long_enough_or_refused() -> None:
    clips = {"a": np.zeros((10, 73), np.float32), "b": np.zeros((60, 73), np.float32)}
    clips["b"][30:50, 0] = np.random.default_rng(0).random(20)
    name, begin = dataset.choose_speech(clips, 24, np.random.default_rng(0))
    assert name == "b"
    assert 25 <= begin <= 31
    with pytest.raises(ValueError, match="no clip has 61"):
        dataset.choose_speech(clips, 61, np.random.default_rng(0))


def test_subdivided_plane_stays_a_plane_and_its_rim_stays_a_rim() -> None:
    """Wrong weights would dent the skin at every edge of the mesh."""
    grid = np.array([[x, y, 2.0 * x - y] for y in range(4) for x in range(4)], dtype=np.float64)
    quads = np.array([[y * 4 + x, y * 4 + x + 1, y * 4 + x + 5, y * 4 + x + 4] for y in range(3) for x in range(3)])
    mesh = subdivide(quads, len(grid) + 5, 2)
    finer = mesh(np.vstack([grid, np.zeros((5, 3))]))
    np.testing.assert_allclose(finer[:, 2], 2.0 * finer[:, 0] - finer[:, 1], atol=1e-9)
    np.testing.assert_allclose(np.asarray(mesh.matrix.sum(1)).ravel(), 1.0)
    assert len(mesh.polygons) == 9 * 16
    assert finer[:, 0].min() == pytest.approx(0.0, abs=0.2)
    triangle = subdivide(np.array([[0, 1, 2, -1]]), 3, 1)
    assert len(triangle.polygons) == 3


def test_inside_polygon_tells_inside_from_outside() -> None:
    square = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0]])
    np.testing.assert_allclose(inside_polygon(np.array([[1.0, 1.5], [3.0, 1.0]]), square), [0.5, -1.0])


def test_camera_constants_are_those_of_the_photo_alignment() -> None:
    """Were they apart, every synthetic photo would be resampled before the avatar is made of it."""
    photo = pytest.importorskip("facestream.avatar.photo", reason="needs the extra 'server'")
    from export.face.people import camera

    assert camera.EYES == photo.EYES
    assert camera.MOUTH == photo.MOUTH


@needs_source
def test_camera_sees_eyes_and_mouth_where_avatars_have_them(head: Head) -> None:
    from facestream.avatar.landmark_topology import LIP_OUTER

    from export.face.people.camera import EYE_CORNERS, EYES, MOUTH, draw_camera, place_camera
    from export.face.people.person import make_person

    for seed in range(4):
        person = make_person(head, seed)
        camera = draw_camera(person)
        seen = camera.project(head.landmarks(person.rest))[:, :2]
        np.testing.assert_allclose(seen[list(EYE_CORNERS)].mean(0), EYES, atol=0.05)
        np.testing.assert_allclose(seen[list(LIP_OUTER)].mean(0), MOUTH, atol=0.05)
    with pytest.raises(ValueError, match="focal_mm is 5"):
        place_camera(person, 5.0)


@needs_source
def test_people_differ_within_bounds_and_come_back_the_same(head: Head) -> None:
    from export.face.people.person import LIMIT, make_person

    people = [make_person(head, seed) for seed in range(6)]
    for person in people:
        assert np.abs(person.identity).max() <= LIMIT
        assert not np.array_equal(person.identity[0], person.identity[1]), "faces are never quite symmetric"
        assert 18.0 <= person.traits.age <= 78.0
    np.testing.assert_array_equal(people[2].rest, make_person(head, 2).rest)
    apart = [np.linalg.norm(a.rest - b.rest, axis=1).mean() for a in people for b in people if a is not b]
    assert min(apart) > 0.1, "cm between the faces of two people"


@needs_source
def test_blink_of_one_closes_the_lids_of_everybody(head: Head) -> None:
    """The judge reads closure from these frames: half-open ground truth would call a correct renderer wrong."""
    from export.face.people.person import make_person

    for seed in range(4):
        person = make_person(head, seed)
        closed = head.landmarks(person.posed(expressions.named(eyeBlink=1.0)))
        rest = head.landmarks(person.rest)
        for upper, lower in ((159, 145), (386, 374)):
            opening = rest[upper, 1] - rest[lower, 1]
            assert closed[upper, 1] - closed[lower, 1] < 0.15 * opening


@needs_source
def test_vertices_of_the_compact_model_are_found_in_the_source(head: Head) -> None:
    from facestream.avatar.face_model import load_face_model

    model = load_face_model()
    found = dataset.source_vertices(head, model)
    assert len(found) == len(model.neutral)
    np.testing.assert_allclose(head.mean[found], model.neutral, atol=1e-3)


@needs_source
def test_blender_draws_a_person(tmp_path: Path) -> None:
    """The whole command at one path a pixel, in a process of its own: Blender's modules hang beside OpenVINO's."""
    if importlib.util.find_spec("bpy") is None:
        pytest.skip("rendering needs the extra 'people' (Python 3.11)")
    cv2 = pytest.importorskip("cv2", reason="needs the extra 'server'")
    command = [sys.executable, "-m", "export.face.people", "--ict-facekit", SOURCE, "--people", "1", "--samples", "1"]
    command += ["--photo-samples", "1", "--hair", "0.02", "--out", str(tmp_path), "--frames", "2"]
    environment = {**os.environ, "PYTHONPATH": "client:."}
    subprocess.run(command, check=True, capture_output=True, env=environment, timeout=900)
    folder = dataset.Folder(dataset.person_folder(tmp_path, "train", 0), 2)
    photo, first = cv2.imread(str(folder.path / dataset.PHOTO)), cv2.imread(str(folder.frame(0)))
    assert photo.shape == (512, 512, 3)
    assert first.shape == (280, 216, 3)
    assert 30.0 < photo[160:330, 200:310].mean() < 220.0, "the face is not exposed"
    points = np.load(folder.path / dataset.VERTICES)
    assert points.shape[0] == 2
    assert np.isfinite(points).all()
