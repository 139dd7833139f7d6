"""Other groups' morphable faces: files of the real layout, made here of our own face so that the answer is known.

Whoever has FLAME or the Basel Face Model gets a face that speaks wrongly if these fail, or a program run by a pickle.
"""

from __future__ import annotations

import os
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facestream.avatar.face_model import load_face_model
from facestream.avatar.fit import similarity
from numpy.typing import NDArray
from scipy.io import savemat
from scipy.sparse import csc_matrix

from export.face import face_model
from export.face.face_model_adapt import adapt
from export.face.face_model_foreign import ForeignModel, read_bfm, read_flame
from export.face.face_model_unpickle import read_pickled_arrays

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MODEL = load_face_model()
MODES = 8
FLAME_VERTICES, FLAME_EYE_VERTICES = 5023, 1092


def our_skin() -> tuple[Ints, Ints]:
    """Vertices of our skin in the face model, and its triangles in their numbers."""
    skin = MODEL.part_triangles("face", "head")
    used = np.unique(skin)
    number = np.full(len(MODEL.neutral), -1)
    number[used] = np.arange(len(used))
    return used, number[skin]


def remeshed(points: Floats, triangles: Ints, count: int) -> tuple[Floats, Ints]:
    """The same surface with `count` vertices: centres are put into the largest triangles. Points are [..., V, 3]."""
    rest = points.reshape(-1, *points.shape[-2:])[0]
    corners = rest[triangles]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    split = np.argsort(-area)[: count - points.shape[-2]]
    centre = points.shape[-2] + np.arange(len(split))
    a, b, c = triangles[split].T
    fans = [np.stack(fan, 1) for fan in ((a, b, centre), (b, c, centre), (c, a, centre))]
    more = np.concatenate([points, points[..., triangles[split], :].mean(-2)], axis=-2)
    return more, np.vstack([np.delete(triangles, split, axis=0), *fans])


@pytest.fixture(scope="module", name="someone")
def someone_fixture() -> tuple[Floats, Floats, Ints]:
    """Another mean face, of another mesh: [1 + MODES, V, 3] the face and modes (cm), triangles; and who it is."""
    used, triangles = our_skin()
    rng = np.random.default_rng(3)
    code = np.r_[0.8 * rng.normal(size=10), np.zeros(50)]
    truth = MODEL.neutral + np.tensordot(code, MODEL.identity, 1)
    shapes = np.concatenate([truth[None], MODEL.identity[10 : 10 + MODES]]).astype(np.float64)
    mesh, fine = remeshed(shapes[:, used], triangles, FLAME_VERTICES - FLAME_EYE_VERTICES)
    return mesh, truth.astype(np.float64), fine


def ball(centre: Floats, count: int) -> tuple[Floats, Ints]:
    """A closed sheet apart from all else, as FLAME's eyeballs are."""
    z = np.linspace(-1, 1, count)
    angle = np.arange(count) * 2.4
    points = np.stack([np.sqrt(1 - z**2) * np.cos(angle), np.sqrt(1 - z**2) * np.sin(angle), z], 1) + centre
    i = np.arange(count - 2)
    return points, np.stack([i, i + 1, i + 2], 1)


