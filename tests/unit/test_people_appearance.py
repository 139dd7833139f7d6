"""Hair, clothes and rooms of the synthetic people: what makes a portrait unusable to train with or to show."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy", reason="scipy is in the extras server and export")

from export.face.face_model_source import read_source
from export.face.people.clothes import HEART, body_distance, default_outfit, lay_cloth, neckline, surface_of
from export.face.people.hair import HairStyle, default_style, grow_beard, grow_hair
from export.face.people.hair_growth import Obstacles, cut, cut_below, gather, stray
from export.face.people.head import Head
from export.face.people.person import make_person
from export.face.people.ready import READY, main, ready_person
from export.face.people.room import ROOMS, Room, crop_panorama, defocus, paint_room
from export.face.people.wrinkles import wrinkle_depth


def straight_strands(count: int = 40, points: int = 9) -> np.ndarray:
    """[count, points, 3]: hair that hangs 8 cm down from y = 0."""
    strands = np.zeros((count, points, 3))
    strands[..., 0] = np.linspace(-5.0, 5.0, count)[:, None]
    strands[..., 1] = -np.linspace(0.0, 8.0, points)
    return strands


def test_hair_is_cut_where_the_style_says() -> None:
    """Else a fringe covers the eyes and the builder refuses the portrait."""
    strands = straight_strands()
    height = np.full(len(strands), -3.3)
    short = cut(strands, cut_below(strands, height), 6)
    assert short.shape == (40, 6, 3)
    np.testing.assert_allclose(short[:, -1, 1], -3.3, atol=1e-9)
    np.testing.assert_allclose(short[:, 0], strands[:, 0])


def test_hair_that_never_falls_so_low_keeps_its_length() -> None:
    """A style must not lengthen hair of the sides to that of the back."""
    strands = straight_strands()
    np.testing.assert_allclose(cut_below(strands, np.full(len(strands), -20.0)), strands.shape[1] - 1)


def test_locks_keep_their_roots() -> None:
    """Roots that wander would leave the scalp bare."""
    strands = straight_strands()
    gathered = gather(strands, strands[:, 0], np.random.default_rng(0), 8, 0.8, wave=0.5)
    np.testing.assert_allclose(gathered[:, 0], strands[:, 0], atol=1e-12)
    spread = gathered[:, -1, 0].std()
    assert spread < strands[:, -1, 0].std() + 0.6
    astray, chosen = stray(strands, np.random.default_rng(0), 0.3, 0.5)
    np.testing.assert_array_equal(astray[~chosen], strands[~chosen])
    assert 0 < chosen.sum() < len(strands)


def test_body_is_closed_and_symmetric() -> None:
    """Cloth is laid by rays from the heart: they have to begin inside and end outside on both sides."""
    assert body_distance(HEART[None], 1.0)[0] < -3.0
    generator = np.random.default_rng(3)
    directions = generator.normal(size=(200, 3))
    directions[:, 1] = np.abs(directions[:, 1])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    assert (body_distance(HEART + 46.0 * directions, 1.0) > 0.0).all()
    points = generator.normal(size=(100, 3)) * 15.0
    np.testing.assert_allclose(body_distance(points, 0.9), body_distance(points * [-1.0, 1.0, 1.0], 0.9))


@pytest.mark.parametrize("garment", ["jumper", "tshirt", "vneck", "scoop", "shirt"])
def test_necklines_stay_below_the_chin(garment: str) -> None:
    """A collar in the face's picture would be warped with the chin."""
    edge = neckline(garment, np.linspace(0.0, 2.0 * np.pi, 64, endpoint=False))  # type: ignore[arg-type]
    assert (edge[:, 1] < -9.0).all()
    np.testing.assert_allclose(edge[:, 0].min(), -edge[:, 0].max(), atol=0.05)


def test_defocus_keeps_light_and_spreads_points() -> None:
    """A room that gets brighter by being blurred would throw off the matte; a lamp has to become a disc."""
    picture = np.full((80, 80, 3), 0.2, dtype=np.float32)
    picture[40, 40] = 4.0
    blurred = defocus(picture, 6.0)
    np.testing.assert_allclose(blurred.mean(), picture.mean(), rtol=0.01)
    assert blurred.max() < 0.3
    disc = blurred[..., 0] > 0.205
    assert 90 < disc.sum() < 200  # a disc of 6 px has 113


def test_bright_lamps_do_not_drown_the_room() -> None:
    """The sun of a panorama is 10 000 times brighter than its sky."""
    picture = np.full((64, 64, 3), 0.1, dtype=np.float32)
    picture[10, 10] = 1e5
    assert defocus(picture, 3.0).max() < 0.3


def test_crop_shows_the_part_asked_for() -> None:
    """Columns of a panorama are degrees; the crop must not be mirrored or upside down."""
    height, width = 90, 180
    panorama = np.zeros((height, width, 3), dtype=np.float32)
    panorama[..., 0] = np.arange(width)[None] * 2.0
    panorama[..., 1] = (90.0 - (np.arange(height) + 0.5) * 2.0)[:, None]
    crop = crop_panorama(panorama, Room("", 200.0, 10.0, 40.0, 0.02, 0.2), 65)
    assert abs(crop[32, 32, 0] - 199.0) < 1.5  # a column's own azimuth is that of its middle
    assert abs(crop[32, 32, 1] - 10.0) < 0.5
    assert crop[32, 64, 0] > crop[32, 0, 0] + 30.0
    assert crop[0, 32, 1] > crop[64, 32, 1] + 30.0


