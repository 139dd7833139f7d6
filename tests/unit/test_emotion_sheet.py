"""The sheet of emotions: what cannot be read or written is told before minutes of drawing, in words."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from facestream.avatar import layers_canvas as canvas
from facestream.avatar.bundle import load_bundle

from export.ensembles import REPOSITORY
from perf.emotion_sheet import VOWEL, main, settled
from perf.face.ablation import Ablation
from perf.face.picture_measures import luma

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


def test_no_feeling_bruises_a_cheek() -> None:
    """Beside a smile a dimple made the learned network darken mei's cheek by 54 to 61 levels: a bruise, no fold."""
    avatar = dict(load_bundle(REPOSITORY / "avatar_store" / "avatars" / "mei.avatar").tensors)
    drawing = Ablation(REPOSITORY)
    cheeks = np.zeros((512, 512), bool)
    below = slice(canvas.CANVAS_Y + 70, canvas.CANVAS_Y + canvas.CANVAS_HEIGHT)
    cheeks[below, canvas.CANVAS_X : canvas.CANVAS_X + canvas.CANVAS_WIDTH] = True
    cheeks[canvas.MOUTH_Y + 40 : canvas.MOUTH_Y + 130, canvas.CANVAS_X + 40 : canvas.CANVAS_X + 152] = False
    for emotion in ("happy", "contemptuous"):
        shown = settled(REPOSITORY, emotion, 1.0, VOWEL, 3)
        drawn = next(drawing.draw(avatar, [shown], ["geometry", "network"]))
        added = cv2.GaussianBlur(luma(drawn["network"].frame) - luma(drawn["geometry"].frame), (0, 0), 5.0)
        assert added[cheeks].min() > -50.0, emotion
