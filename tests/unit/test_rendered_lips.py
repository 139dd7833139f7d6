"""Lips measured in our own frames: a measure that errs would praise a mouth that viewers see open on every p."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from facestream.avatar.preview import Image, both, parameter_vector
from facestream.parameters import INDEX, PARAMETERS

from perf.drawn_frames import DrawnAvatar
from perf.lip_sync.alignment import Clip
from perf.lip_sync.lips import Floats
from perf.lip_sync.measures import CONTACT
from perf.lip_sync.mouth_pixels import MouthPixels
from perf.lip_sync.rendered import (
    MEASURES,
    FrameMeasure,
    RenderedLips,
    lips_of_frames,
    rotation,
    seen_parameters,
    similarity,
    some_of,
)
from perf.lip_sync.rendered_calibration import true_height

LIP, SKIN, TOOTH, CAVITY, SEAM = (190, 110, 95), (215, 165, 145), (170, 165, 155), (35, 15, 15), (95, 50, 40)


def painted(teeth: int = 0, cavity: int = 0) -> Image:
    """An upright mouth (80, 60): upper lip from row 20, its inside, then 15 rows of lower lip; closed: a dark seam."""
    between = [TOOTH] * teeth + [CAVITY] * cavity or [SEAM]
    rows = [SKIN] * 20 + [LIP] * 12 + between + [LIP] * 15
    rows += [SKIN] * (80 - len(rows))
    return np.repeat(np.array(rows, np.uint8)[:, None], 60, axis=1)


@pytest.fixture(scope="module")
def pixels() -> MouthPixels:
    return MouthPixels(painted(), 20.0, 48.0, 32.5, slice(20, 40))


@pytest.mark.parametrize(("teeth", "cavity"), [(0, 0), (3, 0), (0, 6), (4, 9)])
def test_pixels_between_the_lips(pixels: MouthPixels, teeth: int, cavity: int) -> None:
    """Teeth and dark are told apart by their rows: one row of error is the whole height of a narrow opening."""
    inside = teeth + cavity
    seen = pixels.look(painted(teeth, cavity), 20.0, 47.0 + inside, 32.0 + inside / 2, slice(20, 40))
    assert seen.teeth == pytest.approx(teeth, abs=0.01)
    assert seen.cavity == pytest.approx(cavity, abs=1.01)  # a seam's shadow counts as none
    assert (seen.below_teeth == pytest.approx(cavity)) if teeth else np.isnan(seen.below_teeth)


def test_a_lip_on_the_teeth_leaves_no_dark(pixels: MouthPixels) -> None:
    """f and v: told from an open mouth by the missing dark between teeth and lower lip."""
    assert pixels.look(painted(3, 0), 20.0, 50.0, 33.5, slice(20, 40)).below_teeth == 0.0


def test_similarity_undoes_the_head() -> None:
    """A tilted head would otherwise pass for an opening mouth."""
    points = np.random.default_rng(0).uniform(0, 500, (8, 2))
    turn = 1.1 * np.array([[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]])
    place = similarity(points @ turn.T + [5.0, -3.0], points)
    back = (points @ turn.T + [5.0, -3.0]) @ place[:, :2].T + place[:, 2]
    assert np.abs(back - points).max() < 1e-9
    with pytest.raises(ValueError, match="points"):
        similarity(np.ones((4, 2)), points[:4])


def test_rotation_is_found() -> None:
    """A mirrored solution would nod where the head shakes."""
    points = np.random.default_rng(1).normal(size=(9, 3))
    angle = 0.15
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    assert np.abs(rotation(points, 1.3 * points @ turn.T + 7.0) - turn).max() < 1e-9


@pytest.fixture(scope="module")
def ada() -> DrawnAvatar:
    return DrawnAvatar("ada")


@pytest.fixture(scope="module")
def measure(ada: DrawnAvatar) -> FrameMeasure:
    return FrameMeasure(next(ada.frames([parameter_vector({})])))


def test_the_opening_grows_with_the_jaw(ada: DrawnAvatar, measure: FrameMeasure) -> None:
    """It stood still from jawOpen 0.03 to 0.11 once: the lips' inner side turned out as fast as the lips parted."""
    true, seen = [], []
    for jaw in (0.0, 0.04, 0.07, 0.1, 0.14, 0.2, 0.3, 0.5):
        tensors = next(ada.tensors([parameter_vector({"jawOpen": jaw})]))
        row = measure(tensors["FRAME"][0])
        true.append(true_height(tensors))
        seen.append((row["gap"] * measure.unit, (row["teeth"] + row["cavity"]) * measure.unit))
    assert (np.diff(true) > 0.1).all(), true
    landmarks, pixels = np.array(seen).T
    assert (np.diff(landmarks) > -0.3).all(), landmarks
    assert (np.diff(pixels) > -0.3).all(), pixels
    assert landmarks[-1] > 12 < 2 * pixels[-1]


