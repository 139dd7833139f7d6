"""Read morphable faces of other groups from the user's own files: FLAME and the Basel Face Model.

Neither may be passed on, and both are for research: the files stay with whoever has the right to them, and what is made
of them (see export.face.face_model_adapt) is theirs too.

FLAME (flame.is.tue.mpg.de): `generic_model.pkl` and its like, a pickle with `v_template` [V, 3] metres, `shapedirs`
[V, 3, 300 + 100] (identity, then expression), `f` [T, 3]; or the same names in an .npz.
Basel Face Model (faces.dmi.unibas.ch), millimetres: 2017 and 2019, `model*.h5`: groups `shape` and `expression`, each
with `model/mean` [3 V], `model/pcaBasis` [3 V, M], `model/pcaVariance` [M], and `shape/representer/cells` [3, T]; 2009,
in micrometres, `01_MorphableModel.mat`: `shapeMU` [3 V, 1], `shapePC` [3 V, M], `shapeEV` [M, 1], `tl` [T, 3] from 1.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from export.face.face_model_unpickle import read_pickled_arrays

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FLAME_IDENTITY_MODES = 300
"""`shapedirs` has so many of identity; those of expression follow."""
MAX_VERTICES = 200_000

FLAME_LICENCE = (
    "FLAME's licence is for non-commercial research, and for those who signed it:"
    " the face model made of it is under the same terms. Do not pass it on, nor avatars made with it."
)
BFM_LICENCE = (
    "The Basel Face Model's licence is for research, and for those who signed it:"
    " the face model made of it is under the same terms. Do not pass it on, nor avatars made with it."
)


@dataclass(frozen=True)
class ForeignModel:
    """A morphable face of another group: right-handed axes with y up and the face towards z; any unit of length."""

    name: str
    licence: str
    """What its owner allows, in a sentence for the user."""
    neutral: Floats
    """[V, 3]."""
    identity: Floats
    """[M, V, 3] displacement per standard deviation, largest first."""
    triangles: Ints
    """[T, 3] counter-clockwise seen from outside."""


def read_flame(path: Path, modes: int) -> ForeignModel:
    """Read FLAME, the first `modes` of its identity.

    Raises:
        ValueError: not such a file; the message says what was expected.
    """
    arrays: dict[str, Any]
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    if _begins(path, b"PK"):
        try:
            with np.load(path, allow_pickle=False) as data:
                arrays = {name: data[name] for name in ("v_template", "shapedirs", "f") if name in data.files}
        except (ValueError, OSError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path}: is not a readable .npz ({error})") from error
    else:
        arrays = read_pickled_arrays(path)
    neutral = _numbers(arrays, "v_template", path, 2)
    basis = _numbers(arrays, "shapedirs", path, 3)
    triangles = _numbers(arrays, "f", path, 2)
    if basis.shape[:2] != neutral.shape:
        raise ValueError(f"{path}: shapedirs: expected [{len(neutral)}, 3, M], got {list(basis.shape)}")
    identity = basis[..., : min(modes, FLAME_IDENTITY_MODES)].transpose(2, 0, 1)
    return _checked(path, ForeignModel("FLAME", FLAME_LICENCE, neutral, identity, triangles.astype(np.int64)))


def read_bfm(path: Path, modes: int) -> ForeignModel:
    """Read the Basel Face Model of 2017 or 2019 (.h5) or of 2009 (.mat), the first `modes` of its identity.

    Raises:
        ValueError: not such a file; the message says what was expected.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    if _begins(path, b"\x89HDF\r\n\x1a\n"):
        return _read_bfm_h5(path, modes)
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        arrays = loadmat(path, variable_names=["shapeMU", "shapePC", "shapeEV", "tl"])
    except (ValueError, NotImplementedError, MatReadError, OSError, TypeError) as error:
        raise ValueError(f"{path}: is neither HDF5 nor a readable .mat file ({error})") from error
    mean = _numbers(arrays, "shapeMU", path, 2).ravel()
    basis, deviation = _numbers(arrays, "shapePC", path, 2), _numbers(arrays, "shapeEV", path, 2).ravel()
    # shapeEV holds standard deviations: the model's own documentation draws shapePC @ (alpha * shapeEV)
    return _from_flat(path, mean, basis, deviation, _numbers(arrays, "tl", path, 2).astype(np.int64) - 1, modes)