def test_rooms_have_their_brightness() -> None:
    """Bright windows behind a dark face are what cheap portraits look like."""
    panorama = np.random.default_rng(1).gamma(0.5, 1.0, (64, 128, 3)).astype(np.float32)
    for room in ROOMS.values():
        assert np.median(paint_room(panorama, room, 96).mean(-1)) == pytest.approx(room.brightness, rel=1e-3)


def test_ready_people_differ_and_have_rooms() -> None:
    """README promises several ages, both sexes and skins from light to dark."""
    people = list(READY.values())
    assert len(people) >= 4
    assert {person.sex for person in people} == {"female", "male"}
    assert min(person.skin for person in people) < 0.3
    assert max(person.skin for person in people) > 0.7
    assert min(person.age for person in people) < 35.0
    assert max(person.age for person in people) > 60.0
    assert {person.room for person in people} <= set(ROOMS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--ict-facekit", "x.npz", "nobody"], "nobody"), (["--ict-facekit", "x.npz", "--size", "9"], "--size")],
)
def test_portrait_command_refuses(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong arguments are named before anything is rendered."""
    with pytest.raises(SystemExit):
        main(arguments)
    assert said in capsys.readouterr().err


@pytest.fixture(scope="module")
def head() -> Head:
    """The mean head; its data is not part of the repository."""
    path = os.environ.get("ICT_FACEKIT")
    if not path:
        pytest.skip("needs ICT-FaceKit: set ICT_FACEKIT to its folder or packed file")
    return Head(read_source(Path(path)))


@pytest.mark.parametrize("style", ["short", "lob", "bob", "coils", "receding"])
def test_hair_stays_out_of_skin_and_face(head: Head, style: str) -> None:
    """Hair in front of eyes or mouth would be dragged along by them."""
    person = make_person(head, 5)
    strands = grow_hair(person, HairStyle(style, density=0.1))  # type: ignore[arg-type]
    points = strands.posed(person.rest, person.rest)
    assert np.isfinite(points).all()
    eyes = head.landmarks(person.rest)[[33, 133, 362, 263, 61, 291]]
    flat = points.reshape(-1, 3)
    for place in eyes:
        before = (np.abs(flat[:, :2] - place[:2]).max(1) < 0.5) & (flat[:, 2] > place[2] - 1.0)
        assert before.mean() < 1e-4
    skin = Obstacles(head, person.rest)
    near, normals = skin.nearest(flat[:: max(1, len(flat) // 20_000)])
    height = ((flat[:: max(1, len(flat) // 20_000)] - near) * normals).sum(1)
    assert np.percentile(height, 3) > -0.3


def test_beard_leaves_the_lips_bare(head: Head) -> None:
    """The mouth's canvas is drawn over the lips: hair there would be doubled."""
    person = make_person(head, 5)
    beard = grow_beard(person, "short")
    assert np.isfinite(beard.offsets).all()
    roots = (head.mean[beard.corners] * beard.weights[..., None]).sum(1)
    assert (roots[:, 1] < -0.9).mean() > 0.999
    assert (head.lip_distance[beard.corners].max(1) < 0.3).mean() > 0.99
    with pytest.raises(ValueError, match="beard"):
        grow_beard(person, "none")


@pytest.mark.parametrize("garment", ["jumper", "shirt", "vneck"])
def test_cloth_covers_the_bust(head: Head, garment: str) -> None:
    """Skin that pokes through cloth looks torn."""
    person = make_person(head, 5)
    pieces = lay_cloth(person, garment)  # type: ignore[arg-type]
    for piece in pieces:
        assert np.isfinite(piece.points).all()
        assert piece.polygons.min() >= 0
        assert piece.polygons.max() < len(piece.points)
    points, normals = surface_of(pieces)
    near, outward = Obstacles(head, person.rest).nearest(points)
    close = np.linalg.norm(points - near, axis=1) < 2.0
    assert ((points - near) * outward).sum(1)[close].min() > -0.15
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-6)


def test_looks_are_the_seeds(head: Head) -> None:
    """The same seed must give the same person in training and in the judge."""
    person = make_person(head, 9)
    assert default_style(person) == default_style(person)
    assert default_outfit(person) == default_outfit(person)
    one, two = (grow_hair(person, HairStyle("crop", density=0.02)).offsets for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_wrinkles_come_with_age(head: Head) -> None:
    """A young face has none, an old one has some, none of them at the back of the head."""
    points = head.mean[head.skin_vertices]
    young, old = (ready_person(head, ready) for ready in (dataclasses.replace(READY["nia"], age=25.0), READY["otto"]))
    assert wrinkle_depth(young, points).max() == 0.0
    depth = wrinkle_depth(old, points)
    assert 0.3 < depth.max() <= 1.0
    assert depth[points[:, 2] < 0.0].max() == 0.0


@pytest.mark.parametrize("name", sorted(READY))
def test_ready_people_close_their_lips(head: Head, name: str) -> None:
    """Teeth of the photo would stay visible on p, b and m."""
    marks = head.landmarks(ready_person(head, READY[name]).rest)
    gap = (marks[13, 1] - marks[14, 1]) / np.linalg.norm(marks[[33, 133]].mean(0) - marks[[362, 263]].mean(0))
    assert gap < 0.06
