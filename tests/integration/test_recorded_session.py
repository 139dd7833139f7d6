"""A session recorded on the real server, against the same session in one process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.chain import onnx_files
from export.networks import HALF, NETWORKS
from export.precision.drift import EQUAL_DB, measure_drift
from export.recording import SPEAKERS, Recording, record

FRAMES = 6


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recording, Recording]:
    folder: Path = tmp_path_factory.mktemp("recordings")
    speakers = SPEAKERS[1:]  # the one who feels something
    return (
        record(folder / "served", frames=FRAMES, speakers=speakers),
        record(folder / "in_process", frames=FRAMES, speakers=speakers, in_process=True),
    )


def test_every_network_has_all_that_it_takes(recordings: tuple[Recording, Recording]) -> None:
    """A target has no server yet when its engines are compared: what is missing here stops it there."""
    for recording in recordings:
        assert recording.changed_networks() == []
        for declared in NETWORKS:
            tensors = recording.frames_for(declared.stage)
            assert {len(array) for array in tensors.values()} == {recording.frames}
            assert all(np.isfinite(array.astype(np.float64)).all() for array in tensors.values())


def test_without_a_server_the_session_is_the_same(recordings: tuple[Recording, Recording]) -> None:
    """Drift is measured in one process: it would judge another session than the one that is served."""
    served, in_process = recordings
    for stage, limits in {
        "expression": {"SPEECH_FACE": 1e-4, "VISEME": 1e-4},
        "face_geometry": {"FACE_FLOW": 0.05, "SEAM_FLOW": 0.01, "HEAD_FLOW": 0.01},
    }.items():
        ours, theirs = in_process.made_by(stage), served.made_by(stage)
        for name, limit in limits.items():
            np.testing.assert_allclose(ours[name], theirs[name], rtol=0, atol=limit)
    drawn, shown = (one.made_by("compositor")["FRAME"].astype(np.int16) for one in (in_process, served))
    assert np.ptp(drawn, axis=0).max() > 3  # the face moves
    # Two runtimes, and pixels on the seam of the lips that take the one side or the other.
    assert np.percentile(np.abs(drawn - shown), 99.9) <= 1


def test_what_changes_nothing_shows_no_drift() -> None:
    """Two sessions with the same networks are the same to the last bit: else the sessions differ, not the networks."""
    drift = measure_drift(HALF, onnx_files(), frames=3)
    assert drift.psnr == [EQUAL_DB] * 3
    assert drift.parameters == [0.0] * 3
    assert drift.outputs["FRAME"].frames == 3
