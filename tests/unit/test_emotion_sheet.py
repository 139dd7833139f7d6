"""The sheet of emotions: what cannot be read or written is told before minutes of drawing, in words."""

from __future__ import annotations

import pytest

from export.ensembles import REPOSITORY
from perf.emotion_sheet import main

AVATAR = str(min((REPOSITORY / "avatar_store" / "avatars").glob("*.avatar")))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nobody.avatar"], "avatar: nobody.avatar: No such file"),
        ([AVATAR, "-o", "emotions.foo"], "--output is emotions.foo, expected a picture's name"),
    ],
)
def test_wrong_options(
    words: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["emotion_sheet", *words])
    with pytest.raises(SystemExit):
        main()
    assert told in capsys.readouterr().err