@pytest.fixture(scope="module", name="flame")
def flame_fixture(someone: tuple[Floats, Floats, Ints]) -> dict[str, Any]:
    """FLAME's names, shapes and dtypes; metres; eyeballs as sheets of their own behind the head's vertices."""
    mesh, _, triangles = someone
    points, faces = mesh[0] * 0.01, triangles
    for side in (3.2, -3.2):
        eye, own = ball(np.array([side, 3.5, 8.0]) * 0.01, FLAME_EYE_VERTICES // 2)
        faces = np.vstack([faces, own + len(points)])
        points = np.concatenate([points, eye])
    assert len(points) == FLAME_VERTICES
    shapedirs = np.zeros((FLAME_VERTICES, 3, 400))
    shapedirs[: mesh.shape[1], :, :MODES] = mesh[1:].transpose(1, 2, 0) * 0.01
    shapedirs[..., 300:] = 9.0  # expressions of FLAME's own: not identity
    return {
        "v_template": points,
        "shapedirs": shapedirs,
        "f": faces.astype(np.uint32),
        "posedirs": np.zeros((FLAME_VERTICES, 3, 36)),
        "J_regressor": csc_matrix((np.ones(5), (np.arange(5), np.arange(5))), shape=(5, FLAME_VERTICES)),
        "weights": np.zeros((FLAME_VERTICES, 5)),
        "kintree_table": np.array([[4294967295, 0, 1, 1, 1], [0, 1, 2, 3, 4]], dtype=np.uint32),
        "bs_type": "lrotmin",
        "bs_style": "lbs",
    }


def write_flame_pickle(path: Path, flame: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """As FLAME's own files are: protocol 2, names of Python 2 and of old NumPy, arrays of chumpy among plain ones."""

    class Ch:
        def __init__(self, x: Any) -> None:
            self.x = x
            self._dirty_vars: set[int] = set()

    class Select:
        def __init__(self, a: Any, idxs: Any, preferred_shape: Any) -> None:
            self.a, self.idxs, self.preferred_shape = a, idxs, preferred_shape

    for name, cls in (("chumpy.ch", Ch), ("chumpy.reordering", Select)):
        module = types.ModuleType(name)
        cls.__module__, cls.__qualname__ = name, cls.__name__
        setattr(module, cls.__name__, cls)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    basis = flame["posedirs"]
    arrays = dict(flame)
    arrays["v_template"] = Ch(flame["v_template"])
    arrays["shapedirs"] = Ch(flame["shapedirs"])
    arrays["posedirs"] = Select(Ch(basis), np.arange(basis.size), basis.shape)
    for key in ("_dirty_vars",):
        del arrays["v_template"].__dict__[key], arrays["shapedirs"].__dict__[key], arrays["posedirs"].a.__dict__[key]
    data = pickle.dumps(arrays, protocol=2)
    path.write_bytes(data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray").replace(b"_csc\n", b"csc\n"))


def test_flame_is_read_from_either_form(
    tmp_path: Path, flame: dict[str, Any], someone: tuple[Floats, Floats, Ints], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its chumpy arrays, its Python 2 names and its eyeballs (which are no skin) must not matter."""
    mesh, _, triangles = someone
    write_flame_pickle(tmp_path / "generic_model.pkl", flame, monkeypatch)
    np.savez(tmp_path / "flame.npz", **{key: flame[key] for key in ("v_template", "shapedirs", "f")})
    for name in ("generic_model.pkl", "flame.npz"):
        read = read_flame(tmp_path / name, MODES)
        assert np.allclose(read.neutral, 0.01 * mesh[0])
        assert np.allclose(read.identity, 0.01 * mesh[1:])
        assert np.array_equal(read.triangles, triangles)
        assert "research" in read.licence


class Hostile:
    """Makes a folder when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_a_pickle_never_runs_code(tmp_path: Path) -> None:
    """A face model from anywhere is not to become a program on the user's machine."""
    mark = tmp_path / "ran"
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"v_template": Hostile(mark)}, protocol=2))
    with pytest.raises(ValueError, match="refused: the file asks for"):
        read_flame(tmp_path / "x.pkl", MODES)
    assert not mark.exists()
    for code in (b"cbuiltins\neval\n(V1\ntR.", b"cnumpy.testing\nrunstring\n.", b"cos\nsystem\n(Vls\ntR.", b"P1\n."):
        (tmp_path / "y.pkl").write_bytes(code)
        with pytest.raises(ValueError, match="refused"):
            read_pickled_arrays(tmp_path / "y.pkl")
    # BUILD with slots would set a plain function's defaults for every later file
    alter = b"c_codecs\nencode\n(N(dV__defaults__\n(Vutf8\ntstb."
    (tmp_path / "z.pkl").write_bytes(alter)
    with pytest.raises(ValueError, match="alters a function"):
        read_pickled_arrays(tmp_path / "z.pkl")


def test_broken_files_are_refused_with_what_was_expected(tmp_path: Path, flame: dict[str, Any]) -> None:
    path = tmp_path / "x.pkl"
    for data, complaint in (
        (b"", "not a readable pickle"),
        (b"\x80\x02garbage", "not a readable pickle"),
        (pickle.dumps([1], protocol=2), "expected a dictionary"),
        (pickle.dumps({"f": 1}, protocol=2), "'v_template' is missing; it has f"),
    ):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=complaint):
            read_flame(path, MODES)
    with pytest.raises(ValueError, match="no such file"):
        read_flame(tmp_path / "absent", MODES)
    for key, value, complaint in (
        ("v_template", np.full((FLAME_VERTICES, 3), np.nan), "expected finite numbers"),
        ("v_template", np.zeros((9, 3)), r"shapedirs: expected \[9, 3, M\]"),
        ("f", flame["f"] + 1, "vertices 0 to 5022"),
    ):
        arrays = {name: flame[name] for name in ("v_template", "shapedirs", "f")} | {key: value}
        np.savez(tmp_path / "x.npz", **arrays)
        with pytest.raises(ValueError, match=complaint):
            read_flame(tmp_path / "x.npz", MODES)
    (tmp_path / "x.mat").write_bytes(b"no file of MATLAB's")
    with pytest.raises(ValueError, match=r"neither HDF5 nor a readable \.mat"):
        read_bfm(tmp_path / "x.mat", MODES)


