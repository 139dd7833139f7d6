"""The sheet of a face: what cannot be read or written is told in words, never as a sheet that is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.ensembles import REPOSITORY
from perf import face_sheet

AVATAR = str(min((REPOSITORY / "avatar_store" / "avatars").glob("*.avatar")))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nobody.avatar"], "avatar: nobody.avatar: No such file"),
        ([AVATAR, "-o", "face.foo"], "--output is face.foo, expected a picture's name"),
        ([AVATAR, "-o", "folder.png"], "--output folder.png cannot be written"),
    ],
)
def test_wrong_options(
    words: list[str],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "folder.png").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(face_sheet, "FacePreview", lambda repository, bundle: None)
    monkeypatch.setattr(face_sheet, "face_sheet", lambda preview: np.zeros((8, 8, 3), np.uint8))
    monkeypatch.setattr("sys.argv", ["face_sheet", *words])
    with pytest.raises(SystemExit):
        face_sheet.main()
    written = capsys.readouterr()
    assert told in written.err
    assert not written.out
