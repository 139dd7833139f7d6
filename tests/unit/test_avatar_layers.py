"""From a fitted face to layers: the geometry that no picture would show to be wrong."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from facestream.avatar import layers, layers_canvas, layers_nodes
from facestream.avatar.face_model import load_face_model
from facestream.avatar.fit import FaceFit, fit_face
from facestream.avatar.layers_head import head_relief
from facestream.avatar.layers_raster import draw_surface
from facestream.avatar.layers_seams import LOWER_LIP, UPPER_LIP, Seam, dark_line
from facestream.avatar.photo import prepare_portrait, read_photo
from facestream.parameters import ARKIT

from export.ensembles import REPOSITORY


@pytest.fixture(scope="module")
def fit() -> FaceFit:
    """Ada's portrait, fitted."""
    model = load_face_model()
    portrait = prepare_portrait(read_photo(REPOSITORY / "avatar_store" / "avatars" / "ada.jpg"), model)
    return fit_face(portrait.image, portrait.landmarks, model)


def test_layers_are_what_the_graphs_take(fit: FaceFit) -> None:
    """A wrong shape or a NaN would only be refused by the server, long after the avatar was made."""
    made = layers.build_layers(fit, load_face_model())
    assert {name: (str(value.dtype), value.shape) for name, value in made.items()} == layers_canvas.AVATAR_TENSORS
    assert all(np.isfinite(value.astype(np.float64)).all() for value in made.values())
    vertices = len(load_face_model().neutral)
    for name in ("AVATAR_MESH_INDEX", "AVATAR_SEAM_INDEX"):
        assert 0 <= made[name].min() <= made[name].max() < vertices
    assert sum(value.nbytes for value in made.values()) < 1.6e6


def test_the_border_of_the_picture_stands_still(fit: FaceFit) -> None:
    """Motion at the border would drag stripes of it into the picture; above the head there is only background."""
    made = layers.build_layers(fit, load_face_model())
    expression, head = made["AVATAR_MESH_WEIGHT"].astype(float).sum(0), made["AVATAR_HEAD"][1].astype(float)
    assert max(expression[0].max(), expression[-1].max(), expression[:, 0].max(), expression[:, -1].max()) < 0.02
    assert max(head[-1].max(), head[:, 0].max(), head[:, -1].max()) < 0.02


def test_the_head_is_rigid_and_the_shoulders_hardly_follow(fit: FaceFit) -> None:
    """A cheek that turns further than the hair on it slides beneath; shoulders that turn along are a bust's."""
    follows = layers.build_layers(fit, load_face_model())["AVATAR_HEAD"][1].astype(float)
    chin, brow = fit.landmarks[[152, 10], 1].astype(int) // layers_canvas.HEAD_PITCH
    left, right = fit.landmarks[[234, 454], 0].astype(int) // layers_canvas.HEAD_PITCH
    assert follows[brow : chin - 1, left - 1 : right + 2].min() > 0.97
    shoulders = follows[-8:-6, 12:-12]
    assert 0.02 < shoulders.min() <= shoulders.max() < 0.45
    assert np.abs(np.diff(follows, axis=0)).max() < 0.25  # per node of 8 px: the neck stretches softly


def test_strands_at_the_border_hold_it(fit: FaceFit) -> None:
    """Curls that are half cut off were drawn out into a grey block over the head as soon as it nodded."""
    surface = draw_surface(fit.vertices.astype(float), load_face_model().part_triangles("face", "head"), 512)
    outline = layers_nodes.face_outline(fit.landmarks.astype(float))
    hair = np.zeros((512, 512), np.uint8)
    matte = np.where(surface.front >= 0, 255, 0).astype(np.uint8)
    tops = []
    for strands in (0, 60):
        matte[:40, 200:312] = strands
        tops.append(head_relief(surface, fit.landmarks.astype(float), fit, outline, matte, hair)[1][0].max())
    assert tops[0] > 0.9
    assert tops[1] < 0.05


def test_the_backdrop_is_the_photo_where_the_person_is_not(fit: FaceFit) -> None:
    """Else the background would change its colour around a head that moves."""
    backdrop = layers.build_layers(fit, load_face_model())["AVATAR_BACKDROP"].astype(float)
    free = backdrop[3] == 0
    photo = fit.photo.reshape(256, 2, 256, 2, 3).mean((1, 3)).transpose(2, 0, 1)
    assert free.mean() > 0.2
    assert np.abs(backdrop[:3] - photo)[:, free].mean() < 1.0
    face = fit.landmarks[:468, :2].astype(int) // layers_canvas.BACKDROP_PITCH
    assert (backdrop[3][face[:, 1], face[:, 0]] == 255).mean() > 0.98


