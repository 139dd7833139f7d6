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


def write_flame_pickle(path: Path, flame: dict[str, Any], monkeypatch: pytest.MonkeyPatch, protocol: int = 2) -> None:
    """As FLAME's own files are: protocol 2, names of Python 2 and of old NumPy, arrays of chumpy among plain ones."""

    class Ch:
        def __init__(self, **terms: Any) -> None:
            # What chumpy.ch.Ch.__getstate__ leaves of an object's own
            self._dirty_vars = {*terms}
            self._itr = None
            self._make_dense = self._make_sparse = False
            self._depends_on_deps: dict[str, Any] = {}
            self.__dict__.update(terms)

    class Select(Ch):
        pass

    for name, cls in (("chumpy.ch", Ch), ("chumpy.reordering", Select)):
        module = types.ModuleType(name)
        cls.__module__, cls.__qualname__ = name, cls.__name__
        setattr(module, cls.__name__, cls)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    basis = flame["shapedirs"]
    arrays = dict(flame)
    arrays["v_template"] = Ch(x=flame["v_template"])
    arrays["shapedirs"] = Select(a=Ch(x=basis), idxs=np.arange(basis.size), preferred_shape=basis.shape)
    data = pickle.dumps(arrays, protocol=protocol)
    if protocol < 3:  # of Python 2
        assert b"c__builtin__\nset\n" in data
        data = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray").replace(b"_csc\n", b"csc\n")
    path.write_bytes(data)


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


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_flame_is_read_from_pickles_of_every_protocol(
    protocol: int, tmp_path: Path, flame: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many keep FLAME saved anew: from protocol 5 on arrays are made by another function of NumPy's."""
    arrays = {**flame, "shapedirs": np.asfortranarray(flame["shapedirs"][..., :9].astype(np.float32))}
    arrays["weights"], arrays["lines"] = arrays["shapedirs"].transpose(1, 2, 0), flame["v_template"].astype(">f8")
    arrays["J"], arrays["names"] = np.float32(0.5), np.array(["jaw", None], dtype=object)
    write_flame_pickle(tmp_path / "x.pkl", arrays, monkeypatch, protocol)
    read = read_pickled_arrays(tmp_path / "x.pkl")
    for name in ("v_template", "shapedirs", "f", "weights", "lines", "J"):
        wanted = np.asarray(arrays[name])
        assert read[name].dtype == wanted.dtype
        assert np.array_equal(read[name], wanted), name


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
    # An array of objects whose addresses the file chooses: to look into it is to jump anywhere
    text = b"c_codecs\nencode\n(VAAAAAAAA\nVlatin1\ntR"
    kind = b"cnumpy\ndtype\n(S'O'\nI00\nI01\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntb"  # said to hold no objects
    for objects in (
        b"cnumpy\nndarray\n((I1\ntS'O'\n" + text + b"tR",
        b"cnumpy.core.multiarray\nscalar\n(" + kind + text + b"tR",
        b"cnumpy._core.numeric\n_frombuffer\n(" + text + kind + b"(I1\ntS'C'\ntR",
    ):
        numbers = b"cnumpy._core.numeric\n_frombuffer\n(" + text + b"cnumpy\ndtype\n(S'f8'\ntR(I1\ntS'C'\ntR"
        select = b"cchumpy.reordering\nSelect\n(tR(S'a'\n" + numbers + b"S'idxs'\n" + objects + b"db"
        (tmp_path / "o.pkl").write_bytes(b"(S'v_template'\n" + select + b"d.")
        with pytest.raises(ValueError, match="v_template: is not a readable array"):
            read_pickled_arrays(tmp_path / "o.pkl")
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
        (b"(S'f'\ncchumpy.ch\nCh\n(tRd.", r"x\.pkl: f: is not a readable array \(KeyError: 'x'"),
        (b"(S'f'\ncchumpy.ch\nCh\n(tRp0\n(S'x'\ng0\ndbd.", "f: is not a readable array .RecursionError"),
    ):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=complaint):
            read_flame(path, MODES)
    with pytest.raises(ValueError, match="no such file"):
        read_flame(tmp_path / "absent", MODES)
    np.savez(tmp_path / "cut.npz", **{name: flame[name] for name in ("v_template", "f")})
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:-99])
    with pytest.raises(ValueError, match=r"cut\.npz: is not a readable \.npz"):
        read_flame(tmp_path / "cut.npz", MODES)
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
    for wrong, complaint in (
        (still[:9], f"expression/model/mean: expected {mesh[0].size} numbers, as shape/model/mean has, got 9"),
        (None, r"\.h5: is not readable as HDF5"),  # a group
    ):
        with h5py.File(tmp_path / "model2017-1_bfm_nomouth.h5", "a") as file:
            del file["expression/model/mean"]
            if wrong is None:
                file.create_group("expression/model/mean")
            else:
                file["expression/model/mean"] = wrong
        with pytest.raises(ValueError, match=complaint):
            read_bfm(tmp_path / "model2017-1_bfm_nomouth.h5", 5)


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
    (tmp_path / "file").touch()
    for arguments, complaint in (
        (["--flame", "x.pkl"], "-o FILE is needed"),
        (["--flame", "x.pkl", "--bfm", "x.h5", "-o", "y"], "expected one of them"),
        (["--flame", str(tmp_path / "x.pkl"), "-o", str(tmp_path / "new" / "y.npz")], "there is no such file"),
        (["--flame", "x.pkl", "-o", str(tmp_path / "file" / "y.npz")], "y.npz: cannot be written"),
    ):
        monkeypatch.setattr(sys, "argv", ["face_model", *arguments])
        with pytest.raises(SystemExit):
            face_model.main()
        assert complaint in capsys.readouterr().err
    assert (tmp_path / "new").is_dir()  # that it is missing was told after minutes of work
    assert not any(tmp_path.rglob("*.npz"))