@pytest.mark.parametrize(
    "values",
    [
        {**both("mouthPress", 0.3), "mouthRollLower": 0.1},
        {"jawOpen": 0.15, "mouthClose": 0.15},
        {"headYaw": 0.15, "headPitch": 0.08, "headX": 0.03},
        both("eyeBlink", 1.0),
    ],
)
def test_closed_lips_are_seen_closed(ada: DrawnAvatar, measure: FrameMeasure, values: dict[str, float]) -> None:
    """A p, b or m that the viewer sees closed must not be counted as missed because the head turned."""
    row = measure(next(ada.frames([parameter_vector(values)])))
    assert row["gap"] * measure.unit < 0.7
    assert (row["teeth"] + row["cavity"]) * measure.unit < 0.5


def test_blinks_and_turns_are_seen(ada: DrawnAvatar, measure: FrameMeasure) -> None:
    """The head and blink figures of the picture come from these."""
    shut = measure(next(ada.frames([parameter_vector(both("eyeBlink", 1.0))])))
    turned = measure(next(ada.frames([parameter_vector({"headYaw": 0.15, "headRoll": 0.1})])))
    rest = measure(next(ada.frames([parameter_vector({})])))
    assert shut["eyes"] < 0.1
    assert rest["eyes"] == pytest.approx(1.0)
    assert turned["yaw"] == pytest.approx(0.15, abs=0.03)
    assert turned["roll"] == pytest.approx(0.1, abs=0.02)


def test_rounded_and_spread_lips_differ(ada: DrawnAvatar, measure: FrameMeasure) -> None:
    """oo and ee are told apart by the width of the mouth."""
    rounded = measure(next(ada.frames([parameter_vector({"mouthPucker": 0.8})])))
    spread = measure(next(ada.frames([parameter_vector(both("mouthStretch", 0.4))])))
    assert rounded["width"] < 0.93 * spread["width"]


def test_measures_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute of speech takes a minute and more: seen once, it is not drawn again, and other parameters are."""
    lips = RenderedLips("ada", tmp_path)
    parameters = np.zeros((2, len(PARAMETERS)), np.float32)
    first = lips.measure(parameters)
    assert set(first) == set(MEASURES)
    assert len(first["gap"]) == 2
    monkeypatch.setattr(DrawnAvatar, "frames", lambda *_: pytest.fail("drawn again"))
    again = lips.measure(parameters)
    assert all(np.array_equal(first[name], again[name], equal_nan=True) for name in MEASURES)
    with pytest.raises(pytest.fail.Exception):
        lips.measure(parameters + np.float32(0.01))


def test_an_unknown_avatar_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="nobody"):
        DrawnAvatar("nobody")


def seen(count: int, **values: float) -> dict[str, Floats]:
    """Measures of `count` frames of a face at rest but for `values`."""
    rest = dict.fromkeys(MEASURES, 0.0) | {"upper_lip": 1.0, "lower_lip": 1.0, "eyes": 1.0, "width": 0.6}
    return {name: np.full(count, value) for name, value in (rest | values).items()}


def test_contact_is_a_lip_rolled_in_alone() -> None:
    """Pressed lips of a p are no f, and a dark gap under the teeth is none either."""
    bitten = seen(3, lower_lip=0.80, upper_lip=0.90, teeth=0.01, gap=0.05)
    assert (lips_of_frames(bitten, "pixels").contact >= CONTACT).all()
    assert (lips_of_frames(seen(3, lower_lip=0.92, upper_lip=0.92), "pixels").contact < CONTACT).all()
    assert (lips_of_frames(bitten | {"cavity": np.full(3, 0.05)}, "pixels").contact < CONTACT).all()
    assert lips_of_frames(bitten, "landmarks").gap[0] == pytest.approx(0.05)
    assert lips_of_frames(bitten, "pixels").gap[0] == pytest.approx(0.01)
    with pytest.raises(ValueError, match="hearsay"):
        lips_of_frames(bitten, "hearsay")


def test_blinks_as_seen_become_lids() -> None:
    """Blinks are counted by the code that counts them in the parameters."""
    measures = seen(4)
    measures["eyes"] = np.array([1.0, 0.1, 0.0, 1.05])
    lids = seen_parameters(measures, np.zeros((4, len(PARAMETERS)), np.float32))[:, INDEX["eyeBlinkLeft"]]
    assert lids == pytest.approx([0.0, 0.9, 1.0, 0.0])


def test_some_of_the_clips_come_from_all_of_them() -> None:
    """The first minute alone would be one speaker."""
    clips = [Clip(str(number), np.zeros(24_000, np.float32), [("SIL", 0.0, 1.0)]) for number in range(40)]
    chosen = [int(clip.name) for clip in some_of(clips, 10.0)]
    assert len(chosen) == 10
    assert max(np.diff(chosen)) <= 5
    assert some_of(clips, 100.0) == clips
