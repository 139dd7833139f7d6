"""Blinks, stops and flicker behind the stabiliser, drawn by the repository's own graphs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from facestream.avatar.bundle import load_bundle
from facestream.avatar.preview import FacePreview
from facestream.parameters import INDEX, PARAMETERS

from export.ensembles import REPOSITORY

pytest.importorskip("openvino")
from perf.stabilizer import BLINK, FLICKER, JAW, MOUTH_ROW, Canvas, Film, drift, flicker, lag, laid_over, render

AVATAR = min((REPOSITORY / "avatar_store" / "avatars").glob("*.avatar"))


@pytest.fixture(scope="module")
def preview() -> FacePreview:
    return FacePreview(REPOSITORY, load_bundle(AVATAR))


@pytest.fixture(scope="module")
def film() -> Film:
    return Film.of(np.asarray(load_bundle(AVATAR).tensors["AVATAR_PHOTO"]))


@pytest.mark.parametrize(
    ("names", "course"), [(("eyeBlinkLeft", "eyeBlinkRight"), BLINK), (("jawOpen",), JAW)], ids=["blink", "jaw"]
)
def test_movement_is_neither_late_nor_less(
    preview: FacePreview, film: Film, names: Sequence[str], course: Sequence[float]
) -> None:
    """A lid that closes late or not quite, a jaw that swings after its stop: the eye sees both."""
    found = lag(preview, film, names, course)
    assert abs(found.milliseconds) < 5.0
    assert 0.97 < found.depth < 1.03
    assert found.missing < 0.08


@pytest.mark.parametrize("opens", [0.0, 0.35])
def test_flicker_is_told_as_large_as_it_is_whatever_the_mouth_does(
    preview: FacePreview, film: Film, opens: float
) -> None:
    """Under speech that changes by more it was told as half of itself or less, and its rest as less still."""
    parameters = np.zeros((8, len(PARAMETERS)), np.float32)
    parameters[::2, INDEX["jawOpen"]] = opens
    frames = render(preview, parameters)
    noise = np.zeros((len(parameters), 3, *frames.flows.shape[2:]), np.float32)
    noise[1::2] = 0.3  # levels, in every second frame: its second differences are twice as large
    around_mouth = laid_over(Canvas(np.zeros_like(frames.textures), frames.flows), noise).textures[1, 0, MOUTH_ROW:]
    before, after = flicker(film, frames, laid_over(frames, noise))
    assert before == pytest.approx(2.0 * around_mouth.mean(), rel=0.05)
    assert after < before


def test_flicker_is_halved_and_nothing_drifts_while_the_mouth_moves(preview: FacePreview, film: Film) -> None:
    parameters = np.zeros((12, len(PARAMETERS)), np.float32)
    parameters[:, INDEX["jawOpen"]] = 0.2 + 0.15 * np.sin(np.arange(12) / 12 * 2 * np.pi)
    frames = render(preview, parameters)
    for name, most in (("white noise", 0.55), ("swimming detail", 0.8)):  # of the second, motion this slow makes little
        before, after = flicker(film, frames, laid_over(frames, FLICKER[name](frames, np.random.default_rng(1))))
        assert after < most * before, name
    _, worst = drift(frames, 0.1)
    assert worst < 0.1