def _read_bfm_h5(path: Path, modes: int) -> ForeignModel:
    try:
        import h5py
    except ImportError:
        raise ValueError(f'{path}: reading HDF5 needs h5py: pip install -e ".[adapters]"') from None
    arrays: dict[str, Any] = {}
    still = "expression/model/mean"
    try:
        with h5py.File(path, "r") as file:
            for name in ("shape/model/mean", "shape/model/pcaVariance", "shape/representer/cells", still):
                if name in file:
                    arrays[name] = file[name][()]
            if "shape/model/pcaBasis" in file:
                arrays["shape/model/pcaBasis"] = file["shape/model/pcaBasis"][:, :modes]
    except (OSError, KeyError, ValueError, TypeError) as error:  # TypeError: a group where an array is expected
        raise ValueError(f"{path}: is not readable as HDF5 ({error})") from error
    mean = _numbers(arrays, "shape/model/mean", path, 1)
    if still in arrays:  # the mean face with a still expression is the sum of both means
        own = _numbers(arrays, still, path, 1)
        if own.shape != mean.shape:
            raise ValueError(f"{path}: {still}: expected {len(mean)} numbers, as shape/model/mean has, got {len(own)}")
        mean = mean + own
    basis = _numbers(arrays, "shape/model/pcaBasis", path, 2)
    variance = _numbers(arrays, "shape/model/pcaVariance", path, 1)
    cells = _numbers(arrays, "shape/representer/cells", path, 2).astype(np.int64)
    triangles = cells.T if cells.shape[0] == 3 and cells.shape[1] != 3 else cells
    if (variance < 0).any():
        raise ValueError(f"{path}: shape/model/pcaVariance: expected no negative number, got {variance.min():g}")
    return _from_flat(path, mean, basis, np.sqrt(variance), triangles, modes)


def _from_flat(path: Path, mean: Floats, basis: Floats, deviation: Floats, triangles: Ints, modes: int) -> ForeignModel:
    """A Basel model of its flat arrays: x, y, z of each vertex in turn."""
    count = min(modes, basis.shape[1], len(deviation))
    if len(mean) % 3 or len(basis) != len(mean):
        raise ValueError(f"{path}: mean and basis do not fit: {len(mean)} and {list(basis.shape)} numbers")
    identity = (basis[:, :count] * deviation[:count]).T.reshape(count, -1, 3)
    return _checked(path, ForeignModel("Basel Face Model", BFM_LICENCE, mean.reshape(-1, 3), identity, triangles))


def _begins(path: Path, mark: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(mark)) == mark


def _numbers(arrays: dict[str, Any], name: str, path: Path, axes: int) -> Floats:
    if name not in arrays:
        raise ValueError(f"{path}: {name!r} is missing; it has {', '.join(sorted(arrays)) or 'nothing'}")
    array = np.asarray(arrays[name])
    if array.dtype.kind not in "fiu" or array.ndim != axes or array.size == 0:
        raise ValueError(f"{path}: {name}: expected numbers in {axes} axes, got {array.dtype} {list(array.shape)}")
    numbers = array.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise ValueError(f"{path}: {name}: expected finite numbers")
    return numbers


def _checked(path: Path, model: ForeignModel) -> ForeignModel:
    """Refuse what is no mesh; turn triangles that all face inwards; keep the largest connected sheet alone."""
    count = len(model.neutral)
    if model.neutral.shape[1:] != (3,) or not 500 <= count <= MAX_VERTICES:
        raise ValueError(f"{path}: expected 500 to {MAX_VERTICES} vertices [V, 3], got {list(model.neutral.shape)}")
    triangles = model.triangles
    if triangles.shape[1:] != (3,) or triangles.min() < 0 or triangles.max() >= count:
        raise ValueError(f"{path}: expected triangles [T, 3] of vertices 0 to {count - 1}")
    a, b = triangles.ravel(), np.roll(triangles, 1, axis=1).ravel()
    labels = connected_components(coo_array((np.ones(len(a)), (a, b)), shape=(count, count)), directed=False)[1]
    skin = np.bincount(labels[triangles[:, 0]]).argmax()  # FLAME's eyeballs, for one, are apart
    triangles = triangles[labels[triangles[:, 0]] == skin]
    used, renumbered = np.unique(triangles, return_inverse=True)
    neutral, identity = model.neutral[used], model.identity[:, used]
    triangles = renumbered.reshape(-1, 3).astype(np.int64)
    corners = neutral[triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    if ((corners.mean(1) - neutral.mean(0)) * normals).sum() < 0:
        triangles = triangles[:, ::-1].copy()
    return ForeignModel(model.name, model.licence, neutral, identity, triangles)
