"""How many sessions a card serves is what its price is divided by: the search, and what counts as served."""

from __future__ import annotations

from dataclasses import replace

import pytest
from facestream.quality import Quality
from facestream.report import Stopwatch

from perf.gpu import sessions
from perf.gpu.sessions import Trial, greatest, markdown, summary

GOOD = Trial(1, 100, 20.0, 30.0, 0.0, {"fast": 100}, [])


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 5, 8, 13, 16, 20])
def test_the_greatest_number_that_holds_is_found(limit: int) -> None:
    """With few trials: each takes half a minute of somebody's GPU."""
    asked: list[int] = []

    def ask(count: int) -> Trial:
        asked.append(count)
        return replace(GOOD, sessions=count, p99_ms=30.0 if count <= limit else 90.0)

    found, trials = greatest(ask, 16)
    assert found == min(limit, 16)
    assert len(asked) == len(set(asked)) == len(trials) <= 9
    assert max(asked) <= 16


@pytest.mark.parametrize(
    "trial",
    [
        replace(GOOD, p99_ms=40.0),
        replace(GOOD, missed=0.005),
        replace(GOOD, failures=["session refused"]),
        replace(GOOD, frames=0),
    ],
)
def test_late_lost_or_refused_is_not_served(trial: Trial) -> None:
    assert GOOD.holds
    assert not trial.holds
    assert "NOT in time" in str(trial)


def test_the_first_second_does_not_count() -> None:
    """A server's first frames of a session wait for its caches; all later ones count, whoever's they are."""
    watches = [Stopwatch(), Stopwatch()]
    for watch, slow in zip(watches, (0.020, 0.050), strict=True):
        watch.latencies_s = [1.0] * sessions.WARM_FRAMES + [slow] * 100
        watch.qualities.update({Quality.FAST: 130})
    made = summary(2, watches, [*watches, "session lost: the server went away"])
    assert (made.frames, made.missed) == (200, 0.5)
    assert made.p99_ms == pytest.approx(50.0)
    assert made.qualities == {"fast": 260}
    assert made.failures == ["session lost: the server went away"]


def test_no_frames_are_no_infinity_in_the_report() -> None:
    """JSON knows none, and a reader would take 0 ms for very fast."""
    entry = summary(1, [], ["refused"]).entry()
    assert entry["p99_ms"] is None
    page = markdown(
        {
            "card": "NVIDIA X1",
            "date": "2026-01-01",
            "output": "h264",
            "quality": "auto",
            "seconds": 20.0,
            "processor": "a processor",
            "cores": 2,
            "sessions": 0,
            "trials": [entry],
            "stages": [],
            "perf_analyzer_latency_ms": None,
        }
    )
    assert "| 1 | 0 | - | - | - |  | **not**: refused |" in page
