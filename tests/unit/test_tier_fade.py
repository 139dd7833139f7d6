"""From one tier of quality to another without a step."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from facestream.quality import Quality
from tier_fade import FADE_FRAMES, TierFade, Weights, main_tier, mix, models

FAST, STANDARD, HIGH = Quality.FAST, Quality.STANDARD, Quality.HIGH


def shares(fade: TierFade, wanted: list[Quality]) -> list[Weights]:
    shown = []
    for tier in wanted:
        shown.append(fade.next(tier))
        fade.advance(shown[-1])
    return shown


def test_first_frame_has_its_tier_at_once() -> None:
    assert shares(TierFade(), [HIGH]) == [{HIGH: 1.0}]


def test_change_takes_eight_frames_and_ends_exactly() -> None:
    """A rest of the old tier would keep its model at work for ever."""
    shown = shares(TierFade(), [FAST] + [HIGH] * (FADE_FRAMES + 1))
    assert [share.get(HIGH, 0.0) for share in shown] == pytest.approx([i / FADE_FRAMES for i in range(9)] + [1.0])
    assert shown[FADE_FRAMES] == {HIGH: 1.0}
    assert [main_tier(share) for share in shown].index(HIGH) == FADE_FRAMES // 2


@pytest.mark.parametrize("seed", range(5))
def test_no_share_ever_steps_however_the_wish_changes(seed: int) -> None:
    """A client that turns the knob, or a governor that changes its mind, must not make the face jump."""
    chooser = random.Random(seed)
    wishes = [tier for _ in range(60) for tier in [chooser.choice([FAST, STANDARD, HIGH])] * chooser.randint(1, 12)]
    shown = shares(TierFade(), wishes)
    for before, after in itertools.pairwise(shown):
        assert sum(after.values()) == pytest.approx(1.0)
        assert all(share > 0.0 for share in after.values())
        moved = sum(max(after.get(tier, 0.0) - before.get(tier, 0.0), 0.0) for tier in (FAST, STANDARD, HIGH))
        assert moved <= 1.5 / FADE_FRAMES + 1e-9


def test_looking_ahead_changes_nothing() -> None:
    """A refused frame must not move the fade."""
    fade = TierFade()
    fade.advance(fade.next(FAST))
    assert fade.next(HIGH) == fade.next(HIGH)
    assert models(fade.next(HIGH)) == [HIGH]
    assert models(fade.next(FAST)) == []


def texture(level: float) -> np.ndarray:
    return np.full((4, 3, 2), level, np.float32)


def test_mixture_has_the_shares() -> None:
    shown, shares = mix(texture(10.0), {FAST: 0.25, STANDARD: 0.75}, {STANDARD: texture(30.0)})
    assert np.array_equal(shown, texture(25.0))
    assert shares == {FAST: 0.25, STANDARD: 0.75}
    better = texture(30.0)
    assert mix(texture(10.0), {STANDARD: 1.0}, {STANDARD: better})[0] is better


def test_tier_that_failed_is_made_up_for_by_fast_and_not_called_by_its_name() -> None:
    """A frame without light would be black, one under a wrong name a lie."""
    fast = texture(10.0)
    shown, shares = mix(fast, {STANDARD: 1.0}, {})
    assert shown is fast
    assert shares == {FAST: 1.0}
    shown, shares = mix(texture(10.0), {STANDARD: 0.5, HIGH: 0.5}, {HIGH: texture(30.0)})
    assert np.array_equal(shown, texture(20.0))
    assert shares == {HIGH: 0.5, FAST: 0.5}
    assert main_tier(shares) is HIGH
