"""What is said of INT8: a figure that flatters it would put a worse picture on people's GPUs for nothing."""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest

from export.networks import INT8, NETWORKS
from export.precision import int8 as quantisation
from export.precision.errors import Errors
from export.precision.int8 import Calibration
from perf import int8


def calibration(stage: str, *names: str) -> Calibration:
    return Calibration(stage, (), dict.fromkeys(names, 0.1))


def test_nothing_quantised_saves_nothing() -> None:
    assert int8.projected_gain(calibration("refiner_high"), "T4") == pytest.approx(0.0)


def test_more_convolutions_save_more_but_never_half_of_the_time() -> None:
    """The rate of matrix operations doubles at best, and there is more in a network than these."""
    one = int8.projected_gain(calibration("refiner_high", "/deep.0/convolution/Conv"), "T4")
    two = int8.projected_gain(calibration("refiner_high", "/deep.0/convolution/Conv", "/fine.0/Conv"), "T4")
    assert 0 < one < two < 0.5


def test_flicker_counts_what_changes_and_not_what_is_off_all_the_time() -> None:
    still = [{"FRAME": np.full((1, 4, 4, 3), 100, np.uint8)} for _ in range(4)]
    off = [{"FRAME": np.full((1, 4, 4, 3), 103, np.uint8)} for _ in range(4)]
    flickering = [{"FRAME": np.full((1, 4, 4, 3), 100 + 2 * (number % 2), np.uint8)} for number in range(4)]
    assert int8._flicker(off, still) == 0.0
    assert int8._flicker(flickering, still) == pytest.approx(2.0)


def test_a_network_pays_only_within_its_tolerance_and_with_a_gain() -> None:
    good = int8.Judged(
        calibration("refiner_high", "/deep.0/convolution/Conv"), {}, {}, Errors(), 0.0, None, {"T4": 0.2}, ()
    )
    assert good.pays
    assert not dataclasses.replace(good, beyond=("REFINED_TEXTURE: too far",)).pays
    assert not dataclasses.replace(good, gain={"T4": 0.05}).pays
    assert not dataclasses.replace(good, calibration=calibration("refiner_high")).pays


def test_the_table_says_no_with_the_number() -> None:
    made = np.zeros((1, 4, 4, 4), np.float32)
    errors = Errors()
    errors.add(made + 1, made)
    judged = int8.Judged(
        calibration("renderer", "/refiner/stem/Conv"),
        {"CANVAS_TEXTURE": errors},
        {"CANVAS_TEXTURE": errors},
        errors,
        0.1,
        None,
        dict.fromkeys(int8.CARDS, 0.04),
        (),
    )
    text = int8.as_markdown([judged], "otto", 8)
    assert "no: saves 4% on a T4, expected 10%" in text
    assert "projection" in text
    assert math.isfinite(int8.as_json([judged], "otto", 8)["networks"][0]["saved_projected"]["T4"])


def test_every_network_of_the_table_is_judged() -> None:
    """A stage that can be had in INT8 must be one that `python -m perf.int8` looks at."""
    assert {one.stage for one in NETWORKS if INT8 in one.precisions} <= set(quantisation.CANDIDATES)


def test_more_frames_than_are_recorded_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The table told of 500 judged frames where 171 had been."""
    recording = SimpleNamespace(frames=211, folder="build/recording", avatars=("ada",))
    monkeypatch.setattr(int8, "any_recording", lambda folder, in_process: recording)
    with pytest.raises(SystemExit):
        int8.main(["--frames", "172"])
    assert "--frames is 172, expected at most 171: build/recording holds 211" in capsys.readouterr().err
