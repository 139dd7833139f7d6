"""Figures of the parity report: a percentile that is off would let a bad precision pass, or blame a good one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from export.networks import Tolerance
from export.precision.errors import Errors


def test_figures_are_those_of_numpy() -> None:
    random = np.random.default_rng(1)
    wanted = random.normal(size=(7, 3000)).astype(np.float32)
    made = wanted + (random.normal(size=wanted.shape) * 1e-3).astype(np.float32)
    errors = Errors()
    for first in (0, 4):
        errors.add(made[first : first + 4], wanted[first : first + 4])
    off = np.abs(made - wanted)
    assert errors.frames == 7
    assert errors.largest == pytest.approx(off.max())
    assert errors.worst_frame == off.max(axis=1).argmax()
    assert errors.mean == pytest.approx(off.mean(), rel=1e-5)
    exact = float(np.percentile(off, 99.9))
    assert exact <= errors.usual <= exact * 1.03
    worst = 10 * math.log10(255**2 / np.square(off).mean(axis=1).max())
    assert errors.least_psnr == pytest.approx(worst, abs=1e-3)


def test_equal_tensors_have_no_error() -> None:
    errors = Errors()
    errors.add(np.ones((2, 5), np.uint8), np.ones((2, 5), np.uint8))
    assert (errors.largest, errors.usual, errors.mean, errors.least_psnr) == (0.0, 0.0, 0.0, math.inf)
    assert errors.exceeded(Tolerance("level", 1e-9, 1e-9, "test", least_psnr=90.0)) == []
    assert errors.summary()["least_psnr_db"] is None


def test_bytes_do_not_wrap_around() -> None:
    errors = Errors()
    errors.add(np.zeros((1, 4), np.uint8), np.full((1, 4), 255, np.uint8))
    assert errors.largest == 255.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_exceeds_every_tolerance(value: float) -> None:
    """NaN compares as neither larger nor smaller: a limit alone would let it pass."""
    errors = Errors()
    errors.add(np.array([[0.0, value]], np.float32), np.zeros((1, 2), np.float32))
    told = errors.exceeded(Tolerance("px", 1e30, 1e30, "test"))
    assert any("not finite" in text for text in told)


def test_an_exceeded_tolerance_is_told_with_value_frame_and_limit() -> None:
    errors = Errors()
    errors.add(np.array([[0.0], [0.5]], np.float32), np.zeros((2, 1), np.float32))
    told = "; ".join(errors.exceeded(Tolerance("px", 0.1, 0.05, "test", least_psnr=60.0)))
    assert "its largest error is 0.5 px in frame 1, the limit 0.1" in told
    assert "99.9th percentile of its errors is 0.5, the limit 0.05" in told
    assert "falls to 54.2 dB, the limit 60" in told


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"the shape is \[1, 2\], expected \[1, 3\]"):
        Errors().add(np.zeros((1, 2)), np.zeros((1, 3)))
