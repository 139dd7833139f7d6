"""Smoothing: too little and the face trembles, too much and a /p/ never closes."""

from __future__ import annotations

import numpy as np
import pytest
from facestream.contract import FRAME_RATE
from facestream.parameters import GROUPS, PARAMETERS, Group
from one_euro import OneEuroFilter

MOUTH = GROUPS["mouth"]


def smooth(group: Group, signal: np.ndarray) -> np.ndarray:
    """`signal` (n,), as a parameter of this group is shown."""
    one_euro = OneEuroFilter(
        np.full(1, signal[0]),
        min_cutoff_hz=np.full(1, group.min_cutoff_hz),
        beta=np.full(1, group.beta),
        noise_speed=np.full(1, group.noise_speed),
        rate_hz=FRAME_RATE,
    )
    return np.array([one_euro(np.array([value]))[0] for value in signal])


@pytest.mark.parametrize("opening", [0.12, 0.2, 0.35, 0.55])
def test_closure_of_two_frames_closes_by_nine_tenths(opening: float) -> None:
    """A /p/ closes the lips for about 70 ms, at any loudness."""
    shown = smooth(MOUTH, np.array([opening] * 20 + [0.0] * 2 + [opening] * 8))
    assert shown[21] < 0.1 * opening
    assert shown[23] > 0.9 * opening


def test_closure_of_one_frame_is_seen() -> None:
    shown = smooth(MOUTH, np.array([0.3] * 20 + [0.0] + [0.3] * 8))
    assert shown[20] < 0.1 * 0.3


@pytest.mark.parametrize("name", [name for name in GROUPS if GROUPS[name].noise_speed > 0.0])
def test_noise_at_rest_is_halved(name: str) -> None:
    noise = np.random.default_rng(0).uniform(-0.02, 0.02, 3000)
    assert smooth(GROUPS[name], 0.1 + noise).std() < 0.5 * noise.std()


def test_mouth_lags_by_less_than_a_frame() -> None:
    """The judge's lag of the mouth counts this filter, too."""
    times = np.arange(600) / FRAME_RATE
    wanted = 0.2 + 0.15 * np.sin(2 * np.pi * 3.0 * times)  # syllables
    shown = smooth(MOUTH, wanted)
    shifts = np.arange(0.0, 0.1, 0.002)
    fits = [np.corrcoef(np.interp(times - shift, times, wanted)[60:], shown[60:])[0, 1] for shift in shifts]
    assert shifts[int(np.argmax(fits))] < 0.5 / FRAME_RATE


def test_blink_keeps_its_depth() -> None:
    lids = np.array([0.0] * 10 + [0.3, 0.9, 1.0, 0.8, 0.5, 0.25, 0.1] + [0.0] * 10)
    assert smooth(GROUPS["lids"], lids).max() > 0.97


def test_saccade_is_over_within_two_frames() -> None:
    shown = smooth(GROUPS["gaze"], np.array([0.0] * 10 + [0.1] * 10))
    assert shown[11] > 0.09


def test_every_parameter_has_constants() -> None:
    for parameter in PARAMETERS:
        group = GROUPS[parameter.group]
        assert group.min_cutoff_hz > 0.0
        assert group.beta > 0.0
        assert len(group.why) > 10


def test_mouth_that_falls_silent_does_not_creep_shut() -> None:
    """What is left of a word, below the noise speed, would go on closing through a quarter of a second of the pause."""
    word = np.concatenate([[0.0], np.full(20, 0.30), [0.15, 0.06, 0.03, 0.01], np.zeros(3)])
    assert smooth(MOUTH, word)[-1] < 1e-3
    doubt = np.concatenate([[0.0], np.full(40, 0.03), np.zeros(3)])
    assert smooth(MOUTH, doubt)[-1] < 2e-3
