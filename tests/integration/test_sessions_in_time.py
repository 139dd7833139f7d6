"""The count of sessions that a server serves in time, asked of a real one: of its frames, none may be left out."""

from __future__ import annotations

from facestream.contract import LOOKAHEAD_FRAMES
from facestream.server import TritonServer

from perf.bench_smoke import first_avatar
from perf.gpu.sessions import Question, trial


def test_every_frame_of_every_session_is_in_the_figures(server: TritonServer) -> None:
    """Two sessions of a second each, beside the one that does not count."""
    question = Question(server.grpc_url, first_avatar(), "parameters", "auto", 1.0)
    made = trial(question, 2)
    assert made.failures == []
    assert made.frames == 2 * (30 - LOOKAHEAD_FRAMES)
    assert 0.0 < made.p50_ms <= made.p99_ms < 10_000


def test_a_refused_session_is_told(server: TritonServer) -> None:
    """A server that refuses some sessions and serves the others in time does not serve them all."""
    made = trial(Question(server.grpc_url, "nobody", "rgb", "auto", 0.5), 1)
    assert (made.frames, made.holds) == (0, False)
    assert "nobody" in made.failures[0]
