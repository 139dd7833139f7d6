"""The compact face and its fit to a portrait: what layers and graphs rest on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from facestream.avatar.face_model import PATH, load_face_model
from facestream.avatar.fit import TO_PICTURE, FaceFit, fit_face, similarity
from facestream.avatar.photo import prepare_portrait, read_photo
from facestream.parameters import ARKIT

PORTRAITS = Path(__file__).parents[2] / "model_repository" / "avatar_store" / "avatars"
MODEL = load_face_model()


@pytest.fixture(scope="module", name="fit", params=["ada", "ben"])
def fit_fixture(request: pytest.FixtureRequest) -> FaceFit:
    portrait = prepare_portrait(read_photo(PORTRAITS / f"{request.param}.jpg"), MODEL)
    return fit_face(portrait.image, portrait.landmarks, MODEL)


def test_every_arkit_shape_moves_the_face() -> None:
    """A parameter without a row would be silent in all avatars."""
    strength = np.abs(np.einsum("pe,evk->pvk", MODEL.arkit_matrix(), MODEL.expression)).max((1, 2))
    still = [ARKIT[i].name for i in np.flatnonzero(strength < 0.05)]
    assert still == []


def test_sides_are_the_persons_own() -> None:
    """x grows to the person's left; swapped sides would wink with the wrong eye."""
    for name, sign in (("eyeBlinkLeft", 1.0), ("eyeBlinkRight", -1.0)):
        moved = np.linalg.norm(MODEL.expression[MODEL.row(name)], axis=1)
        assert sign * float((moved * MODEL.neutral[:, 0]).sum()) > 0


def test_lower_teeth_and_tongue_follow_the_jaw() -> None:
    """Or the mouth would chew its own gums."""
    front = MODEL.neutral[:, 2] > 6.0  # the tongue's root is fixed in the throat
    follow = {name: MODEL.jaw_weight[MODEL.part_vertices(name)] for name in ("teeth_upper", "teeth_lower")}
    assert (follow["teeth_upper"] < 0.1).all()
    assert (follow["teeth_lower"] > 0.3).all()
    tongue = MODEL.part_vertices("tongue")
    assert (MODEL.jaw_weight[tongue[front[tongue]]] > 0.3).all()


def test_tongue_out_moves_the_tongue_alone() -> None:
    out = MODEL.expression[MODEL.row("tongueOut")]
    tongue = MODEL.part_vertices("tongue")
    assert out[tongue, 2].max() > 2.0
    assert np.abs(np.delete(out, tongue, axis=0)).max() == 0.0


def test_vertices_fit_the_budget() -> None:
    """Each vertex costs 156 numbers in every graph that bakes the basis, and 16-bit indices in the model's file."""
    assert len(MODEL.neutral) < 4000
    assert MODEL.triangles.max() == len(MODEL.neutral) - 1


def test_unknown_names_are_named() -> None:
    with pytest.raises(KeyError, match="jawOpem"):
        MODEL.row("jawOpem")
    with pytest.raises(KeyError, match="nose"):
        MODEL.part_triangles("nose")
    with pytest.raises(FileNotFoundError, match=r"face_model\.npz"):
        load_face_model(Path("absent/face_model.npz"))


def test_a_face_model_of_an_older_release_loads(tmp_path: Path) -> None:
    """Models that users made of their own FLAME or Basel file hold an array more, and take licensed data to make."""
    with np.load(PATH, allow_pickle=False) as arrays:
        np.savez(tmp_path / "face.npz", **arrays, landmark_scatter=np.full(468, 0.1, np.float32))
    assert (load_face_model(tmp_path / "face.npz").landmark_vertices == MODEL.landmark_vertices).all()


def test_similarity_is_recovered() -> None:
    rng = np.random.default_rng(0)
    source = rng.normal(size=(50, 3))
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    scale, rotation, shift = similarity(source, 3.0 * source @ turn + [1, 2, 3], np.ones(50))
    assert scale == pytest.approx(3.0)
    assert np.allclose(rotation, turn)
    assert np.allclose(shift, [1, 2, 3])


def test_fitted_mesh_lies_on_the_landmarks(fit: FaceFit) -> None:
    """Off the landmarks, speech would move the skin beside the lips."""
    reached = MODEL.landmarks(fit.vertices.astype(np.float64))
    distance = np.linalg.norm((reached - fit.landmarks[:468])[:, :2], axis=1)
    assert np.median(distance) < 0.5
    assert fit.error_px[0] < 4.0  # before the correction: the model itself must nearly fit
    assert fit.vertices.shape == MODEL.neutral.shape
    assert np.isfinite(fit.vertices).all()


def test_fit_is_upright_and_of_a_plausible_size(fit: FaceFit) -> None:
    assert np.allclose(fit.rotation @ fit.rotation.T, np.eye(3), atol=1e-4)
    assert np.degrees(np.arccos((np.trace(fit.rotation) - 1) / 2)) < 15
    assert 10 < fit.scale < 17
    nose, nape = fit.vertices[:, 2].max(), fit.pivot[2]
    assert nose - nape > 8 * fit.scale  # z grows towards the viewer


def test_a_known_face_is_found_again() -> None:
    """Landmarks of the model itself, posed: fitted scale and expression must be those that made them."""
    expression = np.zeros(len(MODEL.expression_names), np.float32)
    expression[[MODEL.row("mouthSmileLeft"), MODEL.row("mouthSmileRight")]] = 0.6
    shape = MODEL.shape(np.zeros(60, np.float32), expression)
    landmarks = np.zeros((478, 3), np.float32)
    landmarks[:468] = MODEL.landmarks(13.0 * shape) * TO_PICTURE + [256, 256, 0]
    found = fit_face(np.zeros((512, 512, 3), np.uint8), landmarks, MODEL)
    assert found.scale == pytest.approx(13.0, rel=0.03)
    assert found.expression[MODEL.row("mouthSmileLeft")] == pytest.approx(0.6, abs=0.2)
    assert found.expression[MODEL.row("jawOpen")] < 0.1


def test_bad_landmarks_are_refused() -> None:
    photo = np.zeros((512, 512, 3), np.uint8)
    for landmarks in (np.zeros((468, 3), np.float32), np.full((478, 3), np.nan, np.float32)):
        with pytest.raises(ValueError, match="landmarks"):
            fit_face(photo, landmarks, MODEL)
