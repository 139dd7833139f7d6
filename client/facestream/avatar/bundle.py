"""The avatar bundle: one file NAME.avatar with all that the server needs of an avatar.

A ZIP archive without compression, which NumPy's `np.load` opens as well:

    manifest.json              who and what this is, see `make_manifest`
    AVATAR_PHOTO.npy, ...      one array for each of AVATAR_TENSORS, C order

Bundles travel between people, so the loader trusts nothing in them: it reads only the entries that it knows, only
uncompressed, only of the exact size, and says what is wrong with the rest. It needs NumPy alone.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import struct
import tempfile
import tokenize
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facestream.avatar.face_model import load_face_model
from facestream.avatar.layers_canvas import AVATAR_TENSORS
from facestream.avatar_name import check_avatar_name
from facestream.errors import FacestreamError

BUNDLE_SUFFIX = ".avatar"
MANIFEST = "manifest.json"
FORMAT = "facestream-avatar"
VERSION = 2
"""Raised when the tensors change. A bundle of an older version is refused, but can be built again from the photo that
every version holds: see `read_portrait`."""

CONSENT = ("synthetic", "own", "given", "public-domain")
"""Why this face may be animated: it is nobody's; it is the maker's own; the person agreed; the rights in the portrait
and of the person have lapsed or were waived."""

MAX_MANIFEST_BYTES = 64 * 1024
MAX_NPY_HEADER_BYTES = 1024
_EPOCH = (1980, 1, 1, 0, 0, 0)  # one content, one file: no times in the archive


class BundleError(FacestreamError, ValueError):
    """The file is not a bundle that can be loaded; the message says why."""


@dataclass(frozen=True)
class Bundle:
    """A loaded avatar."""

    file: str
    """Name of its file, without the folder: by that a server knows it."""
    name: str
    """What its maker named it."""
    tensors: Mapping[str, NDArray[Any]]
    """Read-only arrays, named, typed and shaped as AVATAR_TENSORS says."""
    manifest: Mapping[str, Any]


def make_manifest(
    name: str,
    *,
    licence: str,
    consent: str,
    source: str,
    source_sha256: str,
    quality: Mapping[str, Any],
    warnings: tuple[str, ...] = (),
) -> dict[str, Any]:
    """The manifest of a new bundle; `save_bundle` adds the tensors' checksums.

    Args:
        name: the avatar's name.
        licence: under which the avatar may be passed on, an SPDX expression or words.
        consent: one of CONSENT.
        source: name of the photo's file, without its folder.
        source_sha256: the photo's checksum.
        quality: what the checks and the fit measured.
        warnings: what the checks doubted.
    """
    if consent not in CONSENT:
        raise ValueError(f"consent {consent!r}: expected one of {', '.join(CONSENT)}")
    return {
        "format": FORMAT,
        "version": VERSION,
        "name": check_avatar_name(name),
        "licence": licence,
        "consent": consent,
        "source": {"file": Path(source).name, "sha256": source_sha256},
        "quality": dict(quality),
        "warnings": list(warnings),
    }


def save_bundle(path: Path, tensors: Mapping[str, NDArray[Any]], manifest: Mapping[str, Any]) -> None:
    """Write a bundle; the file appears complete or not at all, since a running server may be looking.

    Raises:
        ValueError: a tensor is missing, unknown, of another dtype or shape, or not finite.
        OSError: it cannot be written; the error's text says why.
    """
    check_tensors(tensors)
    arrays = {name: np.ascontiguousarray(tensors[name]) for name in AVATAR_TENSORS}
    listed = {
        name: {"dtype": array.dtype.name, "shape": list(array.shape), "sha256": _checksum(array)}
        for name, array in arrays.items()
    }
    text = json.dumps({**manifest, "tensors": listed}, indent=1, ensure_ascii=False)
    data = text.encode("utf-8", "replace")  # the name of a photo's file may be of another encoding
    folder = path.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is not a folder") from error
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(zipfile.ZipInfo(MANIFEST, _EPOCH), data)
            for name, array in arrays.items():
                buffer = io.BytesIO()
                np.lib.format.write_array(buffer, array, version=(1, 0), allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{name}.npy", _EPOCH), buffer.getvalue())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def load_bundle(path: Path) -> Bundle:
    """Read and check a bundle.

    Raises:
        BundleError: no such file, or anything in it is not as it must be.
    """
    expected = {f"{name}.npy": name for name in AVATAR_TENSORS}
    bound = sum(_bytes(name) + MAX_NPY_HEADER_BYTES + 512 for name in AVATAR_TENSORS) + MAX_MANIFEST_BYTES + 4096
    try:
        size = path.stat().st_size
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}") from error
    if size > bound:
        raise BundleError(f"{path}: {size} bytes, a bundle has at most {bound}")
    with _archive(path) as archive:
        entries = archive.infolist()
        names = [entry.filename for entry in entries]
        if len(set(names)) != len(names):
            raise BundleError(f"{path}: an entry occurs twice")
        unknown = sorted(set(names) - set(expected) - {MANIFEST})
        if unknown:
            raise BundleError(f"{path}: unknown entry {unknown[0][:80]!r}")
        missing = sorted({MANIFEST, *expected} - set(names))
        manifest = _manifest(path, archive) if MANIFEST not in missing else {}
        if missing:
            raise BundleError(f"{path}: entry {missing[0]!r} is missing")
        tensors = {name: _tensor(path, archive, file, name, manifest) for file, name in expected.items()}
    try:
        check_tensors(tensors)
        name = check_avatar_name(manifest["name"])
    except ValueError as error:
        raise BundleError(f"{path}: {error}") from error
    return Bundle(path.name, name, MappingProxyType(tensors), MappingProxyType(manifest))


def read_manifest(path: Path) -> Mapping[str, Any]:
    """The manifest alone, for lists; BundleError as in load_bundle."""
    with _archive(path) as archive:
        return _manifest(path, archive)


def read_portrait(path: Path) -> tuple[NDArray[np.uint8], Mapping[str, Any]]:
    """The portrait [512, 512, 3] RGB and the manifest of a bundle of this version or an older one.

    Raises:
        BundleError: no such file, no bundle, made by a newer version, or the portrait is not what its checksum says.
    """
    with _archive(path) as archive:
        manifest = _manifest(path, archive, oldest=1)
        photo = _tensor(path, archive, "AVATAR_PHOTO.npy", "AVATAR_PHOTO", manifest)
    try:
        check_avatar_name(manifest["name"])
    except ValueError as error:
        raise BundleError(f"{path}: {error}") from error
    return np.ascontiguousarray(photo.transpose(1, 2, 0)).astype(np.uint8), MappingProxyType(manifest)


def rebuild_command(file: str) -> str:
    """The command, as text quotes it, that makes a bundle again from the photo in it: see `build.rebuild_avatar`."""
    return f"`facestream avatar rebuild {file}`"


def check_tensors(tensors: Mapping[str, NDArray[Any]]) -> None:
    """ValueError unless these are exactly the arrays of AVATAR_TENSORS, finite, and their indices those of vertices.

    An index beyond the model would make the graphs read foreign memory or fail in mid-session.
    """
    vertices = len(load_face_model().neutral)
    for name in sorted(set(AVATAR_TENSORS) - set(tensors)):
        raise ValueError(f"tensor {name} is missing")
    for name in sorted(set(tensors) - set(AVATAR_TENSORS)):
        raise ValueError(f"tensor {name} is unknown")
    for name, (dtype, shape) in AVATAR_TENSORS.items():
        array = tensors[name]
        if array.dtype != np.dtype(dtype) or array.shape != shape:
            raise ValueError(
                f"tensor {name} is {array.dtype} {list(array.shape)}, expected {np.dtype(dtype)} {list(shape)}"
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"tensor {name} holds NaN or infinity")
        if array.dtype.kind == "i" and (array.min() < 0 or array.max() >= vertices):
            raise ValueError(
                f"tensor {name} holds indices {array.min()}..{array.max()}, expected vertices 0..{vertices - 1}"
            )


@contextlib.contextmanager
def _archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """The open archive; whatever `zipfile` makes of a broken one is a BundleError."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise BundleError(f"{path}: {error.strerror}") from error
    try:
        with file, zipfile.ZipFile(file) as archive:
            yield archive
    except BundleError:
        raise
    except KeyError as error:
        raise BundleError(f"{path}: an entry is missing ({error.args[0]})") from error
    # ValueError: of names that are no UTF-8 and places before the file's beginning.
    except (
        zipfile.BadZipFile,
        NotImplementedError,
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        struct.error,
    ) as error:
        raise BundleError(f"{path}: is not a sound archive ({error})") from error


