"""The table of networks against the repository: an output nobody compares may be wrong on a GPU unseen."""

from __future__ import annotations

import onnx
import pytest

from export.ensembles import REPOSITORY, read_config
from export.networks import CHAIN, FULL, HALF, NETWORKS, Network, network, stage_precision, tolerance
from export.precision.region import learned_nodes

by_stage = pytest.mark.parametrize("declared", NETWORKS, ids=lambda declared: declared.stage)


def test_every_network_of_the_repository_is_declared() -> None:
    """A stage that is left out is built and served by nobody."""
    configs = [read_config(path) for path in REPOSITORY.glob("*/config.pbtxt")]
    assert {declared.stage for declared in NETWORKS} == {c.name for c in configs if c.backend == "onnxruntime"}


@by_stage
def test_every_output_has_a_tolerance_in_every_precision(declared: Network) -> None:
    config = read_config(REPOSITORY / declared.stage / "config.pbtxt")
    assert declared.precisions[0] == FULL
    for tolerances in declared.tolerances.values():
        assert set(tolerances) == {output.name for output in config.output}
        for limit in tolerances.values():
            assert 0.0 < limit.usual <= limit.largest
            assert limit.unit
            assert limit.why


@by_stage
def test_what_is_computed_in_half_precision_is_in_the_graph(declared: Network) -> None:
    """A module that was renamed would quietly be served in single precision."""
    assert (declared.half is not None) == (HALF in declared.precisions)
    if declared.half is not None:
        model = onnx.load(REPOSITORY / declared.stage / "1" / "model.onnx")
        assert learned_nodes(model, declared.half.weights)


def test_every_precision_is_judged_over_the_whole_chain() -> None:
    offered = {precision for declared in NETWORKS for precision in declared.precisions}
    assert set(CHAIN) <= offered - {FULL}
    assert HALF in CHAIN


def test_unknown_names_are_told_with_those_that_there_are() -> None:
    with pytest.raises(KeyError, match=r"stage is 'rendrer', expected one of speech_encoder"):
        network("rendrer")
    with pytest.raises(KeyError, match=r"precision of compositor is 'int8', expected one of fp32"):
        tolerance("compositor", "int8", "FRAME")
    with pytest.raises(KeyError, match=r"output of compositor is 'FRAMES', expected one of FRAME"):
        tolerance("compositor", FULL, "FRAMES")
    assert stage_precision("compositor", HALF) == FULL
    assert stage_precision("renderer", HALF) == HALF
