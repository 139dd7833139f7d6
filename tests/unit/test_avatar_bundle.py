"""Bundles come from strangers: what is not exactly a bundle is refused, and the reason is named."""

from __future__ import annotations

import errno
import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facestream.avatar.bundle import (
    CONSENT,
    MANIFEST,
    BundleError,
    load_bundle,
    make_manifest,
    read_manifest,
    read_portrait,
    save_bundle,
)
from facestream.avatar.layers_canvas import AVATAR_TENSORS
from numpy.typing import NDArray

Tensors = dict[str, NDArray[Any]]


def tensors() -> Tensors:
    rng = np.random.default_rng(0)
    return {name: rng.integers(0, 100, shape).astype(dtype) for name, (dtype, shape) in AVATAR_TENSORS.items()}


def manifest(name: str = "eve") -> dict[str, Any]:
    return make_manifest(
        name, licence="CC0-1.0", consent="synthetic", source="/home/x/eve.png", source_sha256="0" * 64, quality={"a": 1}
    )


@pytest.fixture(name="bundle")
def bundle_fixture(tmp_path: Path) -> Path:
    path = tmp_path / "eve.avatar"
    save_bundle(path, tensors(), manifest())
    return path


def rewrite(path: Path, change: Callable[[dict[str, bytes]], object], compression: int = zipfile.ZIP_STORED) -> None:
    """Unpack the archive, let `change` at its entries, pack it again."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)


def npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=array.dtype == object)
    return buffer.getvalue()


def edit_manifest(entries: dict[str, bytes], **values: Any) -> None:
    entries[MANIFEST] = json.dumps({**json.loads(entries[MANIFEST]), **values}).encode()


def test_what_was_saved_is_loaded(bundle: Path) -> None:
    loaded = load_bundle(bundle)
    for name, array in tensors().items():
        assert np.array_equal(loaded.tensors[name], array)
        assert loaded.tensors[name].dtype == array.dtype
    assert loaded.name == "eve"
    assert read_manifest(bundle)["consent"] == "synthetic"
    assert loaded.manifest["source"]["file"] == "eve.png"  # no folder of the maker's machine


def test_same_content_gives_the_same_file(tmp_path: Path, bundle: Path) -> None:
    """Rebuilt ready avatars must not change in git for nothing."""
    other = tmp_path / "other.avatar"
    save_bundle(other, tensors(), manifest())
    assert other.read_bytes() == bundle.read_bytes()


def test_sessions_cannot_write_into_a_shared_avatar(bundle: Path) -> None:
    loaded = load_bundle(bundle)
    with pytest.raises(ValueError, match="read-only"):
        loaded.tensors["AVATAR_PHOTO"][0, 0, 0] = 1
    with pytest.raises(TypeError):
        loaded.tensors["AVATAR_PHOTO"] = np.zeros(1)  # type: ignore[index]


def test_numpy_opens_it_too(bundle: Path) -> None:
    with np.load(bundle) as archive:
        assert archive["AVATAR_PHOTO"].shape == (3, 512, 512)


def test_a_failed_save_leaves_the_old_file(bundle: Path) -> None:
    """A running server may load the file at any moment."""
    before = bundle.read_bytes()
    broken = tensors()
    broken["AVATAR_CONSTANTS"][0] = np.nan
    with pytest.raises(ValueError, match="AVATAR_CONSTANTS holds NaN"):
        save_bundle(bundle, broken, manifest())
    assert bundle.read_bytes() == before
    assert [path.name for path in bundle.parent.iterdir()] == [bundle.name]


def test_text_of_another_encoding_is_kept_as_far_as_it_can_be(tmp_path: Path) -> None:
    """A photo whose file has a name in Latin-1 gave a traceback in place of a bundle, after all the work."""
    told = make_manifest(
        "eve", licence="\udcff free", consent="own", source=os.fsdecode(b"m\xe9.jpg"), source_sha256="", quality={}
    )
    save_bundle(tmp_path / "eve.avatar", tensors(), told)
    read = load_bundle(tmp_path / "eve.avatar").manifest
    assert (read["licence"], read["source"]["file"]) == ("? free", "m?.jpg")


def test_manifest_needs_a_name_and_a_consent() -> None:
    with pytest.raises(ValueError, match="consent 'maybe'"):
        make_manifest("eve", licence="", consent="maybe", source="", source_sha256="", quality={})
    with pytest.raises(ValueError, match=r"\.\./eve"):
        manifest("../eve")
    assert "synthetic" in CONSENT


HEADER_BOMB = b"\x93NUMPY\x01\x00" + (800).to_bytes(2, "little") + b"(" * 800
"""Parentheses that deep once brought Python's parser down."""