def _short(value: object) -> str:
    return (str(value) if isinstance(value, Exception) else repr(value))[:80]


def _bytes(name: str) -> int:
    dtype, shape = AVATAR_TENSORS[name]
    return int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize


def _checksum(array: NDArray[Any]) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


def _read(path: Path, archive: zipfile.ZipFile, entry: str, limit: int) -> bytes:
    info = archive.getinfo(entry)
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
        raise BundleError(f"{path}: entry {entry!r} is compressed or encrypted, expected it stored")
    if info.file_size > limit or info.compress_size != info.file_size:
        raise BundleError(f"{path}: entry {entry!r} has {info.file_size} bytes, at most {limit} are expected")
    return archive.read(info)  # checks the CRC


def _manifest(path: Path, archive: zipfile.ZipFile, oldest: int = VERSION) -> dict[str, Any]:
    try:
        manifest = json.loads(_read(path, archive, MANIFEST, MAX_MANIFEST_BYTES))
    except (ValueError, RecursionError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"{path}: {MANIFEST} is not JSON ({error})") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BundleError(f"{path}: {MANIFEST} does not say that this is a {FORMAT}")
    version = manifest.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:
        raise BundleError(f"{path}: has version {_short(version)}, expected {VERSION}; update facestream to load it")
    if version < oldest:
        raise BundleError(
            f"{path}: has version {version}, expected {VERSION};"
            f" build it again from the photo that it holds with {rebuild_command(path.name)}"
        )
    for key, kind in (("name", str), ("licence", str), ("consent", str), ("warnings", list), ("tensors", dict)):
        if not isinstance(manifest.get(key), kind):
            raise BundleError(f"{path}: {MANIFEST} has no {key!r} ({kind.__name__})")
    if manifest["consent"] not in CONSENT:
        raise BundleError(f"{path}: consent {manifest['consent'][:40]!r}, expected one of {', '.join(CONSENT)}")
    return manifest


