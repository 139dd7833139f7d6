"""A server that is told to stop lets its sessions end, and takes no new ones."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from facestream.contract import CHUNK_SAMPLES
from facestream.errors import SessionRefused
from facestream.protocol import Output
from facestream.server import TritonServer
from facestream.session import Client, Session

ROOT = Path(__file__).parents[2]
AVATAR = min(path.stem for path in (ROOT / "model_repository" / "avatar_store" / "avatars").glob("*.avatar"))
SILENCE = np.zeros(CHUNK_SAMPLES, np.float32)


def frames_after(session: Session, chunks: int) -> int:
    """Send so many chunks one by one; how many frames have come by then."""
    count = 0
    for _ in range(chunks):
        session.send(SILENCE)
        count += len(list(session.frames(wait=False)))
    return count


@pytest.mark.parametrize("output", ["h264", "parameters"])
def test_a_live_session_ends_in_peace_while_new_ones_are_refused(output: Output) -> None:
    with TritonServer(ROOT / "model_repository") as server, Client(server.grpc_url) as client:
        drained: list[bool] = []
        with client.session(AVATAR, output) as live:
            frames_after(live, 5)
            drain = threading.Thread(target=lambda: drained.append(server.drain(60.0)))
            drain.start()
            frames_after(live, 30)
            with pytest.raises(SessionRefused, match="about to stop"), client.session(AVATAR, output) as late:
                list(late.stream(np.tile(SILENCE, 3)))
            assert frames_after(live, 30) > 0, "the live session was cut off"
            live.finish()
            list(live.frames())
        drain.join(timeout=30.0)
        assert drained == [True]
