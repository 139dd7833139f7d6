"""The stabiliser: flicker goes, movement stays."""

from __future__ import annotations

import numpy as np
import pytest
from canvas_stabilizer import CanvasStabilizer
from facestream.sequence import SessionLost

SHAPE = (4, 48, 48)
STILL = np.zeros((2, 48, 48), np.float32)


def pattern(shift: float = 0.0) -> np.ndarray:
    """A smooth texture, moved to the right by `shift` px."""
    rows, columns = np.mgrid[0:48, 0:48].astype(np.float32)
    wave = np.sin((columns - shift) / 4.0) * np.cos(rows / 5.0)
    return np.stack([40 * wave, 30 * wave, 20 * wave, 0.5 + 0.1 * wave]).astype(np.float32)


def test_flicker_is_halved() -> None:
    noise = np.random.default_rng(0).normal(0, 1, (60, *SHAPE)).astype(np.float32)
    noise[:, 3:] *= 0.004
    stabilizer = CanvasStabilizer()
    shown = np.array([stabilizer.step(pattern() + noise[i], STILL, i - 2) for i in range(60)])
    before = np.diff(pattern()[None] + noise, axis=0)[5:].std(axis=(0, 2, 3))
    after = np.diff(shown, axis=0)[5:].std(axis=(0, 2, 3))
    assert (after < 0.5 * before).all()


def test_known_motion_is_followed_without_blur_or_lag() -> None:
    stabilizer = CanvasStabilizer()
    for i in range(12):
        # content that moves right by 1 px a frame: each pixel shows a photo point that lies ever further left
        shown = stabilizer.step(pattern(i), STILL - np.array([[[i]], [[0]]], np.float32), i - 2)
    inner = (slice(None), slice(8, 40), slice(16, 40))
    assert np.abs(shown - pattern(11))[inner].max() < 1.5


def test_teeth_that_appear_are_shown_at_once() -> None:
    """A blend over a real change would leave a ghost of the closed lips on the teeth."""
    stabilizer = CanvasStabilizer()
    stabilizer.step(pattern(), STILL, -2)
    opened = pattern()
    opened[:4, 20:30, 10:38] = np.array([200, 190, 180, 1.0])[:, None, None]
    shown = stabilizer.step(opened, STILL, -1)
    assert np.array_equal(shown[:, 20:30, 10:38], opened[:, 20:30, 10:38])


def test_resting_mouth_is_left_bit_for_bit() -> None:
    stabilizer = CanvasStabilizer()
    for i in range(3):
        assert np.array_equal(stabilizer.step(pattern(), STILL, i - 2), pattern())


def test_a_step_of_the_skins_light_is_shown_at_once_for_the_most_part() -> None:
    """A jaw's shadow that comes late would look like rubber; below what flicker is, nothing is said."""
    stabilizer = CanvasStabilizer()
    for i in range(4):
        stabilizer.step(pattern(), STILL, i - 2)
    darker = pattern()
    darker[:3] -= 14.0
    off = [float(np.abs(stabilizer.step(darker, STILL, i - 2) - darker)[:3].max()) for i in range(4, 8)]
    assert off[0] < 14.0 / 2
    assert off[1] < 14.0 / 3
    assert off[3] < 14.0 / 9


def test_same_words_give_the_same_face_for_ever() -> None:
    """Half an hour of speech must not change the person: each round ends in the bits of the one before."""
    random = np.random.default_rng(3)
    textures = [pattern(float(shift)) for shift in np.cumsum(random.normal(0, 1.0, 40))]
    flows = [STILL + random.normal(0, 1.0, (2, 1, 1)).astype(np.float32) for _ in textures]
    stabilizer, rounds, index = CanvasStabilizer(), [], -2
    for _ in range(6):
        shown = []
        for texture, flow in zip(textures, flows, strict=True):
            shown.append(stabilizer.step(texture, flow, index).copy())
            index += 1
        rounds.append(np.array(shown))
    assert all(np.array_equal(rounds[1], later) for later in rounds[2:])


def test_what_fades_comes_to_an_end() -> None:
    """A rest that halves for ever becomes a denormal number, which costs a hundred times the time of another."""
    stabilizer = CanvasStabilizer()
    stabilizer.step(pattern(), STILL, -2)
    faint = np.zeros(SHAPE, np.float32)
    for i in range(1, 60):
        faint = stabilizer.step(np.zeros(SHAPE, np.float32), STILL, i - 2)
    assert not faint.any()


def test_switch_without_it_lets_all_through() -> None:
    stabilizer = CanvasStabilizer(keep=0.0)
    for i in range(3):
        texture = pattern(i)
        assert stabilizer.step(texture, STILL, i - 2) is texture


def test_frames_out_of_order_and_broken_textures_end_the_session() -> None:
    stabilizer = CanvasStabilizer()
    with pytest.raises(SessionLost, match="frame 9"):
        stabilizer.step(pattern(), STILL, 9)
    with pytest.raises(SessionLost, match="not finite"):
        stabilizer.step(np.full(SHAPE, np.nan, np.float32), STILL, -2)
