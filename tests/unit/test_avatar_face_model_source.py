"""Reading ICT-FaceKit: a wrong version must be told, or all parts and landmarks would be other ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.face import face_model_source
from export.face.face_model import arkit_name, polygons_to_triangles, quantise
from export.face.face_model_decimate import closest_on_triangles, decimate
from export.face.face_model_source import CALIBRATED, LANDMARKS, read_obj, read_source


def test_obj_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.obj"
    path.write_text("# c\nmtllib m\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0.5\nvt 0 0\nf 1/1 2/1 3/1 4/1\nf 1 2 3\n")
    vertices, polygons = read_obj(path)
    assert vertices[3].tolist() == [0.0, 1.0, 0.5]
    assert polygons.tolist() == [[0, 1, 2, 3], [0, 1, 2, -1]]
    assert polygons_to_triangles(polygons).tolist() == [[0, 1, 2], [0, 1, 2], [0, 2, 3]]


def test_what_is_not_the_expected_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="FaceXModel"):
        read_source(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"generic_neutral_mesh\.obj"):
        read_source(tmp_path)
    shapes = {"neutral": (26719, 3), "identity": (1, 26719, 3), "expression": (1, 26719, 3), "quads": (26384, 4)}
    arrays = {name: np.zeros(shape, np.float16) for name, shape in shapes.items()}
    np.savez(tmp_path / "x.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'expression_names' is missing"):
        read_source(tmp_path / "x.npz")
    np.savez(tmp_path / "x.npz", expression_names=np.array(["a"]), **arrays)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="another version"):
        read_source(tmp_path / "x.npz")


def test_files_that_are_cut_short_are_named(tmp_path: Path) -> None:
    """Downloads break off: it ended in what NumPy or a number's text complained of, and no file's name."""
    np.savez(tmp_path / "x.npz", neutral=np.zeros((26719, 3)))
    whole = (tmp_path / "x.npz").read_bytes()
    np.save(tmp_path / "x.npy", np.zeros(3))
    for data in (b"", b"hello", whole[: len(whole) // 2], (tmp_path / "x.npy").read_bytes()):
        (tmp_path / "x.npz").write_bytes(data)
        with pytest.raises(ValueError, match=r"x\.npz: cannot be read as the packed file"):
            read_source(tmp_path / "x.npz")
    for line, complaint in (("v 0.1 0.", "not enough values"), ("v 1 2 -", "could not"), ("f 1 2", "a polygon of 2")):
        (tmp_path / "x.obj").write_text(f"v 0 0 0\n{line}")
        with pytest.raises(ValueError, match=rf"x\.obj: line 2: {complaint}"):
            read_obj(tmp_path / "x.obj")


def test_a_folder_of_shapes_is_read_as_displacements(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The layout of a checkout of ICT-FaceKit, small: shapes are kept as whole meshes, one file each."""
    neutral = np.array([[0.0, -2.48251, 11.8387], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 0, 0]])
    faces = "f 1/1/1 2/2/2 3/3/3 4/4/4\nf 2/1/1 5/2/2 3/3/3\n"

    def write(name: str, points: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> None:
        lines = "".join(f"v {x:.6f} {y:.6f} {z:.6f}\n" for x, y, z in points)
        (tmp_path / f"{name}.obj").write_text(f"# ICT\nmtllib x.mtl\n{lines}vt 0 0\nvn 0 0 1\n{faces}")

    modes = np.random.default_rng(0).normal(size=(2, 5, 3)).round(4)
    write("generic_neutral_mesh", neutral)
    for number, mode in enumerate(modes):
        write(f"identity{number:03d}", neutral + mode)
    write("jawOpen", neutral - [0, 3, 0])
    write("browDown_L", neutral + np.array([0, 1, 0]))
    (tmp_path / "vertex_indices.json").write_text("{}")
    for name, value in (("VERTICES", 5), ("POLYGONS", 2), ("IDENTITY_MODES", 2)):
        monkeypatch.setattr(face_model_source, name, value)
    source = read_source(tmp_path)
    assert source.expression_names == ("browDown_L", "jawOpen")
    assert np.allclose(source.neutral, neutral)
    assert np.allclose(source.identity, modes)
    assert np.allclose(source.expression[1], [0, -3, 0])
    assert source.polygons.tolist() == [[0, 1, 2, 3], [1, 4, 2, -1]]
    (tmp_path / "identity001.obj").write_text("v 0 0 0\n")
    with pytest.raises(ValueError, match=r"identity001\.obj: has 1 vertices, the neutral mesh 5"):
        read_source(tmp_path)


@pytest.mark.parametrize("file", [LANDMARKS, CALIBRATED], ids=["lines", "calibrated"])
def test_landmark_tables_are_whole(file: Path) -> None:
    table = np.loadtxt(file, delimiter=",", comments="#")
    assert table[:, 0].tolist() == list(range(468))
    assert np.allclose(table[:, 4:7].sum(1), 1.0, atol=1e-4)
    assert table[:, 1:4].max() < 9409  # on the face's skin


def test_names_become_arkits() -> None:
    assert arkit_name("eyeBlink_L") == "eyeBlinkLeft"
    assert arkit_name("browInnerUp_R") == "browInnerUpRight"  # one in ARKit, two here
    assert arkit_name("jawOpen") == "jawOpen"
    assert arkit_name("PupilDilate_L") is None


def test_decimation_keeps_what_bends_and_what_must_stay() -> None:
    """A flat sheet with one ridge that only shows in motion: the ridge survives, the outline stays, nothing folds."""
    n = 15
    x, y = (axis.ravel().astype(float) for axis in np.meshgrid(np.arange(n), np.arange(n)))
    rest = np.stack([x, y, np.zeros_like(x)], axis=1)
    ridge = np.exp(-((x - 7) ** 2) / 2)
    corner = np.arange(n * n).reshape(n, n)
    a, b, c, d = corner[:-1, :-1].ravel(), corner[:-1, 1:].ravel(), corner[1:, 1:].ravel(), corner[1:, :-1].ravel()
    triangles = np.vstack([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    keep = np.zeros(n * n, dtype=bool)
    keep[112] = True
    left = decimate(triangles, rest, np.c_[rest, 2 * ridge], np.zeros(n * n, np.int64), {0: 80}, np.ones(n * n), keep)
    used = np.unique(left)
    assert len(used) == 80
    assert 112 in used
    assert rest[used].min(0).tolist() == [0, 0, 0]
    assert rest[used].max(0).tolist() == [n - 1, n - 1, 0]
    inner = used[(x[used] > 0) & (x[used] < n - 1) & (y[used] > 0) & (y[used] < n - 1)]
    assert (np.abs(x[inner] - 7) <= 3).mean() > 0.7
    corners = rest[left]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2]
    assert (normals > 0).all()
    assert normals.sum() / 2 == pytest.approx((n - 1) ** 2)


def test_closest_point_and_quantisation() -> None:
    triangle = np.array([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]])
    distance, weights = closest_on_triangles(np.array([0.25, 0.25, 2.0]), triangle)
    assert distance[0] == pytest.approx(2.0)
    assert weights[0] == pytest.approx([0.5, 0.25, 0.25])
    shapes = np.random.default_rng(0).normal(size=(3, 50, 3)) * np.array([0.01, 1, 5])[:, None, None]
    values, scale = quantise(shapes)
    assert np.abs(values * scale[:, None, None] - shapes).max() <= scale.max() / 2 + 1e-6