TABLE: list[tuple[str, Callable[[dict[str, bytes]], object], str]] = [
    ("missing tensor", lambda e: e.pop("AVATAR_PHOTO.npy"), "'AVATAR_PHOTO.npy' is missing"),
    ("missing manifest", lambda e: e.pop(MANIFEST), "'manifest.json' is missing"),
    ("path out of the archive", lambda e: e.update({"../../etc/passwd": b"x"}), "unknown entry '../../etc/passwd'"),
    ("absolute path", lambda e: e.update({"/AVATAR_PHOTO.npy": b"x"}), "unknown entry '/AVATAR_PHOTO.npy'"),
    ("other dtype", lambda e: e.update({"AVATAR_PHOTO.npy": npy(np.zeros((3, 512, 512), np.int8))}), "is int8"),
    ("other shape", lambda e: e.update({"AVATAR_PHOTO.npy": npy(np.zeros((3, 512, 511), np.uint8))}), "512, 511"),
    ("pickle", lambda e: e.update({"AVATAR_CONSTANTS.npy": npy(np.array([{}], object))}), "AVATAR_CONSTANTS"),
    ("big-endian", lambda e: e.update({"AVATAR_CONSTANTS.npy": npy(np.zeros(80, ">f4"))}), "AVATAR_CONSTANTS"),
    ("cut tensor", lambda e: e.update({"AVATAR_PHOTO.npy": e["AVATAR_PHOTO.npy"][:-1]}), "786431 bytes"),
    ("no array", lambda e: e.update({"AVATAR_PHOTO.npy": b"hello"}), "not a NumPy array"),
    ("changed byte", lambda e: e.update({"AVATAR_PHOTO.npy": e["AVATAR_PHOTO.npy"][:-1] + b"\xff"}), "checksum"),
    ("no JSON", lambda e: e.update({MANIFEST: b"{"}), "not JSON"),
    ("deep JSON", lambda e: e.update({MANIFEST: b"[" * 60000}), "not JSON"),
    ("foreign JSON", lambda e: e.update({MANIFEST: b"[]"}), "facestream-avatar"),
    ("large manifest", lambda e: e.update({MANIFEST: b" " * 70000}), "at most 65536"),
    ("older version", lambda e: edit_manifest(e, version=1), "facestream avatar rebuild eve.avatar"),
    ("newer version", lambda e: edit_manifest(e, version=99), "version 99, expected 2; update facestream"),
    ("odd version", lambda e: edit_manifest(e, version=["x" * 9999]), "has version ["),
    ("no version", lambda e: edit_manifest(e, version=True), "has version True"),
    ("infinite weight", lambda e: e.update({"AVATAR_CONSTANTS.npy": npy(np.full(80, np.inf, "f4"))}), "checksum"),
    ("directory entry", lambda e: e.update({"AVATAR_PHOTO.npy/": b""}), "unknown entry"),
    ("name in other case", lambda e: e.update({"avatar_photo.npy": e.pop("AVATAR_PHOTO.npy")}), "unknown entry"),
    ("Fortran order", lambda e: e.update({"AVATAR_PHOTO.npy": npy(np.zeros((3, 512, 512), np.uint8, "F"))}), "Fortran"),
    ("header bomb", lambda e: e.update({"AVATAR_CONSTANTS.npy": HEADER_BOMB}), "not a NumPy array"),
    ("NaN in JSON", lambda e: e.update({MANIFEST: b'{"format": NaN}'}), "facestream-avatar"),
    ("tensors as a list", lambda e: edit_manifest(e, tensors=[]), "no 'tensors'"),
    ("name as a path", lambda e: edit_manifest(e, name="../eve"), "'../eve' is no name"),
    ("no consent", lambda e: edit_manifest(e, consent=None), "no 'consent'"),
    ("odd consent", lambda e: edit_manifest(e, consent="stolen"), "consent 'stolen'"),
]


