"""Session state: what a stage keeps, for whom, and when it forgets."""

from __future__ import annotations

from pathlib import Path

import pytest
from facestream.admission import Door
from facestream.contract import MAX_SESSIONS_VARIABLE
from facestream.protocol import ENSEMBLES
from facestream.sequence import BadInput, FrameOrder, SequenceTable, SessionLost, SessionRefused
from facestream.server import drain

from export.ensembles import REPOSITORY, read_config


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def table(limit: int | None = None, clock: Clock | None = None) -> SequenceTable[list[str]]:
    """A stage's table; with a limit it is the door's."""
    door = Door()
    door.limit = limit or 0
    return SequenceTable(
        lambda key: [f"state of {key}"],
        admit=door.admit if limit else None,
        idle_seconds=5.0,
        clock=clock or Clock(),
    )


def test_state_stays_with_its_session() -> None:
    """Otherwise one user's face appears in another's stream."""
    sessions = table()
    for key in (1, 2):
        with sessions.request(key, start=True, end=False) as state:
            state.append(f"said by {key}")
    with sessions.request(1, start=False, end=False) as state:
        assert state == ["state of 1", "said by 1"]


def test_start_on_a_live_session_begins_anew() -> None:
    """A client that reconnects must not inherit what its lost connection left."""
    sessions = table()
    for _ in range(2):
        with sessions.request(1, start=True, end=False) as state:
            assert state == ["state of 1"]
            state.append("old")
    assert len(sessions) == 1


def test_refused_start_leaves_nothing_behind() -> None:
    """A START with broken sound must not hold a place until it times out."""
    sessions = table(limit=1)
    with pytest.raises(BadInput), sessions.request(1, start=True, end=False):
        raise BadInput("broken sound")
    assert len(sessions) == 0
    with sessions.request(2, start=True, end=False):
        pass


def test_a_refused_start_has_ended_what_was_live() -> None:
    """The stages before have begun anew, with another avatar perhaps: the old session would go on with its face."""
    sessions = table()
    with sessions.request(1, start=True, end=False):
        pass
    with pytest.raises(BadInput), sessions.request(1, start=True, end=False):
        raise BadInput("broken sound")
    with pytest.raises(SessionLost, match="session 1 is not live here"):
        sessions.request(1, start=False, end=False).__enter__()


def test_one_session_too_many_is_refused_and_the_others_go_on() -> None:
    sessions = table(limit=2)
    for key in (1, 2):
        with sessions.request(key, start=True, end=False):
            pass
    with pytest.raises(SessionRefused, match="2 sessions are live, the limit of this server is 2"):
        sessions.request(3, start=True, end=False).__enter__()
    with sessions.request(1, start=False, end=False) as state:
        assert state == ["state of 1"]


def test_begin_anew_needs_no_second_place() -> None:
    """On a full server a client that lost its connection would not get its own place back."""
    sessions = table(limit=1)
    for _ in range(2):
        with sessions.request(1, start=True, end=False):
            pass


def test_every_session_passes_one_door() -> None:
    """A second door would count sessions that the first has refused; an ensemble without one knows no limit."""
    doors = {path.parts[-3] for path in REPOSITORY.glob("*/1/model.py") if "is_door = True" in path.read_text()}
    assert doors == {"audio_frontend"}
    ensembles = [read_config(REPOSITORY / ensemble.model / "config.pbtxt") for ensemble in ENSEMBLES.values()]
    assert all(
        "audio_frontend" in [step.model_name for step in config.ensemble_scheduling.step] for config in ensembles
    )


def test_a_stage_behind_the_door_refuses_nobody() -> None:
    """It never hears of an END that was refused before it: its own limit would refuse whom the door has let in."""
    sessions = table()
    for key in range(1, 200):
        with sessions.request(key, start=True, end=False):
            pass


def test_states_begun_past_the_door_push_out_the_idle_and_not_who_speaks() -> None:
    """Whoever sends a stage one START after the other would take all of the server's memory, 4 MB each."""
    sessions = SequenceTable(lambda key: [key], most=4)
    for key in (1, 2):
        with sessions.request(key, start=True, end=False):
            pass
    for key in range(3, 200):
        with sessions.request(key, start=True, end=False):
            pass
        with sessions.request(1, start=False, end=False) as state:
            assert state == [1]
        assert len(sessions) <= 4
    with pytest.raises(SessionLost, match=r"session 2 is not live here .* pushed out by newer ones"):
        sessions.request(2, start=False, end=False).__enter__()


def test_stopping_server_lets_nobody_in_and_keeps_who_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(drain.VARIABLE, str(tmp_path / drain.FILE_NAME))
    sessions = table(limit=2)
    with sessions.request(1, start=True, end=False):
        pass
    (tmp_path / drain.FILE_NAME).touch()
    with pytest.raises(SessionRefused, match="about to stop"):
        sessions.request(2, start=True, end=False).__enter__()
    for start in (False, True):
        with sessions.request(1, start=start, end=False) as state:
            assert state == ["state of 1"]


@pytest.mark.parametrize("text", ["0", "-3", "many", "²"])
def test_a_limit_that_is_none_is_told(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt limit must not mean none."""
    monkeypatch.setenv(MAX_SESSIONS_VARIABLE, text)
    with pytest.raises(ValueError, match=f"{MAX_SESSIONS_VARIABLE} is '{text}': expected a whole number of 1 or more"):
        Door()


def test_end_frees_the_place_even_where_its_request_fails() -> None:
    sessions = table(limit=1)
    with sessions.request(1, start=True, end=False):
        pass
    with pytest.raises(BadInput), sessions.request(1, start=False, end=True):
        raise BadInput("broken sound")
    assert len(sessions) == 0


def test_idle_session_is_forgotten_and_told_so() -> None:
    """Triton tells a model of no lost client: without this the server's memory grows with every one of them."""
    clock = Clock()
    sessions = table(limit=1, clock=clock)
    with sessions.request(1, start=True, end=False):
        pass
    clock.now = 6.0
    with sessions.request(2, start=True, end=False):  # the limit of 1 does not count the forgotten one
        pass
    with pytest.raises(SessionLost, match="session 1 is not live here"):
        sessions.request(1, start=False, end=False).__enter__()


@pytest.mark.parametrize("correlation_id", [0, "alice"])
def test_correlation_id_must_be_a_number(correlation_id: int | str) -> None:
    """Triton lets a string id through to a model that asks for a number."""
    with pytest.raises(BadInput, match="expected an unsigned 64-bit integer"):
        table().request(correlation_id, start=True, end=False).__enter__()


def test_frames_out_of_order_are_told() -> None:
    order = FrameOrder(-2)
    order.check(-2)
    order.advance()
    with pytest.raises(SessionLost, match="frame 3 arrived where frame -1 was due"):
        order.check(3)


def test_look_at_a_state_neither_makes_nor_keeps_a_session() -> None:
    """A stage that plans ahead must not let a lost session live on by looking at it."""
    clock = Clock()
    sessions = table(clock=clock)
    assert sessions.peek(3) is None
    with sessions.request(3, start=True, end=False) as state:
        pass
    clock.now = 4.0
    assert sessions.peek(3) is state
    clock.now = 6.0
    assert sessions.evict_idle() == 1
    assert sessions.peek(3) is None
