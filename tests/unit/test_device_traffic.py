"""What a frame moves between host and GPU, as counted: it must not creep back."""

from __future__ import annotations

import pytest
from facestream.contract import MAX_SESSIONS
from facestream.server.program import CUDA_POOL_BYTES

from perf.device_traffic import Crossing, crossings, held, table, total


def test_stages_on_the_host_would_move_the_canvas_there_and_back() -> None:
    found = crossings("h264", resident=False)
    assert Crossing("CANVAS_TEXTURE", "stabilizer", "host", 4 * 4 * 256 * 192) in found
    assert Crossing("STABLE_TEXTURE", "compositor", "GPU", 4 * 4 * 256 * 192) in found
    assert Crossing("FRAME", "video_encoder", "host", 3 * 512 * 512) in found
    assert [c.size for c in found if c.tensor == "AVATAR_PHOTO"] == [3 * 512 * 512] * 2, "for each stage that takes it"


@pytest.mark.parametrize(("output", "most"), [("rgb", 512 * 512 * 3), ("h264", 512 * 512 * 3 // 2)])
def test_nothing_but_the_clients_or_the_encoders_copy_leaves_the_gpu(output: str, most: int) -> None:
    """And nothing but sound and face parameters goes there."""
    found = crossings(output, resident=True)  # type: ignore[arg-type]
    sums = total(found)
    assert sums["host"] == most + 208  # the mouth's weights, for the stage that moves head and brows
    assert {crossing.tensor for crossing in found if crossing.towards == "GPU"} == {"AUDIO_WINDOW", "PARAMETERS"}
    assert sums["GPU"] < 70_000


def test_table_names_its_sums() -> None:
    assert "3.19 MB to the GPU, 1.97 MB to the host: 155 MB/s" in table("rgb", resident=False)


def test_tritons_pool_holds_a_frame_of_every_session_that_is_admitted() -> None:
    """Where the pool ends, Triton hands tensors to Python stages through the host's memory, or through memory that the
    stage has to map anew for each: the frames get slower just when there are most of them."""
    lasting, most = held("h264")
    assert 4e6 < lasting < most < 9e6
    assert most * MAX_SESSIONS <= CUDA_POOL_BYTES
