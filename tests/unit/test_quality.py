"""The tiers of quality: which a server offers, and how it refuses the others."""

from __future__ import annotations

import pytest
from facestream.contract import MAX_QUALITY_VARIABLE, NETWORKS_VARIABLE
from facestream.quality import (
    NAMES,
    REFINER_INPUTS,
    REFINER_OUTPUT,
    Quality,
    Tiers,
    automatic_limit,
    check_quality,
    quality_of,
)

from export.ensembles import REPOSITORY, read_config


def test_names_and_bytes_are_those_of_the_wire() -> None:
    """A tier that moves to another byte gives old clients another picture."""
    assert [quality_of(name) for name in NAMES] == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="quality is 'best'; expected one of auto, fast, standard, high"):
        quality_of("best")
    with pytest.raises(ValueError, match=r"QUALITY is 9; expected one of 0 \(auto\), .*3 \(high\)"):
        check_quality(9)


def test_tier_that_is_not_loaded_is_refused_with_those_that_are() -> None:
    """The user can act on it: take another tier, or load the model."""
    tiers = Tiers(lambda model: model == "refiner_standard", limit=Quality.HIGH)
    tiers.check(Quality.AUTO)
    tiers.check(Quality.STANDARD)
    with pytest.raises(ValueError, match=r"3 \(high\).*'refiner_high' is not ready; it has 1 \(fast\), 2 \(standard\)"):
        tiers.check(Quality.HIGH)


def test_operator_limits_what_may_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that is sized for a tier must not be slowed down for all by one who asks for more."""
    monkeypatch.setenv(MAX_QUALITY_VARIABLE, "fast")
    with pytest.raises(ValueError, match="its limit is fast; it has 1"):
        Tiers(lambda model: True).check(Quality.STANDARD)
    assert automatic_limit() is Quality.FAST
    monkeypatch.setenv(MAX_QUALITY_VARIABLE, "high")
    assert automatic_limit() is Quality.HIGH
    monkeypatch.setenv(MAX_QUALITY_VARIABLE, "auto")
    with pytest.raises(ValueError, match="'auto'; expected one of fast, standard, high"):
        Tiers(lambda model: True)


def test_server_without_a_container_never_climbs_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """It computes on the processor, even beside a GPU; frames that depended on its load could not be repeated."""
    monkeypatch.delenv(MAX_QUALITY_VARIABLE, raising=False)
    monkeypatch.setenv(NETWORKS_VARIABLE, "cpu")
    monkeypatch.setattr("pathlib.Path.glob", lambda folder, pattern: iter([folder / "nvidia0"]))
    assert automatic_limit() is Quality.FAST
    monkeypatch.delenv(NETWORKS_VARIABLE)
    assert automatic_limit() is Quality.HIGH


def test_refiners_take_what_their_caller_has() -> None:
    """BLS hands tensors on by name: what the caller lacks fails at the first frame of the tier, not at the start."""
    caller = {tensor.name: tensor for tensor in read_config(REPOSITORY / "stabilizer" / "config.pbtxt").input}
    for model in ("refiner_standard", "refiner_high"):
        config = read_config(REPOSITORY / model / "config.pbtxt")
        assert config.parameters["called_by"].string_value == "stabilizer"
        assert [tensor.name for tensor in config.input] == list(REFINER_INPUTS)
        assert [tensor.name for tensor in config.output] == [REFINER_OUTPUT]
        for tensor in config.input:
            made = caller[tensor.name]
            assert (made.data_type, list(made.dims)) == (tensor.data_type, list(tensor.dims)), tensor.name
