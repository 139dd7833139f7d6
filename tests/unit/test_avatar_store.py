"""The shelf: the right avatar for a name, always the same for a session."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from avatar_shelf import AvatarChoice, AvatarShelf
from facestream.avatar.bundle import BUNDLE_SUFFIX
from facestream.avatar_name import decode_avatar_name, encode_avatar_name
from facestream.sequence import BadInput, SessionRefused

from export.ensembles import REPOSITORY

READY = sorted((REPOSITORY / "avatar_store" / "avatars").glob(f"*{BUNDLE_SUFFIX}"))


def test_session_keeps_its_avatar_while_the_file_changes(tmp_path: Path) -> None:
    """Somebody rebuilds an avatar while it speaks: its face must not change in mid-sentence."""
    path = tmp_path / f"eva{BUNDLE_SUFFIX}"
    shutil.copy(READY[0], path)
    shelf, choice = AvatarShelf([tmp_path]), AvatarChoice()
    before = choice.tensors("eva", shelf)["AVATAR_PHOTO"]
    path.unlink()
    shutil.copy(READY[-1], path)
    assert choice.tensors("eva", shelf)["AVATAR_PHOTO"] is before
    assert not np.array_equal(AvatarChoice().tensors("eva", shelf)["AVATAR_PHOTO"], before)


def test_another_name_in_mid_session_is_refused_and_the_session_keeps_its_own() -> None:
    shelf, choice = AvatarShelf([READY[0].parent]), AvatarChoice()
    own = choice.tensors(READY[0].stem, shelf)
    with pytest.raises(BadInput, match=f"in mid-session, expected '{READY[0].stem}'"):
        choice.tensors(READY[-1].stem, shelf)
    assert choice.tensors(READY[0].stem, shelf) is own


def test_unknown_avatar_is_told_with_the_known_ones() -> None:
    with pytest.raises(BadInput, match=f"'nobody' is unknown, expected one of: {READY[0].stem}"):
        AvatarShelf([READY[0].parent]).take("nobody")


def test_broken_bundle_refuses_its_session_only(tmp_path: Path) -> None:
    (tmp_path / f"broken{BUNDLE_SUFFIX}").write_bytes(b"PK" + bytes(100))
    shelf = AvatarShelf([tmp_path, READY[0].parent])
    with pytest.raises(SessionRefused, match="AVATAR 'broken'"):
        shelf.take("broken")
    assert shelf.take(READY[0].stem)


def test_own_avatar_goes_before_a_ready_one_of_the_same_name(tmp_path: Path) -> None:
    shutil.copy(READY[-1], tmp_path / READY[0].name)
    own, ready = (
        AvatarShelf(folders).take(READY[0].stem) for folders in ([tmp_path, READY[0].parent], [READY[0].parent])
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