def test_basel_face_model_of_2009_is_read(tmp_path: Path, someone: tuple[Floats, Floats, Ints]) -> None:
    """Micrometres, triangles from 1 and clockwise, components of unit length beside their deviations."""
    mesh, _, triangles = someone
    deviation = np.linalg.norm(mesh[1:].reshape(MODES, -1), axis=1)
    savemat(
        tmp_path / "01_MorphableModel.mat",
        {
            "shapeMU": (1e4 * mesh[0]).reshape(-1, 1).astype(np.float32),
            "shapePC": (mesh[1:].reshape(MODES, -1) / deviation[:, None]).T.astype(np.float32),
            "shapeEV": (1e4 * deviation[:, None]).astype(np.float32),
            "tl": (triangles[:, ::-1] + 1).astype(np.float64),
            "texMU": np.zeros((3, 1), np.float32),
        },
    )
    read = read_bfm(tmp_path / "01_MorphableModel.mat", 5)
    assert np.allclose(read.neutral, 1e4 * mesh[0], rtol=1e-5)
    assert np.allclose(read.identity, 1e4 * mesh[1:6], atol=1.0)  # a micrometre
    assert np.array_equal(np.sort(read.triangles, 1), np.sort(triangles, 1))
    assert ((read.triangles - triangles) != 0).any(1).mean() < 0.01 or np.array_equal(read.triangles, triangles)


def test_basel_face_model_of_2017_is_read(tmp_path: Path, someone: tuple[Floats, Floats, Ints]) -> None:
    """Millimetres, cells as [3, T], variances, and a mean expression to be added to the mean shape."""
    h5py = pytest.importorskip("h5py", reason="needs h5py (extra `adapters`)")
    mesh, _, triangles = someone
    variance = (mesh[1:].reshape(MODES, -1) ** 2).sum(1) * 100
    with h5py.File(tmp_path / "model2017-1_bfm_nomouth.h5", "w") as file:
        still = 0.25 * np.ones(mesh[0].size, np.float32)
        file["shape/model/mean"] = (10 * mesh[0]).ravel().astype(np.float32) - still
        file["shape/model/pcaBasis"] = (10 * mesh[1:].reshape(MODES, -1) / np.sqrt(variance)[:, None]).T.astype(
            np.float32
        )
        file["shape/model/pcaVariance"] = variance.astype(np.float32)
        file["shape/representer/cells"] = triangles.T.astype(np.uint32)
        file["expression/model/mean"] = still
    read = read_bfm(tmp_path / "model2017-1_bfm_nomouth.h5", 5)
    assert np.allclose(read.neutral, 10 * mesh[0], atol=1e-3)
    assert np.allclose(read.identity, 10 * mesh[1:6], atol=1e-3)
    assert np.array_equal(read.triangles, triangles)


