"""The command `facestream avatar`, as its user sees it."""

from __future__ import annotations

import errno
import json
import os
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from facestream.avatar import build
from facestream.avatar.bundle import BundleError, load_bundle, save_bundle
from facestream.avatar.photo import OF_THE_PHOTO, read_photo
from facestream.cli.main import main

PORTRAITS = Path(__file__).parents[2] / "model_repository" / "avatar_store" / "avatars"
DATA = Path(__file__).parents[1] / "data"


def test_photo_to_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--name", "Ada-2", "--consent", "synthetic", "--licence", "CC0-1.0", "--avatars", str(tmp_path)]
    assert main(["avatar", "build", str(PORTRAITS / "ada.jpg"), *options]) == 0
    assert "Ada-2.avatar (1." in capsys.readouterr().out
    bundle = load_bundle(tmp_path / "Ada-2.avatar")
    assert bundle.manifest["licence"] == "CC0-1.0"
    assert bundle.manifest["source"]["file"] == "ada.jpg"
    assert main(["avatar", "list", "--avatars", str(tmp_path), "--repository", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("Ada-2 ")


def test_warnings_reach_the_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = read_photo(PORTRAITS / "ada.jpg")
    cv2.imwrite(str(tmp_path / "small one.png"), cv2.resize(picture, (400, 400), interpolation=cv2.INTER_AREA))
    options = ["--consent", "synthetic", "--avatars", str(tmp_path)]
    assert main(["avatar", "build", str(tmp_path / "small one.png"), *options]) == 0
    assert "warning: the face is small" in capsys.readouterr().err
    bundle = tmp_path / "small-one.avatar"
    assert bundle.is_file()  # the name is made fit for the server
    # The portrait in the bundle is as large as all are: the manifest alone knows of the photo.
    assert main(["avatar", "rebuild", str(bundle), "-o", str(tmp_path / "again.avatar")]) == 0
    assert "warning: the face is small" in capsys.readouterr().err
    built, again = (load_bundle(path).manifest["quality"] for path in (bundle, tmp_path / "again.avatar"))
    assert {name: again[name] for name in OF_THE_PHOTO} == {name: built[name] for name in OF_THE_PHOTO}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([str(DATA / "mouth_open.jpg")], "mouth_open.jpg: the mouth is open (lips 0.2"),
        (["absent.png"], "absent.png: there is no such file"),
        ([str(PORTRAITS / "ada.jpg"), "--name", "a b"], "'a b' is no name"),
        ([str(PORTRAITS / "ada.jpg"), "-o", "ada.zip"], "ends in .avatar"),
    ],
    ids=["open mouth", "no file", "bad name", "bad output"],
)
def test_what_cannot_be_built_is_said(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["avatar", "build", *arguments, "--consent", "own"]) == 1
    assert words in capsys.readouterr().err


def test_consent_must_be_stated(capsys: pytest.CaptureFixture[str]) -> None:
    """A portrait of somebody is not the permission to make it talk."""
    with pytest.raises(SystemExit) as caught:
        main(["avatar", "build", str(PORTRAITS / "ada.jpg")])
    assert caught.value.code == 2
    assert "--consent" in capsys.readouterr().err


def test_broken_bundles_are_listed_as_broken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.avatar").write_bytes(b"no archive")
    assert main(["avatar", "list", "--avatars", str(tmp_path), "--repository", str(tmp_path)]) == 0
    assert "bad" in (out := capsys.readouterr().out)
    assert "broken" in out