def _tensor(
    path: Path, archive: zipfile.ZipFile, entry: str, name: str, manifest: Mapping[str, Any]
) -> NDArray[np.generic]:
    data = io.BytesIO(_read(path, archive, entry, _bytes(name) + MAX_NPY_HEADER_BYTES))
    try:
        if np.lib.format.read_magic(data) != (1, 0):
            raise ValueError("array format is not 1.0")
        found, fortran, kind = np.lib.format.read_array_header_1_0(data, max_header_size=MAX_NPY_HEADER_BYTES)
    except (ValueError, SyntaxError, tokenize.TokenError, RecursionError, MemoryError) as error:
        raise BundleError(f"{path}: entry {entry!r} is not a NumPy array ({_short(error)})") from error
    dtype, shape = AVATAR_TENSORS[name]
    if kind != np.dtype(dtype) or found != shape or fortran:
        raise BundleError(
            f"{path}: tensor {name} is {kind} {list(found)}{' in Fortran order' if fortran else ''},"
            f" expected {np.dtype(dtype)} {list(shape)}"
        )
    payload = data.read()
    if len(payload) != _bytes(name):
        raise BundleError(f"{path}: tensor {name} has {len(payload)} bytes, expected {_bytes(name)}")
    listed = manifest["tensors"].get(name)
    if not isinstance(listed, dict) or listed.get("sha256") != hashlib.sha256(payload).hexdigest():
        raise BundleError(f"{path}: tensor {name} does not have the checksum of the manifest")
    return np.frombuffer(payload, dtype=kind).reshape(shape)  # of bytes: read-only