def test_another_models_people_speak_with_our_shapes(tmp_path: Path, flame: dict[str, Any], someone: Any) -> None:
    """The known answer: our own surface, meshed anew, turned, moved and in metres, is found again."""
    _, truth, _ = someone
    arrays = {name: flame[name] for name in ("v_template", "shapedirs", "f")}
    np.savez(tmp_path / "flame.npz", **arrays)
    read = read_flame(tmp_path / "flame.npz", MODES)
    turn = np.array([[0.995, 0, 0.0998], [0, 1, 0], [-0.0998, 0, 0.995]])
    turned = ForeignModel("FLAME", "", read.neutral @ turn + 0.3, read.identity @ turn, read.triangles)
    made = adapt(turned, MODEL)
    assert set(made) <= {*np.load(Path(str(sys.modules[load_face_model.__module__].PATH))).files}
    used, _ = our_skin()
    neutral = made["neutral"].astype(np.float64)
    scale, rotation, shift = similarity(neutral[used], truth[used], np.ones(len(used)))
    placed = scale * neutral @ rotation + shift
    expression = made["expression"] * made["expression_scale"][:, None, None] * scale @ rotation
    identity = made["identity"] * made["identity_scale"][:, None, None] * scale @ rotation
    face = MODEL.part_vertices("face")
    lips = face[np.linalg.norm((MODEL.neutral[face] - [0, -3.4, 11.0]) / [2.6, 1.2, 1.5], axis=1) < 1.0]
    assert _rms_mm(placed[face] - truth[face]) < 2.5  # it slides along the skin; how far off the skin is told below
    assert _rms_mm(placed[lips] - truth[lips]) < 2.0
    assert _rms_mm(expression[:, face] - MODEL.expression[:, face]) < 0.15 * _rms_mm(MODEL.expression[:, face])
    assert _rms_mm(identity[:, face] - MODEL.identity[10 : 10 + MODES, face]) < 0.1
    mean_gap = np.median(np.abs(made["jaw_weight"] - MODEL.jaw_weight))
    assert mean_gap == 0.0
    ball_error = np.linalg.norm((scale * made["eye_centre"] @ rotation + shift) - MODEL.eye_centre, axis=1)
    assert (ball_error < 1.0).all()  # cm; the person differs from our mean by less


def _rms_mm(displacement: NDArray[np.floating[Any]]) -> float:
    return float(10.0 * np.sqrt((displacement.astype(np.float64) ** 2).sum(-1).mean()))


def test_what_is_no_face_is_refused() -> None:
    """A mesh that lies on its back or is no face must not become a monster."""
    used, triangles = our_skin()
    points = MODEL.neutral[used].astype(np.float64)[:, [0, 2, 1]] * [1, 1, -1]
    with pytest.raises(ValueError, match="y up"):
        adapt(ForeignModel("x", "", points, np.zeros((1, *points.shape)), triangles), MODEL)


def test_command_never_replaces_the_projects_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A face under a research licence must not slip into what the project ships."""
    for arguments, complaint in (
        (["--flame", "x.pkl"], "-o FILE is needed"),
        (["--flame", "x.pkl", "--bfm", "x.h5", "-o", "y"], "expected one of them"),
        (["--flame", str(tmp_path / "x.pkl"), "-o", str(tmp_path / "y.npz")], "there is no such file"),
    ):
        monkeypatch.setattr(sys, "argv", ["face_model", *arguments])
        with pytest.raises(SystemExit):
            face_model.main()
        assert complaint in capsys.readouterr().err
    assert not (tmp_path / "y.npz").exists()
