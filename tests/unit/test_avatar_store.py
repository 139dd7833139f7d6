"""The shelf: the right avatar for a name, always the same for a session."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from avatar_shelf import AvatarChoice, AvatarShelf
from facestream.avatar.adapter import SERVED
from facestream.avatar.bundle import BUNDLE_SUFFIX, BundleError, load_bundle, save_bundle
from facestream.avatar.preview import FacePreview
from facestream.avatar_name import decode_avatar_name, encode_avatar_name
from facestream.sequence import BadInput, SessionRefused

from export.ensembles import REPOSITORY

STORE = REPOSITORY / "avatar_store"
READY = sorted((STORE / "avatars").glob(f"*{BUNDLE_SUFFIX}"))


def test_session_keeps_its_avatar_while_the_file_changes(tmp_path: Path) -> None:
    """Somebody rebuilds an avatar while it speaks: its face must not change in mid-sentence."""
    path = tmp_path / f"eva{BUNDLE_SUFFIX}"
    shutil.copy(READY[0], path)
    shelf, choice = AvatarShelf([tmp_path], STORE), AvatarChoice()
    before = choice.tensors("eva", shelf)["AVATAR_PHOTO"]
    path.unlink()
    shutil.copy(READY[-1], path)
    assert choice.tensors("eva", shelf)["AVATAR_PHOTO"] is before
    assert not np.array_equal(AvatarChoice().tensors("eva", shelf)["AVATAR_PHOTO"], before)


def test_another_name_in_mid_session_is_refused_and_the_session_keeps_its_own() -> None:
    shelf, choice = AvatarShelf([READY[0].parent], STORE), AvatarChoice()
    own = choice.tensors(READY[0].stem, shelf)
    with pytest.raises(BadInput, match=f"in mid-session, expected '{READY[0].stem}'"):
        choice.tensors(READY[-1].stem, shelf)
    assert choice.tensors(READY[0].stem, shelf) is own


def test_unknown_avatar_is_told_with_the_known_ones() -> None:
    with pytest.raises(BadInput, match=f"'nobody' is unknown, expected one of: {READY[0].stem}"):
        AvatarShelf([READY[0].parent], STORE).take("nobody")


def test_broken_bundle_refuses_its_session_only(tmp_path: Path) -> None:
    (tmp_path / f"broken{BUNDLE_SUFFIX}").write_bytes(b"PK" + bytes(100))
    shelf = AvatarShelf([tmp_path, READY[0].parent], STORE)
    with pytest.raises(SessionRefused, match="AVATAR 'broken'"):
        shelf.take("broken")
    assert shelf.take(READY[0].stem)


def test_own_avatar_goes_before_a_ready_one_of_the_same_name(tmp_path: Path) -> None:
    shutil.copy(READY[-1], tmp_path / READY[0].name)
    own, ready = (
        AvatarShelf(folders, STORE).take(READY[0].stem) for folders in ([tmp_path, READY[0].parent], [READY[0].parent])
    )
    assert not np.array_equal(own["AVATAR_PHOTO"], ready["AVATAR_PHOTO"])


@pytest.mark.parametrize("name", ["ava", "a", "A-1_b", "x" * 64])
def test_name_survives_the_wire(name: str) -> None:
    assert decode_avatar_name(encode_avatar_name(name)) == name


@pytest.mark.parametrize("name", ["", "../ava", "a/b", "a b", ".ava", "x" * 65, "é", "ava\0b"])
def test_name_that_could_lead_elsewhere_is_refused(name: str) -> None:
    """A name becomes a file's name."""
    with pytest.raises(ValueError, match="is no name: expected letters"):
        encode_avatar_name(name)
    with pytest.raises(ValueError, match="is no name: expected letters"):
        decode_avatar_name(
            np.frombuffer(name.encode()[:64].ljust(64, b"\0").replace(b"x" * 64, b"\xff" * 64), np.uint8)
        )


@pytest.mark.parametrize(
    ("told", "complaint"),
    [
        (
            {"personalised": {"weights": "0123456789abcdef"}},
            "tuned to weights 0123456789abcdef of the learned renderer",
        ),
        ({"personalised": {"weights": "\x1b[2J"}}, "tuned to weights that it does not name"),
        ({}, "tuned to weights that it does not name"),
    ],
)
def test_an_avatar_tuned_to_other_networks_is_refused(tmp_path: Path, told: dict[str, Any], complaint: str) -> None:
    """After a training the same numbers steer other layers: the face would be spoilt, and nothing would tell why."""
    _tuned(tmp_path / f"eva{BUNDLE_SUFFIX}", told)
    with pytest.raises(SessionRefused, match=rf"AVATAR 'eva': .*{complaint}.*facestream avatar rebuild eva\.avatar`"):
        AvatarShelf([tmp_path], STORE).take("eva")
    with pytest.raises(BundleError, match=complaint):
        FacePreview(REPOSITORY, load_bundle(tmp_path / f"eva{BUNDLE_SUFFIX}"))


def test_an_avatar_tuned_to_these_networks_is_shown(tmp_path: Path) -> None:
    _tuned(tmp_path / f"eva{BUNDLE_SUFFIX}", {"personalised": {"weights": (STORE / SERVED).read_text().strip()}})
    assert (AvatarShelf([tmp_path], STORE).take("eva")["AVATAR_ADAPTER"] == 0.5).all()


def test_a_repository_that_does_not_say_its_weights_shows_no_tuned_avatar(tmp_path: Path) -> None:
    """Without a checksum to hold it against, nobody knows what the numbers do; the others are not touched."""
    _tuned(tmp_path / f"eva{BUNDLE_SUFFIX}", {"personalised": {"weights": "0123456789abcdef"}})
    shelf = AvatarShelf([tmp_path, READY[0].parent], tmp_path)
    with pytest.raises(SessionRefused, match=r"refiner_weights.txt.*python -m export.face.export"):
        shelf.take("eva")
    assert shelf.take(READY[0].stem)


def _tuned(path: Path, told: dict[str, Any]) -> None:
    """A bundle with an adapter, and what its manifest tells of it."""
    bundle = load_bundle(READY[0])
    manifest = {**bundle.manifest, "quality": {**bundle.manifest["quality"], **told}}
    adapter = np.full_like(bundle.tensors["AVATAR_ADAPTER"], 0.5)
    save_bundle(path, {**bundle.tensors, "AVATAR_ADAPTER": adapter}, {**manifest, "name": "eva"})


def test_a_folder_that_the_server_may_not_read_costs_nobody_the_ready_avatars(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container's user and a folder of mode 700: every session was lost to a fault, whatever avatar it named."""
    is_file = Path.is_file

    def refuse(path: Path) -> bool:
        if path.parent == tmp_path:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", refuse)
    shelf = AvatarShelf([tmp_path, READY[0].parent], STORE)
    assert shelf.take(READY[0].stem)
    with pytest.raises(
        BadInput, match=f"'mine' is unknown, expected one of: .*; {tmp_path} cannot be read: Permission"
    ):
        shelf.take("mine")