def test_bundles_of_strangers_cannot_drive_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ready = load_bundle(PORTRAITS / "ada.avatar")
    manifest = {**ready.manifest, "licence": "\x1b[2J\nfree"}
    save_bundle(tmp_path / "eve.avatar", ready.tensors, manifest)
    assert main(["avatar", "list", "--avatars", str(tmp_path), "--repository", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "?[2J?free" in out
    assert "\x1b" not in out


def test_names_of_files_cannot_drive_the_terminal_either(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that is no UTF-8 ended the list in a traceback."""
    (tmp_path / "\x1b[2J.avatar").write_bytes((PORTRAITS / "ada.avatar").read_bytes())
    (tmp_path / os.fsdecode(b"m\xe9.avatar")).write_bytes(b"no archive")
    assert main(["avatar", "list", "--avatars", str(tmp_path), "--repository", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "?[2J " in out
    assert "m? " in out
    out.encode()
    assert "\x1b" not in out


@pytest.mark.parametrize("name", ["sheet", "sheet.xyz", "sheet.exr"])
def test_a_sheet_is_written_as_a_picture(name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The whole sheet was drawn, and then came OpenCV's traceback."""
    assert main(["avatar", "preview", "ada", "-o", str(tmp_path / name)]) == 1
    assert f"{name}: expected the name of a picture, such as ada.png or ada.jpg" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "out.avatar: cannot be written (No space left on device)"),
        (FileNotFoundError("network x is missing: install it again"), "avatar: network x is missing: install it again"),
    ],
    ids=["full disk", "incomplete package"],
)
@pytest.mark.parametrize("action", ["build", "rebuild"])
def test_only_what_is_the_outputs_fault_is_laid_on_it(
    action: str, told: OSError, words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package without its networks was told as an output that cannot be written (None)."""

    def fail(*arguments: object, **options: object) -> None:
        raise told

    monkeypatch.setattr(build, f"{action}_avatar", fail)
    options = ["--consent", "own"] if action == "build" else []
    assert main(["avatar", action, "ada.avatar", "-o", "out.avatar", *options]) == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("eve.avatar", "the server knows it by its file's name, eve"),
        ("my face.avatar", "the server cannot know it by its file's name, so rename it: AVATAR 'my face' is no name"),
        ("folder.avatar", ""),
    ],
)
def test_the_name_that_a_server_will_know_is_told(
    output: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server takes no name with a space: it would never have found the avatar under the name that was told."""

    def built(photo: Path, path: Path, *, name: str, **options: object) -> build.Built:
        path = path / f"{name}.avatar" if path.is_dir() else path
        path.touch()
        return build.Built(path, (), (), 1.0)

    monkeypatch.setattr(build, "build_avatar", built)
    (tmp_path / "folder.avatar").mkdir()
    assert main(["avatar", "build", "ada.jpg", "-o", str(tmp_path / output), "--consent", "own"]) == 0
    assert words in (told := capsys.readouterr().err)
    assert ("note:" in told) == bool(words)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a slip in its name the ready avatars were listed, and one's own seemed to be lost."""
    assert main(["avatar", "list", "--avatars", str(tmp_path / "avatras")]) == 0
    found = capsys.readouterr()
    assert "avatras: No such file or directory" in found.err
    assert "ada" in found.out


def test_unknown_names_are_answered_with_the_known(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.avatar").write_bytes(b"no archive")
    options = ["--avatars", str(tmp_path), "--repository", str(tmp_path)]
    assert main(["avatar", "preview", "eve", *options]) == 1
    assert "'eve' is unknown, expected one of: bad" in capsys.readouterr().err
    assert main(["avatar", "preview", "bad", *options]) == 1
    assert "not a sound archive" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["ada", "ben"])
def test_ready_avatars_are_sound_and_draw_their_photo_at_rest(name: str, tmp_path: Path) -> None:
    """They are the first thing a newcomer sees; a change of the layers' format needs them built again."""
    bundle = load_bundle(PORTRAITS / f"{name}.avatar")
    assert bundle.name == name
    assert bundle.manifest["consent"] == "synthetic"
    assert main(["avatar", "preview", name, "-o", str(tmp_path / "sheet.png")]) == 0
    sheet = read_photo(tmp_path / "sheet.png")
    assert sheet.shape[1] == 4 * 384
    assert sheet.shape[0] > 4 * 384  # poses, mouths, eyes, turns, report
    photo = cv2.resize(bundle.tensors["AVATAR_PHOTO"].transpose(1, 2, 0), (384, 384), interpolation=cv2.INTER_AREA)
    rest = sheet[24:384, :384].astype(int)  # below the label
    assert np.abs(rest - photo[24:]).mean() < 1.0


@pytest.mark.parametrize("name", ["ada", "ben"])
def test_ready_avatars_are_those_of_this_code(name: str, tmp_path: Path) -> None:
    """Whoever changes the fit or the layers must build them again (avatars/README.md), or nobody sees the change."""
    options = ["--name", name, "--consent", "synthetic", "--licence", "Apache-2.0", "--avatars", str(tmp_path)]
    assert main(["avatar", "build", str(PORTRAITS / f"{name}.jpg"), *options]) == 0
    ready, fresh = load_bundle(PORTRAITS / f"{name}.avatar"), load_bundle(tmp_path / f"{name}.avatar")
    assert fresh.manifest["source"] == ready.manifest["source"]
    for tensor, expected in ready.tensors.items():
        found = fresh.tensors[tensor]
        if found.dtype.kind == "i":
            assert (found == expected).mean() > 0.95, tensor  # a near tie may fall to another vertex on another machine
        else:
            found, expected = found.astype(np.float64), expected.astype(np.float64)
            assert np.abs(found - expected).mean() < 0.01 * max(float(np.abs(expected).mean()), 0.1), tensor


def test_an_older_bundle_is_rebuilt_in_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever made an avatar with version 1 may have lost the photo; the server tells this command."""
    path = tmp_path / "eve.avatar"
    with zipfile.ZipFile(PORTRAITS / "ada.avatar") as ready, zipfile.ZipFile(path, "w") as old:
        for entry in ready.namelist():
            data = ready.read(entry)
            if entry == "manifest.json":
                data = json.dumps({**json.loads(data), "version": 1, "name": "eve", "consent": "given"}).encode()
            if entry not in ("AVATAR_BACKDROP.npy", "AVATAR_ADAPTER.npy"):
                old.writestr(entry, data)
    with pytest.raises(BundleError, match=r"facestream avatar rebuild eve\.avatar"):
        load_bundle(path)
    assert main(["avatar", "rebuild", str(path)]) == 0
    assert "eve.avatar (1." in capsys.readouterr().out
    rebuilt, ready_bundle = load_bundle(path), load_bundle(PORTRAITS / "ada.avatar")
    assert (rebuilt.name, rebuilt.manifest["consent"]) == ("eve", "given")
    assert rebuilt.manifest["source"] == ready_bundle.manifest["source"]
    assert np.array_equal(rebuilt.tensors["AVATAR_PHOTO"], ready_bundle.tensors["AVATAR_PHOTO"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["absent.avatar"], "absent.avatar"), ([str(PORTRAITS / "ada.jpg")], "ends in .avatar")],
    ids=["no file", "no bundle"],
)
def test_what_cannot_be_rebuilt_is_said(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["avatar", "rebuild", *arguments]) == 1
    assert words in capsys.readouterr().err


def test_more_pictures_and_what_they_gave_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--consent", "synthetic", "--avatars", str(tmp_path), "--also", str(DATA / "eyes_shut.jpg")]
    assert main(["avatar", "build", str(DATA / "at_rest.jpg"), *options]) == 0
    assert "closed lids are those of eyes_shut.jpg" in capsys.readouterr().err
    assert main(["avatar", "build", str(PORTRAITS / "ben.jpg"), *options]) == 1
    assert "does not show the same person" in capsys.readouterr().err