def test_a_face_at_rest_keeps_its_whole_smile(fit: FaceFit) -> None:
    """The fit reads a trace of a smile into calm faces: taken for the photo's own, it made smiles weak and lopsided."""
    model = load_face_model()
    names = [entry.name for entry in ARKIT]
    sides = [names.index("mouthSmileLeft"), names.index("mouthSmileRight")]

    def gains(left: float, right: float) -> list[float]:
        expression = np.zeros_like(fit.expression)
        expression[[model.row("mouthSmileLeft"), model.row("mouthSmileRight")]] = left, right
        made = layers.build_layers(dataclasses.replace(fit, expression=expression), model)["AVATAR_CONSTANTS"]
        first, count = layers_canvas.CONSTANTS["gain"]
        return [float(gain) for gain in made[first : first + count][sides]]

    assert gains(0.0, 0.25) == [1.0, 1.0]
    assert gains(0.65, 0.45) == pytest.approx([0.7, 0.7])  # a real smile has less way to go, as much on both sides
    assert gains(1.0, 1.0) == pytest.approx([0.6, 0.6])


def test_a_misaligned_portrait_is_refused_and_told_why(fit: FaceFit) -> None:
    low = dataclasses.replace(fit, landmarks=fit.landmarks + np.array([0, 60, 0], np.float32))
    with pytest.raises(ValueError, match=r"the eyes span x .*, y .* px .* must lie within"):
        layers.build_layers(low, load_face_model())


def test_the_nearest_triangle_wins() -> None:
    """A nose covers the cheek behind it."""
    far = np.array([[0, 0, 0], [0, 30, 0], [30, 0, 0]], float)
    near = far * [0.5, 0.5, 1] + [0, 0, 5]
    surface = draw_surface(np.vstack([far, near]), np.array([[0, 1, 2], [3, 4, 5]]), 32)
    vertices, weights = surface.locate(np.array([[4.0, 4.0], [20.0, 4.0]]))
    assert vertices.tolist() == [[3, 4, 5], [0, 1, 2]]
    np.testing.assert_allclose((weights[..., None] * np.vstack([far, near])[vertices]).sum(1)[:, :2], [[4, 4], [20, 4]])


def test_triangles_turned_away_are_not_seen() -> None:
    surface = draw_surface(np.array([[0, 0, 0], [30, 0, 0], [0, 30, 0]], float), np.array([[0, 1, 2]]), 32)
    with pytest.raises(ValueError, match="covers no usable pixel"):
        surface.locate(np.array([[4.0, 4.0]]))


def test_a_seam_knows_its_own_side() -> None:
    """A negative score beyond the lens would cut stripes into chin or nose."""
    line = np.linspace(100.0, 160.0, 50)
    upper = Seam(line, np.full(50, 80.0), True, UPPER_LIP, reach=1.0)
    lower = Seam(line, np.full(50, 80.0), False, LOWER_LIP, reach=1.0)
    x, y = np.array([[130.0, 130.0, 130.0, 90.0]]), np.array([[75.0, 85.0, 120.0, 85.0]])
    np.testing.assert_allclose(upper.distance(x, y, 16.0)[0, :2], [5.0, -5.0], atol=0.01)
    assert (upper.distance(x, y, 16.0)[0, 2:] > 0).all()
    np.testing.assert_allclose(lower.distance(x, y, 16.0)[0, :2], [-5.0, 5.0], atol=0.01)


def test_distances_to_a_seam_have_no_jump() -> None:
    """They are interpolated: across a jump an open mouth has jagged corners."""
    line = np.linspace(100.0, 160.0, 50)
    x, y = np.meshgrid(np.arange(80.0, 180.0), np.arange(60.0, 130.0))
    for above in (True, False):
        curve = 85.0 + 4.0 * np.sin((line - 100.0) / 60.0 * np.pi)
        distance = Seam(line, curve, above, UPPER_LIP, reach=1.9).distance(x, y, 16.0)
        assert max(np.abs(np.diff(distance, axis=axis)).max() for axis in (0, 1)) < 1.1
        assert distance.min() < -10.0


def test_the_lips_dark_line_is_found() -> None:
    """Landmarks miss it by up to two pixels; then half of the line would stay on each lip."""
    photo = np.full((512, 512, 3), 150, np.uint8)
    photo[302:304, 200:320] = 60
    x = np.linspace(210.0, 310.0, 200)
    line = dark_line(photo, x, np.full(200, 301.0), reach=4.0)
    assert np.abs(line[60:140] - 303.0).max() <= 0.5
    assert line[0] == 301.0


@pytest.mark.parametrize(("point", "inside"), [((5.0, 5.0), True), ((11.0, 5.0), False), ((5.0, -1.0), False)])
def test_outline(point: tuple[float, float], inside: bool) -> None:
    square = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0], [0.0, 10.0]])
    for polygon in (square, square[::-1]):
        distance, nearest = layers_nodes.to_outline(np.array([point]), polygon, inset=0.0)
        assert (distance[0] == 0.0) == inside
        assert distance[0] in (0.0, 1.0)
        np.testing.assert_allclose(np.linalg.norm(nearest[0] - point), distance[0])
