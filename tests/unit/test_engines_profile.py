"""Sizes of batch: one that no profile takes fails in the server, one without a CUDA graph is slow."""

from __future__ import annotations

import pytest

from export.engines.profile import LARGEST, BatchProfile, sizes


@pytest.mark.parametrize(("sessions", "largest"), [(1, 1), (2, 2), (3, 4), (8, 8), (9, 16), (33, 64), (500, LARGEST)])
def test_a_frame_of_every_session_fits_into_one_batch(sessions: int, largest: int) -> None:
    assert BatchProfile.of(sessions).largest == largest


@pytest.mark.parametrize("sessions", [0, -3])
def test_no_session_at_all_is_refused(sessions: int) -> None:
    with pytest.raises(ValueError, match=rf"--max-sessions is {sessions}"):
        BatchProfile.of(sessions)


def test_a_size_that_is_no_power_of_two_is_refused() -> None:
    with pytest.raises(ValueError, match="largest batch is 5"):
        BatchProfile(5)


@pytest.mark.parametrize("largest", sizes())
def test_every_size_has_exactly_one_graph(largest: int) -> None:
    graphs = BatchProfile(largest).graphs
    served = [size for graph in graphs for size in range(graph.smallest, graph.largest + 1)]
    assert served == list(range(1, largest + 1))


@pytest.mark.parametrize("largest", sizes())
def test_every_graph_is_compared_full_and_with_as_much_of_it_unused_as_can_be(largest: int) -> None:
    """With 9 sessions a graph of 12 runs: what it makes of the frames that nobody sent must not reach the nine."""
    profile = BatchProfile(largest)
    for graph in profile.graphs:
        assert {graph.smallest, graph.largest} <= set(profile.compared)
    assert max(profile.compared) == largest


@pytest.mark.parametrize("largest", sizes())
def test_a_single_session_and_a_full_house_are_tuned_for_and_measured(largest: int) -> None:
    profile = BatchProfile(largest)
    assert profile.tuned in ((1,), (1, largest))
    assert {1, largest} <= set(profile.measured)