@pytest.mark.parametrize(("change", "words"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_tampered_bundles_are_refused(bundle: Path, change: Callable[[dict[str, bytes]], object], words: str) -> None:
    rewrite(bundle, change)
    with pytest.raises(BundleError) as caught:
        load_bundle(bundle)
    assert words in str(caught.value)
    assert bundle.name in str(caught.value)


def test_compressed_entries_are_refused(bundle: Path) -> None:
    """Small files that unpack to gigabytes."""
    rewrite(bundle, lambda entries: None, zipfile.ZIP_DEFLATED)
    with pytest.raises(BundleError, match="compressed"):
        load_bundle(bundle)


def test_entries_that_occur_twice_are_refused(bundle: Path) -> None:
    with zipfile.ZipFile(bundle, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(MANIFEST, "{}")
    with pytest.raises(BundleError, match="twice"):
        load_bundle(bundle)


@pytest.mark.parametrize("read", [load_bundle, read_manifest, read_portrait])
def test_a_name_that_is_no_text_is_refused(bundle: Path, read: Callable[[Path], object]) -> None:
    """`zipfile` raises no error of its own for one: `avatar list` would end in a traceback, and show no avatar."""
    data = bytearray(bundle.read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 9] |= 8  # the flag that says UTF-8
    data[entry + 46] = 0xFF
    bundle.write_bytes(data)
    with pytest.raises(BundleError, match=r"eve\.avatar: is not a sound archive .*utf-8"):
        read(bundle)


@pytest.mark.parametrize("read", [load_bundle, read_manifest, read_portrait])
def test_what_cannot_be_opened_is_not_called_broken(
    bundle: Path, read: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An avatar of somebody else's folder was no sound archive: one would have made it again."""

    def closed(path: Path, mode: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", closed)
    with pytest.raises(BundleError, match=r"eve\.avatar: Permission denied$"):
        read(bundle)


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(NotADirectoryError, match=r"photo\.jpg is not a folder"):
        save_bundle(tmp_path / "photo.jpg" / "eve.avatar", tensors(), manifest())


def test_large_files_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "large.avatar"
    with path.open("wb") as file:
        file.truncate(1 << 34)
    with pytest.raises(BundleError, match="a bundle has at most"):
        load_bundle(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip"], ids=["empty", "text"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.avatar"
    path.write_bytes(content)
    for load in (load_bundle, read_manifest):
        with pytest.raises(BundleError, match="not a sound archive"):
            load(path)
    with pytest.raises(BundleError, match="No such file"):
        load_bundle(tmp_path / "absent.avatar")


def test_indices_beyond_the_model_are_refused(tmp_path: Path) -> None:
    """The graphs gather by them: one out of range stops the whole batch, other people's sessions too."""
    for value in (-1, 4000):
        broken = tensors()
        broken["AVATAR_MESH_INDEX"][0, 0, 0] = value
        with pytest.raises(ValueError, match="AVATAR_MESH_INDEX holds indices"):
            save_bundle(tmp_path / "x.avatar", broken, manifest())


def old_bundle(path: Path) -> None:
    """As version 1 wrote it: without backdrop and adapter."""

    def change(entries: dict[str, bytes]) -> None:
        edit_manifest(entries, version=1)
        for name in ("AVATAR_BACKDROP", "AVATAR_ADAPTER"):
            del entries[f"{name}.npy"]

    rewrite(path, change)


def test_the_portrait_of_an_older_bundle_is_read(bundle: Path) -> None:
    """The photo of a first version's avatar may be lost; the bundle has it."""
    old_bundle(bundle)
    photo, held = read_portrait(bundle)
    assert np.array_equal(photo, tensors()["AVATAR_PHOTO"].transpose(1, 2, 0))
    assert held["licence"] == "CC0-1.0"
    photo[0, 0] = 1  # one's own copy


@pytest.mark.parametrize(
    "change",
    [row[1] for row in TABLE if row[0] in ("missing tensor", "missing manifest", "cut tensor", "changed byte")]
    + [lambda e: edit_manifest(e, name="../eve"), lambda e: edit_manifest(e, version=99)],
    ids=["no photo", "no manifest", "cut photo", "changed photo", "name as a path", "newer version"],
)
def test_portraits_are_read_from_sound_bundles_only(bundle: Path, change: Callable[[dict[str, bytes]], object]) -> None:
    """`rebuild` overwrites the file that it reads: what is broken must stop it before."""
    rewrite(bundle, change)
    with pytest.raises(BundleError, match=r"eve\.avatar"):
        read_portrait(bundle)
